"""One run: settings -> trainer -> train and test. The command line of Dassl and CoOp.

    python train.py --root data --seed 1 --trainer CoOp --output-dir output/run \\
        --dataset-config-file configs/datasets/digits.yaml --config-file configs/trainers/CoOp/demo.yaml \\
        DATASET.SUBSAMPLE_CLASSES base

``torchrun --nproc-per-node N train.py ...`` computes one run on N GPUs.
"""

from __future__ import annotations

import argparse
import io
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

import datasets
from clip import missing_weights
from dassl.config import CfgNode as CN
from dassl.config import check_settings, get_cfg_default
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.engine.lock import locked_folder
from dassl.engine.processes import disconnect, first_to_fail
from dassl.utils import collect_env_info, set_random_seed, setup_logger
from dassl.utils.interrupt import catch_interrupts
from dassl.utils.logger import LOG_ONLY
from dassl.utils.processes import is_main
from trainers import extend_cfg, warn_of_foreign_options
from trainers.aliases import Door, config_file

logger = logging.getLogger("train")

_FLAGS = {
    "root": "DATASET.ROOT",
    "output_dir": "OUTPUT_DIR",
    "resume": "RESUME",
    "source_domains": "DATASET.SOURCE_DOMAINS",
    "target_domains": "DATASET.TARGET_DOMAINS",
    "transforms": "INPUT.TRANSFORMS",
    "trainer": "TRAINER.NAME",
    "backbone": "MODEL.BACKBONE.NAME",
    "head": "MODEL.HEAD.NAME",
}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; ``opts`` holds the trailing KEY VALUE words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default="", help="folder of the data sets (DATASET.ROOT)")
    parser.add_argument(
        "--output-dir", default="", help="folder for log, results and checkpoints (OUTPUT_DIR)"
    )
    parser.add_argument("--resume", default="", help="folder of an unfinished run to go on with (RESUME)")
    parser.add_argument("--seed", type=int, default=-1, help="0 or more fixes every random choice (SEED)")
    parser.add_argument("--source-domains", nargs="+", help="DATASET.SOURCE_DOMAINS")
    parser.add_argument("--target-domains", nargs="+", help="DATASET.TARGET_DOMAINS")
    parser.add_argument("--transforms", nargs="+", help="augmentations (INPUT.TRANSFORMS)")
    parser.add_argument("--config-file", default="", help="settings of the method")
    parser.add_argument("--dataset-config-file", default="", help="settings of the data set")
    parser.add_argument("--trainer", default="", help="method (TRAINER.NAME)")
    parser.add_argument(
        "--plugin",
        default="",
        metavar="NAME",
        help="what is put in front of it: --trainer X --plugin dpc is X_DPC",
    )
    parser.add_argument("--backbone", default="", help="CLIP model, such as ViT-B/16 (MODEL.BACKBONE.NAME)")
    parser.add_argument("--head", default="", help="MODEL.HEAD.NAME")
    parser.add_argument("--eval-only", action="store_true", help="test only")
    parser.add_argument("--model-dir", default="", help="run whose checkpoint --eval-only tests")
    parser.add_argument("--load-epoch", type=int, help="its epoch; -1 for the last, without it the best")
    parser.add_argument("--no-train", action="store_true", help="build everything, then stop")
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, help="KEY VALUE settings, the last word on all of them"
    )
    args = parser.parse_args(argv)
    for flag in ("model_dir", "load_epoch"):
        if getattr(args, flag) and not args.eval_only:
            logger.warning("--%s has no effect without --eval-only", flag.replace("_", "-"))
    args.trainer = stacked_name(args.trainer, args.plugin)
    return args


def stacked_name(trainer: str, plugin: str) -> str:
    """The name of ``trainer`` with ``plugin`` on it, however that is spelt; without one ``trainer``'s own."""
    known = TRAINER_REGISTRY.registered_names()
    spelt = {word.lower(): word for name in known for word in name.split("_")}
    spelt |= {name.lower(): name for name in known}
    name = f"{trainer}_{spelt.get(plugin.lower(), plugin)}"
    return spelt.get(name.lower(), name) if plugin else trainer


