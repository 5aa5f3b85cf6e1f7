import os
import pwd
from pathlib import Path

import pytest

from dassl.utils import atomic_path, user_cache


def test_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "dpc"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "dpc"

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_cache().name == f"dpc-{os.getuid()}"


def test_two_writers_of_a_file_never_meet(tmp_path: Path) -> None:
    """Process ids repeat in containers that share a folder, so they must not be all that differs."""
    target = tmp_path / "a.txt"
    with atomic_path(str(target)) as first:
        Path(first).write_text("first")
        with atomic_path(str(target)) as second:
            assert second != first
            Path(second).write_text("second")
            for name in (Path(first).name, Path(second).name):
                assert name.startswith(".a.txt.") and name.endswith(".tmp")
        assert target.read_text() == "second"
    assert target.read_text() == "first" and list(tmp_path.iterdir()) == [target]
