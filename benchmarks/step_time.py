"""Time of a training step and peak memory at ViT-B/16 size, ours beside a plain reference path.

    python benchmarks/step_time.py      CoOp, CoOp_DPC and MaPLe, n = 50 and 500 base classes
    python benchmarks/step_time.py --methods all
    python benchmarks/step_time.py --device cpu --steps 1 --classes 50 --methods PromptSRC_DPC

Ours is the project's trainer, from its own loader through ``forward_backward``, with the settings of
``configs/trainers``. The reference (`reference.py`) computes what the original repositories do in a step.
Weights, images and class names are random: only shapes matter; PromptKD's teacher is of ViT-B/16 size too.
Each case is a process of its own, in which both paths run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import benchmarks.random_images  # noqa: E402, F401  # registers the data set
import train  # noqa: E402
from benchmarks import reference  # noqa: E402
from benchmarks.measure import Cost, machine, measure, scaled_up  # noqa: E402
from clip import CLIP, Architecture, openai_state_dict  # noqa: E402
from dassl.engine import build_trainer  # noqa: E402
from trainers import promptsrc  # noqa: E402
from trainers.plugins.dpc.batches import Ranking  # noqa: E402

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
CONFIGS = {
    "CoOp": "vit_b16_ep20_ctxv1",
    "CoOp_DPC": "vit_b16_ep20",
    "CoCoOp": "vit_b16_c4_ep10_batch1_ctxv1",
    "IVLP": "vit_b16_c2_ep5_batch4_2+2ctx",
    "MaPLe": "vit_b16_c2_ep5_batch4_2ctx",
    "MaPLe_DPC": "vit_b16_c2_ep5_batch4_2ctx",
    "PromptSRC": "vit_b16_c2_ep20_batch4_4+4ctx",
    "PromptSRC_DPC": "vit_b16_c2_ep20_batch4_4+4ctx",
    "PromptKD": "vit_b16_c2_ep20_batch8_4+4ctx",
    "PromptKD_DPC": "vit_b16_c2_ep20_batch4_4+4ctx",
}
DEFAULT_METHODS = ["CoOp", "CoOp_DPC", "MaPLe"]
WARMUP = {"cpu": 1, "cuda": 5}  # steps before the measured ones
RESULT_FILE = "result.json"
# On the CPU the reference is measured with so many classes at most and scaled up: with 500 it would take
# minutes a step and 20 GB.
REFERENCE_CLASSES = 100
IMAGES = 64  # different image files; the training set's items share them


# ---- one case, in its own process --------------------------------------------------------------------------


def make_trainer(method: str, classes: int, folder: Path, device: str, *options: object) -> Any:
    """The project's trainer with the settings of its configuration file; what it builds on is untrained.

    Args:
        folder: holds ``clip.pt``, which is the CLIP of a teacher too, and images.
        options: KEY VALUE ... beside those of the file.
    """
    os.environ["BENCHMARK_CLASSES"] = str(classes)
    arguments: dict[str, object] = {
        "--trainer": method,
        "--seed": 1,
        "--root": folder,
        "--output-dir": folder / f"{method}-{classes}",
        "--config-file": ROOT / "configs/trainers" / method / f"{CONFIGS[method]}.yaml",
        "DATASET.NAME": "Random",
        "MODEL.BACKBONE.PATH": folder / "clip.pt",
        "USE_CUDA": device == "cuda",
    }

    def untrained(backbone: str) -> str:
        start = make_trainer(backbone, classes, folder, device, *options)
        start.save_model(0, start.output_dir)
        return start.output_dir

    backbone = method.removesuffix("_DPC")
    if backbone == "PromptKD":
        arguments["TRAINER.PROMPTKD.TEACHER_PATH"] = folder / "clip.pt"
        arguments["TRAINER.PROMPTKD.TEACHER_DIR"] = untrained("PromptSRC")
    if method != backbone:
        arguments["TRAINER.DPC.BACKBONE_DIR"] = untrained(backbone)
        arguments["TRAINER.DPC.VARIANT"] = "paper"  # so many pairs as the paper counts, at most b * K
    words = [str(word) for pair in arguments.items() for word in pair]
    args = train.parse_arguments([*words, *map(str, options)])
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
    # The averaged frozen text features are computed once a run: one template does.
    with patch.object(promptsrc, "ENSEMBLE_TEMPLATES", promptsrc.ENSEMBLE_TEMPLATES[:1]):
        trainer.before_train()
    trainer.set_model_mode("train")
    while True:
        trainer.before_epoch()
        trainer.num_batches = len(trainer.train_loader_x)
        for i, batch in enumerate(trainer.train_batches()):
            trainer.batch_idx = i
            yield batch
        trainer.epoch += 1


def measure_ours(
    method: str, classes: int, folder: Path, device: str, steps: int
) -> tuple[Cost, dict[str, Any]]:
    """The trainer's cost, and the last batch of it."""
    trainer = make_trainer(method, classes, folder, device)
    batches = training_steps(trainer)
    batch: dict[str, Any] = {}

    def step() -> int:
        batch.update(next(batches))
        trainer.forward_backward(batch)
        return len(batch["label"])

    return measure(step, steps, WARMUP[device], trainer.device), batch


