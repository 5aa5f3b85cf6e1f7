"""Settings from YAML files of anybody: whatever is in one, it is a tree of plain values or a clear error."""

from __future__ import annotations

import logging
import os
from typing import Any

import yaml

from dassl.config.rules import shown

logger = logging.getLogger(__name__)

LARGEST = 2**20  # bytes of a file
MOST = 10_000  # values of a file: aliases of aliases make billions of a few lines
DEEPEST = 20  # groups in groups

_PLAIN = (str, int, float, bool, type(None))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which one would be lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in getattr(node, "value", ()):
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_settings(path: str) -> dict[str, Any]:
    """The tree of settings in a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML file in UTF-8 that holds groups of plain values and lists; names the place.
    """
    if not os.path.isfile(path):
        what = (
            "is a folder"
            if os.path.isdir(path)
            else "is no file"
            if os.path.exists(path)
            else "does not exist"
        )
        raise FileNotFoundError(f"Config file {path!r} {what}")
    if not path.endswith((".yaml", ".yml")):  # yacs would run a .py
        raise ValueError(f"Config file {path!r} must end in .yaml or .yml; nothing else is read")
    if (size := os.path.getsize(path)) > LARGEST:
        raise ValueError(f"Config file {path!r} has {size:,} bytes; settings take at most {LARGEST:,}")
    try:
        with open(path, encoding="utf-8-sig") as file:
            tree = yaml.load(file, _Loader)
    except OSError:
        raise
    except UnicodeDecodeError as error:
        raise ValueError(f"Config file {path!r} is not text in UTF-8 ({error}); save it as that") from error
    except Exception as error:  # a malformed file can fail anywhere in yaml's reader
        raise ValueError(f"Config file {path!r} is not valid YAML: {_in_a_line(error)}") from error
    if tree is None:
        logger.warning("Config file %r is empty", path)
        return {}
    if problem := _what_is_wrong(tree):
        raise ValueError(f"Config file {path!r}: {problem}")
    return tree


def _in_a_line(error: Exception) -> str:
    """What yaml says, and where; its own text has the lines of the file, too."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or (
        "it is nested too deeply" if isinstance(error, RecursionError) else error
    )
    return f"{said} (line {mark.line + 1}, column {mark.column + 1})" if mark else " ".join(str(said).split())


def _what_is_wrong(tree: Any) -> str:
    """Why this is no tree of settings; "" if it is one."""
    if not isinstance(tree, dict):
        return f"it holds {shown(tree)}; it must hold settings, such as OPTIM: {{LR: 0.002}}"
    waiting: list[tuple[str, Any, int]] = [("", tree, 0)]
    count = 0
    while waiting:
        name, value, depth = waiting.pop()
        count += 1
        if count > MOST or depth > DEEPEST:
            return f"it has more than {MOST:,} values, or groups in groups deeper than {DEEPEST}"
        if isinstance(value, dict):
            if strange := [key for key in value if not isinstance(key, str)]:
                return f"the key {shown(strange[0])} in {name or 'it'} is no text; names of settings are text"
            waiting += [(f"{name}.{key}" if name else key, part, depth + 1) for key, part in value.items()]
        elif isinstance(value, list):
            waiting += [(name, part, depth + 1) for part in value]
        elif not isinstance(value, _PLAIN):
            return f"{name} is a {type(value).__name__}, {shown(value)}; put it in quotes, or give a number"
    return ""
