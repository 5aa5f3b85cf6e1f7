"""A data set: lists of ``Datum``, and the few-shot draw."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any


class Datum:
    """One image: its path, label (from 0), domain (from 0) and class name.

    The attributes are named as in Dassl, whose pickled few-shot files can therefore be read.
    """

    def __init__(self, impath: str = "", label: int = 0, domain: int = 0, classname: str = "") -> None:
        self._impath = str(impath)
        self._label = int(label)
        self._domain = int(domain)
        self._classname = str(classname)

    @property
    def impath(self) -> str:
        return self._impath

    @property
    def label(self) -> int:
        return self._label

    @property
    def domain(self) -> int:
        return self._domain

    @property
    def classname(self) -> str:
        return self._classname

    def __repr__(self) -> str:
        return f"Datum({self._impath!r}, {self._label}, {self._domain}, {self._classname!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Datum) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self._impath, self._label, self._domain, self._classname))


class DatasetBase:
    """The splits of a data set. A subclass reads its files and hands the lists over.

    Args:
        train_x: labelled training images.
        train_u: unlabelled training images, if any.
        val: validation images, if any.
        test: test images.

    Raises:
        ValueError: no training or test images, or labels that are not 0..n-1 with one class name each.
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    domains: Sequence[str] = ()  # names of the domains, if any
    template = "a photo of a {}."  # the hand-written prompt of a class name
    is_source = False  # the one that cross-dataset protocols tune on, all classes of it
    has_halves = True  # DATASET.SUBSAMPLE_CLASSES chooses among its classes

    def __init__(
        self,
        train_x: Sequence[Datum] | None = None,
        train_u: Sequence[Datum] | None = None,
        val: Sequence[Datum] | None = None,
        test: Sequence[Datum] | None = None,
    ) -> None:
        if not train_x or not test:
            missing = "training" if not train_x else "test"
            raise ValueError(f"Data set {type(self).__name__} has no {missing} images")
        self._train_x, self._train_u, self._val, self._test = train_x, train_u, val, test
        self._num_classes = self.get_num_classes(train_x)
        self._lab2cname, self._classnames = self.get_lab2cname(train_x)
        if len(self._lab2cname) != self._num_classes:
            known = self._lab2cname
            absent = list(islice((n for n in range(self._num_classes) if n not in known), 10))
            raise ValueError(f"Data set {type(self).__name__} has no training image with label {absent}")

    @property
    def name(self) -> str:
        """What results and checkpoints call it."""
        return type(self).__name__

    @property
    def train_x(self) -> Sequence[Datum]:
        return self._train_x

    @property
    def train_u(self) -> Sequence[Datum] | None:
        return self._train_u

    @property
    def val(self) -> Sequence[Datum] | None:
        return self._val

    @property
    def test(self) -> Sequence[Datum]:
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        """Class name of each label."""
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        """Class names in the order of the labels."""
        return self._classnames

    @property
    def num_classes(self) -> int:
        return self._num_classes

    @staticmethod
    def get_num_classes(data_source: Iterable[Datum]) -> int:
        """The highest label plus one."""
        return max(item.label for item in data_source) + 1

    @staticmethod
    def get_lab2cname(data_source: Iterable[Datum]) -> tuple[dict[int, str], list[str]]:
        """Class name of each label, and the names in the order of the labels.

        Raises:
            ValueError: a label has two class names.
        """
        mapping: dict[int, str] = {}
        for item in data_source:
            if mapping.setdefault(item.label, item.classname) != item.classname:
                names = f"{mapping[item.label]!r} and {item.classname!r}"
                raise ValueError(f"Label {item.label} has two class names: {names}")
        mapping = dict(sorted(mapping.items()))
        return mapping, list(mapping.values())

    def check_input_domains(self, source_domains: Sequence[str], target_domains: Sequence[str]) -> None:
        """Raise a ``ValueError`` when a domain is not one of ``domains``."""
        self.is_input_domain_valid([*source_domains, *target_domains])

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        """Raise a ``ValueError`` when a domain is not one of ``domains``; Dassl's name for it."""
        for domain in input_domains:
            if domain not in self.domains:
                raise ValueError(f"Domain {domain!r} is not one of {list(self.domains)}")

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Say where the missing archive ``dst`` is to be fetched from, where Dassl fetches and unpacks it.

        Raises:
            FileNotFoundError: always.
        """
        raise FileNotFoundError(f"{dst!r} is not there: fetch it from {url} and unpack it in its folder")

    def generate_fewshot_dataset(
        self, *data_sources: Sequence[Datum], num_shots: int = -1, repeat: bool = False
    ) -> Any:
        """Draw ``num_shots`` images of each class from each source, with Python's global random numbers.

        Classes come in the order of their first image. A class with fewer images gives all of them in order,
        or with ``repeat`` so many drawn with replacement. Below 1 shot the sources stay as they are.

        Returns:
            One list for one source, else a sequence of lists.
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources
        drawn = [self._draw(source, num_shots, repeat) for source in data_sources]
        return drawn[0] if len(drawn) == 1 else drawn

    def _draw(self, data_source: Sequence[Datum], num_shots: int, repeat: bool) -> list[Datum]:
        drawn: list[Datum] = []
        for items in self.split_dataset_by_label(data_source).values():
            if len(items) >= num_shots:
                items = random.sample(items, num_shots)
            elif repeat:
                items = random.choices(items, k=num_shots)
            drawn.extend(items)
        return drawn

    def split_dataset_by_label(self, data_source: Iterable[Datum]) -> dict[int, list[Datum]]:
        """The images of each label, in order."""
        output = defaultdict(list)
        for item in data_source:
            output[item.label].append(item)
        return output

    def split_dataset_by_domain(self, data_source: Iterable[Datum]) -> dict[int, list[Datum]]:
        """The images of each domain, in order."""
        output = defaultdict(list)
        for item in data_source:
            output[item.domain].append(item)
        return output
