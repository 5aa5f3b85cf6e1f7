"""SLURM's commands: jobs of this user, known by their names."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.run import Run

PREFIX = "dpc-"
# a job in any other state may still begin, or go on
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
ENDED |= {"PREEMPTED", "REVOKED", "TIMEOUT"}


@dataclass(frozen=True)
class Job:
    """A job of ours, of one run or several.

    Attributes:
        state: SLURM's word, such as PENDING.
        reason: why it waits, or how it ended.
        runs: `mark` of each.
    """

    id: str
    state: str
    reason: str
    runs: tuple[str, ...]

    @property
    def is_active(self) -> bool:
        return self.state not in ENDED


def place_mark(run: Run) -> str:
    """Tells a run's folder, wherever it is named from."""
    return hashlib.sha256(os.path.realpath(run.folder).encode()).hexdigest()[:12]


def mark(run: Run) -> str:
    """Tells a run's folder and settings."""
    return f"{place_mark(run)}.{run.key()[:6]}"


def job_name(runs: Sequence[Run]) -> str:
    return PREFIX + "-".join(map(mark, runs))


def jobs() -> list[Job]:
    """This user's jobs of ours, oldest first; ended ones as long as SLURM remembers them (minutes).

    Raises:
        ValueError: SLURM is not there, or does not answer.
    """
    words = ["--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r|%j"]
    found = []
    for line in call("squeue", *words).splitlines():
        number, state, reason, name = line.strip().split("|", 3)
        if name.startswith(PREFIX):
            found.append(Job(number, state, reason, tuple(name.removeprefix(PREFIX).split("-"))))
    return sorted(found, key=lambda job: int(re.match(r"\d*", job.id)[0] or 0))  # type: ignore[index]


def gres(partition: str) -> tuple[int, int]:
    """The GPUs and shards of the node that has the most shards a GPU; (0, 0) where none has GPUs."""
    where = [f"--partition={partition}"] if partition else []
    nodes = []
    for line in call("sinfo", "--noheader", "--format=%G", *where).splitlines():
        counts = {"gpu": 0, "shard": 0}
        for kind, count in re.findall(r"(gpu|shard)(?::[^:,]+)?:(\d+)", re.sub(r"\([^)]*\)", "", line)):
            counts[kind] += int(count)
        if counts["gpu"]:
            nodes.append((counts["gpu"], counts["shard"]))
    return max(nodes, key=lambda node: node[1] / node[0], default=(0, 0))


def submit(script: str, words: Sequence[str]) -> str:
    """The id of a new job.

    Raises:
        ValueError: sbatch refused it; says why.
    """
    said = call("sbatch", "--parsable", *words, script=script)
    number = (said.splitlines() or [""])[-1].partition(";")[0]
    if not number.isdigit():
        raise ValueError(f"sbatch --parsable printed {said!r}, which is no job's id")
    return number


def cancel(ids: Sequence[str]) -> None:
    """End jobs, the last ones first: none begins because another has ended."""
    if ids:
        call("scancel", *reversed(ids))


def call(program: str, *words: str, script: str | None = None) -> str:
    """What a command of SLURM prints.

    Raises:
        ValueError: it is not there, or fails.
    """
    environment = {key: value for key, value in os.environ.items() if key != "EXPERIMENTS_DRIVER"}
    try:
        result = subprocess.run(
            [program, *words],
            input=script or "",
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise ValueError(
            f"--on slurm needs SLURM's commands, but {program} was not found; run it where sbatch works"
        ) from None
    if result.returncode:
        raise ValueError(f"{program} failed: {result.stderr.strip() or result.returncode}")
    return result.stdout.strip()
