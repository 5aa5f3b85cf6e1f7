"""Fetching a file from a web server, from where an earlier try stopped."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.fetch.transfer import (
    TIMEOUT,
    DownloadError,
    LineBroken,
    byte_bar,
    check_space,
    full_disk_explained,
    size_of,
)

_CHUNK = 1 << 20  # bytes


def fetch_from_web(url: str, part: Path, name: str) -> None:
    """Append to ``part`` what it lacks; begin anew when the file at ``url`` is another one by now.

    Args:
        url: the address.
        part: where the file goes; when this fails, what is there of it stays.
        name: for the progress bar.

    Raises:
        DownloadError: the server does not give the file.
        LineBroken: it gave only a part of it.
        OSError: ``part`` cannot be written.
    """
    with errors_explained():
        _fetch(url, part, name)


@contextmanager
def errors_explained() -> Iterator[None]:
    """Make of a connection's errors a `DownloadError`, or a `LineBroken` where another try may help."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise DownloadError(str(error)) from error
    except urllib.error.URLError as error:
        raise DownloadError(f"no connection: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise LineBroken(f"the line broke ({error!r})") from error


def request_for(url: str) -> urllib.request.Request:
    """A request that some servers would refuse without a browser's name."""
    return urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (datasets.prepare)"})


def stamp_of(part: Path) -> Path:
    """The file that says which address and which version of the file ``part`` is of."""
    return part.with_name(f"{part.name}.stamp")


def _fetch(url: str, part: Path, name: str) -> None:
    have = size_of(part)
    known_url, _, known_tag = _read_stamp(part).partition("\n")
    request = request_for(url)
    if have and known_url == url:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known_tag)
    else:
        have = 0
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is left to fetch
        raise _begin_anew(part) from error  # the file has become smaller
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError("it answers with a web page, not the file (too many downloads there today?)")
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if response.status != 206:
            have = 0
        elif tag and tag != known_tag:  # not all servers heed If-Range
            raise _begin_anew(part)
        _write(response, part, have, f"{url}\n{tag or known_tag * (have > 0)}", name)


def _write(response: http.client.HTTPResponse, part: Path, have: int, stamp: str, name: str) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else 0
    check_space(part, total - have)
    with full_disk_explained(part, lambda: total - size_of(part)):
        # Nothing may be gone on with that has no tag or a weak one.
        stamp_of(part).write_text("" if stamp.endswith("\n") or "\nW/" in stamp else stamp, encoding="utf-8")
        with part.open("ab" if have else "wb") as file, byte_bar(name, total, have) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total and size_of(part) < total:
        raise LineBroken(f"the line broke after {size_of(part):,} of {total:,} bytes")


def _read_stamp(part: Path) -> str:
    try:
        return stamp_of(part).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _begin_anew(part: Path) -> LineBroken:
    part.unlink(missing_ok=True)
    stamp_of(part).unlink(missing_ok=True)
    return LineBroken("the server no longer has the file that a part is there of: beginning anew")
