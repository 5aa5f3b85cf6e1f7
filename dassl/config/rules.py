"""What a setting may be: rules with words for people, the table's vocabulary (see `dassl.config.allowed`)."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dassl.utils.registry import nearest

LONGEST_SHOWN = 100  # characters of a value in a message
HUGE = 2**31 - 1  # more than any count that makes sense; what is above is a slip


class Rule(NamedTuple):
    """What values a setting may have.

    Attributes:
        allows: whether a value is one of them; it may be of any type.
        words: completes "it must be ...".
        names: the names there are, where it is one of some, for "did you mean".
    """

    allows: Callable[[Any], bool]
    words: str
    names: Sequence[str] = ()

    def problem(self, key: str, value: Any, origin: str = "") -> str:
        """What is wrong with ``value``, in a line; "" where nothing is.

        Args:
            origin: the file or flag that it comes from.
        """
        if self.allows(value):
            return ""
        wrong = value if isinstance(value, list | tuple) else [value]
        strange = [name for name in wrong if self.names and name not in self.names]
        near = nearest(str(strange[0]), self.names) if strange else []
        meant = f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
        place = f" ({origin})" if origin else ""
        return f"{key} is {shown(value)}; it must be {self.words}{meant}{place}"

    def either(self, words: str, *others: Any) -> Rule:
        """The same rule with further values, which ``words`` explain."""
        return Rule(lambda v: v in others or self.allows(v), f"{self.words}, or {words}", self.names)


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text):,} characters)"


def whole(low: int = 0, high: int = HUGE) -> Rule:
    """A whole number in ``low`` .. ``high``."""
    upto = f" to {high}" if high != HUGE else " on"
    return Rule(
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"a whole number from {low}{upto}",
    )


def number(low: float = -math.inf, high: float = math.inf, words: str = "") -> Rule:
    """A finite number in [low, high]."""
    if not words:
        words = f"a number in [{low:g}, {high:g}]" if high < math.inf else f"a number, {low:g} or more"
        words = words if low > -math.inf else "a finite number"
    return Rule(lambda v: _is_number(v) and low <= v <= high, words)


def above(low: float, high: float = math.inf) -> Rule:
    """A finite number in (low, high]."""
    words = f"a number above {low:g}" + (f", at most {high:g}" if high < math.inf else "")
    return Rule(lambda v: _is_number(v) and low < v <= high, words)


def below(high: float, low: float = 0) -> Rule:
    """A finite number in [low, high)."""
    return Rule(lambda v: _is_number(v) and low <= v < high, f"a number from {low:g} on, below {high:g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def switch() -> Rule:
    return Rule(lambda v: isinstance(v, bool), "True or False")


def one_of(*names: str) -> Rule:
    return Rule(
        lambda v: isinstance(v, str) and v in names, f"one of {', '.join(n or repr(n) for n in names)}", names
    )


def text() -> Rule:
    """Text in one line; it may be empty."""
    return Rule(is_line, "text without control characters")


def is_line(value: Any) -> bool:
    """Whether it is text that can be written to a log's line: no control characters, no half characters."""
    return isinstance(value, str) and not any(unicodedata.category(c) in ("Cc", "Cs") for c in value)


def template() -> Rule:
    return Rule(
        lambda v: is_line(v) and v.count("{}") == 1,
        'text that holds {} once, where the class name goes, as in "a photo of a {}."',
    )


def several(rule: Rule, count: int | None = None, words: str = "", least: int = 0) -> Rule:
    """A tuple or list whose entries keep ``rule``; ``count`` of them, or at least ``least``."""
    size = f"{count} of them" if count is not None else f"{least} or more of them" if least else ""
    words = words or f"a tuple, {size + ', ' if size else ''}each {rule.words}"

    def allows(value: Any) -> bool:
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            return False
        return len(value) >= least and all(map(rule.allows, value))

    return Rule(allows, words, rule.names)


def existing(kind: str, is_kind: Callable[[str], bool]) -> Rule:
    """The path of a file or folder that is there, or ""."""
    return Rule(
        lambda v: is_line(v) and (not v or is_kind(os.path.expanduser(v))), f"the path of an existing {kind}"
    )


def existing_file() -> Rule:
    return existing("file", os.path.isfile)


def existing_folder() -> Rule:
    return existing("folder", os.path.isdir)


def place_of_folder() -> Rule:
    """The path of a folder that is there, or can be made."""
    return Rule(_can_be_folder, "a folder that is there or can be made, and written to")


def _can_be_folder(value: Any) -> bool:
    if not is_line(value) or not value:
        return False
    place = os.path.abspath(value)
    try:
        while not os.path.lexists(place):
            place = os.path.dirname(place)
    except OSError:  # a name that is too long, say
        return False
    longest = max(len(os.fsencode(part)) for part in os.path.abspath(value).split(os.sep))
    return longest < 256 and os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
