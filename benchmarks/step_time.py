"""Time of a training step and peak memory at ViT-B/16 size, ours beside a plain reference path.

    python benchmarks/step_time.py      CoOp (b = 32) and CoOp_DPC (b = 4, K = 8), n = 50 and 500 base classes
    python benchmarks/step_time.py --device cpu --steps 5 --classes 50 --methods CoOp_DPC

Ours is the project's trainer, from its own loader through ``forward_backward``, with the settings of
``configs/trainers``. The reference (`reference.py`) computes what the original repositories do in a step.
Weights, images and class names are random: only shapes matter. Each case is a process of its own, in which
both paths run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import train  # noqa: E402
from benchmarks import reference  # noqa: E402
from benchmarks.meters import PeakMemory, Stopwatch  # noqa: E402
from clip import CLIP, Architecture  # noqa: E402
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum  # noqa: E402
from dassl.engine import build_trainer  # noqa: E402
from trainers.dpc.loader import Ranking  # noqa: E402

VIT_B16 = Architecture(
    embed_dim=512,
    image_resolution=224,
    vision_layers=12,
    vision_width=768,
    vision_patch_size=16,
    context_length=77,
    vocab_size=49408,
    transformer_width=512,
    transformer_layers=12,
)
CONFIGS = {"CoOp": "vit_b16_ep20_ctxv1", "CoOp_DPC": "vit_b16_ep20"}
SHOTS = 16
# On the CPU the reference is measured with so many classes at most and scaled up: with 500 it would take
# minutes a step and 20 GB.
REFERENCE_CLASSES = 100
IMAGES = 64  # different image files; the training set's items share them
# Class names as long as the benchmark's are on average: 1 to 4 tokens.
WORDS = ["annual crop", "forest", "highway", "sea lake", "pasture", "residential", "industrial vegetation"]


@DATASET_REGISTRY.register()
class Random(DatasetBase):
    """``BENCHMARK_CLASSES`` classes of random images below DATASET.ROOT."""

    def __init__(self, cfg: Any) -> None:
        rng = np.random.default_rng(0)
        files = sorted(Path(cfg.DATASET.ROOT).glob("*.png"))
        items = []
        for label in range(int(os.environ["BENCHMARK_CLASSES"])):
            name = f"{WORDS[label % len(WORDS)]} {label}"
            items += [
                Datum(str(files[i]), label, classname=name) for i in rng.integers(len(files), size=SHOTS)
            ]
        self.train_full = items
        super().__init__(train_x=items, test=items)


class Result(NamedTuple):
    """One path of one case. Times are medians over steps."""

    seconds: float  # a step, loading included in ours
    text_seconds: float  # of it in the text tower, forward and backward
    peak_bytes: int
    pairs: float  # L: image-text pairs in a step, the mean
    scaled_from: int | None = None  # classes it was measured with, where not with all


# ---- one case, in its own process --------------------------------------------------------------------------


def make_trainer(method: str, classes: int, folder: Path, device: str) -> Any:
    """The project's trainer with the settings of its configuration file."""
    os.environ["BENCHMARK_CLASSES"] = str(classes)
    runs = {name: folder / f"{name}-{classes}" for name in CONFIGS}
    arguments = {
        "--trainer": method,
        "--seed": 1,
        "--root": folder,
        "--output-dir": runs[method],
        "--config-file": ROOT / "configs/trainers" / method / f"{CONFIGS[method]}.yaml",
        "DATASET.NAME": "Random",
        "MODEL.BACKBONE.PATH": folder / "clip.pt",
        "USE_CUDA": device == "cuda",
    }
    backbone = method.removesuffix("_DPC")
    if method != backbone:
        arguments["TRAINER.DPC.BACKBONE_DIR"] = runs[backbone]
    args = train.parse_arguments([str(word) for pair in arguments.items() for word in pair])
    trainer = build_trainer(train.setup_cfg(args))
    if method != backbone:
        rank = trainer.rank
        # Random weights give all images the same hard negatives. Other scores give a step about as many
        # different ones as it can have, whatever n, which is its most expensive case.
        trainer.rank = lambda images: spread_out(rank(images))
    return trainer


