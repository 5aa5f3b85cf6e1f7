"""The original repositories' commands, as the golden records give them, in this project's options."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import train
from tests.conftest import ROOT

PUBLIC = Path(__file__).parent / "public"  # the part of the records that every checkout has


@cache
def manifest(golden: Path) -> dict[str, Any]:
    """All records by name."""
    return json.loads((golden / "manifest.json").read_text())


def load(golden: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record's entry in the manifest and its arrays; skips the test where the record is not there."""
    path = golden / "rec" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"the record {name} is not in the part of the records that the repository holds")
    return manifest(golden)[name], dict(np.load(path))


def arguments(
    command: str, golden: Path, weights: dict[str, Path], checkpoints: Callable[[str], Path], output: Path
) -> list[str]:
    """Our command line for the record's command."""
    command = command.replace("--model-dir  --load-epoch 0", "").replace(
        "MODEL.INIT_WEIGHTS  ", ""
    )  # nothing to load
    words = shlex.split(command.replace("['normalize']", "\"['normalize']\""))
    words = [word.replace("<data>", str(golden / "data")) for word in words[words.index("train.py") + 1 :]]
    words = [re.sub(r"<ckpts>/(\w+)", lambda found: str(checkpoints(found[1])), word) for word in words]
    start = next(i for i, word in enumerate(words) if re.match(r"[A-Z]+\.", word))
    flags, options = words[:start], words[start:]

    for name in ("--config-file", "--dataset-config-file"):
        at = flags.index(name) + 1
        flags[at] = str(ROOT / flags[at])
    if "--model-dir" in flags:
        at = flags.index("--model-dir") + 1
        if not Path(flags[at]).is_absolute():
            flags[at] = str(checkpoints(flags[at]))

    ours = dict(zip(options[::2], options[1::2], strict=True))
    trainer = flags[flags.index("--trainer") + 1]
    clip = "b16t12" if trainer == "TCP" else "l14" if "ViT-L/14" in flags else "b16"
    ours["MODEL.BACKBONE.PATH"] = str(weights[clip])
    ours["TEST.SAVE_LOGITS"] = "True"
    if trainer.endswith("PromptKD"):
        ours["TRAINER.PROMPTKD.TEACHER_PATH"] = str(weights["l14"])
        ours["TRAINER.PROMPTKD.TEACHER_DIR"] = str(checkpoints("teacher"))
    return [*flags, "--output-dir", str(output), *(word for pair in ours.items() for word in pair)]


def run(words: list[str]) -> None:
    """The run of ``train.py`` with these words, in this process."""
    torch.manual_seed(0)
    train.run(train.parse_arguments(words))
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logging.FileHandler):
            handler.close()


def assert_logits(output: Path, record: Any, prefix: str, atol: float = 2e-4) -> None:
    """Compare ``logits.npz`` with a record: same images and classes in the same order, close logits."""
    ours = np.load(output / "logits.npz")
    if f"{prefix}_impaths" in record:
        assert list(ours["impath"]) == [
            f"eurosat/2750/{p}" if not p.startswith("eurosat") else p for p in record[f"{prefix}_impaths"]
        ]
    assert list(ours["label"]) == list(record[f"{prefix}_labels"])
    if f"{prefix}_classnames" in record:
        assert list(ours["classnames"]) == list(record[f"{prefix}_classnames"])
    np.testing.assert_allclose(ours["logits"], record[f"{prefix}_logits"], rtol=0, atol=atol)
