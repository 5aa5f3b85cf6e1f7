"""The spine that every prompt learner and plug-in stands on.

prompts.py    what a learner hands to the frozen towers; its tuned tensors and their keys in checkpoints
model.py      CLIP seen through a learner: features and logits
trainer.py    the steps of training and evaluation, and the hooks that a method or plug-in fills
clip_trainer.py  what it shares with zero-shot CLIP
temperature.py  probabilities that mean what they say
scope.py      which classes a run is on
door.py       CLIP and checkpoints coming in
known_clip.py  which CLIP prompts were tuned on
templates.py  hand-written prompts
words.py      the words that a learned context is near
"""

from trainers.core.model import PromptedCLIP, View, encode_prompts
from trainers.core.prompts import ContextPrompts, ImagePrompts, PromptLearner, TextPrompts
from trainers.core.scope import Scope, TunedOn
from trainers.core.trainer import PromptTrainer, StepOutput

__all__ = [
    "ContextPrompts",
    "ImagePrompts",
    "PromptLearner",
    "PromptTrainer",
    "PromptedCLIP",
    "Scope",
    "StepOutput",
    "TextPrompts",
    "TunedOn",
    "View",
    "encode_prompts",
]
