"""A run that is killed between any two of its files goes on bit for bit, and says no result twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.dassl.tiny import tiny_trainer, write_images

OPTIONS = ("OPTIM.MAX_EPOCH", 2, "TRAIN.CHECKPOINT_FREQ", 1, "TEST.FINAL_MODEL", "best_val")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def train_dying(output: Path, images: Path, writes: int) -> bool:
    """Train in a process that dies behind so many new files and results; whether it did."""
    child = os.fork()
    if child == 0:
        left = [writes]

        def counted(action: Any) -> Any:
            def act(*args: Any, **words: Any) -> Any:
                if not left[0]:
                    os._exit(9)
                left[0] -= 1
                return action(*args, **words)

            return act

        try:
            torch.set_num_threads(1)
            os.replace, os.remove = counted(os.replace), counted(os.remove)
            import dassl.engine.testing as testing

            testing.append_result = counted(testing.append_result)
            tiny_trainer(output, images, *OPTIONS).train()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def outcome(output: Path) -> tuple[list[Any], list[dict[str, Any]]]:
    paths = sorted((output / "prompt_learner").glob("model*"))
    weights = [torch.load(path)["state_dict"]["ctx"].tolist() for path in paths]
    records = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    return weights, [{**record, "time": 0} for record in records]


def test_wherever_it_is_killed(images: Path, tmp_path: Path) -> None:
    tiny_trainer(tmp_path / "whole", images, *OPTIONS).train()
    expected = outcome(tmp_path / "whole")
    points = 0
    while train_dying(tmp_path / str(points), images, points):
        tiny_trainer(tmp_path / str(points), images, *OPTIONS).train()
        assert outcome(tmp_path / str(points)) == expected, f"killed behind {points} writes"
        assert not (tmp_path / str(points) / "resume.pth.tar").exists()
        points += 1
    assert points > 10


def test_a_run_that_fails_at_once_leaves_nothing_to_go_on_from(images: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"is NaN or infinite in epoch 1/2, batch \d/4"):
        tiny_trainer(tmp_path, images, *OPTIONS, "OPTIM.LR", 1e38, "OPTIM.WARMUP_EPOCH", 0).train()
    assert not (tmp_path / "resume.pth.tar").exists()


def test_a_step_to_infinity_is_named_and_the_last_good_state_kept(images: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, images, *OPTIONS, "OPTIM.MAX_EPOCH", 3)
    step = trainer.model_update

    def leap(*args: Any) -> None:
        step(*args)
        if trainer.epoch == 1 and trainer.batch_idx + 1 == trainer.num_batches:  # no loss comes behind it
            trainer.model.prompt_learner.ctx.data[0, 0] = torch.inf

    trainer.model_update = leap
    with pytest.raises(FloatingPointError, match="What is tuned is NaN or infinite in epoch 2/3, batch 4/4"):
        trainer.train()
    assert torch.load(tmp_path / "resume.pth.tar")["epoch"] == 1
    assert not (tmp_path / "prompt_learner/model.pth.tar-2").exists()
