"""CLIP: the frozen model. Towers, tokenizer and weight files; knows nothing of training."""

from clip.model import CLIP, Architecture, set_precision, similarity_logits
from clip.tokenizer import tokenize
from clip.weights import available_models, build_model, find_weights, load, missing_weights, read_state_dict

__all__ = [
    "CLIP",
    "Architecture",
    "available_models",
    "build_model",
    "find_weights",
    "load",
    "missing_weights",
    "read_state_dict",
    "set_precision",
    "similarity_logits",
    "tokenize",
]
