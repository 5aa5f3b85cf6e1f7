"""The whole of a protocol with one command: ``python -m experiments base2new --data-sets eurosat ...``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from experiments import paper, protocols, slurm
from experiments.arguments import parse
from experiments.catalogue import DEPT, ZERO_SHOT, Protocol, expand, find_set, methods
from experiments.checks import check_data, refuse_changed_sets, refuse_foreign_sets
from experiments.clusters import read_cluster
from experiments.fit import fit
from experiments.local import Pool, Stopped, find_gpus, slots
from experiments.one import is_running
from experiments.parsl_pool import ParslPool, read_config
from experiments.plan import Plan
from experiments.protocols import Wishes
from experiments.run import Run
from experiments.upgrade import DEMO_PAIR, Pair, find_model, upgrade
from experiments.watch import Watch, has_begun, status
from experiments.words import ROOT, from_here, key_values, report_errors

DEMO_NOTE = """
MODEL=demo: a tiny CLIP that knows drawn characters saw these images at 32 x 32 pixels. The table shows that
everything runs, not how good any method is on them; for that, leave MODEL away."""
TABLES = {"base2new": "--base-new", "xd": "--xd", "few_shot": "--few-shot", "upgrade": "--upgrade"}


def wishes_of(args: argparse.Namespace, typed_in: Path) -> Wishes:
    """What the arguments say beside methods, data sets and seeds.

    Raises:
        ValueError: an option is not KEY VALUE, or a number is not possible.
    """
    if args.shots is not None and args.shots < 1:
        raise ValueError(f"--shots is {args.shots}, but must be 1 or more")
    return Wishes(
        data=from_here(args.data, "data", typed_in),
        output=Path(from_here(args.output, "output", typed_in)),
        demo=args.model == "demo",
        preset=args.preset,
        shots=args.shots,
        cfg=args.cfg,
        learner_cfg=args.learner_cfg,
        teacher_cfg=args.teacher_cfg,
        options=key_values("--options", args.options),
        dpc_options=key_values("--dpc", args.dpc),
    )


def runs_of(args: argparse.Namespace, wishes: Wishes, typed_in: Path) -> Iterator[Run]:
    """The runs of the command.

    Raises:
        ValueError: an unknown method or data set, or a seed below 0.
    """
    if wrong := [seed for seed in args.seeds if seed < 0]:
        raise ValueError(f"--seeds has {wrong[0]}, but must be whole numbers, 0 or more")
    if args.command == "paper":
        sets = expand(args.data_sets, typed_in)
        return evidence_of(args).runs(sets, args.seeds, wishes, args.readings)
    readings = args.readings if "dpc" in args.plugins else []
    learners = learners_of(args, wishes)
    if args.command == "upgrade":
        if "dept" in args.plugins:
            raise ValueError("--plugins dept is not for upgrade: its head is on the old image tower")
        targets = expand(args.targets, typed_in)
        sets = expand(args.data_sets, typed_in)
        return upgrade(pair_of(args, wishes, typed_in), sets, targets, args.methods, readings, args.seeds)
    if args.command == "xd":
        source, targets = find_set(args.source, typed_in), expand(args.targets, typed_in)
        targets = [target for target in targets if target != source]
        return protocols.xd(source, targets, learners, readings, args.seeds, wishes)
    make = {"base2new": protocols.base2new, "few_shot": protocols.few_shot}[args.command]
    return make(expand(args.data_sets, typed_in), learners, readings, args.seeds, wishes)


def learners_of(args: argparse.Namespace, wishes: Wishes) -> list[str]:
    """The prompt learners of the command, and with ``--plugins dept`` each with DePT on it.

    Raises:
        ValueError: an unknown method, or one that a plug-in has no configuration for.
    """
    plugins = args.plugins
    trained = [name for name in methods() if name != ZERO_SHOT]  # which every protocol adds by itself
    known = Protocol(args.command, wishes.preset).backbones() if "dpc" in plugins else trained
    if "dept" in plugins:
        known = [name for name in known if name + DEPT in methods()]
    if unknown := [name for name in args.methods if name not in known]:
        raise ValueError(f"--methods has '{unknown[0]}'; known: {' '.join(known)}")
    return [*args.methods, *(name + DEPT for name in args.methods if "dept" in plugins)]


def pair_of(args: argparse.Namespace, wishes: Wishes, typed_in: Path) -> Pair:
    """The CLIP of before and its successor.

    Raises:
        ValueError: one is not named, or its file is not there.
    """
    names = [args.old, args.new]
    if wishes.demo:
        names = [name or str(ROOT / own) for name, own in zip(names, DEMO_PAIR, strict=True)]
    if not all(names):
        raise ValueError("--old and --new must name a CLIP each: OpenAI's name, or a file of weights")
    old, new = (
        find_model(name, key_values(flag, words), typed_in)
        for name, flag, words in zip(
            names, ("--old-options", "--new-options"), (args.old_options, args.new_options), strict=True
        )
    )
    return Pair(old, new, wishes)


def run(args: argparse.Namespace, wishes: Wishes, typed_in: Path) -> int:
    """What the arguments ask for; the exit code."""
    check_place(args)
    plan = Plan(runs_of(args, wishes, typed_in))
    if args.only:
        plan = plan.only(args.only)
    if args.resume_failed:
        whole = plan
        plan = plan.chosen(lambda run: has_begun(whole, run, wishes.output))
        if not plan.runs:
            print(f"{whole.summary()}; of none that has begun anything is missing")
            return 0
    if args.plan:
        print("\n".join(plan.tree()))
        return 0
    if args.status:
        print("\n".join(slurm.states(plan) if args.on == "slurm" else status(plan, is_running)))
        return 0
    if args.cancel:
        print("\n".join(slurm.cancel(plan)))
        return 0
    refuse_foreign_sets(plan.runs.values(), wishes.output)
    plan.refuse_other_settings()
    refuse_changed_sets((run, plan.states[folder]) for folder, run in plan.runs.items())
    missing = plan.missing()
    sets = {run.data: None for run in missing}
    check_data(sets, wishes.data)
    if missing and args.command == "upgrade":
        pair_of(args, wishes, typed_in).check_widths()
    if missing and args.on == "slurm":
        slurm.submit(plan, read_cluster(args.cluster), args.per_gpu, args.retries)
        return 0
    code = execute(args, plan, wishes, typed_in) if missing else 0
    return code or show_table(args, plan, wishes)


def check_place(args: argparse.Namespace) -> None:
    """Raise ValueError where the place to run at is unknown, or another argument is not for it."""
    kind, _, file = args.on.partition(":")
    if kind not in ("local", "slurm", "parsl") or (kind == "parsl") != bool(file):
        raise ValueError(f"--on is {args.on!r}, but must be local, slurm or parsl:FILE.py")
    if kind == "slurm":
        read_cluster(args.cluster)  # looked at first: what is wrong with it is said at once
    elif args.cancel or args.cluster != "default":
        raise ValueError("--cluster and --cancel are for --on slurm")
    for name in ("gpus", "jobs"):
        if getattr(args, name) is not None and kind != "local":
            raise ValueError(f"--{name} is for --on local; {kind} knows what is free by itself")
    if kind == "parsl" and args.per_gpu != 1:
        raise ValueError(f"--per-gpu is not for --on parsl, whose workers are told by {file}")
    if args.per_gpu < 1 or (args.jobs is not None and args.jobs < 1):
        raise ValueError("--per-gpu and --jobs must be 1 or more")
    if args.retries < 0:
        raise ValueError(f"--retries is {args.retries}, but must be 0 or more")


def execute(args: argparse.Namespace, plan: Plan, wishes: Wishes, typed_in: Path) -> int:
    """Run what is missing, and stay until it is done.

    Raises:
        ValueError: the file of --on parsl:FILE.py is not what it must be.
    """
    kind, _, file = args.on.partition(":")
    make: Callable[..., Pool]
    if kind == "parsl":
        make, where = partial(ParslPool, read_config(typed_in / file), plan), f"by Parsl ({file})"
    else:
        gpus = find_gpus() if args.gpus is None else [gpu for gpu in args.gpus.split(",") if gpu]
        places = slots(gpus, args.per_gpu, args.jobs)
        make, where = partial(Pool, places), f"{len(places)} at a time"
    watch = Watch(plan, where, wishes.output)
    try:
        return make(watch.log_of, args.retries, watch.say, watch.look).run(plan)
    except Stopped as stopped:
        print(f"ended by {stopped}; the same command goes on", file=sys.stderr)
        return 130
    finally:
        watch.close()


def write_report(args: argparse.Namespace, typed_in: Path) -> int:
    """One page of everything below a folder; the exit code."""
    output = Path(from_here(args.results, "output", typed_in))
    page = from_here(args.html, "", typed_in) if args.html else str(output / "report.html")
    words = [str(output), "--html", page, *(["--paper"] if args.paper else [])]
    return subprocess.call([sys.executable, "parse_test_res.py", *words])


def evidence_of(args: argparse.Namespace) -> paper.Evidence:
    """What of the paper the arguments ask for."""
    if args.supplement:
        return paper.SUPPLEMENT
    return paper.FIGURES[args.figure] if args.figure else paper.TABLES[args.table]


def show_table(args: argparse.Namespace, plan: Plan, wishes: Wishes) -> int:
    """The protocol's table of all that is in the results' folder; its exit code."""
    output = wishes.output
    if args.command == "paper":
        words = evidence_of(args).command(plan, output, wishes.data)
    else:
        words = ["parse_test_res.py", str(output / args.command), TABLES[args.command]]
        words += ["--plot", str(output / "base_new.png")] if args.command == "base2new" else []
    print(flush=True)
    code = subprocess.call([sys.executable, *words])
    if wishes.demo and any(run.data.path for run in plan.runs.values()):
        print(DEMO_NOTE)
    return code


def main() -> int:
    typed_in = Path(os.environ.get("TYPED_IN") or Path.cwd())
    args = parse()
    if args.command == "report":
        return report_errors(lambda: write_report(args, typed_in), "experiments")
    if args.command == "fit":
        return report_errors(lambda: fit(args, typed_in), "experiments")
    return report_errors(lambda: run(args, wishes_of(args, typed_in), typed_in), "experiments")
