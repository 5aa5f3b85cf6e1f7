"""What a run stands on: versions, devices, the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess

import numpy as np
import PIL
import torch

from dassl.utils.processes import processes_here


def collect_env_info() -> str:
    """Versions of the system and the libraries, CPU cores and GPUs, a line each."""
    lines = [
        f"OS: {platform.platform()}",
        f"Python: {platform.python_version()}",
        f"PyTorch: {torch.__version__}",
        f"NumPy: {np.__version__}",
        f"Pillow: {PIL.__version__}",
        f"CPU cores: {os.cpu_count()}, torch threads: {torch.get_num_threads()}",
        f"CUDA: {torch.version.cuda if torch.cuda.is_available() else 'not available'}",
    ]
    lines += [f"GPU {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return "\n".join(lines)


def usable_cores() -> int:
    """CPU cores that this process may use: in a container or under a batch system, not all of the machine's.

    Several processes of a run on one machine share them.
    """
    from joblib import cpu_count  # here, since few runs need it at once

    return max(1, cpu_count() // processes_here())


def git_commit() -> str:
    """The commit of this code, with ``-dirty`` when files differ from it; empty outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()
