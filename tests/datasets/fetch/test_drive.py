"""Files on Google Drive: gdown's own code, against a server in Google's place."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from datasets import DescribableTextures
from datasets.fetch import drive as module
from datasets.fetch.download import DownloadError, download
from datasets.fetch.drive import fetch_from_drive
from datasets.fetch.sources import drive, on_drive
from datasets.prepare import main, prepare
from tests.datasets.fetch.test_download import names
from tests.datasets.server import Server

CONTENT = bytes(range(256)) * 6000
KEPT = 2 << 19  # gdown writes pieces of 2**19 bytes: what is there of 1,200,000
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
QUOTA = (
    "Sorry, you can't view or download this file at this time. "
    "Too many users have viewed or downloaded this file recently."
)


@pytest.fixture
def google(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, asked for ``ID`` where gdown asks Google Drive for the file ``ID``."""
    ask = requests.Session.request

    def redirected(self: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        start = "https://drive.google.com/uc?id="
        assert url.startswith((start, server.url(""))), url
        return ask(self, method, url.replace(start, server.url("")), **options)

    monkeypatch.setattr(requests.Session, "request", redirected)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # gdown waits between its tries
    server.name = "name on Drive.json"
    return server


def test_whole_file_and_nothing_else(google: Server, tmp_path: Path) -> None:
    google.files["1-aB"] = CONTENT
    download((drive("1-aB"),), tmp_path / "split.json", SHA)
    assert (tmp_path / "split.json").read_bytes() == CONTENT
    assert names(tmp_path) == ["split.json"]


def test_the_question_that_large_files_ask(google: Server, tmp_path: Path) -> None:
    """As Drive asks before it gives a file that it cannot scan for viruses."""
    google.files["whole"] = CONTENT
    google.files["1-aB"] = (
        f'<form id="download-form" action="{google.url("whole")}" method="get">'
        '<input type="hidden" name="confirm" value="t"></form>'
    ).encode()
    google.pages = {"1-aB"}
    download((drive("1-aB"),), tmp_path / "images.zip", SHA)
    assert (tmp_path / "images.zip").read_bytes() == CONTENT


def test_goes_on_after_a_break(google: Server, tmp_path: Path) -> None:
    google.files["1-aB"] = CONTENT
    google.break_after = 1_200_000
    download((drive("1-aB"),), tmp_path / "split.json", SHA)
    assert (tmp_path / "split.json").read_bytes() == CONTENT
    assert google.requests == [("1-aB", None), ("1-aB", f"bytes={KEPT}-")]


def broken_off(google: Server, folder: Path, content: bytes = CONTENT) -> None:
    """As a run leaves it that was interrupted after some of the bytes."""
    google.files["1-aB"], google.break_after, google.has_ranges = content, 1_200_000, False
    with pytest.raises(DownloadError, match=r"1-aB/view: .*byte range"):
        download((drive("1-aB"),), folder / "a.zip", SHA)
    google.has_ranges = True
    google.requests.clear()
    assert [path.stat().st_size for path in folder.iterdir()] == [KEPT]


def test_goes_on_in_the_next_run(google: Server, tmp_path: Path) -> None:
    broken_off(google, tmp_path)
    download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert google.requests[-1] == ("1-aB", f"bytes={KEPT}-")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(("was", "ranges"), [(b"longer" * 300_000, True), (CONTENT, False)])
def test_a_part_that_is_of_no_use_is_given_up(
    was: bytes, ranges: bool, google: Server, tmp_path: Path
) -> None:
    broken_off(google, tmp_path, was)
    [part] = tmp_path.iterdir()
    part.write_bytes(was[:1_700_000])
    google.files["1-aB"], google.has_ranges = CONTENT, ranges
    download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("refusal", ["not there", "a page"])
def test_a_refusal_costs_nothing_of_what_is_there(refusal: str, google: Server, tmp_path: Path) -> None:
    broken_off(google, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    content = google.files["1-aB"]
    if refusal == "a page":
        google.files["1-aB"], google.pages = QUOTA.encode(), {"1-aB"}
    else:
        del google.files["1-aB"]
    with pytest.raises(DownloadError):
        download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    google.files["1-aB"], google.pages = content, set()
    [name] = before
    (tmp_path / name).rename(tmp_path / f"{name}.aside")  # as a run leaves it that is killed meanwhile
    download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert google.requests[-1] == ("1-aB", f"bytes={KEPT}-") and names(tmp_path) == ["a.zip"]


def test_a_large_part_is_not_given_up_for_a_small_one(
    google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(google, tmp_path)
    [name] = names(tmp_path)
    answers: list[DownloadError] = [module._NotGoneOn("no ranges now"), DownloadError("and the line broke")]

    def fetch(url: str, part: Path, label: str) -> None:
        answer = answers.pop(0)
        if not answers:
            part.with_name(f"{part.name}abcdefgh.part").write_bytes(b"its beginning")
        raise answer

    with monkeypatch.context() as patch, pytest.raises(DownloadError, match="line broke"):
        patch.setattr(module, "_fetch", fetch)
        download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert names(tmp_path) == [name] and (tmp_path / name).stat().st_size == KEPT
    download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert google.requests[-1] == ("1-aB", f"bytes={KEPT}-") and names(tmp_path) == ["a.zip"]


def test_a_part_that_is_in_the_way_is_given_up(
    google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(google, tmp_path)
    google.has_ranges = False

    def disk(path: Path) -> SimpleNamespace:
        kept = sum(file.stat().st_size for file in tmp_path.iterdir())
        return SimpleNamespace(free=len(CONTENT) + 600_000 - kept)

    monkeypatch.setattr("datasets.fetch.drive.shutil.disk_usage", disk)
    download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert names(tmp_path) == ["a.zip"]


def test_a_list_without_checksum_is_fetched_from_its_beginning(google: Server, tmp_path: Path) -> None:
    broken_off(google, tmp_path)
    download((drive("1-aB"),), tmp_path / "a.zip", is_archive=False)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert google.requests == [("1-aB", None)]
    assert names(tmp_path) == ["a.zip"]


def test_another_file_is_refused(google: Server, tmp_path: Path) -> None:
    google.files["1-aB"] = CONTENT[1:]
    with pytest.raises(DownloadError, match="its sha256 is"):
        download((drive("1-aB"),), tmp_path / "split.json", SHA)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (f'<p class="uc-error-subcaption">{QUOTA}</p>', "Too many users have viewed or downloaded"),
        ("<html>Sign in</html>", "change the permission to 'Anyone with the link'"),
    ],
)
def test_what_google_answers_is_said_with_address_and_target(
    page: str, reason: str, google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.files["1-aB"], google.pages = page.encode(), {"1-aB"}
    monkeypatch.setattr(DescribableTextures, "sources", (on_drive("1-aB", "split.json", SHA),))
    with pytest.raises(DownloadError) as error:
        prepare(DescribableTextures, tmp_path / "dtd")
    message = str(error.value)
    for needed in (
        reason,
        "split.json cannot be fetched",
        "open https://drive.google.com/file/d/1-aB/view",
        f"save it as {tmp_path}/dtd/split.json",
    ):
        assert needed in message
    assert len(message.splitlines()) <= 4
    assert names(tmp_path / "dtd") == [".prepare.lock"]


def test_no_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise requests.ConnectionError("Network is unreachable")

    monkeypatch.setattr(requests.Session, "request", fail)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert main(["imagenet", "--data", str(tmp_path)]) == 1
    for needed in ("Network is unreachable", "https://drive.google.com/file/d/1-61f_"):
        assert needed in caplog.text
    assert f"save it as {tmp_path}/imagenet/classnames.txt" in caplog.text
    assert not (tmp_path / "imagenet" / "classnames.txt").exists()


def test_a_line_that_breaks_again_and_again(
    google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.files["1-aB"], google.break_after = CONTENT, 1_200_000
    monkeypatch.setattr("datasets.fetch.drive.TRIES", 1)
    with pytest.raises(DownloadError, match=r"broke after 1,048,576 bytes; the same command goes on"):
        download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    download((drive("1-aB"),), tmp_path / "a.zip", SHA)
    assert google.requests[-1] == ("1-aB", f"bytes={KEPT}-")


def test_a_page_that_gdown_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gdown.download", lambda *args, **kwargs: {}["Content-Type"])
    with pytest.raises(DownloadError, match=r"does not understand .*Content-Type"):
        download((drive("1-aB"),), tmp_path / "a")


def test_full_disk(google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    google.files["1-aB"] = CONTENT
    with monkeypatch.context() as patch:
        patch.setattr(
            "datasets.fetch.transfer.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1})
        )
        with pytest.raises(OSError, match=r"no space left in .*make room"):
            download((drive("1-aB"),), tmp_path / "a", SHA)
    download((drive("1-aB"),), tmp_path / "a", SHA)
    assert names(tmp_path) == ["a"]


def test_files_are_as_readable_as_others(google: Server, tmp_path: Path, monkeypatch: Any) -> None:
    """gdown's temporary files are for their owner alone; a data folder is shared."""
    google.files["1-aB"] = json.dumps({}).encode()
    monkeypatch.setattr(DescribableTextures, "sources", (on_drive("1-aB", "split.json"),))
    prepare(DescribableTextures, tmp_path / "dtd")
    (tmp_path / "plain").touch()
    assert (tmp_path / "dtd" / "split.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_without_gdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(DownloadError, match=r"pip install gdown"):
        fetch_from_drive(drive("1-aB"), tmp_path / "a", "a", True)


def test_training_does_not_import_gdown() -> None:
    code = (
        "import sys, train, datasets.prepare; sys.exit('gdown' in sys.modules or 'requests' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
