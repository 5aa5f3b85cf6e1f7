"""Which CLIP prompts are tuned on: checkpoints say it, and it is compared where they come in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from clip import CLIP, weights_hash

logger = logging.getLogger(__name__)


class KnownCLIP(NamedTuple):
    """A CLIP as people call it, and as its weights tell it from all others."""

    name: str
    hash: str

    @classmethod
    def of(cls, model: CLIP, name: str) -> KnownCLIP:
        """The float32 ``model``, which settings call ``name``."""
        return cls(name, weights_hash(model))

    @classmethod
    def in_file(cls, state: Mapping[str, Any]) -> KnownCLIP | None:
        """The one that a checkpoint's prompts were tuned on; None where the checkpoint doesn't say."""
        entry = state.get("clip")
        if not isinstance(entry, Mapping) or not {"name", "hash"} <= set(entry):
            return None
        return cls(str(entry["name"]), str(entry["hash"]))

    def warn_of_another(self, state: Mapping[str, Any], path: str) -> None:
        """Say where the prompts of ``path`` were tuned on another CLIP than this one, that they now meet."""
        tuned_on = KnownCLIP.in_file(state)
        if tuned_on is not None and tuned_on.hash != self.hash:
            logger.warning("%s was tuned on the CLIP %s and now meets another one, %s", path, tuned_on, self)

    def refuse_another(self, state: Mapping[str, Any], path: str) -> None:
        """Raise ValueError where the run behind ``path`` was on another CLIP: it cannot go on on this one."""
        tuned_on = KnownCLIP.in_file(state)
        if tuned_on is not None and tuned_on.hash != self.hash:
            raise ValueError(
                f"{path} belongs to a run on the CLIP {tuned_on}, but MODEL.BACKBONE leads to {self}: "
                "give that CLIP, choose another --output-dir, or delete the old run"
            )

    def __str__(self) -> str:
        return f"{self.name} ({self.hash[:12]})"
