"""Accuracy over the weight of DPC's two prompts, from the prompts of finished runs.

    python sweep_weights.py output/run                              base and new classes, w = 0, 0.1, ... 1
    python sweep_weights.py output/seed1 output/seed2 output/seed3  mean and spread over runs
    python sweep_weights.py output/run --weights 0 1e-6 0.2 1 --classes new --plot weights.png
    python sweep_weights.py output/run --auto one                   and the weight of lowest validation loss

All classes see w P' + (1 - w) P, w = 0 the tuned prompt, w = 1 the parallel one (Figure 6 of the DPC paper):
base classes over w_b, new ones over w_n. Runs of several data sets are averaged over these, by seed. Nothing
is trained or stored; where the image tower is frozen, each image is encoded once. Choosing a weight by this
table means choosing it by test images; --auto does not see them (TRAINER.DPC.WEIGHT_BASE auto).
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import train
from dassl.engine import TRAINER_REGISTRY
from predict import read_run, settings_of
from reporting.formats import FORMATS
from reporting.plots import save, weights_figure
from reporting.tables import Cell, Column, Table, mean_and_std
from trainers.plugins.dpc import DPC
from trainers.plugins.dpc.adaptive import AUTO, GROUPINGS, summary

WEIGHTS = [i / 10 for i in range(11)]
CLASSES = ("base", "new", "all")
NOTE = "Accuracy in %{spread}; w P' + (1 - w) P: 0 is the tuned prompt, 1 the parallel one."
AUTO_NOTE = (
    "auto: the weight of lowest loss on the validation images, chosen by run: {}. "
    "hindsight: the best of all weights above on the test images, by run."
)


class Sweep(NamedTuple):
    """Of finished runs, in their order.

    Attributes:
        runs: the data set and seed of each.
        found: accuracies by class set, weight and run.
        auto: accuracy on base classes under the chosen weights, by run; empty where none was asked for.
        chosen: these weights, as text.
    """

    runs: list[tuple[str, int]]
    found: dict[str, list[list[float]]]
    auto: list[float]
    chosen: list[str]

    def cell(self, values: Sequence[float]) -> Cell | None:
        """The mean over data sets of each seed, where there are several, and the spread of these means."""
        if len({dataset for dataset, _ in self.runs}) < 2:
            return mean_and_std(values)
        by_seed: dict[int, list[float]] = {}
        for (_, seed), value in zip(self.runs, values, strict=True):
            by_seed.setdefault(seed, []).append(value)
        return mean_and_std([statistics.fmean(each) for each in by_seed.values()])


def trainer_of(directory: Path, epoch: int | None, root: str, classes: str, options: Sequence[str]) -> Any:
    """DPC's trainer with the prompts of the run in ``directory``, on the test images of ``classes``.

    Raises:
        FileNotFoundError, ValueError: something of it is missing, or it is no run of DPC.
    """
    trainer = any_trainer_of(directory, epoch, root, classes, options)
    if not isinstance(trainer, DPC):
        raise ValueError(f"{str(directory)!r} is a run of {type(trainer).__name__}: only DPC has two prompts")
    return trainer


def any_trainer_of(
    directory: Path, epoch: int | None, root: str, classes: str, options: Sequence[str]
) -> Any:
    """The trainer of any method of ours, as `trainer_of` has DPC's."""
    checkpoint, epoch = read_run(directory, epoch, "RUN")
    modal = json.loads(checkpoint["settings"].get("TRAINER.MODAL", '"cross"'))
    cfg = settings_of(checkpoint, ["TRAINER.MODAL", modal, *options])
    cfg.defrost()
    if "DPC" in cfg.TRAINER and cfg.TRAINER.DPC.WEIGHT_BASE == AUTO:
        cfg.TRAINER.DPC.WEIGHT_BASE = None  # the weights are ours here, whatever was chosen
    cfg.merge_from_list(["DATASET.ROOT", root, "DATASET.SUBSAMPLE_CLASSES", classes])
    cfg.freeze()
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg)
    trainer.load_model(str(directory), epoch=epoch)
    return trainer


