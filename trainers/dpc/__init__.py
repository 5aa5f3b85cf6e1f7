"""DPC on any prompt learner. Where each equation of the paper lives:

Eq. 5, 12, 13   weighting.py   dual prompts, their mix for base and for new classes
Eq. 6-8         ../base.py     `PromptedCLIP.text_features(classes)`: only the selected classes are encoded
Eq. 9-11        loss.py        the symmetric contrastive loss
Sec. 3.3        sampler.py     which classes are hard negatives; loader.py fetches their images
Sec. 3.2        mixin.py       loads the tuned prompts and wires all of it into a trainer
"""

from trainers.dpc.mixin import DPC

__all__ = ["DPC"]
