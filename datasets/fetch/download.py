"""Downloads that go on where they stopped, and are whole or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from datasets.fetch.drive import fetch_from_drive
from datasets.fetch.sources import is_on_drive
from datasets.fetch.transfer import TRIES, DownloadError, LineBroken
from datasets.fetch.web import fetch_from_web, stamp_of


def download(urls: tuple[str, ...], path: Path, checksum: str = "", is_archive: bool = True) -> None:
    """Fetch a file from the first address that has it. What is there of it, beside ``path``, is gone on with.

    Args:
        urls: the addresses.
        path: where the file goes; it appears there when it is whole.
        checksum: "md5:..." or "sha256:..."; "": not checked.
        is_archive: the file has checksums of its own, so that two halves that do not fit are noticed.

    Raises:
        DownloadError: no address gives the file, or its checksum is wrong.
        OSError: it cannot be written; on a full disk the message says how much space is needed.
    """
    failures = []
    for url in urls:
        for _ in range(TRIES):
            try:
                part = _fetch(url, path, go_on=bool(checksum) or is_archive)
                verify(part, checksum)
                part.replace(path)
                stamp_of(part).unlink(missing_ok=True)
                return
            except LineBroken as error:
                failures.append(f"{url}: {error}")
            except DownloadError as error:
                failures.append(f"{url}: {error}")
                break
    raise DownloadError("\n".join(dict.fromkeys(failures)))


def _fetch(url: str, path: Path, go_on: bool) -> Path:
    """Fetch the whole file, and give the temporary path at which it is."""
    name = path.name.strip(".")
    if is_on_drive(url):
        part = path.with_name(f"{path.name}.drive")
        fetch_from_drive(url, part, name, go_on)
    else:
        part = path.with_name(f"{path.name}.part")
        fetch_from_web(url, part, name)
    return part


def verify(path: Path, checksum: str) -> None:
    """Remove a file with another checksum than this one ("": not checked), and raise a `DownloadError`."""
    if not checksum:
        return
    kind, _, wanted = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != wanted:
        path.unlink()
        stamp_of(path).unlink(missing_ok=True)
        raise DownloadError(f"its {kind} is {found}, not {wanted}: broken on the way, or another file by now")
