"""What is shown of a plan that runs."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import pytest

from experiments import protocols
from experiments.catalogue import find_set
from experiments.plan import Plan
from experiments.protocols import Wishes
from experiments.run import Run
from experiments.watch import Watch, progress

LINE = "epoch [{}/20] batch [5/5] time 0.1 (0.1) data 0 (0) loss 1.2 (1.3) lr 2e-3 eta {}\n"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    wishes = Wishes(data="data", output=tmp_path, demo=True)
    sets = [find_set(name, tmp_path) for name in ("digits", "letters")]
    return Plan(protocols.base2new(sets, ["coop"], ["released"], [1, 2], wishes))


def trainings(plan: Plan) -> list[Run]:
    return [run for run in plan.runs.values() if run.trains]


def test_the_last_progress_line_of_a_log_tells(plan: Plan) -> None:
    run = trainings(plan)[0]
    assert progress(run.folder) == ""
    run.folder.mkdir(parents=True)
    (run.folder / "log.txt").write_text(LINE.format(1, "0:09:00") + LINE.format(3, "0:04:11") + "more\n")
    assert progress(run.folder) == "(epoch 3 of 20, 0:04:11 left)"


def test_the_bar_says_what_goes_on_and_what_failed(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    watch = Watch(plan, "2 at a time", tmp_path)
    going = trainings(plan)[:4]
    going[1].folder.mkdir(parents=True)
    (going[1].folder / "log.txt").write_text(LINE.format(7, "0:00:30"))
    watch.look(going, 5, 2)
    names = [f"{run.trainer} {run.data.name} {run.seed}" for run in going]
    expected = f"2 failed, {names[0]}, {names[1]} (epoch 7 of 20, 0:00:30 left), {names[2]}, 1 more"
    assert watch.bar.postfix == expected
    watch.look(going[:1], 6, 0)
    assert watch.bar.postfix == expected, "not more than once a second"
    watch.looked -= 1
    watch.look(going[:1], 6, 0)
    assert watch.bar.postfix == names[0] and watch.bar.n == 6
    watch.close()


def test_where_there_is_no_terminal_nothing_is_read(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", StringIO())
    monkeypatch.setattr("experiments.watch.progress", lambda folder: 1 / 0)
    watch = Watch(plan, "2 at a time", tmp_path)
    watch.look(trainings(plan), 0, 0)
    watch.close()
