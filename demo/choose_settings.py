"""Chooses the learning rates of the demo's CoOp and of DPC on it, by validation images of the base classes.

    OMP_NUM_THREADS=1 python -m demo.choose_settings

For each rate it prints the mean cross-entropy over both data sets and three seeds, and marks the lowest. The
few validation images a class are those that every run has; no test image is looked at. DPC stands on CoOp at
the rate that was chosen for CoOp.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import train
from dassl.utils import set_random_seed
from experiments.protocols import TWO_STEP

DATA_SETS, SEEDS = ("digits", "letters"), (1, 2, 3)
RATES = {"CoOp": (0.002, 0.005, 0.01, 0.02, 0.05), "CoOp_DPC": (0.0005, 0.001, 0.002, 0.005)}
# what P' is tuned by
OPTIONS = {
    "DPC (released)": ("TRAINER.DPC.VARIANT", "released"),
    "DPC (paper)": ("TRAINER.DPC.VARIANT", "paper"),
    "DPC (direct)": ("TRAINER.DPC.VARIANT", "direct"),
    "two-step tuning": (
        "TRAINER.DPC.VARIANT",
        "direct",
        *(word for pair in TWO_STEP.items() for word in pair),
    ),
}


@torch.no_grad()
def validation_loss(trainer: Any) -> float:
    """Mean cross-entropy of the validation images under what base classes see."""
    trainer.set_model_mode("eval")
    trainer._text_features = trainer.test_text_features("val")
    losses = [
        F.cross_entropy(logits, labels, reduction="none")
        for _, logits, labels in trainer.test_steps(trainer.test_batches(trainer.val_loader))
    ]
    return float(torch.cat(losses).mean())


def trained(name: str, data: str, seed: int, rate: float, folder: Path, options: Sequence[str] = ()) -> float:
    """The validation loss of a training in ``folder``."""
    words = ["--root", "data", "--seed", str(seed), "--trainer", name, "--output-dir", str(folder)]
    words += ["--dataset-config-file", f"configs/datasets/{data}.yaml"]
    words += ["--config-file", f"configs/trainers/{name}/demo.yaml"]
    words += ["DATASET.NUM_SHOTS", "16", "DATASET.SUBSAMPLE_CLASSES", "base", "TEST.NO_TEST", "True"]
    cfg = train.setup_cfg(train.parse_arguments([*words, "OPTIM.LR", str(rate), *options]))
    set_random_seed(seed)
    trainer = train.build(cfg)
    trainer.train()
    return validation_loss(trainer)


def choose(title: str, losses: dict[float, list[float]]) -> float:
    """Prints a line a rate; the rate of the lowest mean."""
    means = {rate: statistics.fmean(values) for rate, values in losses.items()}
    best = min(means, key=means.__getitem__)
    for rate, mean in means.items():
        print(f"{title:<16} OPTIM.LR {rate:<7g} {mean:.4f}{'  <-' if rate == best else ''}", flush=True)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root, cases = Path(name), [(data, seed) for data in DATA_SETS for seed in SEEDS]
        found = {
            rate: [trained("CoOp", *case, rate, root / f"coop-{rate}-{case[0]}-{case[1]}") for case in cases]
            for rate in RATES["CoOp"]
        }
        best = choose("CoOp", found)
        for title, options in OPTIONS.items():
            found = {rate: [] for rate in RATES["CoOp_DPC"]}
            for rate in found:
                for data, seed in cases:
                    own = (*options, "TRAINER.DPC.BACKBONE_DIR", str(root / f"coop-{best}-{data}-{seed}"))
                    folder = root / f"{title}-{rate}-{data}-{seed}"
                    found[rate].append(trained("CoOp_DPC", data, seed, rate, folder, own))
            choose(title, found)


if __name__ == "__main__":
    main()
