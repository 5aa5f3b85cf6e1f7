"""Helpers: files, checkpoints, logs, meters, random numbers, registries."""

from dassl.utils.checkpoint import (
    allow_in_checkpoints,
    check_state_dict,
    latest_checkpoint,
    load_checkpoint,
    load_pretrained_weights,
    save_checkpoint,
    write_checkpoint,
)
from dassl.utils.compat import (
    check_isfile,
    count_num_param,
    download_url,
    get_most_similar_str_to_a_from_b,
    init_network_weights,
    open_all_layers,
    open_specified_layers,
    resume_from_checkpoint,
    tolist_if_not,
)
from dassl.utils.env import collect_env_info, git_commit, usable_cores
from dassl.utils.files import (
    atomic_path,
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
from dassl.utils.names import plain_name
from dassl.utils.progress import on_terminal, progress
from dassl.utils.registry import Registry, check_availability
from dassl.utils.seed import get_rng_state, set_random_seed, set_rng_state

__all__ = [
    "AverageMeter",
    "Logger",
    "MetricMeter",
    "Registry",
    "allow_in_checkpoints",
    "atomic_path",
    "check_availability",
    "check_isfile",
    "check_state_dict",
    "collect_env_info",
    "count_num_param",
    "download_url",
    "get_most_similar_str_to_a_from_b",
    "get_rng_state",
    "git_commit",
    "init_network_weights",
    "latest_checkpoint",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "on_terminal",
    "open_all_layers",
    "open_specified_layers",
    "plain_name",
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
