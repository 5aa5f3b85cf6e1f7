"""A plan as jobs of SLURM, each waiting for those that it needs: the driver may leave."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments import slurm_queue as queue
from experiments.clusters import Cluster
from experiments.one import command, lock_file, locked
from experiments.plan import Plan
from experiments.run import Run
from experiments.slurm_queue import Job, mark, place_mark
from experiments.watch import log_file, status
from experiments.words import ROOT

HEAD = """\
#!/bin/bash
cd {root} || exit 1
unset EXPERIMENTS_DRIVER
resumed() {{  # COMMAND...
    local code=0
    for _ in {tries}; do
        "$@" && return
        code=$?
        echo "exit code $code" >&2
    done
    return $code
}}
"""
# runs side by side in one job, each with its own log
FOOT = """\
failed=0
for process in $(jobs -p); do wait "$process" || failed=1; done
exit $failed
"""


def submit(
    plan: Plan, cluster: Cluster, per_gpu: int = 1, retries: int = 0, say: Callable[[str], None] = print
) -> None:
    """Hand over what of a plan is neither done nor in the queue.

    Args:
        per_gpu: runs on one GPU at a time: by shards where the cluster has them, else in one job.
        retries: how often a job resumes a run that failed.

    Raises:
        ValueError: SLURM is not there or refuses a job, or a job of other settings has a run's folder; what
            was submitted until then was said.
    """
    words, per_job = _share(cluster, per_gpu)
    output = next(iter(plan.runs.values())).output
    with locked(output / ".locks" / "submit") as free:
        if not free:
            raise ValueError(f"another command is handing over runs of {output}: wait for it")
        # the queue first: what ends in between is done, not forgotten
        active = _active(queue.jobs())
        plan = Plan(plan.runs.values())
        _refuse_others(plan, active)
        missing = plan.missing()
        packs = list(_packs([run for run in missing if mark(run) not in active], per_job))
        say(f"{plan.summary()}; {len(missing) - sum(map(len, packs))} in the queue")
        for number, pack in enumerate(packs):
            try:
                job = _submit(pack, active, {run.folder for run in missing}, cluster, words, retries)
            except ValueError as error:
                told = f"{number} of {len(packs)} jobs were handed over, see above"
                raise ValueError(f"{pack[0].folder}: {error}\n{told}; the same command goes on") from error
            active |= dict.fromkeys(job.runs, job)
            say("\n".join(f"{job.id:<12} {run.folder}" for run in pack))
    say("the same command with --status shows them, with --cancel ends them, and in the end makes the table")


def _share(cluster: Cluster, per_gpu: int) -> tuple[list[str], int]:
    """Words for sbatch, and how many runs are in a job."""
    asked, gpus = cluster.gres, 1
    if asked == "auto":
        gpus, shards = queue.gres(cluster.partition)
        asked = "gpu:1" if gpus else ""
        if per_gpu > 1 and shards:
            asked = f"shard:{-(-shards // (gpus * per_gpu))}"
    alone = not asked or "shard" in asked
    words = [*cluster.words(), *([f"--gres={asked}"] if asked else [])]
    return words, 1 if alone else per_gpu


def _active(jobs: Sequence[Job]) -> dict[str, Job]:
    return {run: job for job in jobs if job.is_active for run in job.runs}


def _refuse_others(plan: Plan, active: dict[str, Job]) -> None:
    places = {name.partition(".")[0]: (name, job) for name, job in active.items()}
    for run in plan.runs.values():
        name, job = places.get(place_mark(run), (mark(run), None))
        if job is not None and name != mark(run):
            raise ValueError(
                f"job {job.id} makes {run.folder} with other settings: wait, or scancel {job.id}"
            )


def _packs(runs: Sequence[Run], size: int) -> Iterator[list[Run]]:
    """Runs that don't need each other, by ``size``; what is needed comes first."""
    if size == 1:
        yield from ([run] for run in runs)
        return
    depths: dict[Path, int] = {}
    for run in runs:
        depths[run.folder] = 1 + max((depths.get(need.folder, 0) for need in run.needs), default=0)
    for depth in sorted(set(depths.values())):
        # trainings beside trainings: a job takes as long as its longest run
        level = sorted((run for run in runs if depths[run.folder] == depth), key=lambda run: not run.trains)
        yield from (level[i : i + size] for i in range(0, len(level), size))


