"""Run a program of another repository, written for Dassl.pytorch, on the `dassl` package of this one.

    cd path/to/CoOp
    python path/to/this/with_dassl.py train.py --root DATA --trainer CoOp ...

Of this repository the program sees `dassl` alone, and it sees no other `dassl`. Names such as `datasets`,
`trainers` and `clip` lead to its own folders or to installed packages.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent / "dassl"


class DasslFinder(MetaPathFinder):
    """Finds the package `dassl` here, wherever else there is one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "dassl":
            return None
        return importlib.util.spec_from_file_location(
            "dassl", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
        )


def main(words: list[str]) -> int:
    """Run the program ``words[0]`` with the arguments that follow, as ``python`` itself would."""
    if not words or not os.path.isfile(words[0]):
        wanted = f"no program {words[0]!r} in {os.getcwd()!r}" if words else "no program is named"
        print(f"error: {wanted}: python {__file__} PROGRAM.py [ARGUMENTS]", file=sys.stderr)
        return 2
    sys.meta_path.insert(0, DasslFinder())
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of this file, where Python looks first
    sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
