"""`python -m experiments fit`: its runs, and what it refuses before anything runs. docs/photos.md runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.fit_time import seconds_of
from experiments import fit
from experiments.arguments import parse
from experiments.plan import Plan
from experiments.run import Run, pairs_of
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # configurations are found from the root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("moss", "wall")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (40, 30), (60 * number, 20 * i, 90)).save(
                tmp_path / "photos" / name / f"{i}.png"
            )
    return tmp_path / "photos"


def runs(photos: Path, *words: str) -> dict[str, Run]:
    """By folder below the classifier's, which is "."."""
    output = photos.parent / "out"
    args = parse(["fit", str(photos), "--output", str(output), *words])
    data = fit.find_set(args.images, ROOT)
    plan = Plan(fit.runs_of(args, data, fit.wishes_of(args, data, ROOT), fit.asked_of(data)))
    return {folder.relative_to(output).as_posix(): run for folder, run in plan.runs.items()}


def test_a_classifier_and_zero_shot_clip_beside_it(photos: Path) -> None:
    found = runs(photos, "--model", "demo")
    assert {name: run.trainer for name, run in found.items()} == {
        "zero_shot_run": "ZeroshotCLIP",
        ".": "CoOp",
    }
    run = found["."]
    assert (run.classes, run.shots, run.cfg, run.data.path) == ("all", 16, "demo", str(photos))
    said = pairs_of(run.extra)
    assert said["TEST.TEMPERATURE_SCALING"] == said["TEST.SAVE_LOGITS"] == "True"
    assert "TEST.TEMPERATURE_SCALING" not in pairs_of(found["zero_shot_run"].extra)


def test_where_validation_images_are_the_test_nothing_is_calibrated_on_them(photos: Path) -> None:
    def scaled() -> str:
        return pairs_of(runs(photos)["."].extra)["TEST.TEMPERATURE_SCALING"]

    assert scaled() == "True"
    for part in ("train", "val"):
        shutil.copytree(photos.parent / "photos", photos.parent / "parts" / part)
    shutil.rmtree(photos)
    (photos.parent / "parts").rename(photos)
    assert scaled() == "False"
    shutil.copytree(photos / "val", photos / "test")
    assert scaled() == "True"


def test_what_it_builds_on_lies_in_its_folder(photos: Path) -> None:
    found = runs(photos, "--plugin", "dpc", "--shots", "all", "--method", "promptkd")
    assert list(found) == ["zero_shot_run", "PromptSRC_run", "PromptKD_run", "."]
    final = found["."]
    assert (final.trainer, final.shots, final.classes) == ("PromptKD_DPC", 0, "all")
    said = pairs_of(final.options)
    assert said["TRAINER.DPC.BACKBONE_DIR"] == str(found["PromptKD_run"].folder)
    assert said["TRAINER.PROMPTKD.TEACHER_DIR"] == str(found["PromptSRC_run"].folder)
    assert list(runs(photos, "--method", "zsclip")) == ["."]
    assert runs(photos, "--method", "maple", "--plugin", "dept")["."].trainer == "MaPLe_DePT"


def test_options_and_template_reach_every_run(photos: Path) -> None:
    words = ("--template", "a {}, seen from above", "--options", "OPTIM.LR", "0.1")
    for run in runs(photos, "--plugin", "dpc", *words).values():
        said = pairs_of(run.extra)
        assert said["OPTIM.LR"] == "0.1" and said["DATASET.TEMPLATE"] == repr("a {}, seen from above")
    assert runs(photos)["."].settings() != runs(photos, *words)["."].settings()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method coup", "--method is 'coup'; known: zsclip cocoop coop"),
        ("--method zsclip --plugin dpc", "--plugin dpc does not go on --method zsclip"),
        ("--method cocoop --plugin dept", "--plugin dept does not go on --method cocoop"),
        ("--shots 0", "--shots is '0'; give a number"),
        ("--shots some", "--shots is 'some'; give a number"),
        ("--seed -1", "--seed is -1"),
        ("--template leaf", "--template is 'leaf'; it must hold {} once"),
        ("--options 0.1", "--options begins with '0.1'"),
    ],
)
def test_what_is_wrong_is_said_before_an_image_is_read(words: str, said: str, photos: Path) -> None:
    args = parse(["fit", str(photos), "--output", str(photos.parent / "out"), *words.split()])
    with pytest.raises(ValueError) as caught:
        fit.fit(args, ROOT)
    assert said in str(caught.value)
    assert not (photos.parent / "out").exists() and not (photos / "split.json").exists()


def test_bad_images_and_a_folder_too_high(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (photos / "moss/9.jpg").write_text("no image")
    words = ["--output", str(photos.parent / "out"), "--model", "demo"]
    with pytest.raises(ValueError, match="nothing was run"):
        fit.fit(parse(["fit", str(photos), *words]), ROOT)
    out = capfd.readouterr().out
    assert "moss/9.jpg" in out and "--skip-unreadable" in out and not (photos / "split.json").exists()
    shutil.rmtree(photos.parent / "out", ignore_errors=True)
    with pytest.raises(ValueError, match="nothing was run"):
        fit.fit(parse(["fit", str(photos.parent), *words]), ROOT)
    assert f"Did you mean {photos}?" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "10 seconds"), (94, "90 seconds"), (150, "2 minutes"), (5000, "83 minutes"), (7200, "2.0 hours")],
)
def test_a_time_in_words(seconds: float, text: str) -> None:
    assert fit.in_words(seconds) == text


def test_the_time_grows_with_the_epochs(photos: Path) -> None:
    def seconds(epochs: int) -> float:
        run = runs(photos, "--model", "demo", "--options", "OPTIM.MAX_EPOCH", str(epochs))["."]
        found, trainer = seconds_of([*run.flags(), *run.key_values()], trains=True)
        assert trainer.max_epoch == epochs and not list(run.folder.glob("*/checkpoint"))
        return found

    few, many = seconds(1), seconds(2000)
    assert many > 10 * few
