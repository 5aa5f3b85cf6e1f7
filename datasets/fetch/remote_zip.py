"""Small files out of a large zip archive on a web server, without fetching the rest of it."""

from __future__ import annotations

import io
import re
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from datasets.fetch.extract import located
from datasets.fetch.transfer import TIMEOUT, TRIES, DownloadError, LineBroken
from datasets.fetch.web import errors_explained, request_for

_BUFFER = 1 << 20  # bytes asked for at once


def fetch_members(urls: Iterable[str], names: Iterable[str], folder: Path) -> None:
    """Fetch files of a zip archive, from the first address that gives them, into ``folder``.

    Args:
        urls: addresses of the archive.
        names: of the files, at any place in it (see `located`).
        folder: where they go, under these names.

    Raises:
        DownloadError: no address gives them.
        OSError: they cannot be written.
    """
    failures = []
    for url in urls:
        for _ in range(TRIES):
            try:
                for name, content in _read(url, list(names)).items():
                    (folder / name).write_bytes(content)
                return
            except LineBroken as error:
                failures.append(f"{url}: {error}")
            except DownloadError as error:
                failures.append(f"{url}: {error}")
                break
    raise DownloadError("\n".join(dict.fromkeys(failures)))


def _read(url: str, names: list[str]) -> dict[str, bytes]:
    """The contents of files of the archive at ``url``."""
    try:
        with errors_explained(), zipfile.ZipFile(io.BufferedReader(_RemoteFile(url), _BUFFER)) as bundle:
            places = located(bundle.namelist(), names)
            if absent := [name for name in names if name not in places]:
                raise DownloadError(f"the archive does not hold {', '.join(absent)}")
            return {name: bundle.read(places[name]) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"it is no zip archive, or broken ({error})") from error


class _RemoteFile(io.RawIOBase):
    """A file on a web server, of which only what is read is fetched.

    Raises:
        DownloadError: the server gives no parts of files.
    """

    def __init__(self, url: str) -> None:
        self._url, self._position, self._size = url, 0, 0
        self._fetch(0, 1)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        content = self._fetch(self._position, end)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _fetch(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to before ``end``."""
        request = request_for(self._url)
        request.add_header("Range", f"bytes={start}-{end - 1}")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            total = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if response.status != 206 or total is None:
                raise DownloadError("the server gives no parts of files")
            content: bytes = response.read()
        if len(content) != end - start:
            raise LineBroken(f"the line broke after {len(content):,} of {end - start:,} bytes")
        self._size = int(total[1])
        return content
