"""One run a folder, whichever machine it is on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from dassl.utils.files import remove_leftovers

LOCK_FILE = ".run.lock"  # who has the folder: process and host; its time is that of the last sign of life
LEASE = 60.0  # seconds without a sign of life after which another machine's run counts as dead
SIGN_OF_LIFE = 10.0  # seconds between two


@contextmanager
def locked_folder(directory: str) -> Iterator[None]:
    """Keep other runs out of ``directory`` while the block runs; what killed runs left half there is removed.

    The lock of a process that has died is taken over: on this machine at once, on another one after `LEASE`.

    Raises:
        ValueError: it cannot be made, or another run has it; names its process, host and last sign of life.
    """
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise ValueError(f"OUTPUT_DIR {directory!r} cannot be made ({error}): choose another one") from error
    path = os.path.join(directory, LOCK_FILE)
    lock = SoftFileLease(path, lease_duration=LEASE, heartbeat_interval=SIGN_OF_LIFE, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _wait_for_another_machine(lock, path, directory)
    try:
        remove_leftovers(Path(directory))
        yield
    finally:
        lock.release()


def _wait_for_another_machine(lock: SoftFileLease, path: str, directory: str) -> None:
    owner = lock.owner
    elsewhere = owner is not None and owner.hostname != socket.gethostname()
    try:
        lock.acquire(timeout=LEASE + 2 * SIGN_OF_LIFE if elsewhere else 0)
    except Timeout:
        who = f"process {owner.pid} on {owner.hostname}" if owner else "another process"
        seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(os.path.getmtime(path)))
        raise ValueError(
            f"OUTPUT_DIR {directory!r} is in use by {who} (seen {seen}): wait for it, end it, or choose "
            "another --output-dir"
        ) from None
