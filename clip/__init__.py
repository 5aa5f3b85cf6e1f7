"""CLIP: the frozen model. Towers, tokenizer and weight files; knows nothing of training."""

from clip import arch, eva02, model, resnet, vit, written
from clip.arch import Architecture
from clip.families import build_model
from clip.families.openai import openai_state_dict
from clip.identity import weights_hash
from clip.model import CLIP, set_precision, similarity_logits
from clip.tokenizer import tokenize
from clip.weights import (
    available_models,
    find_weights,
    load,
    load_token_embedding,
    missing_weights,
    read_state_dict,
)
from clip.written import Deep, Written

# The modules whose code decides image features.
FEATURE_CODE = (arch, written, vit, eva02, resnet, model)

__all__ = [
    "CLIP",
    "FEATURE_CODE",
    "Architecture",
    "Deep",
    "Written",
    "available_models",
    "build_model",
    "find_weights",
    "load",
    "load_token_embedding",
    "missing_weights",
    "openai_state_dict",
    "read_state_dict",
    "set_precision",
    "similarity_logits",
    "tokenize",
    "weights_hash",
]
