import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dassl.engine.resume import RESUME_FILE
from dassl.utils import load_checkpoint
from tests.dassl.tiny import TinyCoOp, TinyImages, let_die, tiny_cfg, tiny_trainer, write_images

ROOT = Path(__file__).resolve().parents[2]
KILLED = -9


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def run(output, images, *words):
    command = [sys.executable, "-m", "tests.dassl.tiny", str(output), str(images), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def train_killed(output, images, die_at, *options):
    """Train in a forked process, which kills itself; much faster than a new one."""
    process = os.fork()
    if process == 0:
        try:
            trainer = tiny_trainer(output, images, *options)
            let_die(trainer, die_at)
            trainer.train()
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED


def weights_of(output, epoch=4):
    return load_checkpoint(str(output / f"prompt_learner/model.pth.tar-{epoch}"))["state_dict"]["ctx"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, images):
    """The output folder of an uninterrupted run."""
    output = tmp_path_factory.mktemp("finished")
    trainer = tiny_trainer(output, images, "TEST.SAVE_LOGITS", True, "TRAIN.CHECKPOINT_FREQ", 2)
    trainer.train()
    return output


def test_end_to_end(finished, images):
    names = sorted(path.name for path in (finished / "prompt_learner").iterdir())
    assert names == ["checkpoint", "model.pth.tar-2", "model.pth.tar-4"]
    assert not (finished / RESUME_FILE).exists()
    checkpoint = load_checkpoint(str(finished / "prompt_learner/model.pth.tar-4"))
    assert {"state_dict", "epoch", "optimizer", "scheduler", "val_result"} <= set(checkpoint)
    assert checkpoint["epoch"] == 4

    (record,) = [json.loads(line) for line in (finished / "results.jsonl").read_text().splitlines()]
    assert record["method"] == "TinyCoOp" and record["dataset"] == "TinyImages" and record["split"] == "test"
    assert record["seed"] == 1 and record["epoch"] == 4 and record["subsample_classes"] == "all"
    logits = np.load(finished / "logits.npz")
    correct = int((logits["logits"].argmax(1) == logits["label"]).sum())
    assert logits["logits"].dtype == np.float32 and logits["label"].dtype == np.int64
    assert logits["impath"][0] == "0_0.png" and logits["classnames"].tolist() == ["r", "g", "b"]
    assert record["metrics"]["correct"] == correct and record["metrics"]["total"] == 9
    assert sum(images for images, _, _ in record["reliability"]) == 9 and record["metrics"]["ece"] >= 0
    assert record["metrics"]["accuracy"] == pytest.approx(100 * correct / 9, abs=1e-12)


def test_a_result_says_which_classes_were_tested(images, tmp_path, monkeypatch):
    """All of a data set without halves, whatever the setting says."""
    words = ("DATASET.SUBSAMPLE_CLASSES", "base", "OPTIM.MAX_EPOCH", 1)
    for has_halves, expected in ((True, "base"), (False, "all")):
        monkeypatch.setattr(TinyImages, "has_halves", has_halves)
        tiny_trainer(tmp_path / expected, images, *words).train()
        (line,) = (tmp_path / expected / "results.jsonl").read_text().splitlines()
        assert json.loads(line)["subsample_classes"] == expected


def test_a_seed_reproduces(finished, images, tmp_path):
    tiny_trainer(tmp_path, images).train()
    assert torch.equal(weights_of(tmp_path), weights_of(finished))
    tiny_trainer(tmp_path / "other", images, "SEED", 2).train()
    assert not torch.equal(weights_of(tmp_path / "other"), weights_of(finished))


def test_same_command_after_a_kill(finished, images, tmp_path):
    assert run(tmp_path, images, "--die-at", "1.2").returncode == KILLED
    assert not (tmp_path / "prompt_learner/model.pth.tar-4").exists()
    again = run(tmp_path, images)
    assert again.returncode == 0, again.stderr
    assert "Resuming" in again.stdout
    log = (tmp_path / "log.txt").read_text()
    # Dassl's scripts count a result only behind this very line.
    assert "\nFinish training\n" in log.partition("=> result\n")[0]
    assert log == again.stdout and "\n=> result\n* total: 9\n" in log
    assert torch.equal(weights_of(tmp_path), weights_of(finished))
    assert not (tmp_path / RESUME_FILE).exists()


@pytest.mark.parametrize("die_at", ["0.1", "1.0", "3.3"])
def test_killed_and_resumed(finished, images, tmp_path, die_at):
    train_killed(tmp_path, images, die_at)
    trainer = tiny_trainer(tmp_path, images)
    trainer.train()
    assert trainer.start_epoch == int(die_at[0])
    assert torch.equal(weights_of(tmp_path), weights_of(finished))


def test_unseeded_run_resumes_too(images, tmp_path):
    tiny_trainer(tmp_path / "whole", images, "SEED", -1).train()
    train_killed(tmp_path, images, "2.0", "SEED", -1)
    tiny_trainer(tmp_path, images, "SEED", -1).train()
    assert torch.equal(weights_of(tmp_path), weights_of(tmp_path / "whole"))


def test_killed_between_training_and_test(finished, images, tmp_path):
    train_killed(tmp_path, images, "test")
    assert (tmp_path / RESUME_FILE).exists() and not (tmp_path / "results.jsonl").exists()
    saved = (tmp_path / "prompt_learner/model.pth.tar-4").read_bytes()
    tiny_trainer(tmp_path, images).train()
    assert (tmp_path / "prompt_learner/model.pth.tar-4").read_bytes() == saved
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1
    assert torch.equal(weights_of(tmp_path), weights_of(finished))


def test_resume_from_another_folder(finished, images, tmp_path):
    train_killed(tmp_path / "old", images, "3.0")
    tiny_trainer(tmp_path / "new", images, "RESUME", str(tmp_path / "old")).train()
    assert torch.equal(weights_of(tmp_path / "new"), weights_of(finished))
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        tiny_trainer(tmp_path / "x", images, "RESUME", str(tmp_path / "nothing")).train()


def test_resume_refuses_other_settings(images, tmp_path):
    train_killed(tmp_path, images, "1.0")
    with pytest.raises(ValueError, match=r"OPTIM\.LR was 0\.1, now 0\.2"):
        tiny_trainer(tmp_path, images, "OPTIM.LR", 0.2).train()
    (tmp_path / RESUME_FILE).write_bytes((tmp_path / RESUME_FILE).read_bytes()[:1000])
    with pytest.raises(ValueError, match=RESUME_FILE):
        tiny_trainer(tmp_path, images).train()


def test_finished_run_is_only_tested_again(finished, images, tmp_path):
    before = weights_of(finished)
    trainer = tiny_trainer(finished, images)
    trainer.forward_backward = None
    trainer.train()
    assert torch.equal(trainer.model.prompt_learner.ctx, before)
    with pytest.raises(ValueError, match=r"OPTIM\.LR"):
        tiny_trainer(finished, images, "OPTIM.LR", 0.2).train()


def test_load_model(finished, images, tmp_path):
    trainer = tiny_trainer(tmp_path, images)
    trainer.load_model(str(finished), epoch=-1)
    assert torch.equal(trainer.model.prompt_learner.ctx, weights_of(finished))
    trainer.load_model(str(finished), epoch=2)
    assert torch.equal(trainer.model.prompt_learner.ctx, weights_of(finished, 2))
    with pytest.raises(FileNotFoundError, match="Epochs there: 2, 4"):
        trainer.load_model(str(finished))
    trainer.model.prompt_learner.ctx = torch.nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"ctx has the shape \[3, 3\], not \[2, 3\]"):
        trainer.load_model(str(finished), epoch=4)


