"""A command line in the family's way, with a few of its options."""

import argparse

import datasets.stripes  # noqa: F401 - registers
import trainers.scaled  # noqa: F401 - registers
from yacs.config import CfgNode as CN

import clip
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from dassl.utils import collect_env_info, set_random_seed, setup_logger


def setup_cfg(args):
    cfg = get_cfg_default()
    cfg.TRAINER.SCALED = CN()
    cfg.TRAINER.SCALED.START = 1.0
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    cfg.DATASET.ROOT = args.root
    cfg.OUTPUT_DIR = args.output_dir
    cfg.SEED = args.seed
    cfg.TRAINER.NAME = args.trainer
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    return cfg


def main(args):
    cfg = setup_cfg(args)
    set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR)
    print("** System info **\n" + collect_env_info())
    print("clip says:", clip.WHOSE)
    trainer = build_trainer(cfg)
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
        trainer.test()
        return
    trainer.train()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="")
    parser.add_argument("--output-dir", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--config-file", default="")
    parser.add_argument("--trainer", default="")
    parser.add_argument("--eval-only", action="store_true")
    parser.add_argument("--model-dir", default="")
    parser.add_argument("--load-epoch", type=int)
    parser.add_argument("opts", nargs=argparse.REMAINDER)
    main(parser.parse_args())
