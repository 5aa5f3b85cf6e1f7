"""PromptKD: visual prompts that imitate a larger teacher on unlabelled images (Li et al., CVPR 2024).

learner.py  what is tuned: the student's visual prompts and its projection
teacher.py  the teacher: a PromptSRC run on a larger CLIP
model.py    the student's image tower against the teacher's text tower
trainer.py  distillation, and which classes it trains and tests on
dpc.py      DPC on it, with labels
"""

from trainers.promptkd.dpc import PromptKD_DPC
from trainers.promptkd.trainer import PromptKD

__all__ = ["PromptKD", "PromptKD_DPC"]
