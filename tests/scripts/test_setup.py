"""scripts/setup.sh with a stub for the system's python3, so that nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.checkout import REPOSITORY

# Answers setup.sh's questions as a system with the needed modules would; makes an "environment" of stubs.
PYTHON3 = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
case "$*" in
    --version) echo "Python 3.9.2" ;;
    *version_info*) exit "${TOO_OLD:-0}" ;;
    *ensurepip*) exit "${NO_VENV:-0}" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install"*) exit "${PIP_FAILS:-0}" ;;
esac
"""


class Setup:
    def __init__(self, root: Path):
        self.root, self.bin, self.calls_file = root / "checkout", root / "bin", root / "calls"
        (self.root / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt", "scripts/setup.sh"):
            shutil.copy(REPOSITORY / name, self.root / name)
        python3 = self.bin / "python3"
        python3.write_text(PYTHON3)
        python3.chmod(0o755)

    def run(self, **environment: str):
        env = {key: value for key, value in os.environ.items() if key != "PYTHON"}
        env |= {"PATH": f"{self.bin}:{env['PATH']}", "CALLS": str(self.calls_file)} | environment
        command = ["bash", str(self.root / "scripts/setup.sh")]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)

    @property
    def installs(self) -> int:
        return self.calls_file.read_text().count("-m pip install") if self.calls_file.exists() else 0


@pytest.fixture
def setup(tmp_path) -> Setup:
    return Setup(tmp_path)


def test_made_once_and_again_when_the_requirements_change(setup):
    for installs in (1, 1):
        result = setup.run()
        assert result.returncode == 0, result.stderr
        assert setup.installs == installs
    with (setup.root / "requirements.txt").open("a") as file:
        file.write("another\n")
    (setup.root / ".venv/in-use").touch()
    for _ in range(2):
        assert setup.run().returncode == 0
        assert setup.installs == 2
    assert (setup.root / ".venv/in-use").exists()


def test_a_failed_or_interrupted_set_up_is_done_again(setup):
    result = setup.run(PIP_FAILS="1")
    assert result.returncode == 1
    assert "pip could not install the requirements" in result.stderr
    (setup.root / ".venv/half-installed").touch()
    assert setup.run().returncode == 0
    assert setup.installs == 2
    assert not (setup.root / ".venv/half-installed").exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TOO_OLD": "1"}, "Python 3.9.2 is too old; Python 3.11 or later is needed"),
        ({"NO_VENV": "1"}, "python3 lacks the modules venv and ensurepip"),
        ({"PYTHON": "/no/python"}, "PYTHON=/no/python"),
    ],
)
def test_what_the_system_lacks_is_said(setup, environment, said):
    result = setup.run(**environment)
    assert result.returncode == 1
    assert said in result.stderr
    assert not (setup.root / ".venv").exists()


def test_an_environment_of_someone_elses_is_left_alone(setup):
    (setup.root / ".venv").mkdir()
    (setup.root / ".venv/precious").touch()
    result = setup.run()
    assert result.returncode == 1
    assert "was not made by this script" in result.stderr
    assert (setup.root / ".venv/precious").exists()


def test_python_from_the_environment_installs_nothing(setup):
    assert setup.run(PYTHON="bash").returncode == 0
    assert setup.installs == 0 and not (setup.root / ".venv").exists()
