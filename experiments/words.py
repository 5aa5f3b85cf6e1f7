"""Words of a command line, paths from where it was typed, and errors that a user can mend."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.run import is_key, pairs_of

ROOT = Path(__file__).resolve().parent.parent


def key_values(flag: str, words: Sequence[str]) -> tuple[str, ...]:
    """KEY VALUE words as they were typed, a value that a shell has split put together again.

    Raises:
        ValueError: they don't begin with a key.
    """
    if words and not is_key(words[0]):
        raise ValueError(f"{flag} begins with {words[0]!r}, but must be KEY VALUE words")
    return tuple(word for pair in pairs_of(tuple(words)).items() for word in pair)


def from_here(path: str, default: str, typed_in: Path) -> str:
    """A path from where the command was typed; below the repository, relative to it."""
    full = Path(os.path.normpath(typed_in / path)) if path else ROOT / default
    return str(full.relative_to(ROOT)) if full.is_relative_to(ROOT) else str(full)


def report_errors(call: Callable[[], int], name: str) -> int:
    """The exit code of ``call``, whose errors that a user can mend are said in a line."""
    os.chdir(ROOT)
    try:
        return call()
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
