"""The resume file: all that the rest of a run depends on, so that it goes on as if never interrupted."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from dassl.config import CfgNode, Options, changed_settings, relevant_settings
from dassl.config.node import LOCATION_SETTINGS, flatten
from dassl.engine.checkpoint import PREFIX
from dassl.utils import get_rng_state, load_checkpoint, set_rng_state, write_checkpoint

logger = logging.getLogger(__name__)

RESUME_FILE = "resume.pth.tar"


_PARTS = {"epoch", "settings", "models", "optimizers", "schedulers", "rng", "best_result", "extra"}


class Resumable(Protocol):
    """What the resume file asks of a trainer (see ``dassl.engine.TrainerBase``)."""

    best_result: float

    @property
    def optims(self) -> Mapping[str, Any]: ...

    @property
    def scheds(self) -> Mapping[str, Any]: ...

    def known_options(self) -> Options: ...

    def get_model_names(self) -> list[str]: ...

    def resume_state_dict(self, name: str) -> dict[str, torch.Tensor]: ...

    def load_resume_state_dict(self, name: str, state_dict: Mapping[str, torch.Tensor]) -> None: ...

    def extra_state(self) -> dict[str, Any]: ...

    def load_extra_state(self, state: dict[str, Any]) -> None: ...


def resume_path(directory: str) -> str:
    """The resume file of the run in ``directory``."""
    return os.path.join(directory, RESUME_FILE)


def save_resume_file(trainer: Resumable, cfg: CfgNode, directory: str, epoch: int) -> None:
    """Replace the resume file atomically; ``epoch`` epochs are behind it."""
    scaler = getattr(trainer, "scaler", None)
    state = {
        "epoch": epoch,
        "settings": relevant_settings(cfg, trainer.known_options()),
        "changed_settings": sorted(changed_settings(cfg, trainer.known_options())),
        "models": {name: trainer.resume_state_dict(name) for name in trainer.get_model_names()},
        "optimizers": {name: _state(part) for name, part in trainer.optims.items()},
        "schedulers": {name: _state(part) for name, part in trainer.scheds.items()},
        "scaler": _state(scaler),
        "best_result": float(trainer.best_result),
        "extra": trainer.extra_state(),
        "rng": get_rng_state(),
    }
    write_checkpoint(state, resume_path(directory))


def load_resume_file(trainer: Resumable, cfg: CfgNode, directory: str) -> int:
    """Restore the run in ``directory``.

    Returns:
        The number of epochs behind it.

    Raises:
        ValueError: the file is damaged, belongs to a run with other settings or does not fit the models.
    """
    path = resume_path(directory)
    state = load_checkpoint(path)
    if missing := _PARTS - set(state):
        raise ValueError(f"{path!r} is not a resume file: it lacks {', '.join(sorted(missing))}")
    check_settings(state, cfg, trainer.known_options(), path)
    try:
        if set(state["models"]) != set(trainer.get_model_names()):
            names = trainer.get_model_names()
            raise ValueError(f"{path!r} holds the models {sorted(state['models'])}, not {sorted(names)}")
        for name, weights in state["models"].items():
            trainer.load_resume_state_dict(name, weights)
        _restore(trainer.optims, state["optimizers"])
        _restore(trainer.scheds, state["schedulers"])
        _restore({"scaler": getattr(trainer, "scaler", None)}, {"scaler": state.get("scaler")})
        trainer.best_result = state["best_result"]
        trainer.load_extra_state(state["extra"])
        set_rng_state(state["rng"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"{path!r} is damaged ({error!r}): delete the run and start it again") from error
    return state["epoch"]


def finished_classes(
    directory: str, names: list[str], epochs: int, cfg: CfgNode, options: Options
) -> str | None:
    """The classes of the finished run of ``epochs`` in ``directory``, where ``cfg`` is on others.

    Returns:
        Its ``DATASET.SUBSAMPLE_CLASSES``; None where there is no such run, or it is on the same classes.

    Raises:
        ValueError: it is on other classes, and more of its settings differ.
    """
    paths = [os.path.join(directory, name, f"{PREFIX}{epochs}") for name in names]
    if not paths or not all(map(os.path.isfile, paths)) or os.path.exists(resume_path(directory)):
        return None
    written = load_checkpoint(paths[0])
    classes = json.loads(written.get("settings", {}).get("DATASET.SUBSAMPLE_CLASSES", "null"))
    if classes in (None, cfg.DATASET.SUBSAMPLE_CLASSES):
        return None
    same = cfg.clone()
    same.defrost()
    same.DATASET.SUBSAMPLE_CLASSES = classes
    check_settings(written, same, options, paths[0])
    return classes


def remove_resume_file(directory: str) -> None:
    """Remove the resume file, if any."""
    if os.path.exists(resume_path(directory)):
        os.remove(resume_path(directory))


def check_settings(state: Mapping[str, Any], cfg: CfgNode, options: Options, path: str) -> None:
    """Raise a ``ValueError`` when ``path`` was written under settings that differ in what they compute.

    A setting that the file does not have is taken for its default, since its version did not have it yet. One
    that this version no longer has counts, unless the file says that it was at its default.

    Args:
        state: what the file holds: ``settings``, and ``changed_settings`` unless it is of an earlier version.
    """
    written, current, defaults = state["settings"], relevant_settings(cfg, options), options.defaults()
    there_is = {key for key, _ in flatten(cfg)}
    unchanged = set(written) - set(state.get("changed_settings", written))
    changed = {}
    for key in sorted({*written, *current}):
        gone = key not in there_is
        foreign = options.is_of_another_trainer(key) and not (gone and options.has_beside(key))
        if key in LOCATION_SETTINGS or foreign or (gone and key in unchanged):
            continue
        was, now = written.get(key, defaults.get(key, current.get(key))), current.get(key, "absent")
        if was != now:
            changed[key] = f"{key} was {was}, now {now}"
    if changed:
        shown = "; ".join(list(changed.values())[:5])
        more = f"; and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise ValueError(
            f"{path!r} belongs to a run with other settings ({shown}{more}). "
            "Choose another --output-dir, go back to those settings, or delete the old run"
        )


def _state(part: Any) -> dict[str, Any] | None:
    return None if part is None else part.state_dict()


def _restore(parts: Mapping[str, Any], states: dict[str, Any]) -> None:
    for name, part in parts.items():
        if part is not None and states.get(name) is not None:
            part.load_state_dict(states[name])
