"""The command line of ``python -m experiments``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from experiments.catalogue import GROUPS, SOURCE
from experiments.paper import FIGURES, TABLES
from experiments.protocols import READINGS

DESCRIPTION = "The whole of a protocol with one command."


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("base2new", "trained on the first half of the classes, tested on both halves"),
        ("xd", "trained on all classes of a source, tested on other data sets"),
        ("few_shot", "trained and tested on all classes, with 1 to 16 images each"),
        ("upgrade", "tuned on one CLIP, tested on it and on its successor"),
        ("paper", "a table or figure of DPC's paper"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        if name == "paper":
            which = command.add_mutually_exclusive_group(required=True)
            which.add_argument("--table", type=int, choices=sorted(TABLES))
            which.add_argument("--figure", type=int, choices=sorted(FIGURES))
            which.add_argument("--supplement", action="store_true", help="parameters, time, memory, Top-K")
            command.add_argument(
                "--data-sets",
                nargs="+",
                default=[],
                help="in place of the paper's; across data sets the source first",
            )
        else:
            _add_subjects(command, name)
        _add_common(command)
    _add_fit(commands)
    text = "one HTML page of all runs below a folder"
    report = commands.add_parser("report", help=text, description=text)
    report.add_argument("results", nargs="?", default="", help="root of the results (default: output)")
    report.add_argument("--html", default="", metavar="FILE", help="default: report.html in that folder")
    report.add_argument("--paper", action="store_true", help="with the figures of DPC's paper")
    return parser.parse_args(argv)


def _add_subjects(command: argparse.ArgumentParser, name: str) -> None:
    groups = ", ".join(GROUPS)
    if name == "xd":
        command.add_argument("--source", default=SOURCE, help="data set to train on (default: %(default)s)")
        command.add_argument("--targets", nargs="+", default=["targets"], help=f"names, paths or {groups}")
    else:
        command.add_argument("--data-sets", nargs="+", required=True, help=f"names, paths or {groups}")
    if name == "upgrade":
        for which, text in (("old", "the CLIP that prompts are tuned on"), ("new", "its successor")):
            command.add_argument(
                f"--{which}", default="", help=f"{text}: OpenAI's name, or a file of weights"
            )
            command.add_argument(
                f"--{which}-options", nargs="+", default=[], metavar="KEY VALUE", help="that go with it"
            )
        command.add_argument(
            "--targets", nargs="*", default=[], help="tested, not trained on: such as shifted"
        )
    command.add_argument("--methods", nargs="+", default=["coop"], help="prompt learners (default: coop)")
    command.add_argument(
        "--plugins", nargs="*", default=["dpc"], choices=["dpc", "dept"], help="on each (default: dpc)"
    )


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--readings",
        nargs="+",
        default=["released"],
        choices=READINGS,
        help="of DPC, and two_step, its control (default: released)",
    )
    command.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    command.add_argument("--shots", type=int, help="training images per class (default: the protocol's)")
    command.add_argument("--model", choices=["demo"], help="the embedded tiny CLIP; its figures mean little")
    command.add_argument("--preset", choices=["dpc", "own"], default="dpc", help="see docs/protocols.md")
    command.add_argument("--data", default="", help="root of the named data sets (default: data)")
    command.add_argument("--output", default="", help="root of the results (default: output)")
    command.add_argument("--cfg", default="", help="DPC's configuration")
    command.add_argument("--learner-cfg", default="", help="the prompt learners' configuration")
    command.add_argument("--teacher-cfg", default="", help="that of PromptKD's teacher")
    command.add_argument("--options", nargs="+", default=[], metavar="KEY VALUE", help="for every run")
    command.add_argument("--dpc", nargs="+", default=[], metavar="KEY VALUE", help="for DPC's runs alone")
    running = command.add_argument_group("running")
    running.add_argument(
        "--on", default="local", metavar="WHERE",
        help="local (default), slurm, or parsl:FILE.py: FILE.py is Python of your own, is executed, and "
        "defines config, a parsl.config.Config; see docs/clusters.md",
    )  # fmt: skip
    running.add_argument(
        "--cluster",
        default="default",
        metavar="NAME",
        help="for slurm: configs/clusters/NAME.yaml (default: default)",
    )
    running.add_argument("--gpus", help="such as 0,1,2 (default: those that are found)")
    running.add_argument("--per-gpu", type=int, default=1, help="runs on one GPU at a time")
    running.add_argument("--jobs", type=int, help="runs at a time (default: one a GPU; one on a CPU)")
    running.add_argument("--retries", type=int, default=0, help="how often a failed run is resumed")
    running.add_argument(
        "--resume-failed", action="store_true", help="only runs that have begun and are not done"
    )
    running.add_argument(
        "--only", default="", metavar="PATTERN", help="runs whose folder matches, and their needs"
    )
    running.add_argument("--plan", action="store_true", help="show what is done and what would run, and stop")
    running.add_argument(
        "--cancel", action="store_true", help="for slurm: end the jobs of these runs, and stop"
    )
    running.add_argument(
        "--status", action="store_true", help="show what is running, done and failed, and stop"
    )


def _add_fit(commands: Any) -> None:
    text = "a classifier from your images: checks them, tunes on all classes, and leaves one folder"
    command = commands.add_parser("fit", help=text, description=text)
    command.add_argument(
        "images", help="your folder of images, your .csv or .json list, or a data set's name"
    )
    command.add_argument("--method", default="coop", help="prompt learner, or zsclip (default: coop)")
    command.add_argument("--plugin", choices=["dpc", "dept"], help="on it (default: none)")
    command.add_argument("--shots", default="16", help="training images per class, or all (default: 16)")
    command.add_argument("--template", default="", help='such as "a photo of a {}, a type of bird."')
    command.add_argument("--skip-unreadable", action="store_true", help="leave out what cannot be read")
    command.add_argument("--model", choices=["demo"], help="the embedded tiny CLIP; its figures mean nothing")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--data", default="", help="root of the named data sets (default: data)")
    command.add_argument("--output", default="", help="the folder that is left (default: output/fit/NAME)")
    command.add_argument("--options", nargs="+", default=[], metavar="KEY VALUE", help="settings of all runs")
