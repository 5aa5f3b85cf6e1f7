"""Fixtures for all tests: the tiny CLIP, and the reference material where it is present."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from xdist.scheduler import LoadFileScheduling

import train
from clip import CLIP, Architecture, openai_state_dict
from dassl.utils.logger import Logger, StdoutHandler
from datasets.eurosat import EuroSAT
from tests.golden import recipe

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DPC_SHARED", ROOT.parent / "shared"))
torch.set_num_threads(1)  # tiny models: threads cost more than they bring

TINY = Architecture(
    embed_dim=32,
    image_resolution=32,
    vision_layers=2,
    vision_width=64,
    vision_patch_size=16,
    context_length=77,
    vocab_size=49408,
    transformer_width=64,
    transformer_layers=2,
)


class ByFile(LoadFileScheduling):
    """The tests of a file go to one worker, one after the other; all that start a SLURM go to the same."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/cluster" if file.startswith("tests/cluster/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is kept between runs is neither taken from the user nor left to them."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """What a trainer's or a script's log writes to does not reach the next test."""
    root, stdout = logging.getLogger(), sys.stdout
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        if isinstance(handler, StdoutHandler):
            root.removeHandler(handler)
    if isinstance(sys.stdout, Logger):
        sys.stdout = stdout


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with golden numbers and real data, which a fresh checkout does not have."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference material in {SHARED} (DPC_SHARED names another place)")
    return SHARED


@pytest.fixture(scope="session")
def pillow_of_the_records() -> None:
    """Skips comparisons of resized images with records, where Pillow resizes otherwise than for them."""
    if int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("the records are Pillow 13's; earlier versions round otherwise when they resize")


@pytest.fixture(scope="session")
def tiny_clip() -> CLIP:
    """A random CLIP of 64-wide towers, 32-pixel images and the real vocabulary. Not to be changed."""
    torch.manual_seed(0)
    return CLIP.create(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_clip_file(tiny_clip: CLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of `tiny_clip`, with the scalars that OpenAI's own files carry."""
    path = tmp_path_factory.mktemp("clip") / "tiny.pt"
    torch.save(openai_state_dict(tiny_clip), path)
    return path


CLASSES = ("Annual Crop Land", "Forest", "Highway or Road", "River", "Sea or Lake", "Pasture Land")
COUNTS = {"train": 4, "val": 1, "test": 3}


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six classes of coloured noise in EuroSAT's layout."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    split: dict[str, list[Any]] = {part: [] for part in COUNTS}
    for label, name in enumerate(CLASSES):
        folder = root / EuroSAT.dataset_dir / "2750" / name.replace(" ", "")
        folder.mkdir(parents=True)
        colour = rng.uniform(60, 200, 3)
        for part, count in COUNTS.items():
            for i in range(count):
                pixels = np.clip(rng.normal(colour, 25, (40, 36, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{part}_{i}.png")
                split[part].append([f"{folder.name}/{part}_{i}.png", label, name])
    (root / EuroSAT.dataset_dir / "split_zhou_EuroSAT.json").write_text(json.dumps(split))
    return root


@pytest.fixture
def build(data_root: Path, tiny_clip_file: Path, tmp_path: Path) -> Callable[..., Any]:
    """build(trainer, *options) -> a trainer on the noise images and the tiny CLIP."""

    def build_trainer(name: str, *options: str, output: Path = tmp_path / "run", seed: int = 1) -> Any:
        words = f"--root {data_root} --seed {seed} --trainer {name} --output-dir {output}".split()
        settings = {
            "DATASET.NAME": "EuroSAT",
            "DATASET.NUM_SHOTS": 3,
            "DATASET.SUBSAMPLE_CLASSES": "base",
            "DATALOADER.TRAIN_X.BATCH_SIZE": 4,
            "DATALOADER.NUM_WORKERS": 0,
            "INPUT.SIZE": (32, 32),
            "INPUT.TRANSFORMS": ("random_resized_crop", "random_flip", "normalize"),
            "OPTIM.NAME": "sgd",
            "OPTIM.LR": 0.01,
            "OPTIM.MAX_EPOCH": 2,
            "OPTIM.LR_SCHEDULER": "cosine",
            "MODEL.BACKBONE.PATH": tiny_clip_file,
        }
        words += [str(word) for pair in settings.items() for word in pair]
        args = train.parse_arguments([*words, *map(str, options)])
        cfg = train.setup_cfg(args)
        train.set_random_seed(cfg.SEED)
        return train.build_trainer(cfg)

    return build_trainer


PRECISIONS = {
    "CoOp": "COOP",
    "CoCoOp": "COCOOP",
    "MaPLe": "MAPLE",
    "PromptSRC": "PROMPTSRC",
    "PromptKD": "PROMPTKD",
}


@pytest.fixture
def trained(
    build: Callable[..., Any], tmp_path: Path, tiny_clip_file: Path
) -> Callable[..., tuple[Path, list[str]]]:
    """trained(method, *options) -> the folder of a run, one epoch long, and its options."""

    def train_one(method: str, *more: str) -> tuple[Path, list[str]]:
        folder, backbone = tmp_path / method, method.removesuffix("_DPC")
        options = ["OPTIM.MAX_EPOCH", "1", f"TRAINER.{PRECISIONS[backbone]}.PREC", "fp32", *more]
        if backbone == "PromptKD":
            options += ["TRAINER.PROMPTKD.TEACHER_PATH", str(tiny_clip_file)]
            options += ["TRAINER.PROMPTKD.TEACHER_DIR", str(train_one("PromptSRC")[0])]
        if method != backbone:
            options += ["TRAINER.DPC.BACKBONE_DIR", str(train_one(backbone)[0])]
        build(method, "TEST.NO_TEST", "True", *options, output=folder).train()
        return folder, options

    return train_one


def load_script(path: Path) -> ModuleType:
    """A Python file outside the packages as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the numbers that the original repositories compute: all, or the part kept in this one."""
    everything = SHARED / "golden"
    if everything.is_dir():
        return everything
    # A copy, since few-shot draws are kept beside the data.
    return shutil.copytree(ROOT / "tests/golden/public", tmp_path_factory.mktemp("golden") / "public")


@pytest.fixture(scope="session")
def golden_clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Weights files of the golden CLIPs, by name: "b16", "l14", and "b16t12" with 12 text blocks."""
    folder = tmp_path_factory.mktemp("golden_clip")
    files = {name: folder / f"public-{name}.pt" for name in recipe.SIZES}
    for name, path in files.items():
        torch.save(recipe.tiny_clip(name), path)
    yield files
    shutil.rmtree(folder)  # 1 GB
