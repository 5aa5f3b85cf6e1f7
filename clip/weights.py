"""Weight files: found or downloaded, and read without running code from them."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from clip.archive import is_archive, read_archive
from clip.families import build_model, tells_all
from clip.model import CLIP
from clip.tokenizer import VOCAB_SIZE

logger = logging.getLogger(__name__)

_ADDRESS = "https://openaipublic.azureedge.net/clip/models"
# name -> (SHA-256 of the file, which is also part of its address; file name)
_PUBLISHED = {
    "RN50": ("afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", "RN50.pt"),
    "RN101": ("8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", "RN101.pt"),
    "RN50x4": ("7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", "RN50x4.pt"),
    "RN50x16": ("52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", "RN50x16.pt"),
    "RN50x64": ("be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", "RN50x64.pt"),
    "ViT-B/32": ("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32.pt"),
    "ViT-B/16": ("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B-16.pt"),
    "ViT-L/14": ("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", "ViT-L-14.pt"),
    "ViT-L/14@336px": (
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        "ViT-L-14-336px.pt",
    ),
}
_CACHE = Path("~/.cache/clip")
_BESIDE = Path("clip")
# SHA-256 of files that are like OpenAI's in activation and head width without saying so: those above, should
# one lack all other marks, and demo/tiny_clip.pt.
_KNOWN_FILES = {sha256 for sha256, _ in _PUBLISHED.values()} | {
    "ebe3807d27e8dbb80b8c9f296b6647e3fa53bdfff748210dca2a6baef2140abf"
}


def available_models() -> list[str]:
    """Names of the published models that `find_weights` knows."""
    return list(_PUBLISHED)


def load(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    activation: str | None = None,
    head_width: int | None = None,
) -> CLIP:
    """A published model by name, or a weights file by path, as a float32 model in evaluation mode.

    Args:
        activation: "quick_gelu" or "gelu", for a file that does not tell it (open_clip's do not).
        head_width: channels of an attention head of the image tower, likewise.

    Raises:
        ValueError: unknown name; a file that is no CLIP weights file, or of a family that is not built here;
            activation or head width unknown, or declared otherwise than they are known to be.
        FileNotFoundError: a path that does not exist, or weights that could not be downloaded.
    """
    path = _file_of(name_or_path)
    state = read_state_dict(path)
    published = str(name_or_path) in _PUBLISHED or _is_published(path, state)
    return build_model(state, activation, head_width, str(path), published).to(device)


def load_token_embedding(name_or_path: str | Path) -> Tensor:
    """The token embedding [V, D] of a model as `load` takes it, float32; nothing has to be declared for it.

    Raises:
        FileNotFoundError, ValueError: as `load`; also for another vocabulary than that of the tokenizer.
    """
    path = _file_of(name_or_path)
    state = {key.removeprefix("module."): value for key, value in read_state_dict(path).items()}
    for key in ("token_embedding.weight", "text.token_embedding.weight"):
        if key in state and len(state[key]) == VOCAB_SIZE:
            return state[key].float()
    raise ValueError(f"{path} holds no token embedding of the {VOCAB_SIZE:,} tokens of CLIP's vocabulary")


def _file_of(name_or_path: str | Path) -> Path:
    """The weights file of a published model or at a path."""
    name = str(name_or_path)
    path = find_weights(name) if name in _PUBLISHED else Path(name_or_path).expanduser()
    if not name or not path.is_file():
        raise FileNotFoundError(
            f"CLIP weights {name!r} are no file. Give the path of a weights file, "
            f"or one of the published names: {', '.join(_PUBLISHED)}."
        )
    return path


def _is_published(path: Path, state: Mapping[str, Tensor]) -> bool:
    """Whether a file is of OpenAI's making, or known to be like it; it is hashed where nothing else says."""
    if tells_all(state):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() in _KNOWN_FILES


def find_weights(name: str, cache: Path = _CACHE) -> Path:
    """The file of a published model: in ``./clip``, where PromptKD's and DPC's users put it, else in
    ``cache``, downloaded there if it is missing.

    Raises:
        ValueError: unknown name.
        FileNotFoundError: not there and not to be had; names the address and where to put the file.
    """
    if name not in _PUBLISHED:
        raise ValueError(f"unknown CLIP model {name!r}; known: {', '.join(_PUBLISHED)}")
    sha256, filename = _PUBLISHED[name]
    if (beside := _BESIDE / filename).is_file():
        logger.info("CLIP weights %s are taken from %s", name, beside)
        return beside
    path = cache.expanduser() / filename
    if not path.exists():
        _download(f"{_ADDRESS}/{sha256}/{filename}", path, sha256)
    return path


def missing_weights(name_or_path: str | Path, cache: Path = _CACHE) -> str:
    """What `load` would lack, where to get it and where to put it; empty when it is there."""
    if str(name_or_path) not in _PUBLISHED:
        return "" if Path(name_or_path).exists() else f"CLIP weights {str(name_or_path)!r} do not exist"
    sha256, filename = _PUBLISHED[str(name_or_path)]
    path = cache.expanduser() / filename
    if path.exists() or (_BESIDE / filename).is_file():
        return ""
    return (
        f"CLIP weights {name_or_path} are not on this machine either\n"
        f"  expected:   {path}\n"
        f"  to get it:  downloaded there by the first run that has its data\n"
        f"              or by hand: {_ADDRESS}/{sha256}/{filename}"
    )


def _download(url: str, path: Path, sha256: str) -> None:
    """Fetch ``url`` to ``path`` through a temporary file, checking its SHA-256."""
    # The process number alone does not tell two containers apart that share the folder.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            total = int(response.headers.get("Content-Length", 0)) or None
            bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"downloading {path.name}")
            with part.open("wb") as out, bar:
                while chunk := response.read(1 << 20):
                    out.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
        if digest.hexdigest() != sha256:
            raise OSError(f"its SHA-256 is {digest.hexdigest()}, expected {sha256}")
        os.replace(part, path)
    except (OSError, urllib.error.URLError) as error:
        raise FileNotFoundError(
            f"CLIP weights {path.name} are not in {path.parent} and could not be downloaded ({error}).\n"
            f"  fetch: {url}\n  put it at: {path}\n  or set MODEL.BACKBONE.PATH to a weights file of yours."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive, a saved state dict or a .safetensors file, on the CPU.

    Raises:
        ValueError: a truncated or foreign file, or one that would need code to be run.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if is_archive(path):
            return read_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is not a plain weights file: reading it would need objects or code beyond tensors. "
            f"It was not opened further. ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise ValueError(
            f"{path} is no readable CLIP file ({os.path.getsize(path):,} bytes): {type(error).__name__}. "
            "The file is truncated or of another kind; delete it and fetch it again."
        ) from error
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds no state dict (a mapping of names to tensors)")
    return dict(content)
