"""Download and check data sets.

    python -m datasets.prepare --list
    python -m datasets.prepare caltech101 dtd --data data
    python -m datasets.prepare all --data data --check
    python -m datasets.prepare Folder --data path/to/images --check --deep

Without --check, what is missing is downloaded first, as far as it may be; the rest is named, with the folder
that it goes to. Interrupted downloads go on where they stopped. What the original homes of a data set do not
give is taken from a mirror of the benchmark; --source mirror asks that one alone, --source original never.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import logging
import random
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
from datasets.fetch.download import verify
from datasets.fetch.obtain import has, leftovers, obtain, remove
from datasets.fetch.sources import MIRROR, Source, on_mirror
from datasets.fetch.transfer import DownloadError
from datasets.few_shot import meant_to_stay
from datasets.missing import is_there
from datasets.split_rules import SPLIT_SEED

log = logging.getLogger("datasets.prepare")

SOURCES = ("any", "original", "mirror")

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


def prepare(cls: type[FewShotBenchmark], folder: Path, make_split: bool = False, source: str = "any") -> None:
    """Fetch what is missing of a data set in ``folder``.

    Args:
        cls: the data set.
        folder: where it goes.
        make_split: make a missing split file by upstream's rule instead of fetching upstream's.
        source: one of `SOURCES`: the places that ``cls.sources`` name, the mirror, or any: first these, then
            the mirror.

    Raises:
        OSError: a download failed, no space is left, or the folder cannot be written to.
        ValueError: a downloaded file is not what it should be, or the data set is not on the mirror.
    """
    wanted = [s for s in cls.sources if not (make_split and cls.split_file in s.files.values())]
    fetched = [*wanted, on_mirror(cls.mirror, ())] if cls.mirror else wanted
    path = folder / cls.split_file
    make_split = make_split and bool(cls.split_file) and not path.exists()
    if all(has(folder, each) for each in wanted) and not make_split:
        _tidy(folder, fetched)
        return
    if source == "mirror" and not cls.mirror:
        raise ValueError(f"{cls.__name__} is not on the mirror {MIRROR}: leave --source mirror away")
    with only_one(folder):
        remove(leftovers(folder, []))  # of a run that was killed
        failures = {} if source == "mirror" else _from_sources(wanted, folder)
        if cls.mirror and source != "original":
            failures = _from_mirror(cls, folder, wanted, failures)
        if failures:
            raise DownloadError("\n".join(dict.fromkeys(failures.values())))
        remove(leftovers(folder, fetched))  # of addresses that did not give all
        if make_split and not path.exists():
            write_json(cls.make_split(folder, random.Random(SPLIT_SEED)), str(path))
            log.warning("%s was made here: figures cannot be compared with published ones", path)


def _from_sources(sources: Sequence[Source], folder: Path) -> dict[str, str]:
    """Fetch what is missing; why it can't be, by what then is missing."""
    failures = {}
    for source in sources:
        if not has(folder, source):  # another run may have fetched it meanwhile
            try:
                obtain(source, folder)
            except DownloadError as error:  # the other files may be had
                failures.update(dict.fromkeys(source.files.values(), str(error)))
    return failures


def _from_mirror(
    cls: type[FewShotBenchmark], folder: Path, sources: Sequence[Source], failures: dict[str, str]
) -> dict[str, str]:
    """Fetch what the data set is read from and still lacks; the failures that are left.

    Raises:
        OSError, ValueError: as `prepare`.
    """
    lacking = [source for source in sources if not has(folder, source)]
    needed = {str(path.relative_to(folder)) for path in cls.needed(folder)}
    given = {target: source for source in lacking for target in source.files.values() if target in needed}
    wanted = [target for target in given if not (folder / target).exists()]
    if not wanted:
        return failures
    for reason in dict.fromkeys(failures.values()):
        log.warning("%s\n  so the mirror is tried", reason)
    try:
        obtain(on_mirror(cls.mirror, wanted), folder)
        for target in wanted:
            if not given[target].is_archive:
                verify(folder / target, given[target].checksum)
    except DownloadError as error:
        failures = {**failures, cls.mirror: str(error)}
    return {name: reason for name, reason in failures.items() if not (folder / name).exists()}


def _tidy(folder: Path, sources: list[Source]) -> None:
    """Remove what a run left that was killed after its last file was there: gigabytes, possibly."""
    if left := leftovers(folder, sources):
        with suppress(OSError), only_one(folder):  # the data set is complete, also where it is read-only
            remove(left)


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
    parser.add_argument(
        "--source",
        choices=SOURCES,
        default="any",
        help="where files come from (default: any, originals first)",
    )
    parser.add_argument("--list", action="store_true", help="list the data sets")
    args = parser.parse_args(argv)
    if not args.names and not args.list:
        parser.error("name a data set, or give --list")
    if args.check and args.make_split:
        parser.error("--check only looks, --make-split makes a file: give one of them")
    if args.source != "any" and args.check:
        parser.error("--check only looks, --source says what to fetch from: give one of them")
    if args.source == "mirror" and args.make_split:
        parser.error("--make-split needs the original lists, the mirror has the splits: give one of them")
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
                prepare(cls, folder, args.make_split, args.source)
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
