"""What DPC's tuning changed in the prompts of finished runs: channels, class features, hard negatives.

    python channel_invariance.py output/run --output invariance
    python channel_invariance.py output/seed1 output/seed2 output/seed3 --output invariance

The DPC paper argues that feature channels do not change from P to P' (Sec. 4.4, Figure 7). The table says
how far P' moved against ||P||, and how its channels correlate with those of P, beside controls: P moved as
far in a random direction, P' of another seed, and the prompt before any tuning. Accuracy under the random
direction says whether it is the way or the length that helps. For the first run of each data set the folder
of --output gets, as PNG, PDF and CSV: feature maps, similarities of class features, these in the plane of two
principal components, and how often each class is a hard negative of another. The runs stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import train
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import set_random_seed
from reporting.formats import FORMATS
from reporting.plots import save
from reporting.prompt_figures import heat_maps, plane_figure, pooled, principal_plane
from reporting.tables import Column, Table, mean_and_std
from sweep_weights import accuracy, trainer_of
from trainers.plugins.dpc import DPC
from trainers.plugins.dpc.invariance import (
    correlation,
    moved_at_random,
    negatives_by_class,
    relative_move,
    rows_of,
    share_kept,
)
from trainers.plugins.dpc.weighting import Shown
from trainers.plugins.stack import below

EPOCHS = 3
MEASURES = ("move", "corr", "corr_random", "corr_other", "corr_initial")
NOTE = (
    "Means over all rows of the tuned tensors. move: ||P' - P|| / ||P||. Correlations are over channels, "
    "with P: of P', of P moved as far at random, of other seeds' P', of the prompt before tuning. "
    "P, P', random: accuracy in % on base classes, random under P moved as far at random."
)


@dataclass
class Prompts:
    """The prompts of a run: tensors [R, D] by name, before tuning, tuned, parallel, and moved at random."""

    dataset: str
    seed: int
    initial: dict[str, Tensor]
    tuned: dict[str, Tensor]
    parallel: dict[str, Tensor]
    random: dict[str, Tensor]
    accuracy: dict[str, float]  # of P, P' and the random direction

    def measures(self, others: Sequence[Prompts]) -> dict[str, dict[str, Tensor]]:
        """Of every tensor: what `MEASURES` are, row by row; ``others`` are runs on the same data set."""
        return {
            name: {
                "move": relative_move(self.parallel[name], tuned),
                "corr": correlation(tuned, self.parallel[name]),
                "corr_random": correlation(tuned, self.random[name]),
                "corr_other": _mean([correlation(tuned, other.parallel[name]) for other in others], tuned),
                "corr_initial": correlation(tuned, self.initial[name]),
            }
            for name, tuned in self.tuned.items()
        }


def _mean(values: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.stack(list(values)).mean(dim=0) if values else torch.full(like.shape[:1], torch.nan)


def initial_prompts(trainer: DPC) -> dict[str, Tensor]:
    """The prompt learner's tensors before any tuning, as its own run began with."""
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.TRAINER.NAME = below(trainer, DPC).__name__
    cfg.freeze()
    set_random_seed(cfg.SEED)
    learner = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg).model.prompt_learner
    return {
        name: rows_of(tensor) for name, tensor in learner.state_dict().items() if tensor.is_floating_point()
    }


def prompts_of(trainer: DPC) -> Prompts:
    """All of one run; the random direction is the seed's."""
    dual = trainer.dual_prompts
    kinds: tuple[Shown, Shown] = ("tuned", "parallel")
    tuned, parallel = (
        {name: rows_of(values) for name, values in dual.tensors(shown).items()} for shown in kinds
    )
    generator = torch.Generator().manual_seed(trainer.cfg.SEED)
    random = {name: moved_at_random(parallel[name], tuned[name], generator) for name in tuned}
    found = {"P": accuracy(trainer, 0.0), "P'": accuracy(trainer, 1.0)}
    with dual.replaced({name: values.float() for name, values in random.items()}):
        found["random"] = accuracy(trainer, 1.0)
    initial = initial_prompts(trainer)
    return Prompts(
        trainer.dm.dataset.name,
        trainer.cfg.SEED,
        {name: initial[name] for name in tuned},
        tuned,
        parallel,
        random,
        found,
    )


# -- class features and hard negatives ---------------------------------------------------------------------


@torch.no_grad()
def class_features(trainer: DPC) -> dict[str, np.ndarray]:
    """Text features [n, E] of the base classes under P and P'; none where they depend on the image."""
    found = {}
    titles: list[tuple[str, Shown]] = [("P", "tuned"), ("P'", "parallel")]
    for title, shown in titles:
        with trainer.dual_prompts.showing(shown):
            features = trainer.test_text_features("test")
        if features is not None:
            found[title] = F.normalize(features.float(), dim=-1).cpu().numpy()
    return found


@torch.no_grad()
def negatives_over_epochs(trainer: DPC, epochs: int) -> tuple[list[np.ndarray], list[float]]:
    """Of so many epochs how often each class is a negative of another, and the share kept to the next."""
    trainer.prepare()
    k = min(trainer.cfg.TRAINER.DPC.TOPK, trainer.num_classes)
    counts, by_image = [], []
    for trainer.epoch in range(epochs):
        trainer.before_epoch()
        trainer.set_model_mode("train")
        ranked: dict[str, tuple[int, list[int]]] = {}
        for batch in trainer.train_loader_x:
            top = trainer.rank(batch["img"]).scores.topk(k, dim=1).indices.tolist()
            for path, label, classes in zip(batch["impath"], batch["label"].tolist(), top, strict=True):
                ranked[path] = label, [each for each in classes if each != label]
        counts.append(negatives_by_class(ranked.values(), trainer.num_classes).numpy())
        by_image.append({path: negatives for path, (_, negatives) in ranked.items()})
    kept = [share_kept(*pair) for pair in pairwise(by_image)]
    return counts, kept


