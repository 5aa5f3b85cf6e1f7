"""docs/photos.md as it stands: from a folder of photos to an ONNX file and a matrix; and docs/table1.md."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image

import export
import predict
from clip import load
from dassl.data.transforms import build_transform
from experiments.arguments import parse
from tests.conftest import ROOT
from tests.datasets.test_docs import make_textures, with_this_python

PAGES = {name: (ROOT / f"docs/{name}.md").read_text() for name in ("photos", "table1", "own_method")}


def block(kind: str) -> str:
    found = re.search(
        rf"<!-- tests/docs/test_photos.py runs[^\n]* -->\n```{kind}\n(.*?)```", PAGES["photos"], re.S
    )
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's commands were typed."""
    pytest.importorskip("onnxscript")
    home = tmp_path_factory.mktemp("typed")
    make_textures(home / "photos")
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.open(home / "photos/vertical/0.png").transpose(Image.Transpose.ROTATE_90)
    turned.save(home / "photos/vertical/turned.png", exif=exif)
    Image.open(home / "photos/smooth/1.png").convert("CMYK").save(home / "photos/smooth/cmyk.jpg")
    script = re.sub(r"(?m)^bash scripts/setup.sh .*|^.* pip install .*", "", block("bash"))
    for there, here in (("path/to/", f"{home}/"), ("output/fit/photos", f"{home}/out"), ("> ", f"> {home}/")):
        script = script.replace(there, here)
    script = script.replace("--model demo", f"--model demo --output {home}/out --options OPTIM.MAX_EPOCH 2")
    result = subprocess.run(
        ["bash", "-e", "-c", script], cwd=ROOT, env=with_this_python(home), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "mean\nnothing" in result.stdout and "probabilities differ by" in result.stdout
    return home


@pytest.mark.slow
def test_what_the_commands_leave(done: Path) -> None:
    out = done / "out"
    listed = re.findall(r"^\| (`[^|]*) \|", PAGES["photos"].split("| in the folder |")[1], re.M)[:4]
    names = [name for cell in listed for name in re.findall(r"`([^`]+)`", cell) if name != "CoOp_run/"]
    assert len(names) == 8 and all((out / name).exists() for name in names)
    with (done / "answers.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "diagonal", "horizontal", "smooth", "vertical"] and len(rows) == 42
    found = {row[0]: list(map(float, row[1:])) for row in rows}
    upright, turned = (found[f"{done}/photos/vertical/{name}.png"] for name in ("0", "turned"))
    assert turned == pytest.approx(upright, abs=1e-6)


@pytest.mark.slow
def test_the_matrix_with_open_clip(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's lines, with our CLIP under open_clip's names."""
    assert export.main([str(done / "out"), "--to", "safetensors"]) == 0
    trainer = predict.load_run(done / "out", [], None, [])
    model = load(str(ROOT / "demo/tiny_clip.pt"))
    encode = model.encode_image

    def encode_image(images: torch.Tensor, normalize: bool) -> torch.Tensor:
        features = encode(images)
        return features / features.norm(dim=1, keepdim=True) if normalize else features

    model.encode_image = encode_image  # type: ignore[method-assign, assignment]
    transform = build_transform(trainer.cfg, is_train=False)
    fake: Any = ModuleType("open_clip")
    fake.create_model_from_pretrained = lambda name, pretrained: (
        model,
        lambda image: transform(image.convert("RGB")),
    )
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    code = block("python").replace("output/fit/photos", str(done / "out"))
    code = code.replace("photo.jpg", str(done / "photos/vertical/turned.png"))
    capsys.readouterr()
    scope: dict[str, Any] = {}
    exec(compile(code, "photos.md", "exec"), scope)
    [(_, expected)] = predict.predict(trainer, [str(done / "photos/vertical/turned.png")])
    torch.testing.assert_close(scope["probabilities"], expected, atol=1e-4, rtol=0)
    name = trainer.dm.dataset.classnames[int(expected.argmax())]
    assert capsys.readouterr().out.startswith(f"{name} 0.")


def anchors(text: str) -> list[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(r"(?m)^#+ (.*)", text)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_commands(page: str) -> None:
    for link, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGES[page]):
        there = (ROOT / "docs" / link) if link else ROOT / f"docs/{page}.md"
        assert there.exists(), link
        assert not anchor or anchor in anchors(there.read_text()), f"{link}#{anchor}"
    commands = re.findall(r"python -m experiments ([^\n#`]*)", PAGES[page])
    for words in commands:
        parse(words.split())  # SystemExit where one is none
    assert len(commands) >= 1
    for script, words in re.findall(r"python (predict|export)\.py ([^\n#|>]*)", PAGES[page]):
        {"predict": predict, "export": export}[script].parse_arguments(shlex.split(words))


def test_the_readme_leads_here() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:14])
    for name in PAGES:
        assert f"(docs/{name}.md)" in first_screen, name
