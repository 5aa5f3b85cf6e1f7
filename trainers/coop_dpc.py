"""CoOp + DPC."""

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp
from trainers.dpc import DPC


@TRAINER_REGISTRY.register()
class CoOp_DPC(DPC, CoOp):
    """Dual prompts in place of CoOp's context."""