def _submit(
    pack: Sequence[Run],
    active: dict[str, Job],
    missing: set[Path],
    cluster: Cluster,
    words: list[str],
    retries: int,
) -> Job:
    needs = {mark(need): need for run in pack for need in run.needs if need.folder in missing}
    # a job of several runs may fail by one that isn't needed: who waits for it looks at what is there
    shared = {name for name in needs if len(active[name].runs) > 1}
    after = {"afterok": set(needs) - shared, "afterany": shared}
    waits = [
        f"{how}:{':'.join(sorted({active[name].id for name in names}))}"
        for how, names in after.items()
        if names
    ]
    logs = [log_file(run.output, run).absolute() for run in pack]
    for run, log in zip(pack, logs, strict=True):
        log.parent.mkdir(parents=True, exist_ok=True)
        _made(run).unlink(missing_ok=True)
    words = [
        *words,
        *([f"--dependency={','.join(waits)}", "--kill-on-invalid-dep=yes"] if waits else []),
        f"--job-name={queue.job_name(pack)}",
        f"--comment={' '.join(run.place for run in pack)}",
        f"--output={str(logs[0]).replace('%', '%%')}",
        "--open-mode=append",
        "--requeue",
    ]
    checks = {run.folder: [needs[name] for name in map(mark, run.needs) if name in shared] for run in pack}
    number = queue.submit(script(pack, logs, checks, cluster.setup, retries), words)
    return Job(number, "PENDING", "", tuple(map(mark, pack)))


def script(
    pack: Sequence[Run],
    logs: Sequence[Path],
    checks: dict[Path, list[Run]],
    setup: Sequence[str],
    retries: int,
) -> str:
    """The job of one run, or of several side by side.

    Args:
        checks: for each run's folder what it needs of other jobs of several runs.
    """
    tries = " ".join(str(number) for number in range(retries + 1))
    parts = [HEAD.format(root=shlex.quote(str(ROOT)), tries=tries)]
    parts += [f"{line}\n" for line in setup]
    for run, log in zip(pack, logs, strict=True):
        line = f"resumed {shlex.join(command(run))}"
        if checks[run.folder]:
            there = " && ".join(f"-e {shlex.quote(str(_made(need)))}" for need in checks[run.folder])
            line = f"{{ [[ {there} ]] || {{ echo 'not run, for what it needs failed'; false; }}; }} && {line}"
        if len(pack) > 1:
            made = shlex.quote(str(_made(run)))  # there already where SLURM begins the job anew
            line = f"( [[ -e {made} ]] || {{ {line} && touch {made}; }} ) >>{shlex.quote(str(log))} 2>&1 &"
        parts.append(f"{line}\n")
    return "".join([*parts, *([FOOT] if len(pack) > 1 else [])])


def _made(run: Run) -> Path:
    """What a run that succeeded beside others in its job leaves."""
    return lock_file(run).absolute().with_suffix(".made")


def states(plan: Plan) -> list[str]:
    """A line a run that is queued, running or failed, and how many are in which state.

    Raises:
        ValueError: SLURM does not answer.
    """
    last = {run: job for job in queue.jobs() for run in job.runs}
    missing = {run.folder for run in plan.missing()}
    lines = []
    running = set()
    for run in plan.runs.values():
        job = last.get(mark(run))
        if job is None:
            continue
        if job.state == "RUNNING":
            running.add(run.folder)
        elif job.is_active:
            lines.append(f"{'queued':<12} {run.folder} (job {job.id}: {job.reason})")
        elif run.folder in missing:
            lines.append(
                f"{'failed':<12} {run.folder} (job {job.id}: {job.state}, {log_file(run.output, run)})"
            )
    return [*lines, *status(plan, lambda run: run.folder in running)]


def cancel(plan: Plan) -> list[str]:
    """End the plan's jobs, and say which; a job that has runs of others, too, is left.

    Raises:
        ValueError: SLURM does not answer.
    """
    ours = {mark(run) for run in plan.runs.values()}
    found = [job for job in queue.jobs() if job.is_active and ours.intersection(job.runs)]
    whole = [job for job in found if ours.issuperset(job.runs)]
    queue.cancel([job.id for job in whole])
    lines = [
        f"job {job.id} is left: it has other runs, too; scancel {job.id} ends it"
        for job in found
        if job not in whole
    ]
    return [*lines, f"{len(whole)} jobs cancelled; runs that were going on are resumed by the same command"]
