"""The mirror of the benchmark: one archive a data set, asked where the original homes fail, or alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import datasets
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.check import check
from datasets.fetch.sources import MIRROR, Source, on_mirror
from datasets.fetch.transfer import DownloadError
from datasets.prepare import find, known_sets, main, prepare
from tests.datasets.fetch.test_extract import make_tar, make_zip, tree
from tests.datasets.server import Server
from tests.datasets.test_prepare import CLASSES, members, png, visible

PINNED = f"{MIRROR}/resolve/ceb3112337fb6e1bf71534e355ca5569b63f19a6"
PADDING = bytes(range(256)) * 20000  # 5 MB, that only a whole download fetches
IMAGES = {name.removeprefix("tiny-1.0/"): content for name, content in members().items()}


def split_rows() -> bytes:
    rows: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(CLASSES):
        for part, numbers in (("train", range(5)), ("val", range(5, 7)), ("test", range(7, 10))):
            rows[part] += [[f"{name}/{n}.png", label, name] for n in numbers]
    return json.dumps(rows).encode()


@pytest.fixture
def mirrored(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """mirrored(members, name="tiny.zip", at=PINNED): the server becomes the mirror, with this archive."""
    monkeypatch.setenv("HF_ENDPOINT", server.url(""))

    def serve(files: dict[str, bytes], name: str = "tiny.zip", at: str = PINNED) -> None:
        server.files[f"{at}/{name}"] = make_zip(tmp_path / "served.zip", files).read_bytes()

    return serve


@pytest.fixture
def tiny(server: Server, mirrored: Callable[..., None], tmp_path: Path) -> type[FewShotBenchmark]:
    """A data set whose files are at their original homes, and in an archive of the mirror."""
    split = split_rows()
    server.files["images.tgz"] = make_tar(tmp_path / "served.tgz", members()).read_bytes()
    server.files["split.json"] = split
    server.files["labels.mat"] = b"needed for --make-split alone"
    mirrored(
        {
            **{f"tiny/{name}": content for name, content in IMAGES.items()},
            "tiny/split.json": split,
            "tiny/split_fewshot/shot_16-seed_1.pkl": b"not to be taken",
            "tiny/padding.bin": PADDING,
        }
    )

    class Tiny(FewShotBenchmark):
        dataset_dir, image_dir, split_file, example = "tiny", "images", "split.json", "ant/0.png"
        published = Counts(2, 10, 4, 6)
        mirror = "tiny.zip"
        sources = (
            Source((server.url("images.tgz"),), {"tiny-1.0/images": "images"}),
            Source((server.url("labels.mat"),), {"": "labels.mat"}),
            Source(
                (server.url("split.json"),),
                {"": "split.json"},
                f"sha256:{hashlib.sha256(split).hexdigest()}",
            ),
        )

    return Tiny


def asked(server: Server) -> list[str]:
    """What the server was asked for, without repetitions."""
    return list(dict.fromkeys(name for name, _ in server.requests))


def test_the_mirror_is_not_asked_where_the_originals_give_all(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path
) -> None:
    prepare(tiny, tmp_path / "data" / "tiny")
    assert asked(server) == ["images.tgz", "labels.mat", "split.json"]


def test_the_mirror_alone(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    prepare(tiny, folder, source="mirror")
    assert asked(server) == [f"{PINNED}/tiny.zip"]
    assert not check(tiny, folder, deep=True).problems
    assert visible(folder) == ["images", "split.json"]
    assert tree(folder / "images") == sorted(name.removeprefix("images/") for name in IMAGES)
    assert (folder / "split.json").read_bytes() == server.files["split.json"]
    count = len(server.requests)
    prepare(tiny, folder, source="mirror")
    assert len(server.requests) == count


def test_images_that_are_gone_come_from_the_mirror(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data" / "tiny"
    del server.files["images.tgz"]
    prepare(tiny, folder)
    assert asked(server) == ["images.tgz", "labels.mat", "split.json", f"{PINNED}/tiny.zip"]
    assert visible(folder) == ["images", "labels.mat", "split.json"] and not check(tiny, folder).problems
    assert "images.tgz: HTTP Error 404" in caplog.text and "the mirror is tried" in caplog.text


def test_a_split_file_alone_is_read_out_of_the_archive(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "tiny"
    del server.files["split.json"]
    prepare(tiny, folder)
    assert visible(folder) == ["images", "labels.mat", "split.json"] and not check(tiny, folder).problems
    archive = server.files[f"{PINNED}/tiny.zip"]
    ranges = [wanted for name, wanted in server.requests if name == f"{PINNED}/tiny.zip"]
    fetched = 0
    for wanted in ranges:
        assert wanted is not None, "the whole archive"
        first, last = wanted.removeprefix("bytes=").split("-")
        fetched += int(last) + 1 - int(first)
    assert fetched < len(archive) / 2


def test_what_is_there_stays(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "mine.png").write_bytes(png())
    (folder / "labels.mat").touch()
    prepare(tiny, folder, source="mirror")
    assert tree(folder / "images") == ["mine.png"] and (folder / "split.json").is_file()
    assert all(wanted for _, wanted in server.requests)


def test_the_original_homes_alone(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    del server.files["split.json"]
    with pytest.raises(DownloadError, match=r"split\.json cannot be fetched"):
        prepare(tiny, tmp_path / "data" / "tiny", source="original")
    assert not any(MIRROR in name for name in asked(server))


def test_what_only_making_a_split_needs_is_not_hidden(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "tiny"
    del server.files["labels.mat"], server.files["split.json"]
    with pytest.raises(DownloadError, match=r"labels.mat cannot be fetched") as error:
        prepare(tiny, folder)
    assert "split.json" not in str(error.value)
    assert visible(folder) == ["images", "split.json"]


def test_an_interrupted_download_goes_on(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "tiny"
    monkeypatch.setattr("datasets.fetch.download.TRIES", 1)
    server.break_after = 3 << 20
    served, server.files = server.files, {f"{PINNED}/tiny.zip": server.files[f"{PINNED}/tiny.zip"]}
    with pytest.raises(DownloadError, match="broke after 3,145,728 of"):
        prepare(tiny, folder, source="mirror")
    server.files = served
    server.requests.clear()
    prepare(tiny, folder, source="mirror")
    assert server.requests == [(f"{PINNED}/tiny.zip", f"bytes={3 << 20}-")]
    assert visible(folder) == ["images", "split.json"]


def test_a_part_of_a_broken_original_is_removed_when_the_mirror_gave_it(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "tiny"
    monkeypatch.setattr("datasets.fetch.download.TRIES", 1)
    server.break_after = 100
    prepare(tiny, folder)
    assert visible(folder) == ["images", "labels.mat", "split.json"]


@pytest.mark.parametrize("prefix", ["", "tiny/", "home/user/tiny/data/"])
def test_wherever_it_lies_in_the_archive(
    prefix: str, tiny: type[FewShotBenchmark], server: Server, mirrored: Callable[..., None], tmp_path: Path
) -> None:
    """The layout of the archives is known from documentation alone."""
    folder = tmp_path / "data" / "tiny"
    decoys = {f"{prefix}other/images/ant/decoy.png": b"1", f"__MACOSX/{prefix}images/ant/._0.png": b"2"}
    files = {f"{prefix}{name}": content for name, content in IMAGES.items()}
    mirrored({**decoys, **files, f"{prefix}split.json": server.files["split.json"]})
    prepare(tiny, folder, source="mirror")
    assert visible(folder) == ["images", "split.json"] and not check(tiny, folder).problems
    assert tree(folder / "images") == sorted(name.removeprefix("images/") for name in IMAGES)


def test_a_later_revision_where_the_known_one_is_gone(
    tiny: type[FewShotBenchmark], server: Server, tmp_path: Path
) -> None:
    server.files[f"{MIRROR}/resolve/main/tiny.zip"] = server.files.pop(f"{PINNED}/tiny.zip")
    folder = tmp_path / "data" / "tiny"
    prepare(tiny, folder, source="mirror")
    assert asked(server) == [f"{PINNED}/tiny.zip", f"{MIRROR}/resolve/main/tiny.zip"]
    del server.files["split.json"]
    (folder / "split.json").unlink()
    prepare(tiny, folder)
    assert not check(tiny, folder).problems


@pytest.mark.parametrize("images", [True, False])
def test_another_split_than_upstream_s_is_refused(
    images: bool, tiny: type[FewShotBenchmark], server: Server, mirrored: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "tiny"
    mirrored({**IMAGES, "split.json": split_rows().replace(b"ant/0", b"ant/9")})
    if images:
        (folder / "images").mkdir(parents=True)
    with pytest.raises(DownloadError, match="its sha256 is"):
        prepare(tiny, folder, source="mirror")
    assert visible(folder) == ["images"]


def test_what_the_archive_lacks_is_named(
    tiny: type[FewShotBenchmark], server: Server, mirrored: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "tiny"
    mirrored({"tiny/images.txt": b"", "tiny/split.json": b"{}"})
    with pytest.raises(ValueError, match=r"tiny.zip.download does not hold 'images'"):
        prepare(tiny, folder, source="mirror")
    (folder / "images").mkdir()
    (folder / ".mirror-tiny.zip.download").unlink()
    mirrored({"tiny/images.txt": b""})
    with pytest.raises(DownloadError, match=r"the archive does not hold split.json\n"):
        prepare(tiny, folder, source="mirror")


def test_members_outside_of_the_folder_are_refused(
    tiny: type[FewShotBenchmark], mirrored: Callable[..., None], tmp_path: Path
) -> None:
    mirrored({"images/ant/0.png": png(), "images/../../../evil": b"1", "split.json": split_rows()})
    with pytest.raises(ValueError, match=r"refused: its member .*evil"):
        prepare(tiny, tmp_path / "data" / "tiny", source="mirror")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"has_ranges": False}, "gives no parts of files"),
        ({"break_after": 10}, "broke after|line broke"),
        ({"files": {f"{PINNED}/tiny.zip": b"no archive" * 500}}, "no zip archive"),
        ({"files": {}}, "HTTP Error 404"),
    ],
)
def test_a_split_file_that_cannot_be_read_out_of_the_archive(
    fault: dict[str, Any], complaint: str, tiny: type[FewShotBenchmark], server: Server, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "data" / "tiny"
    (folder / "images").mkdir(parents=True)
    monkeypatch.setattr("datasets.fetch.remote_zip.TRIES", 1)
    for name, value in fault.items():
        setattr(server, name, value)
    with pytest.raises(DownloadError, match=complaint) as error:
        prepare(tiny, folder, source="mirror")
    assert f"by hand: open {server.url(PINNED)}/tiny.zip and unpack it" in str(error.value)
    assert visible(folder) == ["images"]


def test_a_broken_line_is_tried_again(tiny: type[FewShotBenchmark], server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tiny"
    (folder / "images").mkdir(parents=True)
    server.break_after = 10
    prepare(tiny, folder, source="mirror")
    assert visible(folder) == ["images", "split.json"]


def test_without_a_network_all_places_are_named(
    tiny: type[FewShotBenchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1/")
    folder = tmp_path / "data" / "tiny"

    class Away(tiny):  # type: ignore[misc, valid-type]
        sources = tuple(Source(("http://127.0.0.1:2/a",), source.files) for source in tiny.sources)

    with pytest.raises(DownloadError) as error:
        prepare(Away, folder)
    message = str(error.value)
    for needed in (
        "http://127.0.0.1:2/a: no connection",
        f"http://127.0.0.1:1/{PINNED}/tiny.zip: no connection",
        f"by hand: open http://127.0.0.1:1/{PINNED}/tiny.zip and unpack it, ",
        f"so that {folder} holds images, split.json",
    ):
        assert needed in message
    assert visible(folder) == []


# -- the data sets of the benchmark -------------------------------------------------------------------------


def test_every_set_of_the_benchmark_but_imagenet_is_there() -> None:
    archives = {cls.dataset_dir: cls.mirror for cls in known_sets().values() if cls.published and cls.mirror}
    known = (
        "caltech-101 dtd eurosat fgvc_aircraft oxford_flowers oxford_pets stanford_cars sun397 ucf101 "
        "imagenet-adversarial imagenet-rendition imagenet-sketch imagenetv2"
    )
    assert archives == {**{name: f"{name}.zip" for name in known.split()}, "food-101": "food101.zip"}
    assert [cls.__name__ for cls in find("all") if not cls.mirror] == ["ImageNet"]
    urls = on_mirror("dtd.zip", ()).urls
    assert urls[1] == "https://huggingface.co/zhengli97/prompt_learning_dataset/resolve/main/dtd.zip"


def test_aircraft_from_its_original_layout(
    server: Server, mirrored: Callable[..., None], tmp_path: Path
) -> None:
    cls = datasets.FGVCAircraft
    lists = {f"images_variant_{part}.txt": b"1 Jet 7\n" for part in ("train", "val", "test")}
    files = {"images/1.jpg": png(), "variants.txt": b"Jet 7\n", **lists, "images_box.txt": b"not needed"}
    mirrored({f"fgvc_aircraft/data/{name}": file for name, file in files.items()}, "fgvc_aircraft.zip")
    folder = tmp_path / cls.dataset_dir
    folder.mkdir()
    (folder / "variants.txt").write_text("mine\n")
    prepare(cls, folder, source="mirror")
    assert visible(folder) == ["images", *sorted(lists), "variants.txt"]
    assert (folder / "variants.txt").read_text() == "mine\n"


def test_the_command_line(
    server: Server, mirrored: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mirrored(
        {"eurosat/2750/River/River_1.jpg": png(), "eurosat/split_zhou_EuroSAT.json": b"{}"}, "eurosat.zip"
    )
    assert main(["eurosat", "imagenet", "--source", "mirror", "--data", str(tmp_path)]) == 1
    assert "its sha256 is" in caplog.text  # a split that is not upstream's
    assert "ImageNet is not on the mirror zhengli97/prompt_learning_dataset" in caplog.text
    assert (tmp_path / "eurosat/2750/River/River_1.jpg").is_file()
    assert set(asked(server)) == {f"{PINNED}/eurosat.zip"}
    for words in (["--check"], ["--make-split"]):
        with pytest.raises(SystemExit):
            main(["dtd", "--source", "mirror", *words])
        assert "give one of them" in capsys.readouterr().err
