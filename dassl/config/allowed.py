"""What each setting of `dassl.config.defaults` may be, and how some of them must fit together.

A trainer's or data set's own settings have their rules beside their defaults (``ALLOWED``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dassl.config.rules import (
    Rule,
    above,
    below,
    existing_file,
    number,
    one_of,
    place_of_folder,
    several,
    template,
    text,
    whole,
)

SAMPLERS = (
    *("RandomSampler", "SequentialSampler", "RandomDomainSampler", "SeqDomainSampler"),
    "RandomClassSampler",
)
TRANSFORMS = (
    *("random_translation", "random_crop", "random_resized_crop", "random_flip", "colorjitter"),
    *("randomgrayscale", "gaussian_blur", "imagenet_policy", "cifar10_policy", "svhn_policy", "randaugment"),
    *("randaugment_fixmatch", "randaugment2", "cutout", "normalize", "gaussian_noise", "instance_norm"),
    "center_crop",  # always part of the test transform, never of the train transform
)
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
OPTIMISERS = ("sgd", "adam", "amsgrad", "adamw", "radam", "rmsprop")
SCHEDULERS = ("single_step", "multi_step", "cosine")
WARMUPS = ("linear", "constant")
LOGGERS = ("none", "tensorboard", "wandb", "trackio")
SUBSETS = ("all", "base", "new")
ACTIVATIONS = ("gelu", "quick_gelu")

_SHARE, _FACTOR, _PIXELS = number(0, 1), number(0, 100), whole(1, 16384)
_BATCH, _FREQUENCY = whole(1), whole(0)

ALLOWED: dict[str, Rule] = {
    "VERSION": whole(),
    "OUTPUT_DIR": place_of_folder(),
    "RESUME": text(),
    "SEED": whole(-1, 2**64 - 1),
    "INPUT.SIZE": several(_PIXELS, 2, "two whole numbers of pixels, height and width, such as (224, 224)"),
    "INPUT.INTERPOLATION": one_of(*INTERPOLATIONS),
    "INPUT.TRANSFORMS": several(one_of(*TRANSFORMS)),
    "INPUT.PIXEL_MEAN": several(number(), 3),
    "INPUT.PIXEL_STD": several(above(0), 3),
    "INPUT.CROP_PADDING": whole(0, 16384),
    "INPUT.RRCROP_SCALE": several(above(0, 1), 2),
    "INPUT.CUTOUT_N": whole(1, 1000),
    "INPUT.CUTOUT_LEN": _PIXELS,
    "INPUT.GN_MEAN": number(),
    "INPUT.GN_STD": number(0),
    "INPUT.RANDAUGMENT_N": whole(1, 100),
    "INPUT.RANDAUGMENT_M": number(0, 30),
    "INPUT.COLORJITTER_B": _FACTOR,
    "INPUT.COLORJITTER_C": _FACTOR,
    "INPUT.COLORJITTER_S": _FACTOR,
    "INPUT.COLORJITTER_H": number(0, 0.5),
    "INPUT.RGS_P": _SHARE,
    "INPUT.GB_P": _SHARE,
    "INPUT.GB_K": whole(1, 999),
    "DATASET.ROOT": text(),
    "DATASET.NAME": text(),
    "DATASET.SOURCE_DOMAINS": several(text()),
    "DATASET.TARGET_DOMAINS": several(text()),
    "DATASET.TEMPLATE": template().either("empty for the data set's own", ""),
    "DATASET.NUM_SHOTS": whole(-1),
    "DATASET.NUM_LABELED": whole(-1),
    "DATASET.VAL_PERCENT": _SHARE,
    "DATASET.STL10_FOLD": whole(-1, 9),
    "DATASET.CIFAR_C_TYPE": text(),
    "DATASET.CIFAR_C_LEVEL": whole(1, 5),
    "DATASET.SUBSAMPLE_CLASSES": one_of(*SUBSETS),
    "DATALOADER.NUM_WORKERS": whole(-1),
    "DATALOADER.K_TRANSFORMS": whole(1),
    "DATALOADER.CACHE_MB": number(0),
    "DATALOADER.TRAIN_X.SAMPLER": one_of(*SAMPLERS),
    "DATALOADER.TRAIN_X.BATCH_SIZE": _BATCH,
    "DATALOADER.TRAIN_X.N_DOMAIN": whole(),
    "DATALOADER.TRAIN_X.N_INS": whole(1),
    "DATALOADER.TRAIN_U.SAMPLER": one_of(*SAMPLERS),
    "DATALOADER.TRAIN_U.BATCH_SIZE": _BATCH,
    "DATALOADER.TRAIN_U.N_DOMAIN": whole(),
    "DATALOADER.TRAIN_U.N_INS": whole(1),
    "DATALOADER.TEST.SAMPLER": one_of("SequentialSampler", "RandomSampler"),  # the others leave images out
    "DATALOADER.TEST.BATCH_SIZE": _BATCH,
    "MODEL.INIT_WEIGHTS": existing_file(),
    "MODEL.BACKBONE.NAME": text(),
    "MODEL.BACKBONE.PATH": text(),
    "MODEL.BACKBONE.ACTIVATION": one_of(*ACTIVATIONS, ""),
    "MODEL.BACKBONE.HEAD_WIDTH": whole(0, 16384),
    "MODEL.HEAD.NAME": text(),
    "MODEL.HEAD.HIDDEN_LAYERS": several(whole(1, 2**20)),
    "MODEL.HEAD.ACTIVATION": one_of("relu", "leaky_relu"),
    "MODEL.HEAD.DROPOUT": _SHARE,
    "OPTIM.NAME": one_of(*OPTIMISERS),
    "OPTIM.LR": above(0),
    "OPTIM.WEIGHT_DECAY": number(0),
    "OPTIM.MOMENTUM": below(1),
    "OPTIM.SGD_DAMPNING": _SHARE,
    "OPTIM.RMSPROP_ALPHA": below(1),
    "OPTIM.ADAM_BETA1": below(1),
    "OPTIM.ADAM_BETA2": below(1),
    "OPTIM.ADAM_EPS": above(0),
    "OPTIM.NEW_LAYERS": several(text()),
    "OPTIM.BASE_LR_MULT": number(0, 1e6),
    "OPTIM.LR_SCHEDULER": one_of(*SCHEDULERS),
    "OPTIM.STEPSIZE": several(whole(1).either("-1 for none", -1), least=1),
    "OPTIM.GAMMA": above(0),
    "OPTIM.MAX_EPOCH": whole(1),
    "OPTIM.WARMUP_EPOCH": whole(-1),
    "OPTIM.WARMUP_TYPE": one_of(*WARMUPS),
    "OPTIM.WARMUP_CONS_LR": above(0),
    "OPTIM.WARMUP_MIN_LR": above(0),
    "TRAIN.CHECKPOINT_FREQ": _FREQUENCY,
    "TRAIN.PRINT_FREQ": whole(1),
    "TRAIN.COUNT_ITER": one_of("train_x", "train_u", "smaller_one"),
    "TRAIN.LOGGER": one_of(*LOGGERS),
    "TEST.EVALUATOR": text(),
    "TEST.SPLIT": one_of("test", "val"),
    "TEST.FINAL_MODEL": one_of("last_step", "best_val"),
    "TRAINER.NAME": text(),
}


def _steps(cfg: Any) -> str:
    steps, name = list(cfg.OPTIM.STEPSIZE), cfg.OPTIM.LR_SCHEDULER
    if name == "multi_step" and (steps != sorted(set(steps)) or steps[0] < 1):
        return f"OPTIM.STEPSIZE is {tuple(steps)}; multi_step needs positive epochs of the steps, ascending"
    return ""


def _nesterov(cfg: Any) -> str:
    optim = cfg.OPTIM
    if optim.NAME == "sgd" and optim.SGD_NESTEROV and (not optim.MOMENTUM or optim.SGD_DAMPNING):
        return (
            f"OPTIM.SGD_NESTEROV is True with OPTIM.MOMENTUM {optim.MOMENTUM} and OPTIM.SGD_DAMPNING "
            f"{optim.SGD_DAMPNING}; it must be False, or the momentum above 0 and the dampening 0"
        )
    return ""


def _crop(cfg: Any) -> str:
    low, high = cfg.INPUT.RRCROP_SCALE
    problem = f"INPUT.RRCROP_SCALE is {(low, high)}; it must be two shares of the area, the smaller first"
    return problem if low > high else ""


def _kernel(cfg: Any) -> str:
    side = cfg.INPUT.GB_K
    return "" if side % 2 else f"INPUT.GB_K is {side}; it must be odd, such as {side + 1}"


# What must be true of several settings, once each is right by itself; "" or what is wrong.
RELATIONS: tuple[Callable[[Any], str], ...] = (_steps, _nesterov, _crop, _kernel)
