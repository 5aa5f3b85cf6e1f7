"""Another repository, as it is, on the `dassl` of this one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
FOREIGN = ROOT / "tests" / "foreign"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "with_dassl.py"), *words]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = shutil.copytree(FOREIGN, tmp_path / "foreign")
    (folder / "dassl").mkdir()
    (folder / "dassl" / "__init__.py").write_text("raise RuntimeError('the dassl of the foreign project')\n")
    return folder


def test_training_and_evaluation(checkout: Path) -> None:
    words = ["train.py", "--root", "data", "--seed", "2", "--trainer", "Scaled"]
    words += ["--config-file", "configs/scaled.yaml"]
    trained = run(checkout, *words, "--output-dir", "output/run", "TRAINER.SCALED.START", "0.5")
    assert trained.returncode == 0, trained.stderr
    assert "clip says: the foreign project" in trained.stdout
    assert re.search(r"epoch \[3/3\] batch \[2/3\] .*loss \d.* acc \d.* lr \d", trained.stdout)
    log = (checkout / "output" / "run" / "log.txt").read_text()
    accuracy = re.findall(r"\* accuracy: (.*)%", log)
    assert len(accuracy) == 1 and "* total: 12\n" in log

    folder = checkout / "output" / "run"
    stored = torch.load(folder / "prompt_learner" / "model.pth.tar-3", weights_only=True)
    assert set(stored["state_dict"]) == {"scale", "token_prefix"} and stored["epoch"] == 3
    assert stored["state_dict"]["scale"].std() > 0 and not (stored["state_dict"]["scale"] == 0.5).any()
    assert torch.load(folder / "cmat.pt", weights_only=True).shape == (3, 3)

    options = ("--eval-only", "--model-dir", "output/run", "--load-epoch", "3", "--output-dir", "output/eval")
    tested = run(checkout, *words, *options)
    assert tested.returncode == 0, tested.stderr
    assert re.findall(r"\* accuracy: (.*)%", tested.stdout) == accuracy
    again = run(checkout, *words, "--output-dir", "output/again", "TRAINER.SCALED.START", "0.5")
    weights = torch.load(checkout / "output/again/prompt_learner/model.pth.tar-3")["state_dict"]["scale"]
    assert again.returncode == 0 and torch.equal(weights, stored["state_dict"]["scale"])


def test_nothing_but_dassl_is_seen(tmp_path: Path) -> None:
    """A program without such folders of its own finds installed packages, or none."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper.py").write_text("NUMBER = 3\n")
    (tmp_path / "sub" / "look.py").write_text(
        "import sys\n"
        "from importlib.util import find_spec\n"
        "import helper\n"
        "import dassl.utils.tools\n"
        "names = 'clip datasets trainers train predict demo reporting benchmarks tests with_dassl'.split()\n"
        "places = [getattr(find_spec(name), 'origin', None) for name in names]\n"
        "ours = [p for p in places if p and p.startswith(sys.argv[1]) and 'site-packages' not in p]\n"
        "print(ours, dassl.__file__, sys.argv, __name__)\n"
    )
    result = run(tmp_path, "sub/look.py", str(ROOT))
    assert result.returncode == 0, result.stderr
    expected = f"[] {ROOT / 'dassl' / '__init__.py'} {['sub/look.py', str(ROOT)]} __main__\n"
    assert result.stdout == expected


def test_what_the_program_says_is_handed_on(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(7)\n")
    assert run(tmp_path, "ends.py").returncode == 7
    (tmp_path / "fails.py").write_text("raise RuntimeError('of its own')\n")
    failed = run(tmp_path, "fails.py")
    assert failed.returncode == 1 and "fails.py" in failed.stderr and "of its own" in failed.stderr


def test_no_program(tmp_path: Path) -> None:
    result = run(tmp_path, "tarin.py", "--root", "data")
    assert result.returncode == 2 and "no program 'tarin.py' in" in result.stderr
    assert run(tmp_path).returncode == 2


def test_dpc_on_a_trainer_that_knows_nothing_of_it(checkout: Path) -> None:
    words = ["train.py", "--root", "data", "--seed", "2", "--trainer", "Scaled"]
    words += ["--config-file", "configs/scaled.yaml"]
    first = run(checkout, *words, "--output-dir", "output/first", "OPTIM.LR", "0.1")
    assert first.returncode == 0, first.stderr
    second = [*words, "--plugin", "dpc"]
    tuned = ["TRAINER.DPC.BACKBONE_DIR", "output/first", "TRAINER.DPC.TOPK", "2"]
    trained = run(checkout, *second, "--output-dir", "output/second", *tuned)
    assert trained.returncode == 0, trained.stderr
    assert "Loading trainer Scaled_DPC" in trained.stdout and "loss_cl" in trained.stdout

    def scale(output: str) -> torch.Tensor:
        file = checkout / "output" / output / "prompt_learner" / "model.pth.tar-3"
        state = torch.load(file, weights_only=True)["state_dict"]
        assert set(state) == {"scale", "token_prefix"}
        return state["scale"]

    assert (scale("second") - scale("first")).abs().max() > 1e-3
    accuracy = re.findall(r"\* accuracy: (.*)%", trained.stdout)
    options = ["--eval-only", "--model-dir", "output/second", "--load-epoch", "3"]
    tested = run(checkout, *second, *options, "--output-dir", "output/eval", *tuned)
    assert tested.returncode == 0, tested.stderr
    assert re.findall(r"\* accuracy: (.*)%", tested.stdout) == accuracy
    before = run(
        checkout, *second, *options, "--output-dir", "output/p", *tuned, "TRAINER.DPC.WEIGHT_BASE", "0"
    )
    expected = re.findall(r"\* accuracy: (.*)%", first.stdout)
    assert re.findall(r"\* accuracy: (.*)%", before.stdout) == expected, "w_b = 0 is P itself"

    other = run(checkout, *words, "--plugin", "dept")
    assert other.returncode == 2 and "it must be --plugin dpc" in other.stderr


def test_a_project_may_write_the_class_itself(checkout: Path) -> None:
    trainer = checkout / "trainers" / "scaled.py"
    trainer.write_text(
        trainer.read_text()
        + "\n\nfrom trainers.plugins.dpc.anywhere import AnyDPC, extend_cfg\n\n\n"
        + "@TRAINER_REGISTRY.register()\nclass Ours(AnyDPC, Scaled):\n    pass\n"
    )
    program = checkout / "train.py"
    program.write_text(
        program.read_text().replace(
            "cfg.TRAINER.SCALED = CN()", "trainers.scaled.extend_cfg(cfg)\n    cfg.TRAINER.SCALED = CN()"
        )
    )
    words = ["train.py", "--root", "data", "--config-file", "configs/scaled.yaml", "OPTIM.MAX_EPOCH", "1"]
    assert run(checkout, *words[:5], "--trainer", "Scaled", "--output-dir", "p", *words[5:]).returncode == 0
    words += ["TRAINER.DPC.BACKBONE_DIR", "p", "TRAINER.DPC.TOPK", "2"]
    result = run(checkout, *words[:5], "--trainer", "Ours", "--output-dir", "ours", *words[5:])
    assert result.returncode == 0, result.stderr
    assert "loss_cl" in result.stdout
