"""The benchmark's data sets; importing this package registers them."""

from datasets.digits import Digits
from datasets.eurosat import EuroSAT
from datasets.letters import Letters

__all__ = ["Digits", "EuroSAT", "Letters"]
