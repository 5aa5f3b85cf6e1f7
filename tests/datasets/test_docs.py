"""The example of docs/datasets.md, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import datasets
from datasets.prepare import known_sets
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")


def make_textures(home: Path) -> None:
    """Four classes of noisy stripes."""
    rng = np.random.default_rng(0)
    waves = {"diagonal": (1, 1), "horizontal": (0, 1), "smooth": (0, 0), "vertical": (1, 0)}
    y, x = np.mgrid[:32, :32]
    for name, (a, b) in waves.items():
        (home / name).mkdir(parents=True)
        for number in range(10):
            shade = 128 + 80 * np.sin((a * x + b * y) * 0.8 + rng.uniform(0, 6)) + rng.normal(0, 20, (32, 32))
            pixels = np.repeat(shade.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            Image.fromarray(pixels).save(home / name / f"{number}.png")


def with_this_python(folder: Path) -> dict[str, str]:
    """An environment in which ``python`` and the scripts run this interpreter."""
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    path = f"{folder}/bin:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHON": str(python), "OMP_NUM_THREADS": "1"}


def test_from_a_folder_to_a_table(tmp_path: Path) -> None:
    found = re.search(r"<!-- tests/datasets/test_docs.py runs this block -->\n```bash\n(.*?)```", PAGE, re.S)
    assert found is not None
    make_textures(tmp_path / "my_images")
    script = found[1].replace("OUT=output/my_images", f"OUT={tmp_path}/output")
    script = script.replace("DIR=my_images", f"DIR={tmp_path}/my_images")
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT, env=with_this_python(tmp_path), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Folder: complete" in done.stdout
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) == 3, done.stdout[-2000:]
    assert re.search(r"CoOp .*\d+\.\d\d .*\d+\.\d\d ", table[-1])


def test_every_data_set_is_in_the_table() -> None:
    for stem, cls in known_sets().items():
        if cls.published:
            row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{stem}` |"))
            assert f"| {cls.__name__} |" in row
            assert cls.dataset_dir in row
            numbers = [cls.published.classes, cls.published.test]
            assert all(f"{number:,}" in row for number in numbers), stem
    assert datasets.Folder.__name__.lower() + ".yaml" in PAGE
