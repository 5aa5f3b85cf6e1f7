"""Downloads that go on where they stopped, and are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from dassl.utils import progress

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without an answer
_TRIES = 3  # of one address, when the line breaks


class DownloadError(OSError):
    """A download that did not succeed; the message says what to do."""


def download(urls: tuple[str, ...], path: Path, checksum: str = "") -> None:
    """Fetch a file from the first address that has it. What is there of it, in ``<path>.part``, is kept.

    Args:
        urls: the addresses.
        path: where the file goes; it appears there when it is whole.
        checksum: "md5:..." or "sha256:..."; "": not checked.

    Raises:
        DownloadError: no address gives the file, or its checksum is wrong.
        OSError: it cannot be written; on a full disk the message says how much space is needed.
    """
    failures = []
    for url in urls:
        part = path.with_name(f"{path.name}.part")
        for _ in range(_TRIES):
            try:
                _fetch(url, part)
                _verify(part, checksum)
                part.replace(path)
                return
            except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
                failures.append(f"{url}: {error!r}")  # the line broke: go on from there
            except (urllib.error.URLError, DownloadError) as error:
                failures.append(f"{url}: {error}")
                break
    raise DownloadError(f"{path.name} cannot be fetched:\n" + "\n".join(f"  {line}" for line in failures))


def _fetch(url: str, part: Path) -> None:
    """Append to ``part`` what it lacks; begin anew when the file at ``url`` is another one by now."""
    stamp = part.with_name(f"{part.name}.stamp")  # tells the server which version of the file we have
    have = part.stat().st_size if part.exists() else 0
    known = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (datasets.prepare)"})
    if have and known.startswith(f"{url}\n"):
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known.split("\n")[1])
    else:
        have = 0
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to fetch, or the file has become smaller
            raise
        part.unlink(missing_ok=True)
        stamp.unlink(missing_ok=True)
        raise ConnectionError("the server no longer has that part; beginning anew") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError("it answers with a web page, not the file (too many downloads there today?)")
        if response.status != 206:
            have = 0
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        # A weak ETag may not ask for a range.
        stamp.write_text(f"{url}\n{tag}" if tag and not tag.startswith("W/") else "", encoding="utf-8")
        _write(response, part, have)
    stamp.unlink(missing_ok=True)


def _write(response: http.client.HTTPResponse, part: Path, have: int) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else 0
    _check_space(part, total - have)
    try:
        with part.open("ab" if have else "wb") as file, progress(part.stem, total) as bar:
            bar.unit, bar.unit_scale = "B", True
            bar.update(have)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(part, total - part.stat().st_size) from error
        raise
    if total and part.stat().st_size < total:
        raise ConnectionError(f"the line broke after {part.stat().st_size:,} of {total:,} bytes")


def _check_space(path: Path, needed: int) -> None:
    if needed > shutil.disk_usage(path.parent).free:
        raise no_space(path, needed)


def no_space(path: Path, needed: int) -> OSError:
    """The error of a full disk."""
    free = shutil.disk_usage(path.parent).free
    return OSError(
        errno.ENOSPC,
        f"no space left in {path.parent}: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free; "
        "what is there is kept, so make room and run this again",
    )


def _verify(path: Path, checksum: str) -> None:
    if not checksum:
        return
    kind, _, wanted = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != wanted:
        path.unlink()
        raise DownloadError(f"its {kind} is {found}, not {wanted}: broken on the way, or another file by now")
