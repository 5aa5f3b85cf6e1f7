"""Data sets: the registry and the base class."""

from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.data.datasets.build import DATASET_REGISTRY, build_dataset, options_of_datasets
from dassl.data.datasets.subsets import check_subset, chosen_subset, subset_labels

__all__ = [
    "DATASET_REGISTRY",
    "DatasetBase",
    "Datum",
    "build_dataset",
    "check_subset",
    "chosen_subset",
    "options_of_datasets",
    "subset_labels",
]
