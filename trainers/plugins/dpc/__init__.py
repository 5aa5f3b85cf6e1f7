"""DPC on any prompt learner. Where each equation of the paper lives:

Eq. 5, 12, 13   weighting.py        dual prompts, their mix for base and for new classes
Eq. 6-8         core/model.py       `PromptedCLIP.text_features(classes)`: only the selected classes
Eq. 9-11        loss.py             the symmetric contrastive loss
Sec. 3.3        sampler.py          which classes are hard negatives; batches.py fetches their images
                readings.py         the paper's equations, or what the authors' code computes
Sec. 3.2        plugin.py           loads the tuned prompts and takes a step, from the mini-batch to the loss
"""

from trainers.plugins.dpc.plugin import DPC
from trainers.plugins.dpc.readings import READINGS, Reading, register

__all__ = ["DPC", "READINGS", "Reading", "register"]
