"""A finished run as a file for other programs.

    python export.py output/run --to safetensors    text features [C, E] and a scale: open_clip, transformers
    python export.py output/run --to onnx           images in, probabilities out: onnxruntime
    python export.py output/run --to torch          the same as a torch.export program: torch alone

Each file holds the class names, the preprocessing and the temperature. onnx and torch hold the image tower,
with prompts that a method has put into it; safetensors is for methods that leave it as it is. A file is
compared with the run that it was made of. How to use one: docs/photos.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import train
from dassl.engine import TRAINER_REGISTRY
from deploy.classifier import Classifier
from deploy.exported import WRITERS, check
from predict import add_run_arguments, load_run, read_run


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of the run")
    parser.add_argument("--to", required=True, choices=list(WRITERS), help="kind of file")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: classifier.* in FOLDER")
    parser.add_argument("--classes", nargs="+", default=[], help="class names instead of the run's own")
    parser.add_argument("--add-classes", nargs="+", default=[], help="class names beside them")
    add_run_arguments(parser)
    return parser.parse_args(argv)


def load(args: argparse.Namespace) -> Classifier:
    """The run on the CPU in float32, whatever it was tuned in: a file is for any machine."""
    checkpoint, _ = read_run(args.folder, args.load_epoch, "FOLDER")
    node = getattr(TRAINER_REGISTRY.get(json.loads(checkpoint["settings"]["TRAINER.NAME"])), "NODE", None)
    exact = ["USE_CUDA", "False", *([f"TRAINER.{node}.PREC", "fp32"] if node else [])]
    options = [*exact, *args.set]
    trainer = load_run(args.folder, args.classes, args.load_epoch, options, "FOLDER", args.add_classes)
    return Classifier(trainer)


def run(args: argparse.Namespace) -> None:
    ending, write = WRITERS[args.to]
    path = args.output or args.folder / f"classifier.{ending}"
    if path.is_dir():
        raise ValueError(f"--output {path} is a folder; it must name a file")
    classifier = load(args)
    written = write(classifier, path)
    print(f"{path}: {len(classifier.classnames)} classes, {path.stat().st_size / 1e6:.1f} MB")
    if written is None:
        print("not compared with the run, for onnxruntime is not installed")
    else:
        print(f"compared with the run: probabilities differ by {check(classifier, written):.1e} at most")


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return train.report_errors(lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
