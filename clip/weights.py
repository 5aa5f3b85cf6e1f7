"""Weight files: found or downloaded, read without running code from them, made into a model."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from clip.model import CLIP, Architecture

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
# Sizes that OpenAI's files repeat as scalars; the tensors' shapes already say them.
_SCALARS = ("input_resolution", "context_length", "vocab_size")


def available_models() -> list[str]:
    """Names of the published models that `find_weights` knows."""
    return list(_PUBLISHED)


def load(name_or_path: str | Path, device: str | torch.device = "cpu") -> CLIP:
    """A published model by name, or a weights file by path, as a float32 model in evaluation mode.

    Raises:
        ValueError: unknown name, or a file that is no CLIP weights file.
        FileNotFoundError: a path that does not exist, or weights that could not be downloaded.
    """
    name = str(name_or_path)
    path = find_weights(name) if name in _PUBLISHED else Path(name_or_path).expanduser()
    if not name or not path.is_file():
        raise FileNotFoundError(
            f"CLIP weights {name!r} are no file. Give the path of a weights file, "
            f"or one of the published names: {', '.join(_PUBLISHED)}."
        )
    return build_model(read_state_dict(path)).to(device)


def find_weights(name: str, cache: Path = _CACHE) -> Path:
    """The file of a published model in ``cache``, downloaded there if it is missing.

    Raises:
        ValueError: unknown name.
        FileNotFoundError: not there and not to be had; names the address and where to put the file.
    """
    if name not in _PUBLISHED:
        raise ValueError(f"unknown CLIP model {name!r}; known: {', '.join(_PUBLISHED)}")
    sha256, filename = _PUBLISHED[name]
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
    if path.exists():
        return ""
    return (
        f"CLIP weights {name_or_path} are not on this machine either\n"
        f"  expected:   {path}\n"
        f"  to get it:  downloaded there by the first run that has its data\n"
        f"              or by hand: {_ADDRESS}/{sha256}/{filename}"
    )


def _download(url: str, path: Path, sha256: str) -> None:
    """Fetch ``url`` to ``path`` through a temporary file, checking its SHA-256."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
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
        if _is_torchscript(path):
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
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


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def infer_architecture(state: Mapping[str, Tensor]) -> Architecture:
    """The sizes of a CLIP model from the shapes of its tensors (OpenAI's keys).

    Raises:
        ValueError: a key that every CLIP has is missing.
    """
    try:
        width = state["ln_final.weight"].shape[0]
        common = {
            "embed_dim": state["text_projection"].shape[1],
            "context_length": state["positional_embedding"].shape[0],
            "vocab_size": state["token_embedding.weight"].shape[0],
            "transformer_width": width,
            "transformer_layers": _count(state, r"transformer\.resblocks\.(\d+)\."),
        }
        if "visual.proj" in state:
            conv = state["visual.conv1.weight"]
            side = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
            return Architecture(
                image_resolution=side * conv.shape[-1],
                vision_layers=_count(state, r"visual\.transformer\.resblocks\.(\d+)\."),
                vision_width=conv.shape[0],
                vision_patch_size=conv.shape[-1],
                **common,
            )
        layers = [_count(state, rf"visual\.layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)]
        side = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
        return Architecture(
            image_resolution=side * 32,
            vision_layers=(layers[0], layers[1], layers[2], layers[3]),
            vision_width=state["visual.layer1.0.conv1.weight"].shape[0],
            vision_patch_size=None,
            **common,
        )
    except KeyError as error:
        raise ValueError(f"these are no CLIP weights: the key {error} is missing") from error


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def build_model(state: Mapping[str, Tensor]) -> CLIP:
    """A float32 CLIP in evaluation mode from a state dict with OpenAI's keys.

    Raises:
        ValueError: keys are missing or left over, or shapes do not fit; names them.
    """
    arch = infer_architecture(state)
    with torch.device("meta"):
        model = CLIP(arch)
    tensors = {
        key: value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if key not in _SCALARS
    }
    expected = model.state_dict()
    wrong = [f"{key}: missing" for key in expected if key not in tensors]
    wrong += [f"{key}: unknown" for key in tensors if key not in expected]
    wrong += [
        f"{key}: shape {tuple(tensors[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    if wrong:
        listed = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise ValueError(f"the CLIP weights do not fit the architecture inferred from them: {listed}")
    model.load_state_dict(tensors, assign=True)
    return model.eval()
