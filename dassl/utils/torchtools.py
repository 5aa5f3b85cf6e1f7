"""Dassl's module of helpers for networks: what others import from here lies elsewhere."""

from dassl.utils.checkpoint import load_checkpoint, load_pretrained_weights, save_checkpoint
from dassl.utils.compat import (
    count_num_param,
    init_network_weights,
    open_all_layers,
    open_specified_layers,
    resume_from_checkpoint,
)

__all__ = [
    "count_num_param",
    "init_network_weights",
    "load_checkpoint",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
    "resume_from_checkpoint",
    "save_checkpoint",
]
