"""A trainer in CoOp's shape on a few random images, as another project would write it. Also a program:

python -m tests.dassl.tiny OUTPUT_DIR IMAGE_DIR [--die-at EPOCH.BATCH] [KEY VALUE ...]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from yacs.config import CfgNode as CN

from dassl.config import Config, get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX, build_trainer
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import set_random_seed, setup_logger

N_CLASSES, PER_CLASS = 3, 6


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for label in range(N_CLASSES):
        for number in range(PER_CLASS):
            pixels = rng.integers(0, 120, (12, 14, 3), dtype=np.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels).save(folder / f"{label}_{number}.png")


@DATASET_REGISTRY.register()
class TinyImages(DatasetBase):
    def __init__(self, cfg: CN) -> None:
        items = [
            Datum(f"{cfg.DATASET.ROOT}/{label}_{n}.png", label, classname="rgb"[label])
            for label in range(N_CLASSES)
            for n in range(PER_CLASS)
        ]
        super().__init__(train_x=items, val=items[::3], test=items[::2])


class Learner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ctx = nn.Parameter(torch.zeros(3, N_CLASSES))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.prompt_learner = Learner()
        self.dropout = nn.Dropout(0.2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.dropout(images.mean((2, 3))) @ self.prompt_learner.ctx


@TRAINER_REGISTRY.register()
class TinyCoOp(TrainerX):
    def check_cfg(self, cfg: CN) -> None:
        assert cfg.TRAINER.TINY.PREC in ["fp32", "amp"]

    def build_model(self) -> None:
        cfg = self.cfg
        self.model = Model().to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)

    def forward_backward(self, batch: dict) -> dict:
        image, label = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label) * self.cfg.TRAINER.TINY.SCALE
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    def parse_batch_train(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        return batch["img"].to(self.device), batch["label"].to(self.device)


def tiny_cfg(output: Path | str, images: Path | str, *options: object) -> Config:
    cfg = get_cfg_default()
    cfg.TRAINER.TINY = CN()
    cfg.TRAINER.TINY.PREC = "fp32"
    cfg.TRAINER.TINY.SCALE = 1.0
    settings: dict[str, object] = {
        "OUTPUT_DIR": str(output),
        "DATASET.ROOT": str(images),
        "DATASET.NAME": "TinyImages",
        "TRAINER.NAME": "TinyCoOp",
        "INPUT.SIZE": (8, 8),
        "INPUT.TRANSFORMS": ("random_resized_crop", "random_flip", "normalize"),
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.TRAIN_X.BATCH_SIZE": 4,
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": 0.1,
        "OPTIM.MAX_EPOCH": 4,
        "OPTIM.LR_SCHEDULER": "cosine",
        "OPTIM.WARMUP_EPOCH": 1,
        "OPTIM.WARMUP_TYPE": "constant",
        "TRAIN.PRINT_FREQ": 2,
        "SEED": 1,
    }
    cfg.merge_from_list([word for pair in settings.items() for word in pair])
    cfg.merge_from_list(list(options))
    cfg.freeze()
    return cfg


def tiny_trainer(output: Path | str, images: Path | str, *options: object) -> TinyCoOp:
    cfg = tiny_cfg(output, images, *options)
    set_random_seed(cfg.SEED if cfg.SEED >= 0 else 7)
    return build_trainer(cfg)


def let_die(trainer: TinyCoOp, die_at: str) -> None:
    """Kill this process before a training step, "EPOCH.BATCH" from 0, or in the "test"."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def step(batch: dict) -> dict:
        if die_at == f"{trainer.epoch}.{trainer.batch_idx}":
            die()
        return plain_step(batch)

    plain_step = trainer.forward_backward
    trainer.forward_backward = step
    if die_at == "test":
        trainer.model_inference = die


def main(output: str, images: str, *words: str) -> None:
    torch.set_num_threads(1)
    options = list(words)
    die_at = ""
    if options and options[0] == "--die-at":
        die_at, options = options[1], options[2:]
    trainer = tiny_trainer(output, images, *options)
    setup_logger(output)
    let_die(trainer, die_at)
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
