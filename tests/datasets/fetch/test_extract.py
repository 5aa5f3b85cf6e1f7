"""Archives: the wanted parts and nothing else, whole or not at all, never outside of the folder."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasets.fetch import extract as module
from datasets.fetch.extract import place


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tape:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tape.addfile(entry, io.BytesIO(content))
    return path


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_wanted_parts_only(make: Callable[..., Path], tmp_path: Path) -> None:
    archive = make(tmp_path / "a", {"dtd/images/x/1.jpg": b"1", "dtd/imdb.mat": b"2", "dtd/images2/y": b"3"})
    place(archive, {"dtd/images": "images"}, tmp_path / "set")
    assert tree(tmp_path / "set") == ["images/x/1.jpg"]


def test_names_that_begin_with_a_dot_and_uncompressed_tars(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a", {"./images/1.jpg": b"1"}, "w")
    place(archive, {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path / "set") == ["images/1.jpg"]


def test_archive_inside_of_an_archive(tmp_path: Path) -> None:
    inner = make_tar(tmp_path / "in.tar.gz", {"101/a/1.jpg": b"1"})
    outer = make_zip(tmp_path / "out.zip", {"caltech/in.tar.gz": inner.read_bytes()})
    place(outer, {"101": "images"}, tmp_path / "set", inner="caltech/in.tar.gz")
    assert tree(tmp_path / "set") == ["images/a/1.jpg"]


def test_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{}")
    place(tmp_path / "a", {"": "split.json"}, tmp_path / "set")
    assert tree(tmp_path / "set") == ["split.json"]


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_paths_to_the_outside_are_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    archive = make(tmp_path / "a", {"images/1.jpg": b"1", "images/../../../evil": b"2"})
    with pytest.raises(ValueError, match="refused"):
        place(archive, {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path) == ["a"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret"])
def test_links_to_the_outside_are_refused(target: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as tape:
        link = tarfile.TarInfo("images/link")
        link.type, link.linkname = tarfile.SYMTYPE, target
        tape.addfile(link)
    with pytest.raises(ValueError, match="refused"):
        place(tmp_path / "a", {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path) == ["a"]


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_broken_archive(make: Callable[..., Path], tmp_path: Path) -> None:
    archive = make(tmp_path / "a", {f"images/{n}.jpg": os.urandom(5000) for n in range(9)})
    archive.write_bytes(archive.read_bytes()[:20000])
    with pytest.raises(ValueError, match="no archive or broken"):
        place(archive, {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path) == ["a"]


def test_another_archive(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"photos/1.jpg": b"1"})
    with pytest.raises(ValueError, match="does not hold 'images'"):
        place(archive, {"images": "images"}, tmp_path / "set")


def test_full_disk_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_tar(tmp_path / "a", {"images/1.jpg": b"1"})

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.tarfile.TarFile, "extract", fail)
    with pytest.raises(OSError, match=r"no space left in .*make room"):
        place(archive, {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path) == ["a"]


def test_a_python_without_safe_tars_says_so_and_unpacks_zips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11.3 and earlier, Debian 12's among them."""
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.delattr(tarfile, "FilterError")
    members = {"images/1.jpg": b"1"}
    with pytest.raises(ValueError, match=r"tar archive, .* cannot unpack safely: take 3\.11\.4 or later"):
        place(make_tar(tmp_path / "a.tar.gz", members), {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path / "set") == []
    place(make_zip(tmp_path / "a.zip", members), {"images": "images"}, tmp_path / "set")
    assert tree(tmp_path / "set") == ["images/1.jpg"]
