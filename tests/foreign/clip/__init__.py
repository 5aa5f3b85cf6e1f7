"""Stands for a project's own copy of CLIP."""

from .model import Towers

WHOSE = "the foreign project"

__all__ = ["WHOSE", "Towers"]