def default_cfg() -> CN:
    """All settings there are, with their defaults."""
    cfg = get_cfg_default(for_others=False)
    datasets.extend_cfg(cfg)
    extend_cfg(cfg)
    return cfg


def setup_cfg(args: argparse.Namespace) -> CN:
    """Settings of the run: defaults < data set file < method file < arguments < KEY VALUE options.

    Other repositories' names for them are translated (`trainers.aliases`).

    Raises:
        ValueError: an unknown setting or a value of the wrong type.
    """
    cfg, door = default_cfg(), Door(args.trainer)
    door.begin(cfg)
    for path in (args.dataset_config_file, args.config_file):
        if path:
            cfg.merge_from_file(config_file(path), door.translate)
    for flag, key in _FLAGS.items():
        if value := getattr(args, flag):
            cfg.merge_from_list([key, value], door.translate, f"--{flag.replace('_', '-')}")
    if args.seed != -1:
        cfg.merge_from_list(["SEED", args.seed], origin="--seed")
    cfg.merge_from_list(args.opts, door.translate)
    door.end(cfg)
    check_settings(cfg)
    cfg.freeze()
    return cfg


def build(cfg: CN) -> Any:
    """The trainer that ``cfg`` names.

    Raises:
        FileNotFoundError: something is missing; the weights of CLIP are named too where they are.
    """
    try:
        return build_trainer(cfg)
    except FileNotFoundError as error:
        weights = missing_weights(cfg.MODEL.BACKBONE.PATH or cfg.MODEL.BACKBONE.NAME)
        if not weights or "CLIP weights" in str(error):
            raise
        raise FileNotFoundError(f"{error}\n{weights}") from error


def run(args: argparse.Namespace) -> None:
    """Build the trainer, which checks everything the run needs, before a first file is written.

    Raises:
        ValueError, FileNotFoundError: something is wrong or missing, or another run has the folder.
    """
    with ExitStack() as stack:
        earlier = io.StringIO()  # there is no log file before all checks are passed
        handler = logging.StreamHandler(earlier)
        logging.getLogger().addHandler(handler)
        stack.callback(logging.getLogger().removeHandler, handler)
        cfg = setup_cfg(args)
        warn_of_foreign_options(cfg)
        if cfg.SEED >= 0:
            set_random_seed(cfg.SEED)
        if torch.cuda.is_available() and cfg.USE_CUDA:
            torch.backends.cudnn.benchmark = True
        trainer = build(cfg)

        def begin() -> None:
            logging.getLogger().removeHandler(handler)
            if is_main():
                stack.enter_context(locked_folder(cfg.OUTPUT_DIR))
                setup_logger(cfg.OUTPUT_DIR, earlier.getvalue())
            logger.info("arguments: %s", " ".join(sys.argv[1:]))
            logger.info("settings:\n%s", cfg, extra=LOG_ONLY)
            logger.info("machine:\n%s", collect_env_info())

        if args.eval_only:
            trainer.load_model(args.model_dir, epoch=args.load_epoch)
            begin()
            trainer.test()
        elif args.no_train:
            begin()
        else:
            trainer.at_start = begin
            trainer.train()
        disconnect()


def report_errors(command: Callable[[], None]) -> int:
    """The exit code of ``command``, whose errors that a user can mend are said in a line.

    Of several processes that fail, the first speaks: the others fail alike, or because it has gone.
    """
    try:
        command()
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():  # of loaders: at its end Python would wait for them
            process.kill()
        print("interrupted: the same command goes on after the last finished epoch", file=sys.stderr)
        return 130
    except Exception as error:
        if not first_to_fail():
            return 1
        mendable = isinstance(error, ValueError | OSError | FloatingPointError)
        if not mendable or os.environ.get("DPC_TRACEBACK"):
            raise
        print(f"error: {error}\n(DPC_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Run the command line. Of several processes the main one speaks: the others' warnings are the same."""
    level = logging.INFO if is_main() else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    catch_interrupts()
    return report_errors(lambda: run(parse_arguments()))


if __name__ == "__main__":
    sys.exit(main())
