"""The experiment scripts of the cross-dataset, cross-domain and few-shot protocols."""

from __future__ import annotations

import shlex

import pytest

import train
from dassl.engine import TRAINER_REGISTRY
from tests.scripts.checkout import REPOSITORY, WRAPPER, value


@pytest.fixture
def checkout(checkout):
    names = ["datasets/imagenet", "datasets/imagenet_a", "datasets/letters"]
    names += ["datasets/dtd", "datasets/oxford_pets", "trainers/ZeroshotCLIP/demo"]
    names += [f"trainers/CoOp/{name}" for name in ("vit_b16_ep50_ctxv1", "rn50", "rn50_ep50", "rn50_ep100")]
    names += ["trainers/PromptSRC/vit_l14_c2_ep20_batch8_4+4ctx", "trainers/PromptSRC/mine"]
    names += ["trainers/PromptSRC/vit_b16_c2_ep50_batch4_4+4ctx_few_shot"]
    names += [f"trainers/PromptKD/vit_b16_c2_ep20_batch8_4+4ctx{end}" for end in ("", "_cross_datasets")]
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
        result = checkout.run(f"{method}/xd_test.sh", "eurosat", "1", PRESET="dpc")
        assert result.returncode == 0, result.stderr
    assert folders(checkout) == [
        "xd/train/imagenet/shots_16/CoOp/vit_b16_ep20_lr35/seed1",
        "xd/train/imagenet/shots_16/CoOp_DPC/vit_b16_ep20-released/seed1",
        "xd/test/eurosat/shots_16/CoOp/vit_b16_ep20_lr35/seed1",
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


def test_every_method_has_its_scripts():
    for path in sorted((REPOSITORY / "scripts").glob("*/base2new_test.sh")):
        method = path.parent.name
        for name in ("xd_train", "xd_test", "few_shot") if method != "zsclip" else ("xd_test", "few_shot"):
            script = path.parent / f"{name}.sh"
            assert script.read_text().splitlines()[-1] == WRAPPER


def lines() -> list[list[str]]:
    text = (REPOSITORY / "configs/protocols.txt").read_text()
    return [shlex.split(line) for line in text.splitlines() if line.strip() and line[0] != "#"]


def test_the_data_beside_the_protocols_names_what_there_is():
    """And only settings that there are, of the method's own trainer."""
    folders = {path.name.lower(): path for path in (REPOSITORY / "configs/trainers").iterdir()}
    folders |= {"zsclip": folders["zeroshotclip"], "teacher": folders["promptsrc"]}
    cfg = train.default_cfg()
    for preset, protocol, method, sets, shots, name, dpc, *settings in lines():
        assert preset in ("own", "dpc", "*")
        assert protocol == "*" or set(protocol.split(",")) <= {"base2new", "xd", "few_shot"}
        method, _, plugin = method.partition("+")
        assert plugin in ("", "dpc")
        for word in () if sets == "*" else sets.split(","):
            assert (REPOSITORY / f"configs/datasets/{word}.yaml").is_file()
        assert shots == "*" or all(word.isdigit() for word in shots.split(","))
        assert name == "-" or (folders[method] / f"{name}.yaml").is_file()
        if dpc not in ("-", "none"):
            assert (folders[method].parent / f"{folders[method].name}_DPC/{dpc}.yaml").is_file()
        for key, word in zip(settings[::2], settings[1::2], strict=True):
            own = TRAINER_REGISTRY.get(folders[method].name).own_options()
            assert key in own or key in ("OPTIM.MAX_EPOCH", "DATASET.TEMPLATE")
            cfg.merge_from_list([key, word])


def test_coops_own_few_shot_protocol(checkout):
    """RN50, 50 epochs for 1 shot, 100 for 2 and 4, 200 for 8 and 16; on ImageNet 50."""
    assert checkout.run("coop/few_shot.sh", "eurosat", "1").returncode == 0
    assert [folder.split("/")[-2] for folder in folders(checkout)] == [
        "rn50_ep50", "rn50_ep100", "rn50_ep100", "rn50", "rn50",
    ]  # fmt: skip
    assert checkout.run("coop/few_shot.sh", "imagenet", "1", SHOTS="16").returncode == 0
    assert "/CoOp/rn50_ep50/" in folders(checkout)[-1]
    refused = checkout.run("dpc/few_shot.sh", "eurosat", "1", "coop", PRESET="own")
    assert refused.returncode == 2 and "unknown backbone 'coop'" in refused.stderr


def test_promptsrcs_aggregation_by_data_set(checkout):
    for name in ("dtd", "oxford_pets"):
        assert checkout.run("promptsrc/few_shot.sh", name, "1", SHOTS="4").returncode == 0
    dtd, pets = checkout.calls
    mean, std = "TRAINER.PROMPTSRC.GPA_MEAN", "TRAINER.PROMPTSRC.GPA_STD"
    assert (value(dtd, mean), value(dtd, std)) == ("45.0", "5.0")
    assert mean not in pets and std not in pets
    assert checkout.run("promptsrc/few_shot.sh", "dtd", "1", SHOTS="4", CFG="mine").returncode == 0
    assert mean not in checkout.calls[2]


@pytest.mark.parametrize(("name", "weight"), [("dtd", "200.0"), ("oxford_pets", "1000.0")])
def test_promptkds_weight_by_data_set(checkout, name, weight):
    result = checkout.run("promptkd/base2new_train.sh", name, "1")
    assert result.returncode == 0
    teacher, student = checkout.calls
    assert "TRAINER.PROMPTKD.KD_WEIGHT" not in teacher
    assert value(student, "TRAINER.PROMPTKD.KD_WEIGHT") == weight
    said = f"base2new has for PromptKD on {name}: TRAINER.PROMPTKD.KD_WEIGHT {weight}"
    assert said in result.stdout

    # a run of before this was said: its weight is among the settings in its log
    log = checkout.root / value(student, "--output-dir") / "log.txt"
    (log.parent / "run.json").unlink()
    plain = log.read_text().replace(f" TRAINER.PROMPTKD.KD_WEIGHT {weight}", "")
    log.write_text(f"{plain}settings:\n    KD_WEIGHT: 1000.0\n")
    result = checkout.run("promptkd/base2new_train.sh", name, "1")
    assert (result.returncode == 0) == (weight == "1000.0")
    said = "TRAINER.PROMPTKD.KD_WEIGHT was not set, now 200.0; set OUTPUT"
    assert (said in result.stderr) == (weight == "200.0")


def test_promptkd_distils_on_each_target_from_a_teacher_of_the_source(checkout):
    result = checkout.run("promptkd/xd_train.sh", "oxford_pets", "1")
    assert result.returncode == 0, result.stderr
    assert checkout.run("promptkd/xd_test.sh", "oxford_pets", "1").returncode == 0
    assert checkout.run("promptkd/xd_train.sh", "imagenet", "1").returncode == 0  # the source itself
    assert checkout.run("promptkd/xd_train.sh", "oxford_pets", "1", "eurosat").returncode == 0
    assert checkout.run("promptkd/xd_test.sh", "oxford_pets", "1", "eurosat").returncode == 0
    cfg = "vit_b16_c2_ep20_batch8_4+4ctx_cross_datasets"
    teacher = "shots_16/PromptSRC/vit_l14_c2_ep20_batch8_4+4ctx/seed1"
    assert folders(checkout) == [
        f"xd/train/imagenet/{teacher}",
        f"xd/distil/oxford_pets/shots_0/PromptKD/{cfg}/seed1",
        f"xd/test/oxford_pets/shots_0/PromptKD/{cfg}/seed1",
        f"xd/train/imagenet/shots_0/PromptKD/{cfg}/seed1",
        f"xd/train/eurosat/{teacher}",
        f"xd/distil/oxford_pets/shots_0/PromptKD/{cfg}-from-eurosat/seed1",
        f"xd/test/oxford_pets/shots_0/PromptKD/{cfg}-from-eurosat/seed1",
    ]
    calls = checkout.calls
    assert value(calls[0], "--dataset-config-file") == "configs/datasets/imagenet.yaml"
    for student, source in zip((calls[1], calls[2], calls[3], calls[5]), (0, 0, 0, 4), strict=True):
        assert value(student, "TRAINER.PROMPTKD.TEACHER_DIR") == value(calls[source], "--output-dir")
        assert value(student, "TRAINER.MODAL") == "cross"
    assert value(calls[1], "--dataset-config-file") == "configs/datasets/oxford_pets.yaml"
    assert value(calls[2], "--model-dir") == value(calls[1], "--output-dir")
    assert value(calls[6], "--model-dir") == value(calls[5], "--output-dir")
    missing = checkout.run("promptkd/xd_test.sh", "eurosat", "1")
    assert "bash scripts/promptkd/xd_train.sh eurosat 1 imagenet comes first" in missing.stderr


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
