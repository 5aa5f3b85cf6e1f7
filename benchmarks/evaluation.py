"""Seconds of an evaluation at ViT-B/16 size: as a plain loop would do it, and with what a run keeps.

    python benchmarks/evaluation.py      zero-shot CLIP on 100 photos (2,000 on a GPU)
    python benchmarks/evaluation.py --images 500 --device cpu

Weights are random, the photos noise of 500 x 375 pixels in JPEG files. Loading alone is one pass over the
test loader.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import train  # noqa: E402
from benchmarks.measure import machine  # noqa: E402
from benchmarks.step_time import VIT_B16  # noqa: E402
from clip import CLIP, Architecture, openai_state_dict  # noqa: E402
from dassl.engine import build_trainer  # noqa: E402

CLASSES = 4
TRAINING = 3 * CLASSES  # photos that a data set must have beside those for testing
PLAIN = ("DATALOADER.NUM_WORKERS", 0, "DATALOADER.CACHE_MB", 0, "TEST.CACHE_FEATURES", False)
IN_MEMORY = ("TEST.CACHE_FEATURES", False)


def prepare(folder: Path, images: int, arch: Architecture = VIT_B16) -> None:
    """Random weights, and a list of photos, all but the first few of which are for testing."""
    torch.manual_seed(0)
    torch.save(openai_state_dict(CLIP.create(arch)), folder / "clip.pt")
    rng = np.random.default_rng(0)
    lines = ["path,class,split"]
    for i in range(TRAINING + images):
        coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.jpg", quality=90)
        lines.append(f"{i:05d}.jpg,class {i % CLASSES},{'train' if i < TRAINING else 'test'}")
    (folder / "photos.csv").write_text("\n".join(lines))


def make_trainer(folder: Path, device: str, *options: object) -> Any:
    """Zero-shot CLIP on the photos."""
    settings: dict[str, object] = {
        "--trainer": "ZeroshotCLIP",
        "--seed": 1,
        "--output-dir": folder / "out",
        "--dataset-config-file": ROOT / "configs/datasets/folder.yaml",
        "--config-file": ROOT / "configs/trainers/ZeroshotCLIP/vit_b16.yaml",
        "DATASET.DIR": folder / "photos.csv",
        "MODEL.BACKBONE.PATH": folder / "clip.pt",
        "DATALOADER.TEST.BATCH_SIZE": 20,  # several, so that several processes load them
        "USE_CUDA": device == "cuda",
    }
    words = [str(word) for pair in settings.items() for word in pair]
    return build_trainer(train.setup_cfg(train.parse_arguments([*words, *map(str, options)])))


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        action()
    return time.perf_counter() - started


def measure(folder: Path, device: str) -> list[tuple[str, float, float | None]]:
    """What is measured, seconds of an evaluation, and of loading alone."""

    def load(trainer: Any) -> float:
        return seconds(lambda: [None for _ in trainer.test_loader])

    plain = make_trainer(folder, device, *PLAIN)
    seconds(lambda: plain.model_inference(next(iter(plain.test_loader))["img"][:1].to(plain.device)))  # warm
    rows = [("plain: one process, nothing kept", seconds(plain.test), load(plain))]
    first, second = (make_trainer(folder, device, *IN_MEMORY) for _ in range(2))
    rows.append(("first evaluation", seconds(first.test), load(second)))
    rows.append(("second one in the same run", seconds(first.test), load(second)))
    seconds(make_trainer(folder, device).test)
    another: list[tuple[str, float, float | None]] = [
        ("one of another run, with kept features", seconds(make_trainer(folder, device).test), None)
    ]
    return [*rows, *another]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time of an evaluation at ViT-B/16 size.")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--images", type=int, help="test images (default: 100 on the CPU, 2,000 on a GPU)")
    args = parser.parse_args(argv)
    args.images = args.images or (100 if args.device == "cpu" else 2000)
    return args


def main() -> None:
    args = parse_args()
    print(
        f"{args.images} photos, ViT-B/16, random weights, {machine(args.device)}, torch {torch.__version__}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        prepare(Path(folder), args.images)
        rows = measure(Path(folder), args.device)
    print("| evaluation | s | faster | loading alone (s) | faster |\n| --- | ---: | ---: | ---: | ---: |")
    _, whole, loading = rows[0]
    for name, took, alone in rows:
        rest = "| |" if alone is None or loading is None else f"{alone:.2f} | {loading / alone:.1f} x |"
        print(f"| {name} | {took:.2f} | {whole / took:.1f} x | {rest}")


if __name__ == "__main__":
    main()
