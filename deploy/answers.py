"""Probabilities as text, CSV or JSON lines.

Shape legend: C classes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from itertools import islice
from typing import IO

from torch import Tensor

NONE = "none of these"


class Answers:
    """Writes an image's answer as soon as it is there.

    Args:
        classnames: C names.
        form: text (a block an image), csv (a row an image, a column a class) or jsonl (an object a line).
        top: classes that text and jsonl show.
        threshold: an image whose most probable class has less is `NONE`; 0 takes every image.
        file: where to.
    """

    def __init__(
        self, classnames: Sequence[str], form: str, top: int, threshold: float, file: IO[str]
    ) -> None:
        self.classnames, self.form, self.file = classnames, form, file
        self.top, self.threshold = top, threshold
        self.table = csv.writer(file, lineterminator="\n")
        if form == "csv":
            self.table.writerow(["image", *(["answer"] if threshold else []), *classnames])

    def add(self, path: str, probabilities: Tensor) -> None:
        """``probabilities``: [C]."""
        {"text": self._text, "csv": self._row, "jsonl": self._object}[self.form](path, probabilities)
        self.file.flush()

    def best(self, probabilities: Tensor) -> list[tuple[str, float]]:
        """The most probable classes, the first one first; equal ones in their own order, as in a test."""
        values, order = probabilities.sort(descending=True, stable=True)
        found = zip(values.tolist(), order.tolist(), strict=True)
        return [(self.classnames[i], p) for p, i in islice(found, self.top)]

    def answer(self, probabilities: Tensor) -> str | None:
        """The most probable class; None where it is not probable enough."""
        highest = int(probabilities.argmax())
        return self.classnames[highest] if float(probabilities[highest]) >= self.threshold else None

    def _text(self, path: str, probabilities: Tensor) -> None:
        lines = [path] if self.answer(probabilities) is not None else [path, f"{'':7}  {NONE}; nearest:"]
        lines += [f"{p:7.2%}  {name}" for name, p in self.best(probabilities)]
        print("\n".join(lines), file=self.file)

    def _row(self, path: str, probabilities: Tensor) -> None:
        answer = [self.answer(probabilities) or NONE] if self.threshold else []
        self.table.writerow([path, *answer, *(f"{p:.6f}" for p in probabilities.tolist())])

    def _object(self, path: str, probabilities: Tensor) -> None:
        best = self.best(probabilities)
        content = {
            "image": path,
            "class": self.answer(probabilities),
            "confidence": round(best[0][1], 6),
            "top": [{"class": name, "probability": round(p, 6)} for name, p in best],
        }
        print(json.dumps(content, ensure_ascii=False), file=self.file)