def spread_out(ranking: Ranking) -> Ranking:
    """Scores under which each image has a Top-K of its own; the query's features stay."""
    scores = torch.zeros_like(ranking.scores)
    classes = torch.randperm(scores.shape[1], device=scores.device)
    for row, own in zip(scores, classes.chunk(len(scores)), strict=False):
        row[own] = 1.0
    return Ranking(scores, ranking.features)


def training_steps(trainer: Any) -> Iterator[dict[str, Any]]:
    """Batches of the trainer's own loader, endlessly; each is meant for ``forward_backward``."""
    trainer.epoch = 0
    trainer.before_train()
    trainer.set_model_mode("train")
    while True:
        trainer.before_epoch()
        trainer.num_batches = len(trainer.train_loader_x)
        for i, batch in enumerate(trainer.train_loader_x):
            trainer.batch_idx = i
            yield batch
        trainer.epoch += 1


def measure_ours(trainer: Any, steps: int, warmup: int, clock: Stopwatch) -> tuple[Result, dict[str, Any]]:
    """The result, and the last batch, for the reference to use."""
    memory = PeakMemory(trainer.device)
    batches = training_steps(trainer)
    times, text_times, pairs = [], [], []
    with clock.wrapping(trainer.model, "text_features"), clock.wrapping(trainer, "_update"):
        for step in range(warmup + steps):
            clock.reset()
            started = clock.now()
            batch = next(batches)
            trainer.forward_backward(batch)
            if step >= warmup:
                times.append(clock.now() - started)
                pairs.append(len(batch["label"]))
                # the image tower is frozen: the whole backward pass is the text tower's
                text_times.append(clock.total)
    return Result(median(times), median(text_times), memory.peak(), mean(pairs)), batch


def measure_reference(
    step: Callable[[dict[str, Any]], None], batch: dict[str, Any], steps: int, warmup: int, clock: Stopwatch
) -> Result:
    memory = PeakMemory(clock.device)
    times, text_times = [], []
    for i in range(warmup + steps):
        clock.reset()
        started = clock.now()
        step(batch)
        if i >= warmup:
            times.append(clock.now() - started)
            text_times.append(clock.total)
    return Result(median(times), median(text_times), memory.peak(), len(batch["label"]))


