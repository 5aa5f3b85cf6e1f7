"""Helpers: files, checkpoints, logs, meters, random numbers, registries."""

from dassl.utils.checkpoint import (
    check_state_dict,
    count_num_param,
    latest_checkpoint,
    load_checkpoint,
    load_pretrained_weights,
    open_all_layers,
    open_specified_layers,
    resume_from_checkpoint,
    save_checkpoint,
    write_checkpoint,
)
from dassl.utils.env import collect_env_info, git_commit, usable_cores
from dassl.utils.files import (
    atomic_path,
    check_isfile,
    listdir_nohidden,
    mkdir_if_missing,
    read_image,
    read_json,
    user_cache,
    write_json,
    write_text,
)
from dassl.utils.logger import Logger, setup_logger
from dassl.utils.meters import AverageMeter, MetricMeter
from dassl.utils.progress import on_terminal, progress
from dassl.utils.registry import Registry, check_availability, tolist_if_not
from dassl.utils.seed import get_rng_state, set_random_seed, set_rng_state

__all__ = [
    "AverageMeter",
    "Logger",
    "MetricMeter",
    "Registry",
    "atomic_path",
    "check_availability",
    "check_isfile",
    "check_state_dict",
    "collect_env_info",
    "count_num_param",
    "get_rng_state",
    "git_commit",
    "latest_checkpoint",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "on_terminal",
    "open_all_layers",
    "open_specified_layers",
    "progress",
    "read_image",
    "read_json",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_random_seed",
    "set_rng_state",
    "setup_logger",
    "tolist_if_not",
    "usable_cores",
    "user_cache",
    "write_checkpoint",
    "write_json",
    "write_text",
]
