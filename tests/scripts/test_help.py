"""``--help`` of every script prints help, and does nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.checkout import REPOSITORY, Checkout

SCRIPTS = sorted(
    str(path.relative_to(REPOSITORY / "scripts")) for path in (REPOSITORY / "scripts").rglob("*.sh")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_printed_and_nothing_done(script: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    result = checkout.run(script, "--help")
    assert result.returncode == 0 and len(result.stdout.split()) > 5, result.stdout + result.stderr
    assert result.stderr == "" and not checkout.calls
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before
