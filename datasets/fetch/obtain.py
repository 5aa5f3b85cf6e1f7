"""One source, from its addresses to its places in a data set's folder."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from datasets.fetch.download import download
from datasets.fetch.extract import UNPACKING, BrokenArchive, place
from datasets.fetch.remote_zip import fetch_members
from datasets.fetch.sources import Source
from datasets.fetch.transfer import DownloadError
from datasets.missing import by_hand

log = logging.getLogger(__name__)


def has(folder: Path, source: Source) -> bool:
    """Whether all that a source gives is there."""
    return all((folder / target).exists() for target in source.files.values())


def obtain(source: Source, folder: Path) -> None:
    """Fetch a source and put what it gives into ``folder``.

    Raises:
        DownloadError: it cannot be fetched; says what to do by hand.
        ValueError: what was fetched is not what it should be.
        OSError: no space is left, or the folder cannot be written to.
    """
    archive = _archive(folder, source)
    targets = ", ".join(source.files.values())
    try:
        if not archive.exists():
            log.info("fetching %s from %s", targets, source.urls[0])
            if source.anywhere and all(Path(target).suffix for target in source.files.values()):
                _obtain_members(source, folder)
                return
            download(source.urls, archive, source.checksum, source.is_archive)
    except DownloadError as error:
        reasons = "".join(f"\n  {line}" for line in str(error).splitlines())
        raise DownloadError(
            f"{targets} cannot be fetched:{reasons}\n  by hand: {by_hand(source, folder)}"
        ) from error
    try:
        place(archive, source.files, folder, source.inner, source.anywhere)
    except BrokenArchive as error:
        archive.unlink()
        raise BrokenArchive(f"{error}; it was removed, and the same command fetches it anew") from error
    archive.unlink()


def _obtain_members(source: Source, folder: Path) -> None:
    """Files without folders: the rest of the archive, gigabytes of images, is not fetched."""
    with tempfile.TemporaryDirectory(prefix=UNPACKING, dir=folder) as temporary:
        fetch_members(source.urls, source.files, Path(temporary))
        for name, target in source.files.items():
            place(Path(temporary, name), {"": target}, folder)


def _archive(folder: Path, source: Source) -> Path:
    """Where a download goes before its parts are placed."""
    if source.anywhere:  # the same one, whatever parts of it are wanted
        name = f"mirror-{source.urls[0].rpartition('/')[2]}"
    else:
        name = "-".join(Path(target).name for target in source.files.values())[:60]
    return folder / f".{name}.download"


def leftovers(folder: Path, sources: Iterable[Source]) -> list[Path]:
    """What runs left that were killed before they put ``sources`` into their places, or while they did."""
    names = (UNPACKING, *(_archive(folder, source).name for source in sources))
    return [path for path in folder.glob(".*") if path.name.startswith(names)]


def remove(paths: Iterable[Path]) -> None:
    """Remove files and whole folders."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
