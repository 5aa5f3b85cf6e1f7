"""The report on a classifier of ``python -m experiments fit``: a page, its pictures, classes, settings.

    python -m reporting.classifier output/fit/photos --root data --beside output/fit/photos/zero_shot_run

What comes from files is text there, as in reporting/html.py.
"""

from __future__ import annotations

import argparse
import base64
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dassl.metrics import calibration_error
from reporting.html import page
from reporting.pictures import RESOLUTION, calibration_figure, confusion_figure, contact_sheet
from reporting.predictions import Predictions, kept_at, read_predictions
from reporting.run_folders import RunFolder, read_folder

MISTAKES = 10  # on the contact sheet
THRESHOLDS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
FEW_IMAGES = 100  # fewer say little of calibration


class ClassRow(NamedTuple):
    """A class on the test images; ``instead`` is what its images were taken for most often."""

    name: str
    images: int
    accuracy: float | None
    instead: str


class Command(NamedTuple):
    words: str
    meaning: str


def class_rows(predictions: Predictions) -> list[ClassRow]:
    """The classes, the one with the lowest accuracy first."""
    counts, names = predictions.confusion(), predictions.classnames
    rows = []
    for label, name in enumerate(names):
        others = counts[label].copy()
        hits, images = int(others[label]), int(others.sum())
        others[label] = 0
        most = int(others.argmax())
        instead = f"{names[most]} ({others[most]})" if others[most] else ""
        rows.append(ClassRow(name, images, hits / images if images else None, instead))
    return sorted(rows, key=lambda row: 2.0 if row.accuracy is None else row.accuracy)


def next_commands(folder: Path) -> list[Command]:
    place = shlex.quote(str(folder))
    one = f"python predict.py photo.jpg --model-dir {place}"
    many = f"python predict.py photos --model-dir {place} --threshold 0.7 --csv"
    return [
        Command(one, "what is in a picture"),
        Command(many, 'in a folder, as a table, "none of these" below 70 %'),
        Command(
            f"python export.py {place} --to onnx", "one file for onnxruntime: image in, probabilities out"
        ),
    ]


def write_pictures(folder: Path, predictions: Predictions) -> dict[str, str]:
    """Draw the pictures into the folder; name -> data: address."""
    figures = {
        "confusion": confusion_figure(predictions),
        "calibration": calibration_figure(predictions),
    }
    if mistakes := predictions.surest_mistakes(MISTAKES):
        figures["mistakes"] = contact_sheet(predictions, mistakes)
    else:
        (folder / "mistakes.png").unlink(missing_ok=True)
    found = {}
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=RESOLUTION)
        found[name] = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return found


def result_of(folder: Path) -> tuple[RunFolder, dict[str, Any]]:
    """A run's folder, and the record of its last test.

    Raises:
        ValueError: it has none.
    """
    run = read_folder(folder, folder)
    if run.result is None:
        raise ValueError(f"{folder} holds no test result")
    return run, run.result


def write(folder: Path, root: Path, beside: Path | None, demo: bool) -> Predictions:
    """Write the report into the folder of a classifier.

    Args:
        root: DATASET.ROOT of its run.
        beside: folder of zero-shot CLIP's run on the same images, to compare with.
        demo: whether its figures mean nothing.

    Raises:
        FileNotFoundError, ValueError: the run is not finished, or has not left its logits.
    """
    run, result = result_of(folder)
    predictions = read_predictions(folder, root, result.get("temperature"))
    correct = predictions.correct
    errors = [calibration_error(predictions.confidence(t), correct) for t in (1.0, predictions.temperature)]
    settings = run.facts.get("settings", {})
    (folder / "classes.txt").write_text("\n".join(predictions.classnames) + "\n", encoding="utf-8")
    lines = [f"{name}: {text}" for name, text in sorted(settings.items())]
    (folder / "settings.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    values = {
        "name": result["dataset"],
        "folder": folder.as_posix(),
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "demo": demo,
        "result": result,
        "zero_shot": result_of(beside)[1] if beside else None,
        "correct": int(correct.sum()),
        "total": len(correct),
        "few": len(correct) < FEW_IMAGES,
        "rows": class_rows(predictions),
        "errors": errors,
        "kept": kept_at(predictions.confidence(), correct, THRESHOLDS),
        "pictures": write_pictures(folder, predictions),
        "commands": next_commands(folder),
        "settings": sorted(settings.items()),
        "machine": sorted(run.facts.get("machine", {}).items()),
    }
    (folder / "report.html").write_text(page("classifier.html", values), encoding="utf-8")
    return predictions


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reporting.classifier",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the run's")
    parser.add_argument("--root", type=Path, default=Path(), help="DATASET.ROOT of the run")
    parser.add_argument("--beside", type=Path, help="folder of zero-shot CLIP's run on the same images")
    parser.add_argument("--demo", action="store_true", help="say that the figures mean nothing")
    args = parser.parse_args(argv)
    try:
        predictions = write(args.folder, args.root, args.beside, args.demo)
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    right, total = int(predictions.correct.sum()), len(predictions.labels)
    print(
        f"\n{right} of {total} test images are right ({100 * right / total:.1f} %): {args.folder}/report.html"
    )
    print("next:")
    for command in next_commands(args.folder):
        print(f"  {command.words}    # {command.meaning}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
