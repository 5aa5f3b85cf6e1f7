"""The experiment scripts of the cross-dataset, cross-domain and few-shot protocols."""

from __future__ import annotations

import pytest

from tests.scripts.checkout import REPOSITORY, value


@pytest.fixture
def checkout(checkout):
    names = ["datasets/imagenet", "datasets/imagenet_a", "datasets/letters"]
    names += ["trainers/CoOp/vit_b16_ep50_ctxv1", "trainers/ZeroshotCLIP/demo"]
    for trainer in ("PromptSRC", "PromptKD", "PromptKD_DPC"):
        names.append(f"trainers/{trainer}/demo")
    for name in (f"{name}.yaml" for name in names):
        (checkout.root / "configs" / name).parent.mkdir(exist_ok=True)
        (checkout.root / "configs" / name).touch()
    return checkout


def folders(checkout) -> list[str]:
    return [value(call, "--output-dir").removeprefix("output/") for call in checkout.calls]


def test_the_source_is_trained_on_all_classes_and_tested_on_another_data_set(checkout):
    assert checkout.run("dpc/xd_train.sh", "1").returncode == 0
    for method in ("coop", "dpc"):
        result = checkout.run(f"{method}/xd_test.sh", "eurosat", "1")
        assert result.returncode == 0, result.stderr
    assert folders(checkout) == [
        "xd/train/imagenet/shots_16/CoOp/vit_b16_ep50_ctxv1/seed1",
        "xd/train/imagenet/shots_16/CoOp_DPC/vit_b16_ep20-released/seed1",
        "xd/test/eurosat/shots_16/CoOp/vit_b16_ep50_ctxv1/seed1",
        "xd/test/eurosat/shots_16/CoOp_DPC/vit_b16_ep20-released/seed1",
    ]
    assert all(value(call, "DATASET.SUBSAMPLE_CLASSES") == "all" for call in checkout.calls)
    train, test = checkout.calls[1], checkout.calls[3]
    assert value(train, "--dataset-config-file") == "configs/datasets/imagenet.yaml"
    assert value(test, "--dataset-config-file") == "configs/datasets/eurosat.yaml"
    assert value(test, "--model-dir") == value(train, "--output-dir")
    assert value(test, "TRAINER.DPC.BACKBONE_DIR") == value(checkout.calls[0], "--output-dir")


def test_tests_of_two_sources_do_not_overwrite_each_other(checkout):
    for words in (["1"], ["1", "eurosat"], ["1", "eurosat", "coop"]):
        assert checkout.run("dpc/xd_train.sh", *words, VARIANT="released").returncode == 0
    for words in (["imagenet_a", "1"], ["imagenet_a", "1", "coop", "eurosat"]):
        assert checkout.run("dpc/xd_test.sh", *words, VARIANT="released").returncode == 0
    assert len(checkout.calls) == 6
    assert [folder.split("CoOp_DPC/")[1] for folder in folders(checkout)[4:]] == [
        "vit_b16_ep20-released/seed1",
        "vit_b16_ep20-released-from-eurosat/seed1",
    ]
    assert "/xd/train/eurosat/" in value(checkout.calls[5], "--model-dir")


def test_testing_before_training_says_what_comes_first(checkout):
    result = checkout.run("dpc/xd_test.sh", "letters", "1", "digits")
    assert result.returncode == 1
    assert "bash scripts/dpc/xd_train.sh 1 digits coop comes first" in result.stderr


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("coop/xd_train.sh", [], "SEED is needed"),
        ("coop/xd_train.sh", ["imagenet", "1"], "SEED is 'imagenet'"),
        ("coop/xd_train.sh", ["1", "imagenett"], "unknown argument 'imagenett'"),
        ("coop/xd_test.sh", ["1"], "DATASET and SEED are needed"),
        ("coop/xd_test.sh", ["eurosat", "1", "base"], "unknown argument 'base'"),
        ("dpc/xd_test.sh", ["eurosat", "1", "vpt"], "unknown backbone 'vpt'"),
        ("zsclip/xd_test.sh", ["eurosat", "1", "imagenet"], "unknown argument 'imagenet'"),
        ("coop/few_shot.sh", ["eurosat", "1", "4"], "unknown argument '4'"),
    ],
)
def test_a_wrong_argument_is_named(checkout, script, words, said):
    result = checkout.run(script, *words)
    assert result.returncode == 2
    assert said in result.stderr and f"usage: bash scripts/{script} " in result.stderr
    assert not checkout.calls


