"""What is in these pictures, by the prompts of a finished run?

    python predict.py photo.jpg more/*.png --model-dir output/run
    python predict.py photo.jpg --model-dir output/run --classes "tabby cat" "golden retriever" bicycle

The run's checkpoint says which method, settings and class names. CLIP's weights, and for DPC and PromptKD the
runs that they build on, must still be where they were; --set KEY VALUE says where they are now. DPC takes the
prompt for base classes where all classes are among those that it was tuned on, else the one for new classes.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode as CN

import train
from dassl.data.datasets import DATASET_REGISTRY
from dassl.data.transforms import build_transform
from dassl.engine import TRAINER_REGISTRY
from dassl.engine.checkpoint import BEST, find_checkpoint
from dassl.utils import load_checkpoint, read_image
from trainers.promptkd.teacher import usual_teacher

BATCH = 64  # images at a time
ROOT = Path(__file__).resolve().parent
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


def settings_of(checkpoint: dict[str, Any], options: Sequence[str]) -> CN:
    """The run's settings, with ``options`` KEY VALUE ... over them."""
    cfg = train.default_cfg()
    for key, text in checkpoint["settings"].items():
        value = json.loads(text)
        if key in _PATHS and value and not Path(value).exists() and (ROOT / value).exists():
            value = str(ROOT / value)
        cfg.merge_from_list([key, value])
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
) -> Any:
    """The trainer of a run with its tuned prompts, ready to predict ``classnames``; empty: the run's own.

    Raises:
        FileNotFoundError, ValueError: what the run needs is missing, or does not fit.
    """
    if len(classnames) == 1 or len(set(classnames)) < len(classnames):
        raise ValueError(f"--classes needs two or more different names, got {', '.join(classnames)}")
    checkpoint, epoch = read_run(directory, epoch, argument)
    cfg = settings_of(checkpoint, options)
    template = DATASET_REGISTRY.get(cfg.DATASET.NAME).template
    data = NamedClasses(checkpoint["dataset"], template, classnames or checkpoint["classnames"])
    try:
        trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg, data)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}\n--set KEY VALUE changes a setting of the run") from error
    trainer.load_model(str(directory), epoch=epoch)
    return trainer


def predict(trainer: Any, paths: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Each image's path and the probabilities of the classes, [C].

    Raises:
        FileNotFoundError, ValueError: an image is missing or cannot be read.
    """
    transform = build_transform(trainer.cfg, is_train=False)
    assert transform is not None  # no trainer of ours takes INPUT.NO_TRANSFORM
    trainer.start_test("test")
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        images = torch.stack([transform(read_image(path)) for path in part]).to(trainer.device)
        with torch.no_grad():
            probabilities = trainer.model_inference(images).float().softmax(dim=1).cpu()
        yield from zip(part, probabilities, strict=True)


def show(path: str, probabilities: Tensor, classnames: Sequence[str], top: int) -> str:
    """An image's most probable classes, a line each."""
    best = probabilities.topk(min(top, len(classnames)))
    lines = [f"{p:7.2%}  {classnames[i]}" for p, i in zip(*map(Tensor.tolist, best), strict=True)]
    return "\n".join([path, *lines])


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``opts`` holds the trailing KEY VALUE words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    parser.add_argument("--model-dir", required=True, type=Path, help="output folder of the run")
    parser.add_argument("--classes", nargs="+", default=[], help="class names instead of the run's own")
    parser.add_argument("--top", type=int, default=5, help="classes to show for each image (default: 5)")
    parser.add_argument("--csv", action="store_true", help="a table: image, then each class's probability")
    add_run_arguments(parser)
    return parser.parse_args(argv)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What says how to load a run."""
    parser.add_argument("--load-epoch", type=int, help="epoch of its checkpoint (default: as it was tested)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY VALUE", help="settings over those of the run"
    )


def run(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise ValueError(f"--top must be at least 1, got {args.top}")
    trainer = load_run(args.model_dir, args.classes, args.load_epoch, args.set)
    classnames = trainer.dm.dataset.classnames
    table = csv.writer(sys.stdout, lineterminator="\n")
    if args.csv:
        table.writerow(["image", *classnames])
    for path, probabilities in predict(trainer, args.images):
        if args.csv:
            table.writerow([path, *(f"{p:.6f}" for p in probabilities.tolist())])
        else:
            print(show(path, probabilities, classnames, args.top))


def main(argv: Sequence[str] | None = None) -> int:
    # what is printed is the answer alone
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return train.report_errors(lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
