"""Run a program of another repository, written for Dassl.pytorch, on the `dassl` package of this one.

    cd path/to/CoOp
    python path/to/this/with_dassl.py train.py --root DATA --trainer CoOp ...
    python path/to/this/with_dassl.py train.py --root DATA --trainer CoOp --plugin dpc ...

Of this repository the program sees `dassl` alone, and it sees no other `dassl`. Names such as `datasets`,
`trainers` and `clip` lead to its own folders or to installed packages. Where no ``trainers.plugins`` is,
``trainers.plugins.dpc.anywhere`` is the one here. ``--plugin dpc`` runs the second stage of the trainer: DPC
on top of it, from the prompts that a first run left in ``TRAINER.DPC.BACKBONE_DIR``.
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

HOME = Path(__file__).resolve().parent
PACKAGE = HOME / "dassl"


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


class PluginFinder(MetaPathFinder):
    """Finds `trainers.plugins` here without the rest of `trainers`, where nobody else has it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "trainers" and not f"{fullname}.".startswith("trainers.plugins."):
            return None
        place = HOME / fullname.replace(".", "/")
        if not place.is_dir():
            file = place.with_suffix(".py")
            return importlib.util.spec_from_file_location(fullname, file) if file.is_file() else None
        spec = ModuleSpec(fullname, None, is_package=True)  # its __init__ would lead to our own trainers
        spec.submodule_search_locations = []
        return spec


def use_plugin(words: list[str]) -> list[str]:
    """The words without ``--plugin dpc``, which has been applied to the trainer that they name.

    Raises:
        ValueError: another plug-in, or no ``--trainer``.
    """
    if "--plugin" not in words:
        return words
    i = words.index("--plugin")
    plugin, words = words[i + 1 : i + 2], words[:i] + words[i + 2 :]
    if plugin != ["dpc"] or "--trainer" not in words[:-1]:
        raise ValueError("it must be --plugin dpc, beside --trainer NAME: there is no other plug-in for any")
    from trainers.plugins.dpc.anywhere import plug_in

    words[words.index("--trainer") + 1] = plug_in(words[words.index("--trainer") + 1])
    return words


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
    sys.meta_path.append(PluginFinder())
    try:
        sys.argv = use_plugin(words)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runpy.run_path(words[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
