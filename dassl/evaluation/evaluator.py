"""Evaluation of classifiers."""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dassl.config import CfgNode
from dassl.evaluation.build import EVALUATOR_REGISTRY
from dassl.metrics import Bin, bins_of, calibration_error, macro_accuracy, macro_f1
from dassl.utils import atomic_path


class EvaluatorBase:
    """Takes the outputs of a model batch by batch, and gives results by name."""

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Add a batch: model outputs ``mo`` and ground truth ``gt``."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, Any]:
        """The results of all batches; the first one is the one by which models are compared."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro-F1 in percent, total and correct number of images.

    Also, in percent, the mean accuracy of the classes that have images, and the expected calibration error of
    the outputs as logits.

    What has been processed is kept under Dassl's names, which other people's subclasses use: ``_total`` and
    ``_correct`` count images, ``_y_true`` and ``_y_pred`` list their labels, ``_per_class_res`` (None without
    ``TEST.PER_CLASS_RESULT``) lists hits and misses, 1 and 0, by label.
    """

    def __init__(self, cfg: CfgNode, lab2cname: Mapping[int, str] | None = None, **kwargs: Any) -> None:
        super().__init__(cfg)
        if (cfg.TEST.PER_CLASS_RESULT or cfg.TEST.COMPUTE_CMAT) and lab2cname is None:
            raise ValueError("TEST.PER_CLASS_RESULT and TEST.COMPUTE_CMAT need the names of the classes")
        self._lab2cname = dict(sorted((lab2cname or {}).items()))
        self.reset()

    def reset(self) -> None:
        self._total = self._correct = 0
        self._y_true: list[int] = []
        self._y_pred: list[int] = []
        self._confidence: list[float] = []
        self._per_class_res: dict[int, list[int]] | None = None
        if self.cfg.TEST.PER_CLASS_RESULT:
            self._per_class_res = defaultdict(list)

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Add logits [B, C] and labels [B].

        Raises:
            FloatingPointError: a logit is NaN.
        """
        if torch.isnan(mo).any():
            raise FloatingPointError("The model's logits hold NaN: its weights or its precision are broken")
        predicted, true = mo.argmax(1).tolist(), gt.tolist()
        hits = [int(p == t) for p, t in zip(predicted, true, strict=True)]
        self._total += len(hits)
        self._correct += sum(hits)
        self._y_pred.extend(predicted)
        self._y_true.extend(true)
        confidence = mo.detach().double().softmax(dim=1).amax(dim=1)
        self._confidence.extend(confidence.nan_to_num(1.0).tolist())  # of an infinite logit
        if self._per_class_res is not None:
            for label, hit in zip(true, hits, strict=True):
                self._per_class_res[label].append(hit)

    def evaluate(self) -> dict[str, Any]:
        """Log and return the results.

        Raises:
            ValueError: nothing was processed.
        """
        if not self._total:
            raise ValueError("There are no images to evaluate")
        y_true, y_pred = np.array(self._y_true), np.array(self._y_pred)
        total, correct = self._total, self._correct
        accuracy = 100.0 * correct / total
        results: dict[str, Any] = OrderedDict(
            accuracy=accuracy, error_rate=100.0 - accuracy, macro_f1=100.0 * macro_f1(y_true, y_pred)
        )
        # Printed, not logged: existing scripts look for lines that are exactly these.
        print(
            "=> result\n"
            f"* total: {total:,}\n"
            f"* correct: {correct:,}\n"
            f"* accuracy: {accuracy:.2f}%\n"
            f"* error: {results['error_rate']:.2f}%\n"
            f"* macro_f1: {results['macro_f1']:.2f}%"
        )
        if self._per_class_res is not None:
            results["perclass_accuracy"] = self._print_per_class(self._per_class_res)
        if self.cfg.TEST.COMPUTE_CMAT:
            self._write_confusion_matrix(y_true, y_pred)
        results.update(total=total, correct=correct)
        results["macro_accuracy"] = 100.0 * macro_accuracy(y_true, y_pred)
        results["ece"] = 100.0 * calibration_error(np.array(self._confidence), y_true == y_pred)
        return results

    def reliability(self) -> list[Bin]:
        """Confidence and accuracy of all that was processed, by bins of confidence."""
        return bins_of(np.array(self._confidence), np.array(self._y_true) == np.array(self._y_pred))

    def _print_per_class(self, hits_of: Mapping[int, list[int]]) -> float:
        """Print the accuracy of each class that has images; return the mean of them in percent."""
        print("=> per-class result")
        accuracies = []
        for label, hits in sorted(hits_of.items()):
            accuracies.append(100.0 * float(np.mean(hits)))
            print(
                f"* class: {label} ({self._lab2cname[label]})\ttotal: {len(hits):,}\t"
                f"correct: {sum(hits):,}\tacc: {accuracies[-1]:.2f}%"
            )
        mean = float(np.mean(accuracies))
        print(f"* average: {mean:.2f}%")
        return mean

    def _write_confusion_matrix(self, y_true: np.ndarray, y_pred: np.ndarray) -> None:
        """Write the confusion matrix [true class, predicted class] twice.

        ``cmat.npz`` holds ``counts`` and ``classnames`` of all classes. ``cmat.pt`` is Dassl's file: the
        shares of each row, 0 where a class has no images, of the classes that occur. It is a tensor (float64)
        here, an array in Dassl, which ``torch.load`` refuses unless it may execute the file.
        """
        counts = np.zeros((len(self._lab2cname), len(self._lab2cname)), dtype=np.int64)
        np.add.at(counts, (y_true, y_pred), 1)
        path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.npz")
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, counts=counts, classnames=np.array(list(self._lab2cname.values())))
        occurring = np.union1d(y_true, y_pred)
        seen = counts[np.ix_(occurring, occurring)]
        shares = seen / np.maximum(seen.sum(axis=1, keepdims=True), 1)
        path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        with atomic_path(path) as temporary:
            torch.save(torch.from_numpy(shares), temporary)
        print(f"Confusion matrix is saved to {path}")
