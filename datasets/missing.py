"""What is said about a data set that is not there or not complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datasets.fetch.sources import GUIDE, Source

_LISTED = 8  # entries of a folder shown in an error message


def missing_message(
    name: str,
    folder: Path,
    missing: Sequence[Path],
    expected: Iterable[Path],
    sources: Iterable[Source],
    origin: str,
) -> str:
    """One screen: what is missing, what was found, what is expected, and where it comes from."""
    root = folder.parent
    found = describe(folder) + ("" if folder.is_dir() else f"; {root} {describe(root)}")
    lines = [
        f"data set {name} is not complete under DATASET.ROOT (--root) {root}",
        *(f"  missing:    {path}{_kind(path)}" for path in missing if path.parent not in missing),
        f"  found:      {folder} {found}",
        *_titled("  expected:   ", (str(path) for path in expected)),
        *_titled("  to get it:  ", _remedies(name, folder, missing, sources, origin)),
    ]
    return "\n".join(lines)


def is_there(path: Path) -> bool:
    """Whether there is a file, or a folder where the name has no ending."""
    return path.is_file() if path.suffix else path.is_dir()


def _kind(path: Path) -> str:
    if not path.exists():
        return ""
    return " (what is there is no file)" if path.suffix else " (what is there is no folder)"


def _remedies(
    name: str, folder: Path, missing: Sequence[Path], sources: Iterable[Source], origin: str
) -> Iterator[str]:
    if origin:
        yield origin
    wanted = [s for s in sources if any(_provides(folder / f, missing) for f in s.files.values())]
    if wanted:
        yield f"python -m datasets.prepare {name} --data {folder.parent}"
        yield from (f"or by hand: {by_hand(source, folder)}" for source in wanted)
    if origin or wanted:
        yield f"see {GUIDE}" if wanted else "then run this again"


def by_hand(source: Source, folder: Path) -> str:
    """What to do in a browser to have what ``source`` gives."""
    targets = list(source.files.values())
    if source.is_archive:
        return f"open {source.urls[0]} and unpack it, so that {folder} holds {', '.join(targets)}"
    return f"open {source.urls[0]} and save it as {folder / targets[0]}"


def _provides(target: Path, missing: Sequence[Path]) -> bool:
    return any(path == target or target in path.parents for path in missing)


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield title + line
        title = " " * len(title)


def describe(folder: Path) -> str:
    """ "holds a, b, c", or that it does not exist."""
    if not folder.is_dir():
        return "does not exist"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return "holds " + (", ".join(names[:_LISTED]) or "nothing") + more
