"""Registries: classes by name, so that a configuration can name them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are most like ``name``, at most three."""
    by_lower = {k.lower(): k for k in sorted(known)}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known ones, or all of them."""
    known = sorted(known)
    if near := nearest(str(name), known):
        return f". Did you mean {' or '.join(map(repr, near))}?"
    return f". Known: {', '.join(known) if known else 'none'}"


def check_availability(requested: str, available: Iterable[str]) -> None:
    """Raise a ``ValueError`` with the nearest names when ``requested`` is not among ``available``."""
    available = list(available)
    if requested not in available:
        raise ValueError(f"{requested!r} is not available{suggestion(requested, available)}")


class Registry:
    """Names for objects of one kind.

    TRAINERS = Registry("TRAINER")

    @TRAINERS.register()
    class CoOp: ...

    TRAINERS.get("CoOp")
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._objects: dict[str, Any] = {}
        self._derived: dict[str, Callable[[Any], Any]] = {}

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """Register ``obj`` under its ``__name__``; without ``obj``, a decorator that does.

        Raises:
            ValueError: the name is taken and ``force`` is False.
        """
        if obj is None:
            decorator: Callable[[Any], Any] = lambda o: self.register(o, force)  # noqa: E731
            return decorator
        name = obj.__name__
        if name in self._objects and not force:
            raise ValueError(f"{name!r} is already registered in the {self._name} registry")
        self._objects[name] = obj
        return obj

    def derive(self, suffix: str, make: Callable[[Any], Any]) -> None:
        """Let `get` give ``make(X)`` for the name of any X with ``suffix`` behind it, where nobody has it."""
        self._derived[suffix] = make

    def get(self, name: str, setting: str = "") -> Any:
        """The object registered as ``name``, which ``setting`` says.

        Raises:
            ValueError: there is none; the message lists the nearest or all known names.
        """
        for suffix, make in self._derived.items():
            if name not in self._objects and name.removesuffix(suffix) in self._objects:
                return make(self._objects[name.removesuffix(suffix)])
        if name not in self._objects:
            said = f"{setting}: " if setting else ""
            message = f"{said}{name!r} is not registered in the {self._name} registry"
            raise ValueError(message + suggestion(name, self._objects))
        return self._objects[name]

    def registered_names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._objects)

    def __contains__(self, name: str) -> bool:
        return name in self._objects
