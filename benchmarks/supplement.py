"""What DPC costs beside its prompt learner, and what its sampler's Top-K makes of a mini-batch.

    python benchmarks/supplement.py output/run ...      output folders of DPC's trainings
    python -m experiments paper --supplement            the runs first (B.6 of the DPC paper's supplement)

Parameters are those that are tuned, and those that inference needs: DPC keeps P beside P', unless they are
mixed once and for all. Time and memory are of a process each that reads the run and classifies the base
classes' test images, prompt learner and DPC in turn; with features of images computed anew.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import train  # noqa: E402
from reporting.formats import FORMATS  # noqa: E402
from reporting.tables import Column, Table, mean_and_std  # noqa: E402
from sweep_weights import any_trainer_of, trainer_of  # noqa: E402
from trainers.plugins.dpc.readings import READINGS  # noqa: E402
from trainers.plugins.dpc.sampler import first_of_each, hard_negatives  # noqa: E402

TOPK = (2, 4, 8, 16)
COST_NOTE = (
    "Parameters: numbers in the tensors that are tuned. Time: seconds from the start of the work to the last "
    "prediction; memory: the process's peak, in MB; mean ± sample standard deviation over {} processes each."
)
TOPK_NOTE = (
    "One epoch of the training images. True class: share of images that have it among their Top-K. "
    "Negatives: a mean of each image; pairs: L of a mini-batch of b images, its own and the negatives'."
)


class Cost(NamedTuple):
    """Of a process that evaluates a run."""

    method: str
    parameters: int
    seconds: float
    megabytes: float


@torch.no_grad()
def evaluate(directory: Path, root: str) -> Cost:
    """Classify the base classes' test images, in this process."""
    started = time.perf_counter()
    trainer = any_trainer_of(directory, None, root, "base", ["TEST.CACHE_FEATURES", "False"])
    trainer.start_test("test")
    for _ in trainer.test_steps(trainer.test_loader):
        pass
    seconds = time.perf_counter() - started
    leaves = [each for each in trainer.model.prompt_learner.parameters() if each.requires_grad]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(type(trainer).__name__, sum(each.numel() for each in leaves), seconds, peak)


def in_a_process(directory: Path, root: str) -> Cost:
    words = [sys.executable, __file__, "--evaluate", str(directory), "--root", root]
    found = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    if found.returncode:
        said = found.stderr.strip().splitlines()
        raise ValueError(f"the evaluation of {directory} failed: {said[0] if said else found.returncode}")
    return Cost(*json.loads(found.stdout.splitlines()[-1]))


def cost_table(runs: Sequence[Path], root: str, repeats: int) -> Table:
    """A pair of lines a run: its prompt learner's, and DPC's."""
    columns = [
        Column("Method", "method"), Column("Tuned parameters", "parameters", "count"),
        Column("At inference", "inference", "count"), Column("Time (s)", "time", "cell"),
        Column("Memory (MB)", "memory", "cell"),
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for directory in runs:
        trainer = trainer_of(directory, None, root, "base", ())
        folders = [Path(trainer.cfg.TRAINER.DPC.BACKBONE_DIR), directory]
        found: list[list[Cost]] = [[], []]
        for _ in range(repeats):
            for costs, folder in zip(found, folders, strict=True):
                costs.append(in_a_process(folder, root))
        for place, costs in enumerate(found):
            times, peaks = [each.seconds for each in costs], [each.megabytes for each in costs]
            count = costs[0].parameters
            at_inference = count + place * sum(
                t.numel() for t in trainer.dual_prompts.tensors("tuned").values()
            )
            rows.append([costs[0].method, count, at_inference, mean_and_std(times), mean_and_std(peaks)])
    return Table(columns, rows, [COST_NOTE.format(repeats)])


@torch.no_grad()
def topk_table(directory: Path, root: str) -> Table:
    """What the sampler makes of an epoch's mini-batches under each reading and several K."""
    trainer = trainer_of(directory, None, root, "base", ())
    trainer.prepare()
    trainer.set_model_mode("train")
    batches = [(trainer.rank(batch["img"]).scores.cpu(), batch["label"]) for batch in trainer.train_loader_x]
    columns = [
        Column("Reading", "reading", spans=True), Column("K", "k", "count"),
        Column("True class (%)", "true_class", "cell"), Column("Negatives", "negatives", "cell"),
        Column("Pairs L", "pairs", "cell"),
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for name in ("released", "paper"):
        reading = READINGS[name]
        for k in sorted({min(k, trainer.num_classes) for k in TOPK}):
            rng, hits, counts, pairs = random.Random(0), [], [], []
            for scores, labels in batches:
                kept = torch.arange(len(labels)) if reading.keeps_duplicates else first_of_each(labels)
                scores, labels = scores[kept], labels[kept]
                hits += (scores.topk(k, dim=1).indices == labels[:, None]).any(dim=1).tolist()
                chosen = hard_negatives(scores, labels.tolist(), k, reading.limits(k), rng)
                counts += [len(classes) for classes in chosen]
                pairs.append(len(labels) + sum(map(len, chosen)))
            cells = [100 * statistics.fmean(hits), statistics.fmean(counts), statistics.fmean(pairs)]
            rows.append([name, k, *(mean_and_std([value]) for value in cells)])
    return Table(columns, rows, [TOPK_NOTE])


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="output folders of DPC's trainings")
    parser.add_argument("--root", default="data", help="root of the data sets (default: data)")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each run (default: %(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="markdown")
    parser.add_argument("--evaluate", type=Path, metavar="RUN", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if not (args.runs or args.evaluate):
        parser.error("name at least one RUN")
    return args


def run(args: argparse.Namespace) -> None:
    if args.evaluate:
        print(json.dumps(evaluate(args.evaluate, args.root)))
        return
    if args.repeats < 1:
        raise ValueError(f"--repeats is {args.repeats}, but must be 1 or more")
    one_of_each = {path.parent.parent.name: path for path in reversed(args.runs)}
    chosen = [path for path in args.runs if path in one_of_each.values()]
    write = FORMATS[args.format]
    print(write(cost_table(chosen, args.root, args.repeats), False), end="\n\n")
    print(write(topk_table(chosen[0], args.root), False))


if __name__ == "__main__":
    sys.exit(train.report_errors(lambda: run(parse_arguments())))
