"""The report on a classifier, of logits that are made up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reporting import classifier
from reporting.pictures import thumbnail
from reporting.predictions import Predictions, kept_at, read_predictions

NAMES = ["ant", "bee <b>", "cat"]
LABELS = [0, 0, 0, 1, 1, 2]
LOGITS = [[2, 0, 0], [0, 3, 0], [0, 5, 0], [0, 1, 0], [4, 0, 0], [0, 0, 9]]


def predictions(temperature: float = 1.0) -> Predictions:
    paths = [f"{i}.png" for i in range(6)]
    return Predictions(paths, np.array(LABELS), np.array(LOGITS, dtype=np.float32), NAMES, temperature)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run as train.py leaves it, and its images in photos/."""
    folder = tmp_path / "run"
    for place in (folder, folder / "zero_shot_run", tmp_path / "photos"):
        place.mkdir(exist_ok=True)
    for i in range(6):
        Image.new("RGB", (8, 6), (40 * i, 0, 0)).save(tmp_path / f"photos/{i}.png")
    record = {
        "method": "CoOp", "dataset": "photos", "split": "test", "subsample_classes": "all", "shots": 16,
        "seed": 1, "temperature": 2.0, "metrics": {"accuracy": 50.0}, "time": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    (folder / "results.jsonl").write_text(json.dumps(record) + "\n")
    record = {**record, "method": "ZeroshotCLIP", "metrics": {"accuracy": 33.3}}
    (folder / "zero_shot_run/results.jsonl").write_text(json.dumps(record) + "\n")
    np.savez(
        folder / "logits.npz",
        impath=np.array([f"photos/{i}.png" for i in range(6)]),
        label=np.array(LABELS), logits=np.array(LOGITS, dtype=np.float32), classnames=np.array(NAMES),
    )  # fmt: skip
    return folder


def test_counts() -> None:
    found = predictions()
    assert found.confusion().tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert found.correct.tolist() == [True, False, False, True, False, True]
    assert found.surest_mistakes(10) == [2, 4, 1] and found.surest_mistakes(2) == [2, 4]
    assert found.confidence()[0] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert found.confidence(2.0)[0] == predictions(2.0).confidence()[0]
    assert found.confidence(2.0)[0] == pytest.approx(np.e / (np.e + 2))


def test_classes_with_what_they_are_taken_for() -> None:
    assert classifier.class_rows(predictions()) == [
        ("ant", 3, pytest.approx(1 / 3), "bee <b> (2)"),
        ("bee <b>", 2, 0.5, "ant (1)"),
        ("cat", 1, 1.0, ""),
    ]


def test_what_a_threshold_keeps() -> None:
    confidence, correct = np.array([0.9, 0.5, 0.7]), np.array([True, False, False])
    assert kept_at(confidence, correct, [0.5, 0.7, 0.95]) == [
        (0.5, 1.0, pytest.approx(1 / 3)), (0.7, pytest.approx(2 / 3), 0.5), (0.95, 0.0, None),
    ]  # fmt: skip


def test_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(run), "--root", str(run.parent), "--beside", str(run / "zero_shot_run")]
    assert classifier.main(words) == 0
    page = (run / "report.html").read_text()
    assert "50.0 %</span> of 6 test images" in page
    assert "zero-shot CLIP, which is tuned on none: 33.3 %" in page
    assert "divided by 2.000" in page and "bee &lt;b&gt;" in page and "<b>" not in page
    assert "mean nothing" not in page
    commands = [command.words for command in classifier.next_commands(run)]
    out = capsys.readouterr().out
    assert "3 of 6 test images are right (50.0 %)" in out and len(commands) == 3
    assert all(each in out and f"<code>{each}</code>" in page for each in commands)
    assert len(re.findall(r'src="data:image/png;base64,', page)) == 3
    for name in ("confusion", "calibration", "mistakes"):
        assert Image.open(run / f"{name}.png").width > 300
    assert (run / "classes.txt").read_text().splitlines() == NAMES
    assert classifier.main([*words, "--demo"]) == 0
    assert "mean nothing" in (run / "report.html").read_text()


def test_without_a_mistake_there_is_no_contact_sheet(run: Path) -> None:
    (run / "mistakes.png").write_text("of an earlier report")
    found = read_predictions(run, run.parent, None)
    found.labels = found.predicted
    assert set(classifier.write_pictures(run, found)) == {"confusion", "calibration"}
    assert not (run / "mistakes.png").exists()


def test_what_is_missing_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "logits.npz").unlink()
    assert classifier.main([str(run)]) == 1
    assert "TEST.SAVE_LOGITS True" in capsys.readouterr().err
    assert classifier.main([str(run.parent / "photos")]) == 1
    assert "no test result" in capsys.readouterr().err and not (run / "report.html").exists()


def test_photos_stand_upright_on_the_contact_sheet(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 30)).save(tmp_path / "turned.jpg", exif=exif)
    assert thumbnail(str(tmp_path / "turned.jpg")).size == (30, 60)
    assert thumbnail(str(tmp_path / "gone.jpg")).size == (360, 360)
