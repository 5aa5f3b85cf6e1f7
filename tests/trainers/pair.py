"""What each of several processes does for `test_processes`: the runs whose settings it is given."""

from __future__ import annotations

import json
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from clip import CLIP
from dassl.engine.processes import disconnect
from dassl.utils.processes import is_main, rank
from trainers.core import PromptTrainer


class Stopped(Exception):
    pass


def trainer_of(cfg: Any) -> Any:
    train.set_random_seed(cfg.SEED if cfg.SEED >= 0 else rank() + 5)  # without a seed each starts elsewhere
    return train.build_trainer(cfg)


def stop_after_an_epoch(cfg: Any) -> None:
    trainer = trainer_of(cfg)
    save = trainer.save_resume_point

    def save_and_stop(epochs: int | None = None) -> None:
        save(epochs)
        if epochs is None:  # behind an epoch, not before the first
            raise Stopped

    trainer.save_resume_point = save_and_stop
    with pytest.raises(Stopped):
        trainer.train()


def leave_out_the_sum(cfg: Any) -> None:
    """A step whose gradients stay the parts that each process has."""
    trainer = trainer_of(cfg)
    trainer.model_backward = lambda loss: loss.backward()
    with pytest.raises(RuntimeError, match="is not the same on all processes: a step has left out"):
        trainer.train()


def counting(method: str, counter: Counter[str]) -> Callable[..., torch.Tensor]:
    original = getattr(CLIP, method)

    def counted(self: CLIP, rows: torch.Tensor, *args: Any) -> torch.Tensor:
        counter[method] += len(rows)
        return original(self, rows, *args)

    return counted


def run(jobs: list[tuple[Any, str]]) -> None:
    """Train each job's settings.

    ``seen-<rank>.json`` in its folder says how many ``rows`` were encoded, and tells mini-batches apart.
    """
    rows: Counter[str] = Counter()
    batches: list[Any] = []
    parse = PromptTrainer.parse_batch_train

    def parse_batch_train(self: PromptTrainer, batch: Any) -> Any:
        batches.append([batch["label"].tolist(), batch["img"].double().sum(dim=(1, 2, 3)).tolist()])
        return parse(self, batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PromptTrainer, "parse_batch_train", parse_batch_train)
        for method in ("encode_image", "encode_embeddings"):
            patched.setattr(CLIP, method, counting(method, rows))
        for cfg, how in jobs:
            if how == "interrupted":
                stop_after_an_epoch(cfg)
            elif how == "careless":
                leave_out_the_sum(cfg)
                continue
            rows.clear()
            batches.clear()
            trainer_of(cfg).train()
            seen = {"rows": rows, "batches": batches}
            Path(cfg.OUTPUT_DIR, f"seen-{rank()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(pickle.loads(Path(sys.argv[1]).read_bytes()))
    if is_main():
        print("all done")
    disconnect()