def test_best_val(images, tmp_path):
    trainer = tiny_trainer(tmp_path, images, "TEST.FINAL_MODEL", "best_val")
    trainer.train()
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [r["split"] for r in records] == ["val"] * 4 + ["test"]
    best = load_checkpoint(str(tmp_path / "prompt_learner/model-best.pth.tar"))
    accuracies = [r["metrics"]["accuracy"] for r in records[:4]]
    assert best["val_result"] == max(accuracies)
    assert best["epoch"] == accuracies.index(max(accuracies)) + 1 == records[-1]["epoch"]


class OwnLoading(TinyCoOp):
    """Loads its checkpoints itself, as the original CoOp does."""

    def load_model(self, directory, epoch=None):
        name = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
        weights = load_checkpoint(f"{directory}/prompt_learner/{name}")["state_dict"]
        self._models["prompt_learner"].load_state_dict(weights, strict=False)


def test_no_epoch_is_recorded_where_it_is_unknown(finished, images, tmp_path):
    trainer = OwnLoading(tiny_cfg(tmp_path, images))
    trainer.load_model(str(finished), epoch=4)
    trainer.test()
    OwnLoading(tiny_cfg(tmp_path, images, "TEST.FINAL_MODEL", "best_val")).train()
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [None, 1, 2, 3, 4, None]


