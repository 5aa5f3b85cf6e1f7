"""A path in place of a data set's name, in every script."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scripts.checkout import value


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder that holds data sets of one's own."""
    for name in ("my textures", "coop", "eurosat", "elsewhere/my textures"):
        (tmp_path / "own" / name / "smooth").mkdir(parents=True)
    (tmp_path / "own/pictures.csv").touch()
    (tmp_path / "own/notes.txt").touch()
    return tmp_path / "own"


def place(call: list[str]) -> str:
    return value(call, "--output-dir").removeprefix("output/")


@pytest.mark.parametrize(
    "word", ["my textures", "./my textures/", "elsewhere/../my textures", "{own}/my textures"]
)
def test_a_path_is_the_data_set_and_its_last_part_the_name(checkout, own, word):
    result = checkout.run("dpc/base2new_train.sh", word.format(own=own), "1", cwd=own)
    assert result.returncode == 0, result.stderr
    for call in checkout.calls:
        assert value(call, "--dataset-config-file") == "configs/datasets/folder.yaml"
        assert value(call, "DATASET.DIR") == f"{own}/my textures"
        assert "/train_base/my textures/shots_16/" in value(call, "--output-dir")
        assert call[-4:] == ["DATASET.NUM_SHOTS", "16", "DATASET.SUBSAMPLE_CLASSES", "base"]
    result = checkout.run("coop/base2new_test.sh", word.format(own=own), "1", cwd=own, PRESET="dpc")
    assert result.returncode == 0, result.stderr
    assert value(checkout.calls[-1], "DATASET.DIR") == f"{own}/my textures"


def test_a_list_is_called_without_its_ending(checkout, own):
    assert checkout.run("zsclip/base2new_test.sh", "pictures.csv", "1", cwd=own).returncode == 0
    (call,) = checkout.calls
    assert value(call, "DATASET.DIR") == f"{own}/pictures.csv"
    assert "/test_new/pictures/shots_16/" in value(call, "--output-dir")


def test_own_sets_as_source_and_target(checkout, own):
    (checkout.root / "configs/trainers/CoOp/vit_b16_ep50_ctxv1.yaml").touch()
    assert checkout.run("coop/xd_train.sh", "1", "./my textures", cwd=own).returncode == 0
    assert checkout.run("coop/xd_test.sh", "pictures.csv", "1", "./my textures", cwd=own).returncode == 0
    train, test = checkout.calls
    assert value(train, "DATASET.DIR") == f"{own}/my textures" and "/train/my textures/" in place(train)
    assert value(test, "DATASET.DIR") == f"{own}/pictures.csv"
    assert place(test).endswith("/test/pictures/shots_16/CoOp/vit_b16_ep50_ctxv1-from-my textures/seed1")
    result = checkout.run("dpc/xd_test.sh", "pictures.csv", "2", "./my textures", "coop", cwd=own)
    assert f"bash scripts/dpc/xd_train.sh 2 {own}/my\\ textures coop comes first" in result.stderr


def test_known_words_come_before_folders_of_that_name(checkout, own):
    assert checkout.run("coop/base2new_train.sh", "eurosat", "1", cwd=own).returncode == 0
    assert "DATASET.DIR" not in checkout.calls[0]
    for name in ("datasets/imagenet",):
        (checkout.root / f"configs/{name}.yaml").touch()
    assert checkout.run("dpc/xd_train.sh", "1", "coop", cwd=own).returncode == 0  # the backbone, not a source
    assert [place(call).split("xd/train/")[1].split("/")[0] for call in checkout.calls[1:]] == [
        "imagenet"
    ] * 2


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("coop/base2new_train.sh", ["my texture", "1"], "unknown data set 'my texture'"),
        ("coop/base2new_train.sh", ["./nope", "1"], "no folder and no .csv or .json list at './nope'"),
        ("coop/base2new_train.sh", ["pictures.json", "1"], "no folder and no .csv or .json list at"),
        ("coop/base2new_train.sh", ["notes.txt", "1"], "unknown data set 'notes.txt'"),
        ("coop/base2new_train.sh", ["", "1"], "unknown data set ''"),
        ("coop/base2new_train.sh", ["folder", "1"], "give the set's path in place of that word"),
        ("dpc/xd_train.sh", ["1", "./nope"], "no folder and no .csv or .json list at './nope'"),
    ],
)
def test_a_wrong_path_is_named_with_what_is_possible(checkout, own, script, words, said):
    result = checkout.run(script, *words, cwd=own)
    assert result.returncode == 2
    assert said in result.stderr and "or a path: your folder of images" in result.stderr
    assert not checkout.calls and not (checkout.root / "output").exists()


def test_folder_is_a_name_with_its_path_in_the_options(checkout, own):
    result = checkout.run("zsclip/base2new_test.sh", "folder", "1", OPTIONS=f"DATASET.DIR {own}/coop")
    assert result.returncode == 0, result.stderr
    assert checkout.calls[0][-2:] == ["DATASET.DIR", f"{own}/coop"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("my textures", "elsewhere/my textures"), ("eurosat", "./eurosat"), ("./eurosat", "eurosat")],
)
def test_two_sets_of_one_name_do_not_share_results(checkout, own, first, second):
    assert checkout.run("coop/base2new_train.sh", first, "1", cwd=own).returncode == 0
    for script in ("coop/base2new_train.sh", "zsclip/base2new_test.sh"):
        result = checkout.run(script, second, "1", cwd=own)
        assert result.returncode == 1
        assert "they are of a data set of the same name from elsewhere" in result.stderr
        assert "set OUTPUT" in result.stderr
    assert len(checkout.calls) == 1
    assert checkout.run("coop/base2new_train.sh", first, "2", cwd=own).returncode == 0
    assert checkout.run("coop/base2new_train.sh", second, "1", cwd=own, OUTPUT="other").returncode == 0


@pytest.mark.parametrize(("word", "changed"), [("pictures.csv", "pictures.csv"), ("coop", "coop/split.json")])
def test_results_of_a_set_that_was_changed_are_not_shown_for_the_new_one(checkout, own, word, changed):
    (own / "coop/split.json").touch()
    for seed in "12":
        assert checkout.run("coop/base2new_train.sh", f"./{word}", seed, cwd=own).returncode == 0
    for result in checkout.root.rglob("results.jsonl"):
        os.utime(result, (result.stat().st_mtime - 10,) * 2)
    (own / changed).write_text("another")
    result = checkout.run("coop/base2new_train.sh", f"./{word}", "1", cwd=own)
    assert result.returncode == 1
    assert "is not what it was" in result.stderr and "set OUTPUT" in result.stderr
    assert len(checkout.calls) == 2


def test_the_embedded_model_on_any_data_set(checkout):
    assert checkout.run("dpc/base2new_train.sh", "eurosat", "1", MODEL="demo").returncode == 0
    assert all(value(call, "--config-file").endswith("/demo.yaml") for call in checkout.calls)
    result = checkout.run("dpc/base2new_train.sh", "eurosat", "1", MODEL="ViT-B/16")
    assert result.returncode == 1 and "MODEL is 'ViT-B/16', but must be demo" in result.stderr
