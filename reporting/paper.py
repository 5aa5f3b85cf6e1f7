"""The figures that the DPC paper prints, from the files in ``reporting/paper``."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

from reporting.names import BENCHMARK
from reporting.runs import AVERAGE, Row

FOLDER = Path(__file__).parent / "paper"
SHOTS = 16


@cache
def read_table(number: int) -> tuple[dict[str, str], ...]:
    """The rows of ``table<number>.csv``."""
    with (FOLDER / f"table{number}.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


def printed_method(row: Row) -> str | None:
    """A row's method in the paper's words, whatever the variant of DPC; None for other numbers of shots."""
    # PromptKD's student learns from all images, without labels
    if row.shots != SHOTS and not (row.method == "PromptKD" and row.shots == 0):
        return None
    return re.sub(r" \(\w+\)$", "", row.method).replace(" + ", "+")


def base_new_figures(row: Row) -> list[float | None]:
    """Base, New and H of a row in Table 1; its average is one over all 11 data sets."""
    dataset = "Average" if row.dataset == f"{AVERAGE}{len(BENCHMARK)}" else row.dataset
    for line in read_table(1):
        if (line["method"], line["dataset"]) == (printed_method(row), dataset):
            return [float(line[name]) for name in ("base", "new", "h")]
    return [None] * 3


def cross_dataset_figures(row: Row) -> list[float | None]:
    """Source accuracy and the averages over ten data sets and four shifted ImageNets of a row in Table 2."""
    for line in read_table(2):
        if row.dataset == "ImageNet" and line["method"] == printed_method(row):
            names = ("source_imagenet", "avg_cross_dataset", "avg_cross_domain")
            return [float(line[name]) for name in names]
    return [None] * 3
