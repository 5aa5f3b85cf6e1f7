"""The configuration node: yacs' ``CfgNode`` with errors that say what would have been right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from yacs.config import CfgNode

from dassl.utils.registry import suggestion

# Settings that say where, how loudly or how fast a run works, never what it computes.
LOCATION_SETTINGS = frozenset(
    {
        "OUTPUT_DIR",
        "RESUME",
        "USE_CUDA",
        "VERBOSE",
        "DATASET.ROOT",
        "DATALOADER.NUM_WORKERS",
        "DATALOADER.CACHE_MB",
        "DATALOADER.TEST.BATCH_SIZE",
        "TRAIN.CHECKPOINT_FREQ",
        "TRAIN.PRINT_FREQ",
        "TRAIN.TENSORBOARD",
        "TRAIN.LOGGER",
        "TEST.SPLIT",
        "TEST.CACHE_FEATURES",
        "TEST.SAVE_LOGITS",
        "TEST.PER_CLASS_RESULT",
        "TEST.COMPUTE_CMAT",
    }
)

Translation = Callable[[CfgNode], None]

_WORDS: dict[str, tuple[str, ...]] = {}


def allow_words(setting: str, *words: str) -> None:
    """Let a setting that is a number (``TRAINER.DPC.WEIGHT_BASE``) be one of ``words`` as well."""
    _WORDS[setting] = words


class Config(CfgNode):
    """A tree of settings. Merging an unknown key is a ``ValueError`` that names the nearest known ones.

    ``translate``, where it is given, changes a tree before it is merged.
    """

    def merge_from_file(self, cfg_filename: str, translate: Translation | None = None) -> None:
        """Merge a YAML file.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: a key is unknown or a value has the wrong type.
        """
        if not os.path.isfile(cfg_filename):
            raise FileNotFoundError(f"Config file {cfg_filename!r} does not exist")
        if not str(cfg_filename).endswith((".yaml", ".yml")):  # yacs would run a .py
            raise ValueError(f"Config file {cfg_filename!r} must end in .yaml or .yml; nothing else is read")
        with open(cfg_filename, encoding="utf-8") as file:
            other = self.load_cfg(file)
        try:
            if translate is not None:
                translate(other)
            self.merge_from_other_cfg(other)
        except ValueError as error:
            raise ValueError(f"In config file {cfg_filename!r}: {error}") from error

    def merge_from_other_cfg(self, cfg_other: CfgNode) -> None:
        """Merge another tree (see ``merge_from_file``)."""
        _match(cfg_other, self, "")
        super().merge_from_other_cfg(cfg_other)

    def merge_from_list(self, cfg_list: Sequence[Any], translate: Translation | None = None) -> None:
        """Merge ``[key, value, key, value, ...]``, for instance ``["OPTIM.LR", "0.002"]``."""
        if len(cfg_list) % 2:
            raise ValueError(f"Options must be KEY VALUE pairs, got an odd number of words: {list(cfg_list)}")
        for key, value in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            *parents, leaf = key.split(".")
            tree: Any = {leaf: self._decode_cfg_value(value)}
            for parent in reversed(parents):
                tree = {parent: tree}
            node = CfgNode(tree)
            if translate is not None:
                translate(node)
            self.merge_from_other_cfg(node)

    @classmethod
    def _decode_cfg_value(cls, value: Any) -> Any:
        # yacs demands equal classes when it merges: groups are plain nodes, as other projects add them too.
        return CfgNode._decode_cfg_value(value)


def _match(new: dict[str, Any], known: CfgNode, prefix: str) -> None:
    """Check the keys of ``new`` against ``known`` and make integers floats where ``known`` has a float."""
    for key, value in new.items():
        name = prefix + key
        if key not in known:
            if isinstance(known, CfgNode) and known.is_new_allowed():
                continue
            raise ValueError(f"Unknown setting {name!r}{suggestion(name, [prefix + k for k in known])}")
        default = known[key]
        if isinstance(default, CfgNode):
            if not isinstance(value, dict):
                raise ValueError(f"Setting {name!r} is a group, it cannot take the value {value!r}")
            _match(value, default, name + ".")
        elif name in _WORDS and (value in _WORDS[name] or default in _WORDS[name]):
            known[key] = None  # which yacs replaces by a value of any type
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            new[key] = float(value)


def flatten(cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of ``cfg`` as ``("GROUP.KEY", value)``, sorted by name."""
    for key in sorted(cfg):
        if isinstance(cfg[key], CfgNode):
            yield from flatten(cfg[key], f"{prefix}{key}.")
        else:
            yield prefix + key, cfg[key]
