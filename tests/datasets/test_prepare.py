"""python -m datasets.prepare: from nothing to a checked data set."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import datasets
from datasets import prepare as module
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.check import check
from datasets.fetch.sources import Source
from datasets.prepare import find, known_sets, main, prepare
from tests.datasets.fetch.test_extract import make_tar
from tests.datasets.server import Server
from tests.datasets.trees import Placeholders, make_invented

CLASSES = ("ant", "bee")
WNID = "n00000000"


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 3)).save(file, "png")
    return file.getvalue()


def members() -> dict[str, bytes]:
    return {f"tiny-1.0/images/{name}/{number}.png": png() for name in CLASSES for number in range(10)}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def tiny(server: Server, tmp_path: Path) -> type[FewShotBenchmark]:
    """A data set whose two files are served."""
    rows: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(CLASSES):
        for part, numbers in (("train", range(5)), ("val", range(5, 7)), ("test", range(7, 10))):
            rows[part] += [[f"{name}/{n}.png", label, name] for n in numbers]
    server.files["images.tgz"] = make_tar(tmp_path / "served.tgz", members()).read_bytes()
    server.files["split.json"] = json.dumps(rows).encode()

    class Tiny(FewShotBenchmark):
        dataset_dir, image_dir, split_file, example = "tiny", "images", "split.json", "ant/0.png"
        published = Counts(2, 10, 4, 6)
        sources = (
            Source((server.url("images.tgz"),), {"tiny-1.0/images": "images"}),
            Source((server.url("split.json"),), {"": "split.json"}),
        )

    return Tiny


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != ".prepare.lock")


def test_from_nothing_to_complete(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    assert "missing" in check(tiny, folder).problems[0]
    (folder / ".unpacking-by-a-run-that-was-killed").mkdir(parents=True)
    prepare(tiny, folder)
    report = check(tiny, folder, deep=True)
    assert not report.problems
    assert report.counts == tiny.published
    assert visible(folder) == ["images", "split.json"]
    asked = len(server.requests)
    prepare(tiny, folder)
    assert len(server.requests) == asked == 2


def test_two_at_once(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    runs = [threading.Thread(target=prepare, args=(tiny, folder)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert not check(tiny, folder).problems
    assert sorted(name for name, _ in server.requests) == ["images.tgz", "split.json"]


def test_broken_archive_is_fetched_anew(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    whole = server.files["images.tgz"]
    server.files["images.tgz"] = whole[:300]
    with pytest.raises(ValueError, match=r"broken .*it was removed, and the same command fetches it anew"):
        prepare(tiny, folder)
    assert visible(folder) == []
    server.files["images.tgz"] = whole
    prepare(tiny, folder)
    assert not check(tiny, folder).problems


def prepare_tiny(url: str, folder: Path) -> None:
    """In a process of its own."""

    class Tiny(FewShotBenchmark):
        dataset_dir, image_dir, split_file = "tiny", "images", "split.json"
        sources = (
            Source((f"{url}images.tgz",), {"tiny-1.0/images": "images"}),
            Source((f"{url}split.json",), {"": "split.json"}),
        )

    prepare(Tiny, folder)


def test_killed_while_another_run_waits(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    server.files["images.tgz"] = make_tar(
        tmp_path / "large.tgz", {"tiny-1.0/images/padding": os.urandom(2 << 20), **members()}
    ).read_bytes()
    server.hold_after = 3 << 19  # more than the piece that is written at once
    spawn = multiprocessing.get_context("spawn")
    first, second = (spawn.Process(target=prepare_tiny, args=(server.url(""), folder)) for _ in range(2))
    first.start()
    wait_for(lambda: (folder / ".images.download.part").exists())
    second.start()
    wait_for(lambda: (folder / ".images.download.part").stat().st_size == 1 << 20)
    first.kill()
    first.join()
    second.join(60)
    server.released.set()
    assert (first.exitcode, second.exitcode) == (-signal.SIGKILL, 0)
    assert server.requests == [
        ("images.tgz", None),
        ("images.tgz", f"bytes={1 << 20}-"),
        ("split.json", None),
    ]
    assert visible(folder) == ["images", "split.json"]
    assert check(tiny, folder, deep=True).problems == []


def test_what_a_killed_run_left_of_a_complete_set(tiny: type[FewShotBenchmark], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    prepare(tiny, folder)
    (folder / ".unpacking-1" / "images").mkdir(parents=True)
    for name in (
        ".images.download",
        ".images.download.part",
        ".split.json.download.driveabcdefgh.part",
        ".mine",
    ):
        (folder / name).touch()
    prepare(tiny, folder)
    assert visible(folder) == [".mine", "images", "split.json"]


@pytest.mark.parametrize("name", ["data", "data/tiny"])
def test_folder_without_write_permission_is_left_alone(
    name: str, tiny: type[FewShotBenchmark], tmp_path: Path
) -> None:
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name).chmod(0o555)
    with pytest.raises(
        OSError, match=f"cannot be written to .*{name} has no write permission.*choose --data"
    ):
        prepare(tiny, tmp_path / "data" / "tiny")
    assert list((tmp_path / name).iterdir()) == []


def test_folder_that_cannot_be_written(tiny: type[FewShotBenchmark], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"data/tiny cannot be written to"):
        prepare(tiny, tmp_path / "data" / "tiny")


def test_split_made_here(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    prepare(tiny, folder, make_split=True)
    assert [name for name, _ in server.requests] == ["images.tgz"]
    assert check(tiny, folder).counts == Counts(2, 10, 4, 6)


@pytest.mark.parametrize(("deep", "found"), [(False, 1), (True, 2)])
def test_what_a_check_finds(deep: bool, found: int, tiny: type[FewShotBenchmark], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    prepare(tiny, folder)
    (folder / "images" / "ant" / "7.png").write_bytes(b"no image at all")  # the first of its class and part
    whole = (folder / "images" / "bee" / "1.png").read_bytes()
    (folder / "images" / "bee" / "1.png").write_bytes(whole[:40])
    (folder / "images" / "bee" / "2.png").write_bytes(b"")
    report = str(check(tiny, folder, deep))
    assert "NOT complete" in report
    assert f"{found + deep} images cannot be read" in report
    assert str(folder / "images" / "ant" / "7.png") in report
    assert "1 images are empty files" in report


def test_counts_that_differ_from_the_published(tmp_path: Path) -> None:
    cls = datasets.DescribableTextures
    make_invented(cls, tmp_path, Placeholders(tmp_path), [("ant", "ant"), ("bee", "bee")])
    report = check(cls, tmp_path / "dtd")
    assert report.counts == Counts(2, 10, 4, 6)
    assert report.problems == [
        "the published data set has 47 classes, 2,820 train, 1,128 val and 1,692 test images"
    ]


def test_every_set_has_a_configuration_and_a_place() -> None:
    known = known_sets()
    assert {cls.__name__ for cls in known.values()} == {
        name for name in datasets.__all__ if name[0].isupper()
    }
    for cls in find("all"):
        needed = {name for name in (cls.image_dir, cls.split_file) if name}
        given = {target for source in cls.sources for target in source.files.values()}
        by_hand = {"ImageNet": {"images"}}.get(cls.__name__, set())
        assert needed - given == by_hand, cls


@pytest.mark.parametrize("name", ["dtd", "DescribableTextures", "describabletextures"])
def test_names(name: str) -> None:
    assert find(name) == [datasets.DescribableTextures]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["imagenet", "--check", "--data", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    for needed in ("NOT complete", "https://image-net.org", f"{tmp_path}/imagenet/images/val"):
        assert needed in out
    assert not list(tmp_path.iterdir())
    assert main(["--list", "--data", str(tmp_path)]) == 0
    assert "caltech101" in capsys.readouterr().out
    assert main(["caltec", "--data", str(tmp_path)]) == 2
    with pytest.raises(SystemExit):
        main(["dtd", "--check", "--make-split"])
    assert "--check only looks" in capsys.readouterr().err


def test_listing_and_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_invented(datasets.Food101, tmp_path, Placeholders(tmp_path), [("ant", "ant"), ("bee", "bee")])
    (tmp_path / "dtd" / "images").mkdir(parents=True)
    assert main(["--list", "--data", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "there" in lines["food101"].split()
    assert "in part" in lines["dtd"]
    assert lines["imagenet_a"].split()[1] == "-"
    assert lines["imagenet_a"].endswith(": 200 classes, 7,500 test images")
    assert main(["digits", "--data", str(tmp_path)]) == 0
    assert "data sets are" not in capsys.readouterr().out
    assert main(["digits", "dtd", "imagenetv2", "--check", "--data", str(tmp_path)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 of 3 data sets are complete; not complete: DescribableTextures, ImageNetV2"


def test_failed_downloads_are_said_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(module, "obtain", fail)
    assert main(["dtd", "digits", "--data", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "DescribableTextures: NOT complete" in out
    assert "Digits: complete" in out
