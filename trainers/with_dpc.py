"""DPC on each prompt learner: a mixin in front of the backbone is all it takes."""

from dassl.engine import TRAINER_REGISTRY
from trainers.cocoop import CoCoOp
from trainers.coop import CoOp
from trainers.dpc import DPC
from trainers.ivlp import IVLP
from trainers.maple import MaPLe
from trainers.promptsrc import PromptSRC


@TRAINER_REGISTRY.register()
class CoOp_DPC(DPC, CoOp):
    """Dual text context."""


@TRAINER_REGISTRY.register()
class CoCoOp_DPC(DPC, CoCoOp):
    """Dual text context and dual meta-network."""


@TRAINER_REGISTRY.register()
class IVLP_DPC(DPC, IVLP):
    """Dual text and visual prompts at all depths."""


@TRAINER_REGISTRY.register()
class MaPLe_DPC(DPC, MaPLe):
    """Dual text prompts at all depths and dual projections into the image tower."""


@TRAINER_REGISTRY.register()
class PromptSRC_DPC(DPC, PromptSRC):
    """Dual text and visual prompts at all depths, kept close to zero-shot CLIP as in PromptSRC."""
