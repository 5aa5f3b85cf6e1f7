"""Download and check data sets.

    python -m datasets.prepare --list
    python -m datasets.prepare caltech101 dtd --data data
    python -m datasets.prepare all --data data --check
    python -m datasets.prepare Folder --data path/to/images --check --deep

Without --check, what is missing is downloaded first, as far as it may be; the rest is named, with the folder
that it goes to. Interrupted downloads go on where they stopped.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import logging
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

import datasets
from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import write_json
from dassl.utils.registry import suggestion
from datasets.benchmark import FewShotBenchmark, in_words
from datasets.check import check
from datasets.fetch.download import DownloadError, download
from datasets.fetch.extract import BrokenArchive, place
from datasets.fetch.sources import Source
from datasets.few_shot import meant_to_stay
from datasets.missing import by_hand, is_there
from datasets.split_rules import SPLIT_SEED

log = logging.getLogger("datasets.prepare")

_CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "datasets"


def known_sets() -> dict[str, type[FewShotBenchmark]]:
    """The data sets by the names of their files in configs/datasets."""
    names = {
        path.stem: yaml.safe_load(path.read_text())["DATASET"]["NAME"] for path in _CONFIGS.glob("*.yaml")
    }
    return {stem: DATASET_REGISTRY.get(name) for stem, name in sorted(names.items())}


def find(name: str) -> list[type[FewShotBenchmark]]:
    """The data set of a name: "dtd" or "DescribableTextures"; "all" for those that are downloaded.

    Raises:
        ValueError: there is none.
    """
    known = known_sets()
    if name == "all":
        return [cls for cls in known.values() if cls.sources]
    by_name = {**known, **{cls.__name__: cls for cls in known.values()}}
    by_lower = {key.lower(): cls for key, cls in by_name.items()}
    if name.lower() not in by_lower:
        raise ValueError(f"there is no data set {name!r}{suggestion(name, by_name)}")
    return [by_lower[name.lower()]]


def prepare(cls: type[FewShotBenchmark], folder: Path, make_split: bool = False) -> None:
    """Fetch what is missing of a data set in ``folder``.

    Args:
        cls: the data set.
        folder: where it goes.
        make_split: make a missing split file by upstream's rule instead of fetching upstream's.

    Raises:
        OSError: a download failed, no space is left, or the folder cannot be written to.
        ValueError: a downloaded file is not what it should be.
    """
    wanted = [s for s in cls.sources if not (make_split and cls.split_file in s.files.values())]
    path = folder / cls.split_file
    make_split = make_split and bool(cls.split_file) and not path.exists()
    if all(_has(folder, source) for source in wanted) and not make_split:
        _tidy(folder, wanted)
        return
    with only_one(folder):
        for left in folder.glob(".unpacking-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        failures = []
        for source in wanted:
            if not _has(folder, source):  # another run may have fetched it meanwhile
                try:
                    _fetch(source, folder)
                except DownloadError as error:  # the other files may be had
                    failures.append(str(error))
        if failures:
            raise DownloadError("\n".join(failures))
        if make_split and not path.exists():
            write_json(cls.make_split(folder, random.Random(SPLIT_SEED)), str(path))
            log.warning("%s was made here: figures cannot be compared with published ones", path)


def _has(folder: Path, source: Source) -> bool:
    return all((folder / target).exists() for target in source.files.values())


def _tidy(folder: Path, sources: list[Source]) -> None:
    """Remove what a run left that was killed after its last file was there: gigabytes, possibly."""
    names = [".unpacking-", *(_archive(folder, source).name for source in sources)]
    left = [path for path in folder.glob(".*") if path.name.startswith(tuple(names))]
    if left:
        with suppress(OSError), only_one(folder):  # the data set is complete, also where it is read-only
            for path in left:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _archive(folder: Path, source: Source) -> Path:
    """Where a download goes before its parts are placed."""
    name = "-".join(Path(target).name for target in source.files.values())[:60]
    return folder / f".{name}.download"


def _fetch(source: Source, folder: Path) -> None:
    archive = _archive(folder, source)
    targets = ", ".join(source.files.values())
    if not archive.exists():
        log.info("fetching %s from %s", targets, source.urls[0])
        try:
            download(source.urls, archive, source.checksum, source.is_archive)
        except DownloadError as error:
            reasons = "".join(f"\n  {line}" for line in str(error).splitlines())
            raise DownloadError(
                f"{targets} cannot be fetched:{reasons}\n  by hand: {by_hand(source, folder)}"
            ) from error
    try:
        place(archive, source.files, folder, source.inner)
    except BrokenArchive as error:
        archive.unlink()
        raise BrokenArchive(f"{error}; it was removed, and the same command fetches it anew") from error
    archive.unlink()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other run prepares ``folder``.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if meant_to_stay(there):
            raise PermissionError(errno.EACCES, f"{there} has no write permission")
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".prepare.lock").open("w")
    except OSError as error:
        raise type(error)(
            error.errno, f"{folder} cannot be written to ({error.strerror}); choose --data"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another run prepares %s: waiting for it", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def listing(root: Path) -> str:
    """A line for each data set: name, whether it is there, folder, size."""
    lines = []
    for stem, cls in known_sets().items():
        folder = cls.folder_in(root)
        if cls is datasets.Folder:
            lines.append(f"{stem:16} your own images: --data is their folder or list")
            continue
        found = [is_there(path) for path in cls.needed(folder)]
        here = "there" if all(found) else "in part" if any(found) else "-"
        kind = in_words(cls.published) if cls.published else "made on first use"
        hint = "; images by hand" if cls.published and len(cls.sources) == 1 and "origin" in vars(cls) else ""
        lines.append(f"{stem:16} {here:8} {folder}: {kind}{hint}")
    return "\n".join(lines)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m datasets.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="as in configs/datasets, or all")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of the data sets (default: data)"
    )
    parser.add_argument("--check", action="store_true", help="only check, download nothing")
    parser.add_argument("--deep", action="store_true", help="decode every image in the check")
    parser.add_argument(
        "--make-split", action="store_true", help="make a missing split file by upstream's rule"
    )
    parser.add_argument("--list", action="store_true", help="list the data sets")
    args = parser.parse_args(argv)
    if not args.names and not args.list:
        parser.error("name a data set, or give --list")
    if args.check and args.make_split:
        parser.error("--check only looks, --make-split makes a file: give one of them")
    return args


def run(args: argparse.Namespace) -> bool:
    """Whether all data sets are complete in the end."""
    root = args.data.expanduser().absolute()
    if args.list:
        print(listing(root))
    incomplete: list[str] = []
    chosen = list(dict.fromkeys(cls for name in args.names for cls in find(name)))
    for cls in chosen:
        failed = False
        folder = cls.folder_in(root)
        if not args.check:
            try:
                cls.make(folder)
                prepare(cls, folder, args.make_split)
            except (OSError, ValueError) as error:
                # without the number that Python puts before a message of ours
                ours = isinstance(error, OSError) and error.filename is None and error.strerror
                log.error("%s: %s", cls.__name__, ours or error)
                failed = True
        report = check(cls, folder, args.deep)
        print(report, flush=True)
        if failed or report.problems:
            incomplete.append(cls.__name__)
    if len(chosen) > 1:
        rest = f"; not complete: {', '.join(incomplete)}" if incomplete else ""
        print(f"{len(chosen) - len(incomplete)} of {len(chosen)} data sets are complete{rest}")
    return not incomplete


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return 0 if run(parse_arguments(argv)) else 1
    except ValueError as error:
        log.error("error: %s", error)
        return 2
    except KeyboardInterrupt:
        log.error("stopped; the same command goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main())