@torch.no_grad()
def accuracy(trainer: DPC, weight: float | Mapping[str, float]) -> float:
    """Of the test images, in %, with the prompts mixed by ``weight``: one for all tensors, or by name."""
    trainer.set_model_mode("eval")
    right = total = 0
    with trainer.dual_prompts.mixed(weight):
        with trainer.precision.autocast():
            trainer._text_features = trainer.test_text_features("test")
        for _, logits, labels in trainer.test_steps(trainer.test_batches(trainer.test_loader)):
            right += int((logits.argmax(dim=1) == labels).sum())
            total += len(labels)
    return 100 * right / total


def sweep(args: argparse.Namespace) -> Sweep:
    """Evaluate all runs under all weights."""
    result = Sweep([], {classes: [[] for _ in args.weights] for classes in args.classes}, [], [])
    for directory in args.runs:
        for classes in args.classes:
            trainer = trainer_of(directory, args.load_epoch, args.root, classes, args.set)
            for values, weight in zip(result.found[classes], args.weights, strict=True):
                values.append(accuracy(trainer, weight))
            if args.auto and classes == "base":
                shares = trainer.choose_shares(args.auto)
                result.auto.append(accuracy(trainer, shares))
                result.chosen.append(summary(shares))
        result.runs.append((trainer.dm.dataset.name, trainer.cfg.SEED))
    return result


def table_of(weights: Sequence[float], result: Sweep) -> Table:
    found = result.found
    columns = [Column("w", "weight"), *(Column(name.capitalize(), name, "cell") for name in found)]
    rows = [
        [f"{weight:g}", *(result.cell(values[i]) for values in found.values())]
        for i, weight in enumerate(weights)
    ]
    spread = ""
    if len(result.runs) > 1:
        sets = len({dataset for dataset, _ in result.runs})
        over = f"{len({seed for _, seed in result.runs})} seeds, each averaged over {sets} data sets"
        over = over if sets > 1 else f"{len(result.runs)} runs"
        spread = f", mean ± sample standard deviation over {over}"
    notes = [NOTE.format(spread=spread)]
    if result.auto:
        best = [max(each) for each in zip(*found["base"], strict=True)]
        for name, values in (("auto", result.auto), ("hindsight", best)):
            rows.append([name, *(result.cell(values) if classes == "base" else None for classes in found)])
        notes.append(AUTO_NOTE.format("; ".join(result.chosen)))
    return Table(columns, rows, notes)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folders of DPC's trainings")
    parser.add_argument("--weights", nargs="+", type=float, default=WEIGHTS, help="(default: 0 to 1 by 0.1)")
    parser.add_argument("--classes", nargs="+", choices=CLASSES, default=["base", "new"])
    parser.add_argument(
        "--auto", choices=GROUPINGS, help="choose w_b by validation loss: one weight, or several"
    )
    parser.add_argument("--root", default="data", help="root of the data sets (default: data)")
    parser.add_argument("--load-epoch", type=int, help="epoch of the checkpoint (default: as it was tested)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="settings over the run's")
    parser.add_argument("--format", choices=FORMATS, default="markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it too (.png, .pdf, .svg)")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    if wrong := [weight for weight in args.weights if not 0 <= weight <= 1]:
        raise ValueError(f"--weights has {wrong[0]:g}; weights must be in [0, 1]")
    if args.auto and "base" not in args.classes:
        raise ValueError("--auto chooses w_b: --classes must name base")
    found = sweep(args)
    print(FORMATS[args.format](table_of(args.weights, found), False))
    if args.plot:
        save(weights_figure(args.weights, found.found), args.plot)
        print(f"plot: {args.plot}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    # what is printed is the table alone
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    return train.report_errors(lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