def measure_plain(
    method: str, classes: int, folder: Path, device: str, steps: int, batch: dict[str, Any]
) -> Cost:
    """The plain path's cost, on ``batch`` with labels among the classes."""
    trainer = make_trainer(method, classes, folder, device)
    next(training_steps(trainer))  # what a plain step needs is there, and the model in training mode
    plain = reference.Path77(trainer)
    batch = {"img": batch["img"], "label": batch["label"] % classes}
    if device == "cpu":  # its steps are long, and the process is warm
        return measure(lambda: plain.step(batch), max(1, steps // 2), 0, trainer.device)
    return measure(lambda: plain.step(batch), steps, WARMUP[device], trainer.device)


def run_case(method: str, classes: int, folder: Path, device: str, steps: int) -> dict[str, Cost]:
    torch.manual_seed(0)
    ours, batch = measure_ours(method, classes, folder, device, steps)

    def plain(n: int) -> Cost:
        return measure_plain(method, n, folder, device, steps, batch)

    if device == "cpu" and classes > REFERENCE_CLASSES:
        half, full = plain(REFERENCE_CLASSES // 2), plain(REFERENCE_CLASSES)
        return {"ours": ours, "reference": scaled_up(half, full, REFERENCE_CLASSES, classes)}
    return {"ours": ours, "reference": plain(classes)}


# ---- all cases ---------------------------------------------------------------------------------------------


def prepare(folder: Path, arch: Architecture = VIT_B16) -> None:
    """Random weights and images."""
    torch.manual_seed(0)
    torch.save(openai_state_dict(CLIP.create(arch)), folder / "clip.pt")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")


HEADER = """| method | n | pairs L | path | s / step | TFLOP / step | of it text tower | peak memory (GB) |
| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"""


def show(method: str, classes: int, costs: dict[str, Cost]) -> str:
    rows = []
    for path, cost in costs.items():
        about = "~" if cost.scaled_from else ""
        share = cost.text_flops / cost.flops
        rows.append(
            f"| {method} | {classes} | {cost.pairs:.1f} | {path} | {about}{cost.seconds:.3f} "
            f"| {about}{cost.flops / 1e12:.2f} | {share:.0%} | {about}{cost.peak_bytes / 1e9:.2f} |"
        )
    ours, plain = costs["ours"], costs["reference"]
    time, work, memory = (
        f"**{their / our:.1f} x**"
        for their, our in (
            (plain.seconds, ours.seconds),
            (plain.flops, ours.flops),
            (plain.peak_bytes, ours.peak_bytes),
        )
    )
    rows.append(f"| {method} | {classes} | | reference / ours | {time} | {work} | | {memory} |")
    return "\n".join(rows)


def conclude(table: dict[tuple[str, int], dict[str, Cost]]) -> list[str]:
    """What the table says about DPC's cost in the number of classes."""
    lines = []
    if any(costs["reference"].scaled_from for costs in table.values()):
        lines.append(f"~ measured with {REFERENCE_CLASSES} classes and scaled up.")
    for method in dict.fromkeys(method for method, _ in table if method.endswith("_DPC")):
        cases = sorted(classes for other, classes in table if other == method)
        few, many = (table[method, n]["ours"] for n in (cases[0], cases[-1]))
        if len(cases) > 1:
            lines.append(
                f"A step of {method} at n = {cases[-1]} takes {many.seconds / few.seconds:.2f} x the time "
                f"and {many.flops / few.flops:.2f} x the FLOP of one at n = {cases[0]}, for "
                f"{many.pairs / few.pairs:.2f} x the pairs."
            )
    return lines


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of a training step at ViT-B/16 size.")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--steps", type=int, help="measured steps (default: 2 on the CPU, 30 on a GPU)")
    parser.add_argument("--classes", type=int, nargs="+", default=[50, 500], help="numbers of base classes n")
    parser.add_argument("--methods", nargs="+", choices=[*CONFIGS, "all"], default=DEFAULT_METHODS)
    parser.add_argument("--case", nargs=3, metavar=("METHOD", "N", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if "all" in args.methods:
        args.methods = list(CONFIGS)
    args.steps = args.steps or (2 if args.device == "cpu" else 30)
    return args


def run_apart(method: str, classes: int, folder: Path, args: argparse.Namespace) -> dict[str, Cost]:
    """`run_case` in a process of its own."""
    words = ["--case", method, classes, folder, "--device", args.device, "--steps", args.steps]
    subprocess.run([sys.executable, __file__, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    results = json.loads((folder / RESULT_FILE).read_text())
    return {path: Cost(*values) for path, values in results.items()}


def main() -> None:
    args = parse_args()
    if args.case:
        method, classes, folder = args.case
        results = run_case(method, int(classes), Path(folder), args.device, args.steps)
        Path(folder, RESULT_FILE).write_text(json.dumps(results))
        return

    started = time.perf_counter()
    where = f"{machine(args.device)}, torch {torch.__version__}"
    print(f"ViT-B/16, random weights, {where}, median of {args.steps} steps\n")
    print(HEADER)
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for classes in args.classes:
            for method in args.methods:
                table[method, classes] = costs = run_apart(method, classes, Path(folder), args)
                print(show(method, classes, costs), flush=True)
    print()
    print("\n".join([*conclude(table), f"{time.perf_counter() - started:.0f} s altogether"]))


if __name__ == "__main__":
    main()
