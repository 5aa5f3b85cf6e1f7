"""What a run computes, as settings: which of them count, and a hash of these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dassl.config.defaults import _C
from dassl.config.node import LOCATION_SETTINGS, CfgNode, flatten

# Raise it when the default of a setting changes. A hash leaves out what is at its default, so that it
# outlives new settings; without this number, runs before and after such a change would have the same.
DEFAULTS_VERSION = 1


@dataclass(frozen=True)
class Options:
    """Settings that are added to Dassl's own: their defaults, and which of them a run reads.

    Attributes:
        of_trainer: those below ``TRAINER`` that the run's trainer reads, as ``{"TRAINER.COOP.N_CTX": 16}``;
            the others there are of other trainers. None: the trainer doesn't say, and all of them count.
        of_datasets: those that data sets read.
    """

    of_trainer: Mapping[str, Any] | None = None
    of_datasets: Mapping[str, Any] = field(default_factory=dict)

    def defaults(self) -> dict[str, str]:
        """Every default that is known, as `relevant_settings` writes values."""
        known = {**dict(flatten(_C)), **self.of_datasets, **(self.of_trainer or {})}
        return {key: _text(value) for key, value in known.items()}

    def is_of_another_trainer(self, key: str) -> bool:
        """Whether the run's trainer does not read the setting."""
        is_option = key.startswith("TRAINER.") and key != "TRAINER.NAME"
        return is_option and self.of_trainer is not None and key not in self.of_trainer

    def has_beside(self, key: str) -> bool:
        """Whether the setting is in a group that the run's trainer reads others of."""
        group = key.rpartition(".")[0]
        return group != "TRAINER" and any(own.startswith(f"{group}.") for own in self.of_trainer or ())


def relevant_settings(cfg: CfgNode, options: Options | None = None) -> dict[str, str]:
    """The settings that decide what a run computes, as text.

    ``LOCATION_SETTINGS`` are left out, and those of other trainers.
    """
    options = options or Options()
    return {
        key: _text(value)
        for key, value in flatten(cfg)
        if key not in LOCATION_SETTINGS and not options.is_of_another_trainer(key)
    }


def changed_settings(cfg: CfgNode, options: Options | None = None) -> dict[str, str]:
    """The `relevant_settings` that differ from their defaults, and those whose defaults are not known."""
    defaults = (options or Options()).defaults()
    return {k: text for k, text in relevant_settings(cfg, options).items() if defaults.get(k) != text}


def config_hash(cfg: CfgNode, options: Options | None = None) -> str:
    """12 hexadecimal digits that are equal when two runs compute the same thing.

    A setting at its default leaves them as they are, so that they outlive settings that are new.
    """
    text = json.dumps([DEFAULTS_VERSION, changed_settings(cfg, options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(value: Any) -> str:
    # JSON writes tuples and lists alike, as yacs treats them.
    return json.dumps(value)
