"""How jobs are asked for on a cluster: ``configs/clusters/<name>.yaml``, every key of it checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from experiments.catalogue import CONFIGS, names_in

# what a job of ours has by itself; another word on it would break dependencies or lose logs
OURS = {"array", "chdir", "comment", "dependency", "error", "gpus", "gres", "job-name", "kill-on-invalid-dep"}
OURS |= {"open-mode", "output", "parsable", "wrap"}


@dataclass(frozen=True)
class Cluster:
    """The keys of a cluster's file; the file may leave out any of them.

    Attributes:
        partition, account: "" for the cluster's default.
        time: a job's limit, such as "04:00:00" or "2-00:00:00"; "" for the partition's.
        gres: what a job asks for as ``--gres``; "auto" for what the cluster has, "" for nothing.
        setup: lines of bash before the run, such as "module load cuda".
        options: more words for sbatch, each ``--name=value`` or ``--name``.
    """

    partition: str = ""
    account: str = ""
    time: str = ""
    gres: str = "auto"
    setup: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Words for sbatch, without ``--gres``."""
        named = {"partition": self.partition, "account": self.account, "time": self.time}
        return [*(f"--{name}={value}" for name, value in named.items() if value), *self.options]


def read_cluster(name: str) -> Cluster:
    """The cluster of ``configs/clusters/<name>.yaml``.

    Raises:
        ValueError: there is none of that name, it is not YAML, or a key is unknown or of the wrong type.
    """
    known = names_in("clusters")
    if name not in known:
        raise ValueError(f"--cluster {name!r} is not in configs/clusters, which has: {' '.join(known)}")
    path = CONFIGS / "clusters" / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path} must have KEY: VALUE lines, but is a {type(content).__name__}")
    kinds = {field.name: type(field.default) for field in fields(Cluster)}
    if unknown := [key for key in content if key not in kinds]:
        raise ValueError(f"{path} has the key {unknown[0]!r}; remove it, or use one of: {' '.join(kinds)}")
    checked: dict[str, Any] = {key: _checked(path, key, value, kinds[key]) for key, value in content.items()}
    cluster = Cluster(**checked)
    for option in cluster.options:
        _check_option(path, option)
    return cluster


def _checked(path: Path, key: str, value: Any, kind: type) -> str | tuple[str, ...]:
    if kind is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{path}: {key} is {value!r}, but must be a list of texts: a line '- TEXT' each")
        return tuple(value)
    if not isinstance(value, str):  # 12:00:00 without quotes is a number of seconds in YAML
        raise ValueError(f"{path}: {key} is {value!r}, but must be a text: put it in quotes")
    return value


def _check_option(path: Path, option: str) -> None:
    found = re.fullmatch(r"--([a-z][a-z0-9-]*)(=.*)?", option)
    if found is None:
        raise ValueError(f"{path}: options has {option!r}, but each must be '--name=value' or '--name'")
    if found[1] in OURS:
        remedy = "use the key gres" if found[1] in ("gpus", "gres") else "remove it"
        raise ValueError(f"{path}: options has {option!r}, which the jobs have by themselves: {remedy}")
