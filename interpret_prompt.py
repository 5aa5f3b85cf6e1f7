"""Which words are nearest to what a prompt learned?

    python interpret_prompt.py output/run --topk 3
    python interpret_prompt.py output/run/prompt_learner/model.pth.tar-50 3

For each context token: the words of CLIP's vocabulary whose embeddings are nearest to it, with their
Euclidean distances. A run's folder says which CLIP that is; for DPC its P, P' and both mixes stand side by
side. A file alone, also one of the original repositories, is read as CoOp's script of this name reads it,
beside the CLIP of --backbone or --clip. A "…" stands behind what is the beginning or middle of a word.
"""

from __future__ import annotations

import argparse
import csv
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

import clip
import train
from clip.tokenizer import VOCAB_SIZE
from dassl.utils import load_checkpoint
from predict import add_run_arguments, load_run, settings_of
from trainers.core.words import Context, Neighbour, neighbours
from trainers.plugins.dpc import DPC

TOPK = 3
BACKBONE = "ViT-B/16"
_KEYS = ("ctx", "prompt_learner.ctx")  # of the context in checkpoints
_DEEP = re.compile(r"prompt_learner\.compound_prompts_text\.|text_encoder\..*VPT_shallow$")


# -- a finished run ---------------------------------------------------------------------------------------


def context_of_run(trainer: Any) -> Context:
    """The context of a trainer that has loaded its prompts.

    Raises:
        ValueError: its method tunes no text context.
    """
    model, name = trainer.model, type(trainer).__name__
    learner, teacher = model.prompt_learner, getattr(model, "teacher", None)
    notes = []
    if teacher is not None and not hasattr(learner, "ctx"):
        learner = teacher.prompt_learner
        notes.append(f"{name} tunes no text context: these are its teacher's tokens, in the teacher's CLIP")
    if not hasattr(learner, "ctx"):
        raise ValueError(f"{name} tunes no text context: its prompts are in the image tower, without words")
    if hasattr(learner, "meta_net"):
        notes.append("what its meta_net adds to every token, image by image, is left out")
    shown = _of_dpc(trainer, learner) if isinstance(trainer, DPC) else {"": learner.ctx}
    words = (teacher or model).clip.token_embedding.weight.detach().cpu().float()
    prompts = {title: ctx.detach().cpu().float() for title, ctx in shown.items()}
    classes = trainer.scope.names if learner.ctx.dim() == 3 else ()
    return Context(prompts, words, classes, [*notes, *_note_on_deep(learner.stored_tensors())])


def _of_dpc(trainer: Any, learner: Any) -> dict[str, Tensor]:
    """P, P' and what base and new classes see of them."""
    rule = trainer.rule_of("ctx")
    decoupled = trainer.cfg.TRAINER.DPC.DECOUPLING
    base = ("base", f"w_b {rule.weight_base:g}") if rule.mixes_base else ("base", "P' alone")
    if not trainer.weight_base:
        base = ("tuned", "P alone")
    new = ("new", f"w_n {rule.weight_new:g}") if decoupled else base
    columns = {
        "P": "tuned", "P'": "parallel", f"base ({base[1]})": base[0], f"new ({new[1]})": new[0],
    }  # fmt: skip
    prompts = {}
    for title, shown in columns.items():
        with trainer.dual_prompts.showing(shown):
            prompts[title] = learner.ctx.detach().clone()
    return prompts


def _note_on_deep(keys: Iterable[str]) -> list[str]:
    if count := sum(bool(_DEEP.match(key)) for key in keys):
        return [
            f"{count} deeper text prompts are left out: they enter between blocks, where no word has a place"
        ]
    return []


# -- a checkpoint file ------------------------------------------------------------------------------------


def context_of_file(path: Path, weights: str) -> Context:
    """The context in a checkpoint, ours or an original repository's.

    Args:
        weights: name or weights file of the CLIP that it was tuned for; "": what the checkpoint says, else
            `BACKBONE`.

    Raises:
        FileNotFoundError: CLIP's weights are missing.
        ValueError: the file holds no context that stands for itself, or one of another CLIP.
    """
    checkpoint = load_checkpoint(str(path))
    state = checkpoint.get("state_dict")
    if not isinstance(state, Mapping):
        raise ValueError(f"{str(path)!r} holds no state_dict: it is no checkpoint of prompts")
    run = f"python interpret_prompt.py {path.absolute().parent.parent}"
    if "dpc" in checkpoint:
        raise ValueError(f"{str(path)!r} holds P' of DPC, or a mix of it, without P: {run} shows all of them")
    ctx: Tensor | None = next((state[key] for key in _KEYS if key in state), None)
    if ctx is None:
        _refuse(path, state, run)
    classes, width = _classes(checkpoint, ctx), ctx.shape[-1]
    weights = weights or _weights_of(checkpoint)
    words = clip.load_token_embedding(weights)
    if width != words.shape[1]:
        raise ValueError(
            f"the context tokens of {str(path)!r} are {width} wide, the words of CLIP {weights} "
            f"{words.shape[1]}: name the CLIP that they were tuned for by --backbone or --clip"
        )
    notes = _note_on_deep(state)
    if any(key.startswith("meta_net.") for key in state):
        notes.append("what CoCoOp's meta_net adds to every token, image by image, is left out")
    return Context({"": ctx.float()}, words, classes, notes)


