"""What a plan costs beside its runs: python -m experiments against as many plain processes.

    python -m benchmarks.executors --seeds 4 --seconds 5 --jobs 4

train.py is a stub that sleeps and leaves a result. Timed is the whole command: planning, starting,
watching, and the table at the end.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TRAIN = """\
import json, pathlib, sys, time


def main():
    words = sys.argv[1:]
    value = lambda name: words[words.index(name) + 1]
    time.sleep({seconds})
    folder = pathlib.Path(value("--output-dir"))
    folder.mkdir(parents=True, exist_ok=True)
    record = {{"method": "ZeroshotCLIP", "dataset": "Digits", "split": "test", "shots": 16}}
    record |= {{"subsample_classes": value("DATASET.SUBSAMPLE_CLASSES"), "seed": int(value("--seed"))}}
    record |= {{"metrics": {{"accuracy": 50.0}}, "time": "2026-01-01"}}
    (folder / "results.jsonl").write_text(json.dumps(record) + "\\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
"""


def copy_checkout(root: Path, seconds: float) -> None:
    """What plans and tables need, around the stub."""
    for name in ("experiments", "reporting", "configs"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "parse_test_res.py", root)
    (root / "train.py").write_text(TRAIN.format(seconds=seconds))


def plain(root: Path, runs: int, jobs: int) -> float:
    """Seconds of ``runs`` processes, ``jobs`` at a time."""
    words = [
        ["--seed", str(i), "--output-dir", f"plain/{i}", "DATASET.SUBSAMPLE_CLASSES", "base"]
        for i in range(runs)
    ]
    started = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        codes = list(
            pool.map(lambda call: subprocess.call([sys.executable, "train.py", *call], cwd=root), words)
        )
    if any(codes):
        raise RuntimeError(f"a plain process failed: {codes}")
    return time.monotonic() - started


def planned(root: Path, seeds: int, jobs: int) -> tuple[float, int]:
    """Seconds of ``python -m experiments``, and of how many runs; they don't need each other."""
    asked = ["base2new", "--data-sets", "digits", "--methods", "zsclip", "--plugins", "--gpus", ""]
    asked += ["--jobs", str(jobs), "--seeds", *map(str, range(1, seeds + 1))]
    command = [sys.executable, "-m", "experiments", *asked]
    started = time.monotonic()
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - started, len(list((root / "output").rglob("run.json")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="some runs each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a run (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=4, help="at a time (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_checkout(root, args.seconds)
        pool, runs = planned(root, args.seeds, args.jobs)
        alone = plain(root, runs, args.jobs)
    print(f"{runs} runs of {args.seconds:g} s, {args.jobs} at a time")
    print(f"plain processes        {alone:8.2f} s")
    print(f"python -m experiments  {pool:8.2f} s   {pool / alone:.3f} x")


if __name__ == "__main__":
    main()
