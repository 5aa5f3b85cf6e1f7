"""Downloads: going on after a break, other addresses, checksums, a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import namedtuple
from pathlib import Path

import pytest

from datasets.fetch import download as module
from datasets.fetch import transfer
from datasets.fetch.download import DownloadError, download
from tests.datasets.server import Server

CONTENT = bytes(range(256)) * 40
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
Usage = namedtuple("Usage", "total used free")


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_whole_file_and_nothing_else(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = CONTENT
    download((server.url("a.zip"),), tmp_path / "a.zip", MD5)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.zip"]


def test_goes_on_after_a_break(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = CONTENT
    server.break_after = 1000
    download((server.url("a.zip"),), tmp_path / "a.zip", MD5)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests == [("a.zip", None), ("a.zip", "bytes=1000-")]


def test_goes_on_in_the_next_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["a.zip"] = CONTENT
    server.break_after = 1000
    monkeypatch.setattr(module, "TRIES", 1)
    with pytest.raises(DownloadError, match="broke after 1,000 of 10,240 bytes"):
        download((server.url("a.zip"),), tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    download((server.url("a.zip"),), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests[-1] == ("a.zip", "bytes=1000-")


@pytest.mark.parametrize("tag", ['"2"', ""])
def test_another_file_by_now_is_fetched_anew(
    tag: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.zip"] = b"old" * 4000
    server.break_after = 1000
    monkeypatch.setattr(module, "TRIES", 1)
    with pytest.raises(DownloadError):
        download((server.url("a.zip"),), tmp_path / "a.zip")
    server.files["a.zip"], server.tag = CONTENT, tag
    download((server.url("a.zip"),), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_the_next_address_helps(server: Server, tmp_path: Path) -> None:
    server.files["broken.zip"] = CONTENT[:-1]
    server.files["a.zip"] = CONTENT
    urls = (server.url("gone.zip"), server.url("broken.zip"), server.url("a.zip"))
    download(urls, tmp_path / "a.zip", MD5)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_all_failures_are_listed(server: Server, tmp_path: Path) -> None:
    server.files["broken.zip"] = CONTENT[:-1]
    with pytest.raises(DownloadError) as error:
        download((server.url("gone.zip"), server.url("broken.zip")), tmp_path / "a.zip", MD5)
    for needed in ("gone.zip: HTTP Error 404", "broken.zip: its md5 is", MD5.removeprefix("md5:")):
        assert needed in str(error.value)
    assert not (tmp_path / "a.zip").exists()


def test_a_web_page_is_no_file(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = b"<html>quota exceeded</html>"
    server.pages = {"a.zip"}
    with pytest.raises(DownloadError, match="web page"):
        download((server.url("a.zip"),), tmp_path / "a.zip")
    assert names(tmp_path) == []


def test_too_little_space_is_said_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.zip"] = CONTENT
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: Usage(9, 8, 1))
    with pytest.raises(OSError, match=r"no space left in .*make room") as error:
        download((server.url("a.zip"),), tmp_path / "a.zip")
    assert error.value.errno == errno.ENOSPC
    assert not (tmp_path / "a.zip").exists()
    monkeypatch.undo()
    download((server.url("a.zip"),), tmp_path / "a.zip", MD5)


def test_another_file_from_a_server_that_does_not_compare(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all servers heed If-Range: the halves of two files are not put together."""
    server.files["a.zip"], server.break_after, server.heeds_if_range = b"old" * 4000, 1000, False
    monkeypatch.setattr(module, "TRIES", 1)
    with pytest.raises(DownloadError):
        download((server.url("a.zip"),), tmp_path / "a.zip")
    monkeypatch.undo()
    server.files["a.zip"], server.tag = CONTENT, '"2"'
    download((server.url("a.zip"),), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.zip"]


def test_killed_between_the_last_byte_and_the_check(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = CONTENT
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    (tmp_path / "a.zip.part.stamp").write_text(f"{server.url('a.zip')}\n{server.tag}")
    download((server.url("a.zip"),), tmp_path / "a.zip", MD5)
    assert server.requests == [("a.zip", "bytes=10240-")]
    assert names(tmp_path) == ["a.zip"]


def test_the_file_became_smaller(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = CONTENT
    (tmp_path / "a.zip.part").write_bytes(b"x" * 20000)
    (tmp_path / "a.zip.part.stamp").write_text(f"{server.url('a.zip')}\n{server.tag}")
    download((server.url("a.zip"),), tmp_path / "a.zip", MD5)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_no_connection(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1/a.zip: no connection: .*refused"):
        download(("http://127.0.0.1:1/a.zip",), tmp_path / "a.zip")
