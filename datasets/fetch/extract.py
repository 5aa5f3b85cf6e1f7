"""Unpacking archives safely: nothing lands outside of the folder, and nothing half."""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from datasets.fetch.transfer import full_disk_explained

UNPACKING = ".unpacking-"  # begins the names of folders that are removed when their files are placed
# Python 3.11.4 brought what keeps a tar archive's members inside of the folder.
_FilterError: type[Exception] = getattr(tarfile, "FilterError", tarfile.TarError)


class BrokenArchive(ValueError):
    """What was downloaded is no archive, or not all of one."""


def place(
    archive: Path, files: Mapping[str, str], folder: Path, inner: str = "", anywhere: bool = False
) -> None:
    """Move parts of an archive to their places under ``folder``; each appears whole or not at all.

    Args:
        archive: a tar (compressed or not) or zip archive; with ``files`` of the one key "", any file.
        files: path inside of the archive -> path under ``folder``.
        folder: the data set's folder.
        inner: an archive inside of ``archive``, of which ``files`` are then parts.
        anywhere: paths inside of the archive may have folders before them, see `located`.

    Raises:
        BrokenArchive: it cannot be read.
        ValueError: a part is missing in it, it would write outside of the folder, or it is a tar archive and
            this Python cannot keep it from that.
        OSError: no space left, or ``folder`` cannot be written to.
    """
    temporary = folder / f"{UNPACKING}{uuid.uuid4().hex}"
    with full_disk_explained(temporary, lambda: 0):
        try:
            temporary.mkdir(parents=True)
            if anywhere:
                places = located(_names(archive), files)
                files = {places.get(name, name): target for name, target in files.items()}
            _place(archive, files, folder, inner, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _place(archive: Path, files: Mapping[str, str], folder: Path, inner: str, temporary: Path) -> None:
    if "" in files:
        # not its permissions too: a temporary file is for its owner alone
        shutil.copyfile(archive, temporary / "file")
        _move(temporary / "file", folder / files[""])
        return
    if inner:
        _unpack(archive, [inner], temporary / "outer")
        archive = temporary / "outer" / inner
    _unpack(archive, list(files), temporary)
    for name, target in files.items():
        if not (temporary / name).exists():
            raise ValueError(f"{archive} does not hold {name!r}; if it is the wrong file, delete it")
        _move(temporary / name, folder / target)


def located(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Where files and folders that are called ``wanted`` lie in an archive; of several, nearest to its top.

    Args:
        names: paths in the archive.
    """
    files = {PurePosixPath(name) for name in names}
    paths = {str(path) for file in files for path in (file, *file.parents)}
    nearest = sorted(paths, key=lambda path: (path.count("/"), path))
    places = {}
    for name in wanted:
        if found := next((path for path in nearest if path == name or path.endswith(f"/{name}")), None):
            places[name] = found
    return places


def _names(archive: Path) -> list[str]:
    """The paths in an archive."""
    with _broken_explained(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                return bundle.namelist()
        with tarfile.open(archive) as tape:
            return tape.getnames()


def _move(source: Path, target: Path) -> None:
    """Rename, over an older file but never over a folder that is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        os.replace(source, target)


def _unpack(archive: Path, wanted: list[str], folder: Path) -> None:
    with _broken_explained(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                for entry in bundle.infolist():
                    if _is_wanted(entry.filename, wanted):
                        _refuse_outside(entry.filename, archive)
                        bundle.extract(entry, folder)
            return
        with tarfile.open(archive) as tape:
            if not hasattr(tarfile, "data_filter"):
                raise ValueError(
                    f"{archive} is a tar archive, which Python {platform.python_version()} cannot unpack "
                    "safely: take 3.11.4 or later, or unpack it by hand"
                )
            for member in tape:
                name = str(PurePosixPath(member.name))  # without a leading "./"
                if _is_wanted(name, wanted):
                    _refuse_outside(name, archive)
                    tape.extract(member, folder, filter="data")


@contextmanager
def _broken_explained(archive: Path) -> Iterator[None]:
    """Make of the readers' errors a `BrokenArchive`, or a ``ValueError`` where a member is refused."""
    try:
        yield
    except _FilterError as error:
        raise ValueError(f"{archive} is refused: {error}") from error
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        reason = (str(error).splitlines() or [repr(error)])[0].rstrip(":")
        raise BrokenArchive(f"{archive} is no archive or broken ({reason})") from error


def _is_wanted(name: str, wanted: list[str]) -> bool:
    return any(name == part or name.startswith(f"{part}/") for part in wanted)


def _refuse_outside(name: str, archive: Path) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{archive} is refused: its member {name!r} points outside of the folder")