def scaled_up(half: Result, full: Result, measured: int, classes: int) -> Result:
    """What a step with more classes takes: the text tower's work and what autograd keeps grow with them.

    Args:
        half, full: measured with ``measured // 2`` and ``measured`` classes.
    """
    text = full.text_seconds * classes / measured
    bytes_per_class = (full.peak_bytes - half.peak_bytes) / (measured - measured // 2)
    peak = full.peak_bytes + int(bytes_per_class * (classes - measured))
    return Result(full.seconds - full.text_seconds + text, text, peak, full.pairs, measured)


def run_case(method: str, classes: int, folder: Path, device: str, steps: int) -> dict[str, Result]:
    torch.manual_seed(0)
    trainer = make_trainer(method, classes, folder, device)
    clock = Stopwatch(trainer.device)
    on_cpu = trainer.device.type == "cpu"
    warmup = 1 if on_cpu else 5
    ours, batch = measure_ours(trainer, steps, warmup, clock)
    if method == "CoOp":
        trainer.save_model(0, trainer.output_dir)  # what DPC starts from

    plain = reference.Path77(trainer.model.clip, trainer.dm.dataset.classnames, trainer.cfg, clock)
    step = plain.dpc_step if method.endswith("_DPC") else plain.coop_step
    few = max(1, steps // 3) if on_cpu else steps  # its steps are long, and the process is warm

    def measure(n: int) -> Result:
        plain.use_classes(n)
        return measure_reference(step, plain.batch_for(batch), few, 0 if on_cpu else warmup, clock)

    if on_cpu and classes > REFERENCE_CLASSES:
        half, full = measure(REFERENCE_CLASSES // 2), measure(REFERENCE_CLASSES)
        return {"ours": ours, "reference": scaled_up(half, full, REFERENCE_CLASSES, classes)}
    return {"ours": ours, "reference": measure(classes)}


# ---- all cases ---------------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Random weights and images."""
    torch.manual_seed(0)
    torch.save(CLIP.create(VIT_B16).state_dict(), folder / "clip.pt")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")


def show(method: str, classes: int, results: dict[str, Result]) -> list[str]:
    ours, plain = results["ours"], results["reference"]
    rows = []
    for path, result in results.items():
        about = "~" if result.scaled_from else ""
        cells = [method, classes, f"{result.pairs:.1f}", path, f"{about}{result.seconds:.3f}"]
        cells += [f"{result.text_seconds / result.seconds:.0%}", f"{about}{result.peak_bytes / 1e9:.2f}"]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    rows.append(
        f"| {method} | {classes} | | reference / ours | **{plain.seconds / ours.seconds:.1f} x** | | "
        f"**{plain.peak_bytes / ours.peak_bytes:.1f} x** |"
    )
    return rows


def conclude(table: dict[tuple[str, int], dict[str, Result]]) -> list[str]:
    """What the table says about DPC's cost in the number of classes."""
    lines = []
    scaled = sorted({r.scaled_from for results in table.values() for r in results.values() if r.scaled_from})
    if scaled:
        lines.append(
            f"~: too little memory for all classes; scaled up from {', '.join(map(str, scaled))} of them."
        )
    cases = sorted(classes for method, classes in table if method == "CoOp_DPC")
    if len(cases) > 1:
        few, many = (table["CoOp_DPC", n]["ours"] for n in (cases[0], cases[-1]))
        lines.append(
            f"CoOp_DPC, n = {cases[-1]} beside n = {cases[0]}: step {many.seconds / few.seconds:.2f} x "
            f"(for {many.pairs / few.pairs:.2f} x the pairs), "
            f"text tower {many.text_seconds / many.seconds:.0%} of the step, "
            f"peak {many.peak_bytes / 1e9:.2f} GB."
        )
    return lines


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of a training step at ViT-B/16 size.")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--steps", type=int, help="measured steps (default: 3 on the CPU, 30 on a GPU)")
    parser.add_argument("--classes", type=int, nargs="+", default=[50, 500], help="numbers of base classes n")
    parser.add_argument("--methods", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--case", nargs=3, metavar=("METHOD", "N", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.steps = args.steps or (3 if args.device == "cpu" else 30)
    return args


def main() -> None:
    args = parse_args()
    if args.case:
        method, classes, folder = args.case
        results = run_case(method, int(classes), Path(folder), args.device, args.steps)
        Path(folder, "result.json").write_text(json.dumps(results))
        return

    started = time.perf_counter()
    threads = torch.get_num_threads()
    machine = f"{threads} CPU threads" if args.device == "cpu" else torch.cuda.get_device_name()
    print(f"ViT-B/16, random weights, {machine}, torch {torch.__version__}, median of {args.steps} steps\n")
    print("| method | n | pairs L | path | s / step | text tower | peak memory (GB) |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: |")
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for classes in args.classes:
            # DPC starts from what CoOp saved
            for method in sorted({"CoOp", *args.methods}, key=list(CONFIGS).index):
                options = [
                    "--device",
                    args.device,
                    "--steps",
                    str(args.steps),
                    "--case",
                    method,
                    str(classes),
                    folder,
                ]
                subprocess.run([sys.executable, __file__, *options], check=True, stdout=subprocess.DEVNULL)
                results = json.loads(Path(folder, "result.json").read_text())
                table[method, classes] = {path: Result(*values) for path, values in results.items()}
                print("\n".join(show(method, classes, table[method, classes])), flush=True)
    print()
    print("\n".join([*conclude(table), f"{time.perf_counter() - started:.0f} s altogether"]))


if __name__ == "__main__":
    main()
