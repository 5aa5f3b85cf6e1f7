"""Probabilities as text, CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json

import torch

from deploy.answers import Answers

NAMES = ["ant", "bee, or so", "cat"]


def said(form: str, *rows: list[float], top: int = 2, threshold: float = 0.0) -> str:
    file = io.StringIO()
    answers = Answers(NAMES, form, top, threshold, file)
    for number, row in enumerate(rows):
        answers.add(f"{number}.jpg", torch.tensor(row))
    return file.getvalue()


def test_text_has_the_most_probable_classes_first() -> None:
    assert said("text", [0.2, 0.1, 0.7]) == "0.jpg\n 70.00%  cat\n 20.00%  ant\n"
    assert said("text", [0.2, 0.1, 0.7], top=9).count("%") == 3


def test_equal_classes_are_in_their_own_order_in_every_form() -> None:
    row = [0.2, 0.4, 0.4]
    assert said("text", row, top=1).endswith("bee, or so\n")
    found = json.loads(said("jsonl", row))
    assert found["class"] == found["top"][0]["class"] == "bee, or so"


def test_below_the_threshold_it_is_none_of_these() -> None:
    low, exact = [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]
    text = said("text", low, exact, top=1, threshold=0.6)
    first, second = text.split("1.jpg\n")
    assert "none of these; nearest:" in first and "none" not in second
    lines = [json.loads(line) for line in said("jsonl", low, exact, threshold=0.6).splitlines()]
    assert [line["class"] for line in lines] == [None, "ant"] and lines[0]["confidence"] == 0.5
    table = list(csv.reader(io.StringIO(said("csv", low, exact, threshold=0.6))))
    assert table == [
        ["image", "answer", *NAMES],
        ["0.jpg", "none of these", "0.500000", "0.300000", "0.200000"],
        ["1.jpg", "ant", "0.600000", "0.300000", "0.100000"],
    ]


def test_without_a_threshold_a_table_has_probabilities_alone() -> None:
    header, row = csv.reader(io.StringIO(said("csv", [0.2, 0.1, 0.7])))
    assert header == ["image", *NAMES] and row == ["0.jpg", "0.200000", "0.100000", "0.700000"]
