"""The experiment scripts of the base-to-new protocol."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scripts.checkout import REPOSITORY, WRAPPER, value


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("coop/base2new_train.sh", [], "DATASET and SEED are needed"),
        ("coop/base2new_train.sh", ["eurosat"], "DATASET and SEED are needed"),
        ("coop/base2new_train.sh", ["eurosatt", "1"], "unknown data set 'eurosatt'"),
        ("coop/base2new_train.sh", ["eurosat", "one"], "SEED is 'one'"),
        ("coop/base2new_train.sh", ["eurosat", "1", "new"], "unknown argument 'new'"),
        ("coop/base2new_test.sh", ["eurosat", "1", "all"], "unknown argument 'all'"),
        ("dpc/base2new_train.sh", ["eurosat", "1", "maplee"], "unknown backbone 'maplee'"),
        ("dpc/base2new_test.sh", ["eurosat", "1", "zsclip"], "unknown backbone 'zsclip'"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_known(checkout, script, words, said):
    result = checkout.run(script, *words)
    assert result.returncode == 2
    assert said in result.stderr and f"usage: bash scripts/{script} DATASET SEED" in result.stderr
    assert "one of: digits eurosat" in result.stderr
    assert ("one of: coop (default" in result.stderr) == script.startswith("dpc")
    assert not checkout.calls and not (checkout.root / "output").exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"CFG": "nope"},
            "no configuration 'nope'; known in configs/trainers/CoOp: demo other vit_b16_ctxv1",
        ),
        ({"SHOTS": "0"}, "SHOTS is '0'"),
        ({"LOADEP": "last"}, "LOADEP is 'last'"),
        ({"PYTHON": "/no/python"}, "PYTHON=/no/python"),
    ],
)
def test_a_wrong_setting_is_named(checkout, environment, said):
    result = checkout.run("coop/base2new_train.sh", "eurosat", "1", **environment)
    assert result.returncode == 1
    assert said in result.stderr
    assert not checkout.calls and not (checkout.root / "output").exists()


def test_help_is_no_error(checkout):
    result = checkout.run("dpc/base2new_test.sh", "--help")
    assert result.returncode == 0
    assert "DATASET SEED [BACKBONE] [base|new]" in result.stdout


def test_training_passes_upstreams_layout_to_train_py(checkout, tmp_path):
    result = checkout.run("coop/base2new_train.sh", "eurosat", "3", cwd=tmp_path, DATA="images", OUTPUT="out")
    assert result.returncode == 0, result.stderr
    (call,) = checkout.calls
    folder = f"{tmp_path}/out/base2new/train_base/eurosat/shots_16/CoOp/vit_b16_ctxv1/seed3"
    assert value(call, "--output-dir") == folder
    assert value(call, "--root") == f"{tmp_path}/images"
    assert value(call, "--seed") == "3"
    assert value(call, "--dataset-config-file") == "configs/datasets/eurosat.yaml"
    assert value(call, "--config-file") == "configs/trainers/CoOp/vit_b16_ctxv1.yaml"
    assert call[-4:] == ["DATASET.NUM_SHOTS", "16", "DATASET.SUBSAMPLE_CLASSES", "base"]


def test_dpc_trains_its_backbone_first_and_only_once(checkout):
    assert checkout.run("dpc/base2new_train.sh", "eurosat", "1").returncode == 0
    coop, dpc = checkout.calls
    assert (value(coop, "--trainer"), value(dpc, "--trainer")) == ("CoOp", "CoOp_DPC")
    assert value(dpc, "--config-file") == "configs/trainers/CoOp_DPC/vit_b16_ep20.yaml"
    assert value(dpc, "TRAINER.DPC.BACKBONE_DIR") == value(coop, "--output-dir")
    assert "TRAINER.DPC.BACKBONE_DIR" not in coop

    again = checkout.run("dpc/base2new_train.sh", "eurosat", "1", "coop")
    assert again.returncode == 0 and again.stdout.count("finished before, skipped") == 2
    assert len(checkout.calls) == 2

    result = checkout.run("dpc/base2new_train.sh", "eurosat", "1", CFG="released")
    assert result.returncode == 0 and result.stdout.count("finished before, skipped") == 1
    assert value(checkout.calls[2], "--output-dir").endswith("CoOp_DPC/released-released/seed1")


def test_the_demo_sets_use_the_demo_configuration(checkout):
    assert checkout.run("dpc/base2new_train.sh", "digits", "1").returncode == 0
    assert [value(call, "--config-file").split("/", 2)[2] for call in checkout.calls] == [
        "CoOp/demo.yaml",
        "CoOp_DPC/demo.yaml",
    ]


def test_a_failing_step_stops_with_its_exit_code(checkout):
    result = checkout.run("dpc/base2new_train.sh", "eurosat", "1", STUB_FAILS="CoOp")
    assert result.returncode == 7
    assert len(checkout.calls) == 1
    assert not list(checkout.root.glob("output/[!.]*"))  # nothing but a lock is written beside the runs


def test_an_unfinished_training_is_resumed(checkout):
    assert checkout.run("dpc/base2new_train.sh", "eurosat", "1", STUB_KILLED="CoOp_DPC").returncode == 137
    result = checkout.run("dpc/base2new_train.sh", "eurosat", "1")
    assert result.returncode == 0 and "going on where it stopped" in result.stdout
    _, killed, resumed = checkout.calls
    assert "--resume" not in killed
    assert value(resumed, "--resume") == value(killed, "--output-dir") == value(resumed, "--output-dir")


def test_testing_loads_the_last_epoch_of_the_training(checkout):
    checkout.run("dpc/base2new_train.sh", "eurosat", "1")
    for subset, words in (("new", []), ("new", ["coop"]), ("base", ["base"]), ("base", ["coop", "base"])):
        result = checkout.run("dpc/base2new_test.sh", "eurosat", "1", *words)
        assert result.returncode == 0, result.stderr
        assert ("skipped" in result.stdout) == (words[:1] == ["coop"])
        call = checkout.calls[-1]
        assert "--eval-only" in call
        assert value(call, "DATASET.SUBSAMPLE_CLASSES") == subset
        assert f"/test_{subset}/eurosat/shots_16/CoOp_DPC/vit_b16_ep20-released/seed1" in value(
            call, "--output-dir"
        )
        assert "/train_base/eurosat/shots_16/CoOp_DPC/" in value(call, "--model-dir")
        assert value(call, "--load-epoch") == "5"
        assert "/CoOp/" in value(call, "TRAINER.DPC.BACKBONE_DIR")
    checkout.run("dpc/base2new_test.sh", "eurosat", "1", LOADEP="2")
    assert value(checkout.calls[-1], "--load-epoch") == "2"


def test_testing_before_training_says_what_comes_first(checkout):
    result = checkout.run("coop/base2new_test.sh", "eurosat", "1")
    assert result.returncode == 1
    assert "bash scripts/coop/base2new_train.sh eurosat 1 comes first" in result.stderr
    assert not checkout.calls


def test_a_result_older_than_its_training_is_made_again(checkout):
    checkout.run("coop/base2new_train.sh", "eurosat", "1")
    checkout.run("coop/base2new_test.sh", "eurosat", "1")
    train, test = (
        Path(checkout.root, value(call, "--output-dir"), "results.jsonl") for call in checkout.calls
    )
    os.utime(train, (test.stat().st_mtime + 10,) * 2)
    assert "skipped" not in checkout.run("coop/base2new_test.sh", "eurosat", "1").stdout
    assert len(checkout.calls) == 3


def test_zero_shot_needs_no_training(checkout):
    assert checkout.run("zsclip/base2new_test.sh", "eurosat", "1", "base").returncode == 0
    (call,) = checkout.calls
    assert "--model-dir" not in call
    assert "/test_base/eurosat/shots_16/ZeroshotCLIP/vit_b16/seed1" in value(call, "--output-dir")


def test_the_backbone_is_trained_as_dpcs_paper_does_or_as_its_own(checkout):
    assert checkout.run("dpc/base2new_train.sh", "eurosat", "1").returncode == 0
    assert checkout.run("dpc/base2new_train.sh", "eurosat", "1", PRESET="own").returncode == 0
    assert checkout.run("coop/base2new_train.sh", "eurosat", "1").returncode == 0
    assert checkout.run("coop/base2new_test.sh", "eurosat", "1", PRESET="dpc").returncode == 0
    calls = checkout.calls
    assert [value(call, "--config-file").split("/", 2)[2] for call in calls] == [
        "CoOp/vit_b16_ep20_lr35.yaml",
        "CoOp_DPC/vit_b16_ep20.yaml",
        "CoOp/vit_b16_ctxv1.yaml",
        "CoOp_DPC/vit_b16_ep20.yaml",
        "CoOp/vit_b16_ep20_lr35.yaml",
    ]
    labels = [value(calls[i], "--output-dir").split("/")[-2] for i in (1, 3)]
    assert labels == ["vit_b16_ep20-released", "vit_b16_ep20-own-released"]
    # what the preset sets beside a configuration holds in its tests too, and for no other configuration
    assert [value(call, "TRAINER.COOP.N_CTX") for call in (calls[0], calls[4])] == ["4", "4"]
    assert all("TRAINER.COOP.N_CTX" not in call for call in calls[1:4])
    result = checkout.run("coop/base2new_train.sh", "eurosat", "1", PRESET="paper")
    assert result.returncode == 1 and "PRESET is 'paper', but must be own or dpc" in result.stderr


def test_a_run_that_chose_among_its_epochs_is_tested_with_the_best(checkout):
    checkout.run("coop/base2new_train.sh", "eurosat", "1")
    folder = Path(checkout.root, value(checkout.calls[0], "--output-dir"), "prompt_learner")
    (folder / "model-best.pth.tar").touch()
    checkout.run("coop/base2new_test.sh", "eurosat", "1")
    assert "--load-epoch" not in checkout.calls[-1] and "--model-dir" in checkout.calls[-1]
    checkout.run("coop/base2new_test.sh", "eurosat", "1", LOADEP="2")
    assert value(checkout.calls[-1], "--load-epoch") == "2"


def test_every_method_has_its_scripts():
    for script in sorted((REPOSITORY / "scripts").glob("*/base2new_*.sh")):
        assert script.read_text().splitlines()[-1] == WRAPPER
        others = {path.stem for path in script.parent.glob("*.sh")}
        assert script.parent.name == "zsclip" or {"base2new_train", "base2new_test"} <= others