def _refuse(path: Path, state: Mapping[str, Tensor], run: str) -> NoReturn:
    """Raise a ``ValueError`` that says why a checkpoint has no context."""
    if any(key.startswith("VPT_image_trans.") for key in state):
        reason = (
            f"PromptKD's text context is its teacher's: {run} shows it, or give the teacher's checkpoint and "
            "--backbone ViT-L/14"
        )
    elif any("VPT" in key for key in state):
        reason = "its prompts are in the image tower, without words"
    else:
        reason = f"it has none of the keys {', '.join(_KEYS)}"
    raise ValueError(f"{str(path)!r} holds no text context: {reason}")


def _classes(checkpoint: Mapping[str, Any], ctx: Tensor) -> Sequence[str]:
    if ctx.dim() != 3:
        return ()
    return checkpoint.get("classnames") or [f"class {label}" for label in range(len(ctx))]


def _weights_of(checkpoint: dict[str, Any]) -> str:
    """Name or file of the CLIP that a checkpoint of ours was tuned for; of others', the usual one."""
    if "settings" not in checkpoint:
        return BACKBONE
    backbone = settings_of(checkpoint, []).MODEL.BACKBONE
    return backbone.PATH or backbone.NAME


# -- what is printed --------------------------------------------------------------------------------------


def show(context: Context, topk: int) -> Iterator[str]:
    """Lines: a context token each, or with several prompts a rank of a context token, under their names."""
    titles = list(context.prompts)
    rows: dict[str, list[list[str]]] = {}
    cells: dict[tuple[str, int, int], list[str]] = {}
    for near in neighbours(context, topk):
        line = near.rank if len(titles) > 1 else 1
        cell = f"{near.word} {near.distance:.4f}"
        cells.setdefault((near.class_name, near.position, line), []).append(cell)
    for (name, position, line), words in cells.items():
        rows.setdefault(name, []).append([str(position) if line == 1 else "", *words])
    for name, table in rows.items():
        if name:
            yield f"\n{name}"
        yield from _aligned([["", *titles], *table] if len(titles) > 1 else table)
    if context.notes:
        yield ""
        yield from (f"({note})" for note in context.notes)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def write_csv(context: Context, topk: int, path: Path) -> None:
    """All of it as a table, at full precision."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(Neighbour._fields)
        table.writerows(neighbours(context, topk))


# -- the command line -------------------------------------------------------------------------------------


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="folder of a finished run, or a checkpoint file")
    parser.add_argument("topk", type=int, nargs="?", metavar="TOPK", help="as --topk")
    parser.add_argument("--topk", type=int, dest="words", help=f"words for each token (default: {TOPK})")
    parser.add_argument(
        "--backbone", default="", help=f"of a file alone: its CLIP, as in train.py (default: {BACKBONE})"
    )
    parser.add_argument("--clip", default="", metavar="FILE", help="of a file alone: its CLIP's weights")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a table, at full precision")
    add_run_arguments(parser)
    args = parser.parse_args(argv)
    if args.topk is not None and args.words is not None:
        parser.error("TOPK and --topk say the same: give one of them")
    args.topk = next((k for k in (args.topk, args.words) if k is not None), TOPK)
    return args


def read(args: argparse.Namespace) -> Context:
    """The context that the command line names.

    Raises:
        FileNotFoundError: it, or what it needs, is missing.
        ValueError: there is none, or arguments do not go together.
    """
    if not args.path.exists():
        raise FileNotFoundError(f"{str(args.path)!r} is neither a checkpoint file nor a run's folder")
    if args.path.is_dir():
        if args.backbone or args.clip:
            raise ValueError(
                "--backbone and --clip are for a checkpoint file; a run's folder says its CLIP, and "
                "--set MODEL.BACKBONE.PATH FILE says where it is now"
            )
        return context_of_run(load_run(args.path, [], args.load_epoch, args.set, argument="the folder"))
    if args.set or args.load_epoch is not None:
        raise ValueError("--set and --load-epoch are for a run's folder; a checkpoint file is read as it is")
    if args.backbone and args.clip:
        raise ValueError("--backbone and --clip both name the CLIP: give one of them")
    return context_of_file(args.path, args.clip or args.backbone)


def run(args: argparse.Namespace) -> None:
    if not 1 <= args.topk <= VOCAB_SIZE:
        raise ValueError(f"TOPK is {args.topk}; it must be from 1 to {VOCAB_SIZE}")
    context = read(args)
    print("\n".join(show(context, args.topk)).lstrip("\n"))
    if args.csv:
        write_csv(context, args.topk, args.csv)


def main(argv: Sequence[str] | None = None) -> int:
    # what is printed is the answer alone
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return train.report_errors(lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
