"""From a folder of photos to a classifier: one run on all classes, in a folder that can be shipped."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from experiments.catalogue import DEPT, ZERO_SHOT, DataSet, Protocol, find_set, methods
from experiments.checks import check_data, refuse_changed_sets
from experiments.local import Pool, Stopped, find_gpus, slots
from experiments.plan import Plan
from experiments.protocols import Builder, Place, Wishes
from experiments.run import Run, pairs_of
from experiments.watch import Watch
from experiments.words import from_here, key_values

SCALED = "TEST.TEMPERATURE_SCALING"
NOTE = """
--model demo: a tiny CLIP that knows drawn characters saw these images at 32 x 32 pixels. The figures mean
nothing; they show that everything runs. Leave --model away for CLIP ViT-B/16 (350 MB, downloaded once)."""


class FitBuilder(Builder):
    """Makes the runs of one classifier: itself in the results' root, what it builds on below it."""

    def __init__(self, wishes: Wishes, final: str) -> None:
        super().__init__("few_shot", wishes)
        self.final = final

    def _folder(self, part: str, data: DataSet, shots: int, trainer: str, label: str, seed: int) -> Path:
        return self.wishes.output if trainer == self.final else self.wishes.output / part_of(trainer)


def part_of(trainer: str) -> str:
    """Where a run lies that is not the classifier itself; in its own folder nothing is called so."""
    return "zero_shot_run" if trainer == "ZeroshotCLIP" else f"{trainer}_run"


def trainer_of(args: argparse.Namespace, wishes: Wishes) -> str:
    """The name of the trainer that the arguments ask for.

    Raises:
        ValueError: an unknown method, or a plug-in that does not go on it.
    """
    known = list(methods())
    if args.method not in known:
        raise ValueError(f"--method is '{args.method}'; known: {' '.join(known)}")
    if args.plugin == "dpc" and args.method not in Protocol("few_shot", wishes.preset).backbones():
        raise ValueError(f"--plugin dpc does not go on --method {args.method}")
    if args.plugin == "dept" and args.method + DEPT not in methods():
        raise ValueError(f"--plugin dept does not go on --method {args.method}")
    ending = {"dpc": "_DPC", "dept": "_DePT"}.get(args.plugin, "")
    return methods()[args.method] + ending


def runs_of(args: argparse.Namespace, data: DataSet, wishes: Wishes, asked: tuple[str, ...]) -> Iterator[Run]:
    """Zero-shot CLIP to compare with, and the classifier with what it needs, and with the settings ``asked``.

    Raises:
        ValueError: as `trainer_of`.
    """
    final = trainer_of(args, wishes)
    builder = FitBuilder(wishes, final)
    place = Place("", data, "all", shots_of(args.shots))
    zero_shot = builder.zero_shot("", data, "all", args.seed, place.shots)
    if args.method == ZERO_SHOT:
        yield replace(zero_shot, extra=(*asked, *zero_shot.extra))
        return
    yield zero_shot
    if args.plugin == "dpc":
        run = builder.dpc(args.method, "released", place, args.seed)
    else:
        run = builder.learner(args.method + (DEPT if args.plugin == "dept" else ""), place, args.seed)
    yield replace(run, extra=(*asked, *run.extra))


def asked_of(data: DataSet) -> tuple[str, ...]:
    """What the report and predict.py are made of, and no other command asks for."""
    folder = Path(data.path) if data.path else None
    val_is_test = folder and (folder / "train").is_dir() and not (folder / "test").is_dir()
    return ("TEST.SAVE_LOGITS", "True", SCALED, str(not val_is_test))


def shots_of(word: str) -> int:
    """Training images a class; 0 for all.

    Raises:
        ValueError: it is neither a number above 0 nor "all".
    """
    if word == "all":
        return 0
    if not word.isdigit() or int(word) < 1:
        raise ValueError(f"--shots is '{word}'; give a number of images a class, or all")
    return int(word)


