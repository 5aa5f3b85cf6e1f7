"""Data sets: the registry and the base class."""

from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.data.datasets.build import DATASET_REGISTRY, build_dataset, options_of_datasets

__all__ = ["DATASET_REGISTRY", "DatasetBase", "Datum", "build_dataset", "options_of_datasets"]
