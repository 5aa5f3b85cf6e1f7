"""The configuration node: yacs' ``CfgNode`` with errors that say what would have been right.

Nothing else imports yacs, which nobody maintains: what takes its place would be written here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from yacs.config import CfgNode

from dassl.config.allowed import ALLOWED, RELATIONS
from dassl.config.rules import Rule, shown
from dassl.config.yaml_file import read_settings
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
    """A tree of settings, which knows what each may be and where it comes from.

    Merging an unknown key or a value of the wrong type is a ``ValueError`` that says what would be right.
    ``translate``, where it is given, changes a tree before it is merged.
    """

    def merge_from_file(self, cfg_filename: str, translate: Translation | None = None) -> None:
        """Merge a YAML file.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: it is no YAML, a key is unknown or a value has the wrong type.
        """
        tree = read_settings(str(cfg_filename))
        try:
            other = _node(tree)
            if translate is not None:
                translate(other)
            self.merge_from_other_cfg(other, f"config file {str(cfg_filename)!r}")
        except ValueError as error:
            raise ValueError(f"In config file {cfg_filename!r}: {error}") from error

    def merge_from_other_cfg(self, cfg_other: CfgNode, origin: str = "") -> None:
        """Merge another tree (see ``merge_from_file``), which comes from ``origin``."""
        _match(cfg_other, self, "")
        super().merge_from_other_cfg(cfg_other)
        _origins(self).update({key: origin for key, _ in flatten(cfg_other)})

    def merge_from_list(
        self, cfg_list: Sequence[Any], translate: Translation | None = None, origin: str = "command line"
    ) -> None:
        """Merge ``[key, value, key, value, ...]``, for instance ``["OPTIM.LR", "0.002"]``."""
        if len(cfg_list) % 2:
            raise ValueError(f"Options must be KEY VALUE pairs, got an odd number of words: {list(cfg_list)}")
        for key, value in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            if str(key).startswith("-"):
                raise ValueError(f"{key} stands behind KEY VALUE words; flags must stand in front of them")
            *parents, leaf = str(key).split(".")
            tree: Any = {leaf: self._decode_cfg_value(value)}
            for parent in reversed(parents):
                tree = {parent: tree}
            node = _node(tree)
            if translate is not None:
                translate(node)
            self.merge_from_other_cfg(node, origin)

    @classmethod
    def _decode_cfg_value(cls, value: Any) -> Any:
        # yacs demands equal classes when it merges: groups are plain nodes, as other projects add them too.
        try:
            return CfgNode._decode_cfg_value(value)
        except (RecursionError, MemoryError):  # "((((..."
            return value


def _node(tree: dict[str, Any]) -> CfgNode:
    try:
        return CfgNode(tree)
    except AssertionError as error:  # text that Python reads as something else, such as "b'x'"
        raise ValueError(f"{str(error).partition(';')[0]}: give a number, text or a tuple") from error


def allow(rules: Mapping[str, Rule]) -> None:
    """Say what further settings may be, by full name: those of trainers and data sets."""
    ALLOWED.update(rules)


def _origins(cfg: CfgNode) -> dict[str, str]:
    return cfg.__dict__.setdefault("_origins", {})


def check_settings(cfg: CfgNode) -> None:
    """Raise a ``ValueError`` that names the settings which are not what they may be, in a line."""
    settings, origins = dict(flatten(cfg)), _origins(cfg)
    wrong = [
        ALLOWED[key].problem(key, value, origins.get(key, ""))
        for key, value in settings.items()
        if key in ALLOWED
    ]
    if not any(wrong):
        wrong = [relation(cfg) for relation in RELATIONS]
    if any(wrong):
        raise ValueError("; ".join(filter(None, wrong)))


def _match(new: dict[str, Any], known: CfgNode, prefix: str) -> None:
    """Check keys and types of ``new`` against ``known``; whole numbers become floats where that has one."""
    for key, value in new.items():
        name = prefix + key
        if key not in known:
            if isinstance(known, CfgNode) and known.is_new_allowed():
                continue
            raise ValueError(f"Unknown setting {name!r}{suggestion(name, [prefix + k for k in known])}")
        default = known[key]
        value = new[key] = Config._decode_cfg_value(value)  # "(32, 32)" is a tuple
        if isinstance(default, CfgNode):
            if not isinstance(value, dict):
                raise ValueError(f"Setting {name!r} is a group, it cannot take the value {shown(value)}")
            _match(value, default, name + ".")
        elif name in _WORDS and (value in _WORDS[name] or default in _WORDS[name]):
            known[key] = None  # which yacs replaces by a value of any type
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            new[key] = float(value) if abs(value) < 1e300 else math.inf
        elif not _fits(value, default):
            words = ALLOWED[name].words if name in ALLOWED else _KINDS[type(default)]
            raise ValueError(f"{name} is {shown(value)}; it must be {words}")


_KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list or tuple",
    tuple: "a list or tuple",
}


def _fits(value: Any, default: Any) -> bool:
    """Whether a setting may get ``value`` by its type; where one of both is None its rule decides."""
    if default is None or value is None:
        return not isinstance(default, bool)
    lists = (list, tuple)
    return type(value) is type(default) or (isinstance(value, lists) and isinstance(default, lists))


def flatten(cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of ``cfg`` as ``("GROUP.KEY", value)``, sorted by name."""
    for key in sorted(cfg):
        if isinstance(cfg[key], CfgNode):
            yield from flatten(cfg[key], f"{prefix}{key}.")
        else:
            yield prefix + key, cfg[key]
