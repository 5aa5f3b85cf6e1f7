"""What is in these pictures, by the prompts of a finished run?

    python predict.py photo.jpg folder "more/*.png" --model-dir output/run
    find photos -name "*.jpg" | python predict.py - --model-dir output/run --jsonl
    python predict.py photo.jpg --model-dir output/run --classes "tabby cat" "golden retriever" bicycle
    python predict.py photo.jpg --model-dir output/run --add-classes bicycle --threshold 0.6

The run's checkpoint says which method, settings, class names and temperature. CLIP's weights, and for DPC
and PromptKD the runs that they build on, must still be where they were, or in the run's folder; --set KEY
VALUE says where they are now. DPC takes the mix for base classes for the classes that it was tuned on, and
the one for new classes, which is the tuned prompt P, for all others.

Exit code: 0; 1 nothing could be done; 3 images were skipped that could not be read (they are named).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

import train
from dassl.config import CfgNode as CN
from dassl.data.datasets import DATASET_REGISTRY
from dassl.data.transforms import build_transform
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.checkpoint import BEST, find_checkpoint
from dassl.engine.testing import check_logits
from dassl.utils import load_checkpoint, progress
from deploy.answers import Answers
from deploy.classifier import Classifier
from deploy.inputs import batches, find_images
from trainers.promptkd.teacher import usual_teacher

BATCH = 64  # images at a time
SKIPPED = 3  # exit code: images could not be read
ROOT = Path(__file__).resolve().parent
log = logging.getLogger("predict")
_FINAL = "TEST.FINAL_MODEL"
_PATHS = (  # settings of a run that was perhaps started in another folder
    "MODEL.BACKBONE.PATH",
    "TRAINER.DPC.BACKBONE_DIR",
    "TRAINER.PROMPTKD.TEACHER_DIR",
    "TRAINER.PROMPTKD.TEACHER_PATH",
)


class NamedClasses:
    """Stands where a run has its data: names of classes, and no images."""

    train_loader_x = train_loader_u = val_loader = test_loader = None
    num_source_domains = 0

    def __init__(self, dataset: str, template: str, classnames: Sequence[str]) -> None:
        self.dataset = SimpleNamespace(name=dataset, template=template, classnames=list(classnames))
        self.num_classes = len(classnames)
        self.lab2cname = dict(enumerate(classnames))


def read_run(
    directory: Path, epoch: int | None = None, argument: str = "--model-dir"
) -> tuple[dict[str, Any], int | None]:
    """A checkpoint of the run in ``directory``: that of ``epoch``, else the one that the run itself tested.

    Args:
        argument: what the folder was given as, for messages.

    Returns:
        What it holds, and its epoch as ``load_model`` takes it (None: the best one).

    Raises:
        FileNotFoundError: there is none.
        ValueError: it does not say which settings it was trained with.
    """
    folders = sorted(path.parent for path in directory.glob("*/checkpoint"))
    if not folders:
        raise FileNotFoundError(f"{argument} {str(directory)!r} is not the output folder of a finished run")
    path = find_checkpoint(directory, folders[0].name, -1 if epoch is None else epoch)
    checkpoint = load_checkpoint(str(path))
    best = path.with_name(BEST)  # there if the run chose by validation
    if epoch is None and checkpoint.get("settings", {}).get(_FINAL) == '"best_val"' and best.exists():
        path, checkpoint = best, load_checkpoint(str(best))
    if missing := [key for key in ("settings", "classnames", "trainer") if key not in checkpoint]:
        raise ValueError(
            f"{str(path)!r} does not hold its {' and '.join(missing)}, as train.py writes them; "
            "train.py --eval-only can test it, interpret_prompt.py reads its words from the file itself"
        )
    return checkpoint, None if path == best else checkpoint["epoch"]


def settings_of(checkpoint: dict[str, Any], options: Sequence[str], directory: Path | None = None) -> CN:
    """The run's settings, with ``options`` KEY VALUE ... over them.

    Args:
        directory: the run's folder, where what it builds on may lie, too.
    """
    cfg = train.default_cfg()
    for key, text in checkpoint["settings"].items():
        value = json.loads(text)
        if key in _PATHS and value and not Path(value).exists():
            places = [ROOT / value, *([directory / Path(value).name] if directory else [])]
            value = next((str(place) for place in places if place.exists()), value)
        cfg.merge_from_list([key, value], origin="the checkpoint")
    if not cfg.TRAINER.PROMPTKD.TEACHER_DIR:  # where it lies depends on what is changed next
        usual = usual_teacher(cfg.DATASET.NAME, cfg.TRAINER.MODAL)
        cfg.merge_from_list(["TRAINER.PROMPTKD.TEACHER_DIR", str(usual if usual.exists() else ROOT / usual)])
    # Among given classes none is left out, as PromptKD does for half of a benchmark's.
    cfg.merge_from_list(["TRAINER.MODAL", "cross"])
    cfg.merge_from_list(["MODEL.INIT_WEIGHTS", ""])  # the checkpoint's own take their place
    cfg.merge_from_list(options)
    cfg.freeze()
    return cfg


def load_run(
    directory: Path,
    classnames: Sequence[str],
    epoch: int | None,
    options: Sequence[str],
    argument: str = "--model-dir",
    more: Sequence[str] = (),
) -> Any:
    """The trainer of a run with its tuned prompts, ready to predict ``classnames``; empty: the run's own.

    Args:
        more: further classes behind these.

    Raises:
        FileNotFoundError, ValueError: what the run needs is missing, or does not fit.
    """
    if len(classnames) == 1 or len(set(classnames)) < len(classnames):
        raise ValueError(f"--classes needs two or more different names, got {', '.join(classnames)}")
    checkpoint, epoch = read_run(directory, epoch, argument)
    cfg = settings_of(checkpoint, options, directory)
    template = DATASET_REGISTRY.get(cfg.DATASET.NAME).template
    names = [*(classnames or checkpoint["classnames"]), *more]
    if twice := next((name for name in more if names.count(name) > 1), None):
        raise ValueError(f"--add-classes names {twice!r}, which is among the classes already: leave it out")
    data = NamedClasses(checkpoint["dataset"], template, names)
    try:
        trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg, data)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}\n--set KEY VALUE changes a setting of the run") from error
    trainer.load_model(str(directory), epoch=epoch)
    trainer.temperature = checkpoint.get("temperature")
    return trainer


def predict(
    trainer: Any, paths: Sequence[str], skip: Callable[[str], None] | None = None, size: int = BATCH
) -> Iterator[tuple[str, Tensor]]:
    """Each image's path and the probabilities of the classes, [C].

    Args:
        skip: takes the reason where an image cannot be read.
        size: images at a time.

    Raises:
        ValueError: an image is missing or cannot be read, and there is no ``skip``.
        FloatingPointError: the prompts give no probabilities.
    """
    transform = build_transform(trainer.cfg, is_train=False)
    assert transform is not None  # no trainer of ours takes INPUT.NO_TRANSFORM
    classifier = Classifier(trainer)
    upright = trainer.cfg.INPUT.EXIF_ORIENTATION
    with progress("Images", len(paths)) as bar:
        for batch in batches(paths, transform, upright, size):
            for reason in batch.reasons:
                if skip is None:
                    raise ValueError(reason)
                skip(reason)
            if batch.paths:
                with torch.no_grad():
                    probabilities = classifier(batch.pixels.to(trainer.device)).cpu()
                check_logits(probabilities, batch.paths)
                yield from zip(batch.paths, probabilities, strict=True)
            bar.update(len(batch.paths) + len(batch.reasons))


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``opts`` holds the trailing KEY VALUE words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, patterns, or - for a list on stdin",
    )
    parser.add_argument("--model-dir", required=True, type=Path, help="output folder of the run")
    parser.add_argument("--classes", nargs="+", default=[], help="class names instead of the run's own")
    parser.add_argument("--add-classes", nargs="+", default=[], help="class names beside them")
    parser.add_argument("--top", type=int, default=5, help="classes to show for each image (default: 5)")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--csv", action="store_true", help="a table: image, then each class's probability")
    forms.add_argument("--jsonl", action="store_true", help="a JSON object a line")
    parser.add_argument(
        "--threshold", type=float, default=0.0, metavar="P",
        help='"none of these" where the most probable class has less than this (0 to 1; default: 0, never)',
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=BATCH, help=f"images at a time (default: {BATCH})")
    add_run_arguments(parser)
    return parser.parse_args(argv)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What says how to load a run."""
    parser.add_argument("--load-epoch", type=int, help="epoch of its checkpoint (default: as it was tested)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY VALUE", help="settings over those of the run"
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError where a number is not possible."""
    for name in ("top", "batch_size"):
        if (value := getattr(args, name)) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must be between 0 and 1, got {args.threshold}")


def run(args: argparse.Namespace) -> int:
    """The answers, on standard output; the number of images that could not be read."""
    check_arguments(args)
    paths = find_images(args.images, sys.stdin)
    trainer = load_run(args.model_dir, args.classes, args.load_epoch, args.set, more=args.add_classes)
    if args.threshold and trainer.temperature is None:
        log.warning(
            "%s has no temperature (TEST.TEMPERATURE_SCALING): --threshold meets probabilities that are not "
            "calibrated", args.model_dir,
        )  # fmt: skip
    form = "csv" if args.csv else "jsonl" if args.jsonl else "text"
    answers = Answers(trainer.dm.dataset.classnames, form, args.top, args.threshold, sys.stdout)
    skipped: list[str] = []
    for path, probabilities in predict(trainer, paths, skipped.append, args.batch_size):
        answers.add(path, probabilities)
    for reason in skipped:
        log.warning("skipped: %s", reason)
    if skipped:
        log.warning("%d of %d images were skipped, since they could not be read", len(skipped), len(paths))
    return len(skipped)


def main(argv: Sequence[str] | None = None) -> int:
    # what is printed is the answer alone
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    skipped: list[int] = []
    code = train.report_errors(lambda: skipped.append(run(parse_arguments(argv))))
    return code or (SKIPPED if any(skipped) else 0)


if __name__ == "__main__":
    sys.exit(main())