def wishes_of(args: argparse.Namespace, data: DataSet, typed_in: Path) -> Wishes:
    """Where things go, and the settings of all runs.

    Raises:
        ValueError: an option is not KEY VALUE, or the template has no place for the class name.
    """
    options = pairs_of(key_values("--options", args.options))
    if args.template:
        if args.template.count("{}") != 1:
            raise ValueError(
                f"--template is {args.template!r}; it must hold {{}} once, where the class name goes, as in "
                '"a photo of a {}."'
            )
        options["DATASET.TEMPLATE"] = repr(args.template)  # "{}" alone would be read as a mapping
    return Wishes(
        data=from_here(args.data, "data", typed_in),
        output=Path(from_here(args.output, f"output/fit/{data.name}", typed_in)),
        demo=args.model == "demo",
        options=tuple(word for pair in options.items() for word in pair),
    )


def fit(args: argparse.Namespace, typed_in: Path) -> int:
    """What the arguments ask for; the exit code.

    Raises:
        ValueError: an argument, the data or what is in the output folder is wrong; nothing was run.
    """
    data = find_set(args.images, typed_in)
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}, but must be 0 or more")
    wishes = wishes_of(args, data, typed_in)
    shots_of(args.shots), trainer_of(args, wishes)  # before minutes of looking at images
    asked = asked_of(data)
    if args.skip_unreadable:
        data = readable(data, wishes.output)
    plan = Plan(runs_of(args, data, wishes, asked))
    plan.refuse_other_settings()
    refuse_changed_sets((run, plan.states[folder]) for folder, run in plan.runs.items())
    if missing := plan.missing():
        check_data([data], wishes.data)
        if asked[-1] == "False":
            print(
                f"{args.images} has no test/: val/ is tested on, so confidence is not calibrated ({SCALED})"
            )
        if not wishes.demo:
            say_time(missing)
        if code := execute(plan, wishes):
            return code
    return report(plan, wishes)


def readable(data: DataSet, output: Path) -> DataSet:
    """The list of a folder's images that can be read, which stands for it from now on.

    Raises:
        ValueError: there is no such list to be made.
    """
    if not data.path:
        raise ValueError("--skip-unreadable is for images of your own, not for a named data set")
    target = output.absolute() / f"{data.name}.json"
    if subprocess.call([sys.executable, "-m", "datasets.readable", data.path, "--list", str(target)]):
        raise ValueError(f"{data.name} cannot be used as it is, see above; nothing was run")
    return DataSet(data.name, str(target))


def say_time(missing: list[Run]) -> None:
    """Measure a few steps of each run, and say how long all of them will take on this machine.

    Raises:
        ValueError: a run cannot begin; why was printed.
    """
    print("measuring how long this takes on this machine ...", flush=True)
    order = [
        {"folder": str(run.folder), "words": [*run.flags(), *run.key_values()], "trains": run.trains}
        for run in missing
    ]
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.fit_time", json.dumps(order)], stdout=subprocess.PIPE, text=True
    )
    if result.returncode:
        raise ValueError("the classifier cannot be tuned as it is, see above; nothing was run")
    seconds, machine, spent = json.loads(result.stdout.splitlines()[-1])
    start = time.monotonic() - started - spent  # of a process, before it looks at its run
    print(f"this takes about {in_words(seconds + len(order) * start)} on {machine}", flush=True)


def in_words(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def execute(plan: Plan, wishes: Wishes) -> int:
    """Run what is missing, one after the other; the exit code."""
    watch = Watch(plan, "one at a time", wishes.output)

    def log_of(run: Run) -> Path:
        return wishes.output / "logs" / f"{run.trainer}.txt"

    places = slots(find_gpus(), 1, 1)
    try:
        return Pool(places, log_of, 0, watch.say, watch.look).run(plan)
    except Stopped as stopped:
        print(f"ended by {stopped}; the same command goes on", file=sys.stderr)
        return 130
    finally:
        watch.close()


def report(plan: Plan, wishes: Wishes) -> int:
    """Write the report, and say what comes next; the exit code."""
    words = [str(wishes.output), "--root", wishes.data]
    zero_shot = wishes.output / part_of("ZeroshotCLIP")
    words += ["--beside", str(zero_shot)] if zero_shot in plan.runs else []
    words += ["--demo"] if wishes.demo else []
    if code := subprocess.call([sys.executable, "-m", "reporting.classifier", *words]):
        return code
    if wishes.demo:
        print(NOTE)
    return 0