def test_few_shot_trains_with_each_number_of_images(checkout):
    result = checkout.run("dpc/few_shot.sh", "digits", "2")
    assert result.returncode == 0, result.stderr
    assert folders(checkout) == [
        f"few_shot/digits/shots_{shots}/{run}/seed2"
        for shots in (1, 2, 4, 8, 16)
        for run in ("CoOp/demo", "CoOp_DPC/demo-released")
    ]
    for call, folder in zip(checkout.calls, folders(checkout), strict=True):
        assert f"/shots_{value(call, 'DATASET.NUM_SHOTS')}/" in folder
        assert value(call, "DATASET.SUBSAMPLE_CLASSES") == "all" and "--eval-only" not in call
    assert checkout.run("coop/few_shot.sh", "digits", "3", SHOTS="4").returncode == 0
    assert folders(checkout)[10:] == ["few_shot/digits/shots_4/CoOp/demo/seed3"]


def test_zero_shot_needs_no_training(checkout):
    assert checkout.run("zsclip/few_shot.sh", "digits", "1").returncode == 0
    assert checkout.run("zsclip/xd_test.sh", "letters", "1").returncode == 0
    assert folders(checkout) == [
        "few_shot/digits/shots_0/ZeroshotCLIP/demo/seed1",
        "xd/test/letters/shots_16/ZeroshotCLIP/demo/seed1",
    ]
    assert all("--eval-only" in call and "--model-dir" not in call for call in checkout.calls)


def test_promptkd_distils_across_data_sets_and_its_dpc_keeps_the_teacher(checkout):
    assert checkout.run("dpc/xd_train.sh", "1", "digits", "promptkd").returncode == 0
    assert checkout.run("dpc/xd_test.sh", "letters", "1", "digits", "promptkd").returncode == 0
    assert checkout.run("promptkd/few_shot.sh", "digits", "1", SHOTS="4").returncode == 0
    calls = checkout.calls
    assert [(value(call, "--trainer"), value(call, "DATASET.NUM_SHOTS")) for call in calls] == [
        ("PromptSRC", "16"),
        ("PromptKD", "0"),
        ("PromptKD_DPC", "16"),
        ("PromptKD_DPC", "16"),
        ("PromptSRC", "4"),
        ("PromptKD", "4"),
    ]
    for call in (*calls[1:4], calls[5]):
        assert value(call, "TRAINER.MODAL") == "cross"
    for call in calls[1:4]:
        assert value(call, "TRAINER.PROMPTKD.TEACHER_DIR") == value(calls[0], "--output-dir")


def test_options_come_last(checkout):
    assert checkout.run("coop/xd_train.sh", "1", "digits", OPTIONS="OPTIM.MAX_EPOCH 1").returncode == 0
    assert checkout.calls[0][-2:] == ["OPTIM.MAX_EPOCH", "1"]


def test_every_method_has_its_scripts_and_configurations():
    """The tables in common.sh beside the folders of this repository."""
    tables = (REPOSITORY / "scripts/common.sh").read_text()
    methods, cfgs = (
        tables.split(f'\n{name}="\n')[1].split('"\n')[0] for name in ("methods", "protocol_cfgs")
    )
    trainers = {line.split()[0]: line.split()[1] for line in methods.splitlines()}
    for method in [*trainers, "dpc"]:
        for name in ("xd_train", "xd_test", "few_shot") if method != "zsclip" else ("xd_test", "few_shot"):
            script = REPOSITORY / f"scripts/{method}/{name}.sh"
            assert script.read_text().splitlines()[-1] == f'{name} {method} "$@"'
    for line in cfgs.splitlines():
        _, method, cfg, dpc_cfg = line.split()
        assert (REPOSITORY / f"configs/trainers/{trainers[method]}/{cfg}.yaml").is_file()
        assert (REPOSITORY / f"configs/trainers/{trainers[method]}_DPC/{dpc_cfg}.yaml").is_file()


def test_a_method_with_one_configuration_needs_no_line(checkout):
    for name in ("KgCoOp/vit_b16_ep100_ctxv1", "KgCoOp_DPC/vit_b16_ep20", "Choice/a", "Choice/b"):
        path = checkout.root / "configs/trainers" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert checkout.run("dpc/base2new_train.sh", "eurosat", "1", "kgcoop").returncode == 0
    assert [value(call, "--config-file").removeprefix("configs/trainers/") for call in checkout.calls] == [
        "KgCoOp/vit_b16_ep100_ctxv1.yaml",
        "KgCoOp_DPC/vit_b16_ep20.yaml",
    ]
    refused = checkout.run("dpc/base2new_train.sh", "eurosat", "1", "choice")
    assert refused.returncode == 2 and "kgcoop" in refused.stderr
