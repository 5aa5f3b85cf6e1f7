"""Optimisers by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from dassl.config import CfgNode, complete
from dassl.config.allowed import OPTIMISERS
from dassl.optim.radam import RAdam
from dassl.utils.names import plain_name
from dassl.utils.registry import check_availability

logger = logging.getLogger(__name__)

AVAI_OPTIMS = list(OPTIMISERS)


def build_optimizer(
    model: nn.Module | Iterable[Any], optim_cfg: CfgNode, param_groups: Iterable[Any] | None = None
) -> torch.optim.Optimizer:
    """The optimiser that ``optim_cfg`` (``cfg.OPTIM``) describes.

    Args:
        model: a module, or an iterable of parameters or parameter groups.
        optim_cfg: the settings.
        param_groups: parameter groups to use instead of ``model``'s.

    Raises:
        ValueError: the name is unknown, or STAGED_LR is set and ``model`` is not a module.
    """
    complete(optim_cfg, "OPTIM")
    check_availability(optim_cfg.NAME, AVAI_OPTIMS)
    _warn_of_idle_settings(optim_cfg, staged_possible=param_groups is None)
    if param_groups is None:
        if optim_cfg.STAGED_LR:
            param_groups = _staged_groups(model, optim_cfg)
        else:
            param_groups = model.parameters() if isinstance(model, nn.Module) else model

    common: dict[str, Any] = {"lr": optim_cfg.LR, "weight_decay": optim_cfg.WEIGHT_DECAY}
    adam: dict[str, Any] = {
        "betas": (optim_cfg.ADAM_BETA1, optim_cfg.ADAM_BETA2),
        "eps": optim_cfg.ADAM_EPS,
    }
    match optim_cfg.NAME:
        case "sgd":
            return torch.optim.SGD(
                param_groups,
                momentum=optim_cfg.MOMENTUM,
                dampening=optim_cfg.SGD_DAMPNING,
                nesterov=optim_cfg.SGD_NESTEROV,
                **common,
            )
        case "adamw":
            return torch.optim.AdamW(param_groups, **adam, **common)
        case "radam":
            return RAdam(param_groups, **adam, **common)
        case "rmsprop":
            return torch.optim.RMSprop(
                param_groups, momentum=optim_cfg.MOMENTUM, alpha=optim_cfg.RMSPROP_ALPHA, **common
            )
        case name:
            return torch.optim.Adam(param_groups, **adam, amsgrad=name == "amsgrad", **common)


def _staged_groups(model: nn.Module | Iterable[Any], optim_cfg: CfgNode) -> list[dict[str, Any]]:
    """Two groups: the parameters of NEW_LAYERS with the full learning rate, all others with a share of it."""
    if not isinstance(model, nn.Module):
        raise ValueError("OPTIM.STAGED_LR needs a module, but parameters were given to build_optimizer")
    if isinstance(model, nn.DataParallel):
        return _staged_groups(model.module, optim_cfg)
    layers = optim_cfg.NEW_LAYERS
    layers = {layers} if isinstance(layers, str) else set(layers)
    known = {_layer(name) for name, _ in model.named_parameters()}
    for layer in layers:
        check_availability(layer, known)

    base: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (new if _layer(name) in layers else base).append(parameter)
    return [{"params": base, "lr": optim_cfg.LR * optim_cfg.BASE_LR_MULT}, {"params": new}]


def _layer(name: str) -> str:
    """The child of the module that a parameter of this name belongs to, parametrised or not."""
    return plain_name(name).removeprefix("parametrizations.").split(".")[0]


def _warn_of_idle_settings(optim_cfg: CfgNode, staged_possible: bool) -> None:
    if optim_cfg.STAGED_LR and not staged_possible:
        logger.warning("OPTIM.STAGED_LR has no effect: the trainer gives its own parameter groups")
    if optim_cfg.STAGED_LR and not optim_cfg.NEW_LAYERS:
        logger.warning("OPTIM.NEW_LAYERS is empty: OPTIM.STAGED_LR multiplies every learning rate alike")
    if optim_cfg.NEW_LAYERS and not optim_cfg.STAGED_LR:
        logger.warning("OPTIM.NEW_LAYERS has no effect without OPTIM.STAGED_LR")
    if optim_cfg.SGD_NESTEROV and optim_cfg.NAME != "sgd":
        logger.warning("OPTIM.SGD_NESTEROV has no effect on OPTIM.NAME %s", optim_cfg.NAME)