def test_nan_loss(images, tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss is NaN.*epoch 1/4, batch 1/4.*OPTIM\.LR"):
        tiny_trainer(tmp_path, images, "TRAINER.TINY.SCALE", float("nan")).train()
    assert list(tmp_path.iterdir()) == []


def test_progress_line(images, tmp_path, caplog):
    with caplog.at_level("INFO", logger="dassl.progress"):
        tiny_trainer(tmp_path, images).train()
    lines = [r.getMessage() for r in caplog.records if r.name == "dassl.progress"]
    assert len(lines) == 8
    line = lines[0]
    assert line.startswith("epoch [1/4] batch [2/4] time ")
    assert "loss 1." in line and "eta " in line
    assert "lr 1.0000e-05" in lines[1] and "lr 1.0000e-01" in lines[2]


def test_model_registration(images, tmp_path):
    trainer = tiny_trainer(tmp_path, images)
    with pytest.raises(ValueError, match="already registered"):
        trainer.register_model("prompt_learner", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="prompt_learner"):
        trainer.get_model_names("other")
    trainer.set_model_mode("eval")
    assert not trainer.model.prompt_learner.training
    with pytest.raises(ValueError, match="mode"):
        trainer.set_model_mode("evaluate")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("TEST.SPLIT", "train", "val"),
        ("TEST.FINAL_MODEL", "best", "best_val"),
        ("TRAIN.PRINT_FREQ", 0, "PRINT_FREQ"),
        ("TRAINER.NAME", "TinyCoop", "TinyCoOp"),
        ("DATASET.NAME", "Tiny", "TinyImages"),
        ("TEST.EVALUATOR", "Classify", "Classification"),
    ],
)
def test_wrong_settings(images, tmp_path, option, value, message):
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path, images, option, value)


def test_nothing_above_the_engine_is_imported():
    above = "{'clip', 'datasets', 'trainers', 'torchvision'}"
    code = f"import sys, dassl.engine; sys.exit(str({above} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.strip() == "set()"


def test_settings_are_not_changed_by_a_run(images, tmp_path):
    trainer = tiny_trainer(tmp_path, images)
    assert trainer.cfg == tiny_cfg(tmp_path, images) and trainer.cfg.is_frozen()


class Counting(TinyCoOp):
    """Keeps a number beside its weights, in checkpoints and in the resume file."""

    def __init__(self, cfg):
        self.steps, self.order = 0, []
        super().__init__(cfg)

    def check_cfg(self, cfg):
        super().check_cfg(cfg)
        self.order.append("check_cfg")

    def find_inputs(self):
        assert self.output_dir == self.cfg.OUTPUT_DIR and self.device.type in ("cpu", "cuda")
        assert self.dm is None
        self.order.append("find_inputs")

    def build_data_loader(self):
        super().build_data_loader()
        self.order.append("data")

    def prepare(self):
        self.steps = 100
        self.order.append("prepare")

    def load_weights(self, name, checkpoint, path):
        super().load_weights(name, checkpoint, path)
        self.order.append("load_weights")

    def forward_backward(self, batch):
        self.steps += 1
        return super().forward_backward(batch)

    def checkpoint_extras(self, name):
        return {"steps": self.steps}

    def load_checkpoint_extras(self, name, checkpoint, path):
        self.order.append(f"extras of {name}")
        assert path.endswith("model.pth.tar-2")
        self.steps = checkpoint["steps"]


def test_hooks_come_in_order(images, tmp_path):
    trainer = Counting(tiny_cfg(tmp_path, images, "OPTIM.MAX_EPOCH", 2))
    assert trainer.order == ["check_cfg", "find_inputs", "data"]
    trainer.test()
    assert trainer.order == ["check_cfg", "find_inputs", "data"]  # an evaluation needs no preparation
    trainer.train()
    assert trainer.steps == 108 and trainer.order[3:] == ["prepare"]
    # a run that goes on from checkpoints alone, finished as it is
    again = Counting(tiny_cfg(tmp_path, images, "OPTIM.MAX_EPOCH", 2))
    again.train()
    assert again.order[3:] == ["prepare", "load_weights", "extras of prompt_learner"] and again.steps == 108


class Backwards(TinyCoOp):
    """Shows the mini-batches of an epoch from the last to the first."""

    def train_batches(self):
        self.shown = list(self.train_loader_x)[::-1]
        return self.shown


def test_a_trainer_may_choose_its_batches(images, tmp_path):
    trainer = Backwards(tiny_cfg(tmp_path, images, "OPTIM.MAX_EPOCH", 1))
    seen = []
    step = trainer.forward_backward
    trainer.forward_backward = lambda batch: (seen.append(batch), step(batch))[1]
    trainer.train()
    assert len(seen) == trainer.num_batches == 4
    assert all(a is b for a, b in zip(seen, trainer.shown, strict=True))
