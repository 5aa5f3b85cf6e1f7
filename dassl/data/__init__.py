"""Data sets, transforms, samplers and loaders."""

from dassl.data.data_manager import DataManager
from dassl.data.loader import build_data_loader
from dassl.data.wrapper import DatasetWrapper

__all__ = ["DataManager", "DatasetWrapper", "build_data_loader"]
