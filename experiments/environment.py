"""What the scripts read from the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from experiments.protocols import READINGS, Wishes
from experiments.words import from_here, key_values


class WrongWord(ValueError):
    """A word of the command line that is not understood."""


def read_wishes(environment: dict[str, str], typed_in: Path, method: str) -> Wishes:
    """What the environment variables say.

    Raises:
        ValueError: a value that is not possible; names the variable.
    """

    def number(name: str, least: int) -> int | None:
        text = environment.get(name, "")
        if text and not (text.isdigit() and int(text) >= least):
            raise ValueError(f"{name} is '{text}', but must be a whole number{' above 0' if least else ''}")
        return int(text) if text else None

    def choice(name: str, default: str, choices: Sequence[str]) -> str:
        value = environment.get(name) or default
        if value not in choices:
            raise ValueError(
                f"{name} is '{value}', but must be {', '.join(filter(None, choices[:-1]))} or {choices[-1]}"
            )
        return value

    choice("VARIANT", "released", READINGS)
    demo = environment.get("MODEL", "")
    if demo not in ("", "demo"):
        raise ValueError(f"MODEL is '{demo}', but must be demo, or not set (CFG names others)")
    cfg = environment.get("CFG", "")
    learner = environment.get("BACKBONE_CFG", "") if method == "dpc" else cfg
    return Wishes(
        data=from_here(environment.get("DATA", ""), "data", typed_in),
        output=Path(from_here(environment.get("OUTPUT", ""), "output", typed_in)),
        demo=bool(demo),
        preset=choice("PRESET", "dpc" if method == "dpc" else "own", ("own", "dpc")),
        shots=number("SHOTS", 1),
        cfg=cfg,
        learner_cfg=learner,
        teacher_cfg=environment.get("TEACHER_CFG", ""),
        options=key_values("OPTIONS", environment.get("OPTIONS", "").split()),
        epoch=number("LOADEP", 0),
    )


def variables() -> str:
    return (
        "environment: DATA OUTPUT SHOTS MODEL PRESET CFG BACKBONE_CFG TEACHER_CFG VARIANT LOADEP OPTIONS "
        "PYTHON (docs/protocols.md)"
    )


def base2new_words(environment: dict[str, str], words: Sequence[str]) -> list[str]:
    """scripts/base2new.sh's words and variables as those of ``python -m experiments base2new``.

    Raises:
        WrongWord: no data set.
        ValueError: a variable is blank.
    """
    if not words:
        raise WrongWord("DATASET is needed")
    given = {
        name: environment.get(name, default).split()
        for name, default in (
            ("BACKBONES", "coop"),
            ("SEEDS", "1 2 3"),
            ("VARIANTS", environment.get("VARIANT") or "released"),
        )
    }
    if blank := [name for name, values in given.items() if not values]:
        raise ValueError(f"{blank[0]} is blank, but must name one or more")
    if wrong := [seed for seed in given["SEEDS"] if not seed.isdigit()]:
        raise ValueError(f"SEEDS has '{wrong[0]}', but must be whole numbers, 0 or more")
    if wrong := [word for word in given["VARIANTS"] if word not in READINGS]:
        raise ValueError(f"VARIANT is '{wrong[0]}', but must be {', '.join(READINGS[:-1])} or {READINGS[-1]}")
    jobs = environment.get("JOBS", "")
    if jobs and not (jobs.isdigit() and int(jobs)):
        raise ValueError(f"JOBS is '{jobs}', but must be a whole number above 0")
    if not jobs and environment.get("MODEL") == "demo":
        jobs = str(os.cpu_count())
    result = ["base2new", "--data-sets", *words, "--methods", *given["BACKBONES"]]
    result += ["--seeds", *given["SEEDS"], "--readings", *given["VARIANTS"]]
    return [*result, *(["--jobs", jobs] if jobs else [])]
