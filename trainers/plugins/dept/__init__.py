"""DePT: base classes get a linear head too, new classes do without it (Zhang et al., CVPR 2024).

The head sees the features before they are normalised, each channel scaled and shifted (the channel-wise
transformation of arXiv 2309.07439). In training it classifies the images, and with each the text feature of
its class. Of the loss, and of the logits of base classes, lambda is the head's and 1 - lambda that of the
similarities (L = lambda L_CAT + (1 - lambda) L_ITM there, and its fusion at test time). Elsewhere the head is
left out.

It equals records of the authors' code on the three learners that there are records of (tests/golden). On
PromptSRC and all others they have released nothing, CoCoOp aside, which it is not on here: the same rule is
applied there. A learner's other losses stay outside the mix, as in their code; what it does to all its
tensors, such as PromptSRC's mean over epochs, it does to the head.

head.py    the head, and a learner that has one
plugin.py  a step, an evaluation, whose classes a stored head knows
"""

from trainers.plugins.dept.plugin import DePT, obstacle

__all__ = ["DePT", "obstacle"]
