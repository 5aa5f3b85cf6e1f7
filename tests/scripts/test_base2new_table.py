"""scripts/base2new.sh, with a stub in place of the trainings; and once with all that it does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dassl.config.node import LOCATION_SETTINGS
from experiments.run import QUIET
from tests.datasets.test_docs import make_textures, with_this_python
from tests.scripts.checkout import REPOSITORY, value


@pytest.fixture
def checkout(checkout):
    shutil.copy(REPOSITORY / "parse_test_res.py", checkout.root)
    shutil.copytree(REPOSITORY / "reporting", checkout.root / "reporting")
    for trainer in ("ZeroshotCLIP", "MaPLe", "MaPLe_DPC", "PromptSRC", "PromptKD", "PromptKD_DPC"):
        folder = checkout.root / "configs/trainers" / trainer
        folder.mkdir(exist_ok=True)
        (folder / "demo.yaml").touch()
    for folder in ("My Textures", "other/My Textures"):
        (checkout.root / folder).mkdir(parents=True)
    (checkout.root / "Textures").mkdir()
    return checkout


def runs(checkout) -> list[list[str]]:
    return [call for call in checkout.calls if "--trainer" in call]


def test_a_path_and_a_name_make_one_table(checkout):
    result = checkout.run("base2new.sh", "My Textures", "eurosat", "digits", SEEDS="1 2")
    assert result.returncode == 0, result.stderr
    own, named = (call for call in checkout.calls if "--trainer" not in call)
    assert own == ["folder", "--data", f"{checkout.root}/My Textures", "--check", "--deep"]
    assert named == [
        "eurosat",
        "--data",
        "data",
        "--check",
    ]
    assert checkout.calls[:2] == [own, named]
    assert "36 runs: 36 to run; 1 at a time; results in output" in result.stdout
    assert len(runs(checkout)) == 3 * 2 * (2 + 2 + 2)
    rows = [
        [cell.strip() for cell in line.split("|")] for line in result.stdout.splitlines() if line[:1] == "|"
    ]
    assert [row[1:3] for row in rows if row[1] == "My Textures"] == [
        ["My Textures", method] for method in ("Zero-shot CLIP", "CoOp", "CoOp + DPC (released)")
    ]
    assert all(row[-2] == "2" for row in rows[2:]) and len(rows) == 2 + 9
    assert (checkout.root / "output/base_new.png").is_file()
    assert "MODEL=demo" not in result.stdout

    assert "/train_base/eurosat/shots_16/CoOp/vit_b16_ep20_lr35/seed1 (" in result.stdout
    twice = ("digits", "./My Textures")
    again = checkout.run("base2new.sh", "My Textures", "eurosat", "digits", *twice, SEEDS="1 2")
    assert again.returncode == 0 and len(runs(checkout)) == 36
    assert " s)" not in again.stdout and again.stdout.count("| My Textures") == 3


def test_results_of_other_options_are_not_taken_for_new_ones(checkout):
    short = {"OPTIONS": "OPTIM.MAX_EPOCH  1", "SEEDS": "1"}
    assert checkout.run("base2new.sh", "digits", **short).returncode == 0
    assert checkout.run("base2new.sh", "digits", **short).returncode == 0
    assert len(runs(checkout)) == 6
    result = checkout.run("base2new.sh", "digits", SEEDS="1")
    assert result.returncode == 1 and len(runs(checkout)) == 6
    assert "OPTIM.MAX_EPOCH was 1, now not set (and 5 more); set OUTPUT" in result.stderr
    result = checkout.run("coop/base2new_train.sh", "digits", "1")
    assert "OPTIM.MAX_EPOCH was 1, now not set; set OUTPUT" in result.stderr


def test_options_that_change_nothing_of_a_run_do_not_count(checkout):
    own = "OPTIM.MAX_EPOCH 1 TRAINER.COOP.CTX_INIT a photo of a DATASET.SUBSAMPLE_CLASSES base"
    assert checkout.run("coop/base2new_train.sh", "digits", "1", OPTIONS=own).returncode == 0
    more = f"DATALOADER.CACHE_MB 100 {own} TRAINER.DPC.TOPK 4 TRAINER.DPC.WEIGHT_NEW 0.1"
    assert checkout.run("dpc/base2new_train.sh", "digits", "1", OPTIONS=more).returncode == 0
    assert [value(call, "--trainer") for call in runs(checkout)] == ["CoOp", "CoOp_DPC"]
    result = checkout.run("dpc/base2new_train.sh", "digits", "1", OPTIONS=own)
    assert "CoOp_DPC/demo-released/seed1 holds results of other settings" in result.stderr
    assert "TRAINER.DPC.TOPK was 4, now not set" in result.stderr and len(runs(checkout)) == 2
    result = checkout.run("coop/base2new_train.sh", "digits", "1", OPTIONS=f"VERBOSE False SEED 3 {own}")
    assert result.returncode == 1 and len(runs(checkout)) == 2


def test_settings_that_change_no_figure_are_those_of_the_configuration():
    given_by_scripts = {"OUTPUT_DIR", "RESUME", "DATASET.ROOT", "TEST.SPLIT"}
    assert given_by_scripts == LOCATION_SETTINGS - QUIET and QUIET <= LOCATION_SETTINGS


def test_settings_reach_the_runs_that_they_are_meant_for(checkout):
    result = checkout.run(
        "base2new.sh", "eurosat", SEEDS="3", CFG="released", BACKBONE_CFG="other", VARIANT="released"
    )
    assert result.returncode == 0, result.stderr
    labels = [value(call, "--output-dir").split("shots_16/")[1] for call in runs(checkout)]
    zero_shot, coop, dpc = "ZeroshotCLIP/vit_b16", "CoOp/other", "CoOp_DPC/released-released"
    assert labels == [f"{label}/seed3" for label in (zero_shot, zero_shot, coop, coop, dpc, dpc)]

    words = {
        "SEEDS": "1",
        "BACKBONES": "coop maple",
        "VARIANTS": "paper released",
        "MODEL": "demo",
        "OUTPUT": "demo",
    }
    result = checkout.run("base2new.sh", "My Textures", JOBS="1", **words)
    assert result.returncode == 0, result.stderr
    assert all(value(call, "--config-file").endswith("/demo.yaml") for call in runs(checkout)[6:])
    assert len(runs(checkout)) == 6 + 2 + 2 * (2 + 2 * 2)
    assert "MODEL=demo: a tiny CLIP" in result.stdout


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        ([], {}, 2, "DATASET is needed"),
        (["eurosatt"], {}, 2, "unknown data set 'eurosatt'"),
        (["My Textures", "1"], {}, 2, "unknown data set '1'"),
        (["folder"], {}, 2, "give the set's path"),
        (["My Textures", "other/My Textures"], {}, 1, "two data sets are called My Textures"),
        (["eurosat"], {"BACKBONES": "coop zsclip"}, 1, "BACKBONES has 'zsclip'; known: coop maple"),
        (["eurosat"], {"SEEDS": "1 two"}, 1, "SEEDS has 'two'"),
        (["eurosat"], {"VARIANTS": "both"}, 1, "VARIANT is 'both'"),
        (["eurosat"], {"SEEDS": " "}, 1, "SEEDS is blank"),
        (["eurosat"], {"BACKBONES": " "}, 1, "BACKBONES is blank"),
        (
            ["digits"],
            {"BACKBONES": "promptkd", "TEACHER_CFG": "nope"},
            1,
            "PromptSRC has no configuration 'nope'",
        ),
        (["eurosat"], {"CFG": "nope"}, 1, "CoOp_DPC has no configuration 'nope'; known"),
        (["eurosat"], {"BACKBONE_CFG": "nope"}, 1, "CoOp has no configuration 'nope'"),
        (["eurosat"], {"JOBS": "0"}, 1, "JOBS is '0'"),
        (["My Textures"], {"STUB_CHECK": "1"}, 1, "My Textures cannot be used as it is"),
        (["My Textures", "eurosat"], {"STUB_CHECK": "1"}, 1, "nothing was run"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(checkout, words, environment, code, said):
    result = checkout.run("base2new.sh", *words, **environment)
    assert result.returncode == code
    assert said in result.stderr
    assert not runs(checkout) and not (checkout.root / "output").exists()


def test_a_failing_step_shows_the_end_of_its_output(checkout):
    result = checkout.run("base2new.sh", "My Textures", STUB_FAILS="CoOp_DPC")
    assert result.returncode == 1
    assert "CoOp_DPC says why" in result.stderr
    assert "CoOp_DPC/vit_b16_ep20-released/seed1 failed with exit code 7; all of its output" in result.stderr
    # what does not need it went on
    trainers = [value(call, "--trainer") for call in runs(checkout)]
    assert trainers.count("CoOp") == 6 and trainers.count("CoOp_DPC") == 3
    assert "| Base" not in result.stdout


@pytest.mark.slow
def test_the_readme_s_command_makes_a_table_of_new_images(tmp_path: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^MODEL=demo bash scripts/base2new\.sh path/to/images", readme, re.M)
    assert command is not None
    images, output = tmp_path / "images", tmp_path / "output"
    make_textures(images)
    environment = with_this_python(tmp_path) | {
        "OUTPUT": str(output),
        "SEEDS": "1",
        "OPTIONS": "OPTIM.MAX_EPOCH 1",
    }
    done = subprocess.run(
        ["bash", "-euc", command[0].replace("path/to/images", str(images))],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table = re.findall(
        r"^\| images +\| (.+?) +\| +([\d.]+) \| +([\d.]+) \| +[\d.]+ \| +1 \|$", done.stdout, re.M
    )
    assert [method for method, *_ in table] == ["Zero-shot CLIP", "CoOp", "CoOp + DPC (released)"]
    assert table[1][2] == table[2][2]  # DPC keeps the backbone's accuracy on new classes
    assert (output / "base_new.png").stat().st_size > 1000
    assert os.listdir(output / "base2new/test_new") == ["images"]
