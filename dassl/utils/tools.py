"""Dassl's module of helpers: what others import from here lies elsewhere."""

from dassl.utils.compat import check_isfile, download_url, get_most_similar_str_to_a_from_b, tolist_if_not
from dassl.utils.env import collect_env_info
from dassl.utils.files import listdir_nohidden, mkdir_if_missing, read_image, read_json, write_json
from dassl.utils.registry import check_availability
from dassl.utils.seed import set_random_seed

__all__ = [
    "check_availability",
    "check_isfile",
    "collect_env_info",
    "download_url",
    "get_most_similar_str_to_a_from_b",
    "listdir_nohidden",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "set_random_seed",
    "tolist_if_not",
    "write_json",
]
