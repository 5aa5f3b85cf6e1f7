"""A run as a file for other programs: a matrix, or the whole way from image to probabilities.

Shape legend: B images, C classes, E width of the joint embedding.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from dassl.utils import atomic_path
from deploy.classifier import Classifier
from trainers.core.model import unit

INPUT, OUTPUT = "images", "probabilities"
TOLERANCE = 1e-4  # of a probability
_LARGEST_ONNX = 2_000_000_000  # bytes: a protobuf holds no more
_OPSET = 20

Run = Callable[[Tensor], Tensor]  # images [B, 3, H, W] -> probabilities [B, C]


def description(classifier: Classifier) -> dict[str, str]:
    """What a file says of itself, each value as JSON: class names, preprocessing, where it comes from."""
    trainer = classifier.trainer
    options = trainer.cfg.INPUT
    known = getattr(trainer, "known_clip", None)
    backbone = trainer.cfg.MODEL.BACKBONE
    preprocessing = {
        "size": list(options.SIZE),
        "resize": (
            "the smaller edge to the larger of size, the other one in proportion, rounded down; then the "
            "middle is cut out, its offset rounded"
        ),
        "interpolation": options.INTERPOLATION,
        "mean": list(options.PIXEL_MEAN) if "normalize" in options.TRANSFORMS else [0.0, 0.0, 0.0],
        "std": list(options.PIXEL_STD) if "normalize" in options.TRANSFORMS else [1.0, 1.0, 1.0],
        "range": "pixels in 0..1, minus mean, over std; channels red, green, blue first",
        "exif_orientation": options.EXIF_ORIENTATION,
    }
    content = {
        "classnames": classifier.classnames,
        "preprocessing": preprocessing,
        "method": trainer.cfg.TRAINER.NAME,
        "clip": known._asdict() if known else {"name": backbone.PATH or backbone.NAME},
        "temperature": classifier.temperature,
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}


def class_matrix(classifier: Classifier) -> tuple[Tensor, Tensor]:
    """The classifier where its image tower is CLIP's own: unit rows [C, E], and a scale.

    Probabilities are those of ``scale * unit(image features) @ matrix.T``.

    Raises:
        ValueError: it is more than that.
    """
    trainer = classifier.trainer
    problem = f"{trainer.cfg.TRAINER.NAME} is no matrix behind CLIP's own image tower"
    remedy = "choose --to onnx or torch, which hold the whole way from image to probabilities"
    _refuse_conditional(classifier)
    if trainer.frozen_image_tower() is None:
        raise ValueError(f"{problem}, since its prompts are in that tower, too: {remedy}")
    model = getattr(trainer.model, "clip", trainer.model)
    rows: Tensor | None = None
    for view in classifier.views:
        text = trainer.text_features if view.text is None else view.text
        rows = text if rows is None else torch.where(view.columns[:, None], text, rows)
    assert rows is not None
    scale = model.logit_scale.exp().float() / (classifier.temperature or 1.0)
    images = _some_images(trainer)
    expected = (scale * unit(model.encode_image(images)) @ rows.float().t()).softmax(dim=1)
    if (expected - classifier(images)).abs().max() > TOLERANCE:
        raise ValueError(f"{problem}, since it has more than text features: {remedy}")
    return rows.float().cpu().contiguous(), scale.cpu()


def to_safetensors(classifier: Classifier, path: Path) -> Run:
    """Write ``weight`` [C, E], ``scale`` and, as metadata, the `description`.

    Raises:
        ValueError: the classifier is no matrix.
    """
    weight, scale = class_matrix(classifier)
    with atomic_path(str(path)) as temporary:
        content = save({"weight": weight, "scale": scale}, description(classifier))
        Path(temporary).write_bytes(content)
    stored = load_file(path)
    model = getattr(classifier.trainer.model, "clip", classifier.trainer.model)

    def probabilities(images: Tensor) -> Tensor:
        features = unit(model.encode_image(images))
        return (stored["scale"] * features @ stored["weight"].t()).softmax(dim=1)

    return probabilities


def to_torch(classifier: Classifier, path: Path) -> Run:
    """Write a ``torch.export`` program; the `description` is its extra file ``classifier.json``."""
    program = _program(classifier)
    with atomic_path(str(path)) as temporary:
        # torch tells the format by the ending
        with Path(temporary).open("wb") as file:
            torch.export.save(program, file, extra_files={"classifier.json": _as_json(classifier)})
    return torch.export.load(path).module()


def to_onnx(classifier: Classifier, path: Path) -> Run | None:
    """Write an ONNX file; its metadata are the `description`.

    Returns:
        What onnxruntime makes of the file; None where that is not installed.

    Raises:
        ValueError: packages are not installed, or the model is too large for a file.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ValueError(
            f"--to onnx needs a package that is not installed ({error.name}): "
            "pip install -r requirements-export.txt -c constraints.txt"
        ) from error
    size = sum(tensor.numel() * tensor.element_size() for tensor in classifier.visual.state_dict().values())
    if size > _LARGEST_ONNX:
        raise ValueError(f"the image tower has {size / 1e9:.1f} GB, an ONNX file at most 2: use --to torch")
    with _quiet():
        program = torch.onnx.export(
            _program(classifier), input_names=[INPUT], output_names=[OUTPUT], opset_version=_OPSET,
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, description(classifier))
    with atomic_path(str(path)) as temporary:
        onnx.save_model(model, temporary)
    return _in_onnxruntime(path)


def _in_onnxruntime(path: Path) -> Run | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _program(classifier: Classifier) -> torch.export.ExportedProgram:
    """The classifier for any number of images.

    Raises:
        ValueError: its text depends on the image.
    """
    trainer = classifier.trainer
    _refuse_conditional(classifier)
    classifier.requires_grad_(False).eval()
    batch = torch.export.Dim("batch", min=1, max=2**16)
    with torch.no_grad(), _quiet():
        return torch.export.export(classifier, (_some_images(trainer),), dynamic_shapes=({0: batch},))


def _refuse_conditional(classifier: Classifier) -> None:
    """Raise ValueError where the text depends on the image, so that images go one by one."""
    trainer = classifier.trainer
    if any(view.text is None for view in classifier.views) and not hasattr(trainer, "text_features"):
        raise ValueError(
            f"{trainer.cfg.TRAINER.NAME} encodes its text anew for each image, which no file can hold for "
            "any number of images: predict.py uses it; to ship a file, tune another method, such as CoOp"
        )


def check(classifier: Classifier, run: Run) -> float:
    """The largest difference of a probability between a written file and the run that it was made of.

    Raises:
        ValueError: it is larger than `TOLERANCE`.
    """
    images = _some_images(classifier.trainer, count=3)
    with torch.no_grad():
        difference = float((run(images) - classifier(images)).abs().max())
    if not difference <= TOLERANCE:
        raise ValueError(f"the file's probabilities differ by {difference:.2g} from the run's: do not use it")
    return difference


def _some_images(trainer: Any, count: int = 2) -> Tensor:
    height, width = trainer.cfg.INPUT.SIZE
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def _as_json(classifier: Classifier) -> str:
    return json.dumps({key: json.loads(text) for key, text in description(classifier).items()}, indent=1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of packages that nobody here uses."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


WRITERS: Mapping[str, tuple[str, Callable[[Classifier, Path], Run | None]]] = {
    "safetensors": ("safetensors", to_safetensors),
    "onnx": ("onnx", to_onnx),
    "torch": ("pt2", to_torch),
}