# -- what is written ---------------------------------------------------------------------------------------


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def draw(trainer: DPC, prompts: Prompts, folder: Path, epochs: int) -> None:
    """Pictures and their numbers of one run."""
    names = [name for _, name in sorted(trainer.lab2cname.items())]
    name = max(prompts.tuned, key=lambda each: (each == "ctx", len(prompts.tuned[each])))
    maps = {
        "before tuning": prompts.initial,
        "tuned prompt P": prompts.tuned,
        "parallel prompt P'": prompts.parallel,
    }
    maps["P moved as far at random"] = prompts.random
    tokens = [str(i + 1) for i in range(len(prompts.tuned[name]))]
    shown = {title: pooled(tensors[name].numpy()) for title, tensors in maps.items()}
    _save(heat_maps(shown, tokens, name, stacked=True), folder / "feature_maps")
    rows = [
        [title, token, *row]
        for title, values in shown.items()
        for token, row in zip(tokens, values, strict=True)
    ]
    write_csv(
        folder / "feature_maps.csv",
        ["prompt", "token", *range(1, shown["tuned prompt P"].shape[1] + 1)],
        rows,
    )

    if features := class_features(trainer):
        similar = {title: values @ values.T for title, values in features.items()}
        _save(heat_maps(similar, names, "cosine similarity"), folder / "class_similarity")
        rows = [
            [title, own, *row]
            for title, values in similar.items()
            for own, row in zip(names, values, strict=True)
        ]
        write_csv(folder / "class_similarity.csv", ["prompt", "class", *names], rows)
        plane = principal_plane(features)
        _save(plane_figure(plane, names), folder / "class_plane")
        rows = [
            [title, own, *row]
            for title, values in plane.items()
            for own, row in zip(names, values, strict=True)
        ]
        write_csv(folder / "class_plane.csv", ["prompt", "class", "first", "second"], rows)

    counts, kept = negatives_over_epochs(trainer, epochs)
    _save(
        heat_maps({f"epoch {i + 1}": each for i, each in enumerate(counts)}, names, "images"),
        folder / "hard_negatives",
    )
    rows = [[i + 1, own, *row] for i, each in enumerate(counts) for own, row in zip(names, each, strict=True)]
    write_csv(folder / "hard_negatives.csv", ["epoch", "class", *names], rows)
    shares = ", ".join(f"{100 * share:.1f} %" for share in kept)
    print(f"{folder}: of an image's hard negatives the next epoch has {shares or 'not been looked at'}")


def _save(figure: Any, path: Path) -> None:
    for ending in (".png", ".pdf"):
        save(figure, path.with_name(path.name + ending))


def table_of(runs: Sequence[Prompts], found: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> Table:
    """A line a run; means over all rows of its tensors."""
    columns = [Column("Data set", "dataset", spans=True), Column("Seed", "seed")]
    columns += [Column(name.replace("_", " "), name, "cell") for name in MEASURES]
    columns += [Column(name, f"accuracy_{name}", "cell") for name in runs[0].accuracy]
    rows = []
    for run, tensors in zip(runs, found, strict=True):
        means = [torch.cat([each[name] for each in tensors.values()]).nanmean().item() for name in MEASURES]
        cells = [None if np.isnan(mean) else mean_and_std([mean]) for mean in means]
        rows.append([run.dataset, str(run.seed), *cells, *(mean_and_std([v]) for v in run.accuracy.values())])
    return Table(columns, rows, [NOTE])


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folders of DPC's trainings")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for pictures and CSV"
    )
    parser.add_argument("--root", default="data", help="root of the data sets (default: data)")
    parser.add_argument("--load-epoch", type=int, help="epoch of the checkpoint (default: as it was tested)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of hard negatives (default: %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="settings over the run's")
    parser.add_argument("--format", choices=FORMATS, default="markdown")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    if args.epochs < 1:
        raise ValueError(f"--epochs is {args.epochs}, but must be 1 or more")
    runs: list[Prompts] = []
    for directory in args.runs:
        trainer = trainer_of(directory, args.load_epoch, args.root, "base", args.set)
        prompts = prompts_of(trainer)
        if all(other.dataset != prompts.dataset for other in runs):
            draw(trainer, prompts, args.output / prompts.dataset, args.epochs)
        runs.append(prompts)
    runs.sort(key=lambda each: each.dataset)
    found = [
        each.measures(
            [o for o in runs if o is not each and o.dataset == each.dataset and o.seed != each.seed]
        )
        for each in runs
    ]
    lines = [
        [each.dataset, each.seed, name, row + 1, *(float(values[measure][row]) for measure in MEASURES)]
        for each, tensors in zip(runs, found, strict=True)
        for name, values in tensors.items()
        for row in range(len(values["move"]))
    ]
    write_csv(args.output / "channels.csv", ["dataset", "seed", "tensor", "row", *MEASURES], lines)
    print(FORMATS[args.format](table_of(runs, found), False))


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    return train.report_errors(lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
