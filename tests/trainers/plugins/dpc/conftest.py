"""Tuned prompts that DPC continues from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FP32 = {
    "COOP.PREC": "fp32",
    "COCOOP.PREC": "fp32",
    "PROMPTSRC.PREC": "fp32",
    "PROMPTKD.PREC": "fp32",
    "IVLP.PREC": "fp32",
}
SMALL = {"COOP.N_CTX": "4", "COCOOP.N_CTX": "4", "PROMPTSRC.GPA_MEAN": "1"}
WORDS = [word for key, value in {**FP32, **SMALL}.items() for word in (f"TRAINER.{key}", value)]


@pytest.fixture
def dpc(build: Callable[..., Any], tmp_path: Path, tiny_clip_file: Path) -> Callable[..., Any]:
    """dpc(method, *options) -> the trainer of DPC on ``method``, whose prompts are tuned first.

    ``classes`` and ``backbone`` (further options) are those of the first stage; ``classes`` of both.
    """

    def make(
        method: str,
        *options: str,
        classes: str = "base",
        backbone: tuple[str, ...] = (),
        output: str = "dpc",
        seed: int = 1,
    ) -> Any:
        words = [*WORDS, "DATASET.SUBSAMPLE_CLASSES", classes]
        if method == "PromptKD":
            teacher = tmp_path / "teacher"
            if not teacher.exists():
                build("PromptSRC", *WORDS, "TEST.NO_TEST", "True", output=teacher).train()
            words += ["TRAINER.PROMPTKD.TEACHER_PATH", str(tiny_clip_file)]
            words += ["TRAINER.PROMPTKD.TEACHER_DIR", str(teacher)]
        folder = tmp_path / f"{method}-{classes}"
        if not folder.exists():
            build(method, *words, "TEST.NO_TEST", "True", *backbone, output=folder).train()
        words += ["TRAINER.DPC.BACKBONE_DIR", str(folder)]
        return build(f"{method}_DPC", *words, *options, output=tmp_path / output, seed=seed)

    return make
