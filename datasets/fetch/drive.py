"""Fetching a file from Google Drive, by gdown: it answers Drive's questions and knows what a quota is."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path

from datasets.fetch.transfer import (
    TIMEOUT,
    TRIES,
    DownloadError,
    byte_bar,
    check_space,
    full_disk_explained,
    size_of,
)

_ASIDE = ".aside"  # ending of a part that another try may replace


def fetch_from_drive(url: str, part: Path, name: str, go_on: bool) -> None:
    """Have gdown fetch a public file.

    Args:
        url: the file's page on Drive.
        part: where it goes; until it is whole, gdown keeps it in ``<part><8 letters>.part``.
        name: for the progress bar.
        go_on: whether to use what an earlier run left. Nothing tells gdown which version of the file that is.

    Raises:
        DownloadError: Drive does not give the file: no connection, no permission, too many downloads.
        OSError: ``part`` cannot be written.
    """
    _put_back(part)
    if not go_on:
        _forget(part)
    try:
        _fetch(url, part, name)
    except _NotGoneOn:
        # gdown would come back for ever to such a part. But it is given up only for what comes in its place:
        # a server may refuse for now what it grants tomorrow.
        _set_aside(part)
        try:
            _fetch(url, part, name)
        finally:
            _put_back(part)


class _NotGoneOn(DownloadError):
    """Drive answered, but not with the rest of the part that is there."""


def _fetch(url: str, part: Path, name: str) -> None:
    try:
        import gdown  # for downloads only: training does not need it
        import requests
    except ImportError as error:
        raise DownloadError(f"gdown is needed for Google Drive ({error}): pip install gdown") from error

    had, whole = _kept(part), 0
    with byte_bar(name, 0) as bar, full_disk_explained(part, lambda: max(whole - _kept(part), 0)):

        def report(done: int, total: int | None) -> None:
            nonlocal whole
            if total and not whole:
                bar.total = whole = total
                _make_room(part, total - done)
                check_space(part, total - done)
            bar.update(done - bar.n)

        try:
            gdown.download(
                url, str(part), quiet=True, use_cookies=False, resume=True,
                progress=report, timeout=TIMEOUT, retries=TRIES - 1,
            )  # fmt: skip
        except gdown.FileURLRetrievalError as error:
            reason = error.__context__ or error  # without gdown's own advice around it
            raise DownloadError(f"Google Drive answers: {' '.join(str(reason).split())}") from error
        except gdown.DownloadError as error:
            if error.__cause__ is None:
                kind = _NotGoneOn if had and had == _kept(part) else DownloadError
                raise kind(str(error)) from error
            raise DownloadError(_why(error.__cause__, _kept(part))) from error
        except requests.RequestException as error:
            raise DownloadError(_why(error, _kept(part))) from error
        except OSError:  # of the disk
            raise
        except Exception as error:  # Google's pages may change, and gdown then fails in any way
            raise DownloadError(f"gdown does not understand Google Drive's answer ({error!r})") from error


def _parts(part: Path) -> list[Path]:
    """The files in which gdown keeps what it has of ``part``."""
    letters = "?" * 8
    return list(part.parent.glob(f"{glob.escape(part.name)}{letters}.part"))


def _kept(part: Path) -> int:
    return sum(size_of(path) for path in _parts(part))


def _forget(part: Path) -> None:
    for path in _parts(part):
        path.unlink()


def _set_aside(part: Path) -> None:
    for path in _parts(part):
        path.rename(path.with_name(f"{path.name}{_ASIDE}"))


def _put_back(part: Path) -> None:
    """Put back what was set aside, in this run or by one that was killed, unless more took its place."""
    for path in _aside(part):
        if part.exists() or _kept(part) >= size_of(path):
            path.unlink()
        else:
            _forget(part)
            path.rename(path.with_name(path.name.removesuffix(_ASIDE)))


def _aside(part: Path) -> list[Path]:
    return list(part.parent.glob(f"{glob.escape(part.name)}*{_ASIDE}"))


def _make_room(part: Path, needed: int) -> None:
    """Where the disk has room for ``needed`` bytes only without what was set aside, give that up."""
    free, aside = shutil.disk_usage(part.parent).free, _aside(part)
    if free < needed <= free + sum(map(size_of, aside)):
        for path in aside:
            path.unlink()


def _why(error: BaseException, kept: int) -> str:
    """What an error of the connection means, without the several errors that wrap it."""
    from requests.exceptions import ChunkedEncodingError

    if isinstance(error, ChunkedEncodingError):
        return f"the line broke after {kept:,} bytes; the same command goes on from there"
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return f"no connection to Google Drive: {str(reason).rpartition(': ')[2]}" if reason else str(error)
