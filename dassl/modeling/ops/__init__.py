"""Building blocks of semi-supervised learning and domain adaptation, for other people's trainers."""

from dassl.modeling.ops.cross_entropy import cross_entropy
from dassl.modeling.ops.mixup import mixup
from dassl.modeling.ops.reverse_grad import ReverseGrad

__all__ = ["ReverseGrad", "cross_entropy", "mixup"]
