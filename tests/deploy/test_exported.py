"""A run as a file: what other programs make of it is what predict.py says, to 1e-4 of a probability."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import export
import predict
from clip import CLIP

WHOLE = ["onnx", "torch"]


@pytest.fixture
def images(data_root: Path) -> list[str]:
    return sorted(map(str, data_root.rglob("test_*.png")))[::2]


def exported(folder: Path, kind: str, *words: str) -> Path:
    path = folder / f"file.{kind}"
    assert export.main([str(folder), "--to", kind, "--output", str(path), *words]) == 0
    return path


def preprocessed(paths: list[str], told: dict[str, Any]) -> torch.Tensor:
    """[N, 3, H, W], by what a file says of its preprocessing and by nothing else."""
    height, width = told["size"]
    mean, std = (np.array(told[key], dtype=np.float32) for key in ("mean", "std"))
    found = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        size = [int(max(height, width) * edge / min(image.size)) for edge in image.size]
        image = image.resize(size, Image.Resampling[told["interpolation"].upper()])
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
        found.append(torch.from_numpy((np.asarray(image, dtype=np.float32) / 255 - mean) / std))
    return torch.stack(found).permute(0, 3, 1, 2).contiguous()


def answers(path: Path, kind: str, paths: list[str]) -> torch.Tensor:
    """[N, C], what onnxruntime or torch alone makes of a file and images."""
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        told = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
        pixels = preprocessed(paths, told).numpy()
        return torch.from_numpy(session.run(["probabilities"], {"images": pixels})[0])
    extra = {"classifier.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    with torch.no_grad():
        return module(preprocessed(paths, json.loads(extra["classifier.json"])["preprocessing"]))


def expected(folder: Path, paths: list[str], more: tuple[str, ...] = ()) -> torch.Tensor:
    trainer = predict.load_run(folder, [], None, [], more=more)
    return torch.stack([p for _, p in predict.predict(trainer, paths)])


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("method", ["CoOp", "MaPLe_DPC"])
def test_the_whole_way_from_image_to_probabilities(
    kind: str, method: str, trained: Callable[..., Any], images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
    folder, _ = trained(method, "TEST.TEMPERATURE_SCALING", "True")
    path = exported(folder, kind)
    ours = expected(folder, images)
    assert ours.std(dim=0).max() > 1e-3  # images differ
    torch.testing.assert_close(answers(path, kind, images), ours, atol=1e-4, rtol=0)
    torch.testing.assert_close(answers(path, kind, images[:1]), ours[:1], atol=1e-4, rtol=0)


def test_known_and_further_classes_of_dpc_in_one_file(trained: Any, images: list[str]) -> None:
    folder, _ = trained("MaPLe_DPC", "TRAINER.DPC.VARIANT", "released", "OPTIM.LR", "1.0")
    path = exported(folder, "torch", "--add-classes", "Cloud")
    ours = expected(folder, images, ("Cloud",))
    torch.testing.assert_close(answers(path, "torch", images), ours, atol=1e-4, rtol=0)
    # the known classes' logits are those of a test on them, the others' those of new classes
    known = predict.load_run(folder, [], None, [])
    everything = predict.load_run(folder, [], None, [], more=("Cloud",))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        mixed = predict.Classifier(everything).logits(pixels)
        torch.testing.assert_close(mixed[:, :3], predict.Classifier(known).logits(pixels))
        everything.start_test("test")
        by_new = everything.test_logits(everything.test_image_features(pixels))
    assert not torch.allclose(mixed[:, :3], by_new[:, :3], atol=1e-3)
    torch.testing.assert_close(mixed[:, 3], by_new[:, 3])


@pytest.mark.parametrize("method", ["CoOp", "CoOp_DPC", "ZeroshotCLIP"])
def test_a_matrix_behind_clips_own_image_tower(
    method: str, trained: Any, build: Callable[..., Any], images: list[str], tiny_clip: CLIP, tmp_path: Path
) -> None:
    if method == "ZeroshotCLIP":
        folder = tmp_path / "zero"
        build(method, "TEST.TEMPERATURE_SCALING", "True", output=folder).test()
    else:
        folder, _ = trained(method, "TEST.TEMPERATURE_SCALING", "True")
    path = exported(folder, "safetensors")
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        told = {key: json.loads(text) for key, text in file.metadata().items()}
    assert told["classnames"] == ["Annual Crop Land", "Forest", "Highway or Road"]
    assert tensors["weight"].shape == (3, 32) and told["temperature"] != 1
    with torch.no_grad():
        features = tiny_clip.encode_image(preprocessed(images, told["preprocessing"]))
        features /= features.norm(dim=1, keepdim=True)
    found = (tensors["scale"] * features @ tensors["weight"].t()).softmax(dim=1)
    torch.testing.assert_close(found, expected(folder, images), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "kind", "said"),
    [
        ("MaPLe", "safetensors", "prompts are in that tower, too: choose --to onnx or torch"),
        ("CoCoOp", "torch", "encodes its text anew for each image"),
        ("CoCoOp", "safetensors", "encodes its text anew for each image"),
    ],
)
def test_what_no_file_can_hold(
    method: str, kind: str, said: str, trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = trained(method)
    before = sorted(folder.rglob("*"))
    assert export.main([str(folder), "--to", kind]) == 1
    assert said in capsys.readouterr().err and sorted(folder.rglob("*")) == before


def test_a_file_that_says_something_else_is_refused(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = trained("CoOp")
    classifier = predict.Classifier(predict.load_run(folder, [], None, []))
    assert export.check(classifier, classifier) == 0
    with pytest.raises(ValueError, match="do not use it"):
        export.check(classifier, lambda images: classifier(images).roll(1, dims=1))
