"""Words of a command line -> image files -> pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deploy.inputs import Batch, batches, find_images


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.jpg, a.PNG, deep/c.webp, and what is no image to be found: notes.txt, .hidden.jpg, .git/d.jpg."""
    for name in ("b.jpg", "a.PNG", "deep/c.webp", ".hidden.jpg", ".git/d.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 2), "red").save(tmp_path / "photos" / name)
    (tmp_path / "photos/notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_files_folders_patterns_and_lists(photos: Path) -> None:
    everything = ["photos/a.PNG", "photos/b.jpg", "photos/deep/c.webp"]
    assert find_images(["photos"]) == everything
    assert find_images(["photos/b.jpg", "photos"]) == [everything[1], everything[0], everything[2]]
    assert find_images(["photos/*.jpg"]) == ["photos/b.jpg"]
    assert find_images(["photos/**/*.webp"]) == ["photos/deep/c.webp"]
    assert find_images(["-"], ["photos/b.jpg\n", "\n", "gone.jpg\r\n"]) == ["photos/b.jpg", "gone.jpg"]
    odd = photos / "what [1].jpg"
    Image.new("RGB", (1, 1)).save(odd)
    assert find_images([str(odd)]) == [str(odd)]  # a file's name is no pattern


@pytest.mark.parametrize(
    ("word", "complaint"),
    [("gone.jpg", "No image file at"), ("*.gif", "no file matches"), ("empty", "holds no images")],
)
def test_a_word_that_leads_nowhere_is_named(word: str, complaint: str, photos: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(FileNotFoundError, match=complaint) as caught:
        find_images(["photos", word])
    assert word in str(caught.value)


def test_an_empty_list_is_an_error(photos: Path) -> None:
    with pytest.raises(ValueError, match="names no image"):
        find_images(["-"], ["\n"])


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def read(paths: list[str], **more: Any) -> list[Batch]:
    settings = {"transform": pixels, "upright": True, "size": 2} | more
    return list(batches(paths, **settings))


def test_unreadable_images_are_left_out_of_their_batch(photos: Path) -> None:
    (photos / "half.jpg").write_bytes((photos / "b.jpg").read_bytes()[:300])
    Image.new("CMYK", (4, 2)).save("cmyk.jpg")
    paths = ["photos/b.jpg", "photos/notes.txt", "gone.jpg", "photos/half.jpg", "cmyk.jpg"]
    found = read(paths)
    assert [batch.paths for batch in found] == [["photos/b.jpg"], [], ["cmyk.jpg"]]
    assert [batch.pixels.shape for batch in found] == [(1, 3, 2, 4), (0,), (1, 3, 2, 4)]
    reasons = [reason for batch in found for reason in batch.reasons]
    assert all(path in reason for path, reason in zip(paths[1:4], reasons, strict=True))


def test_photos_are_turned_where_they_shall_be(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (6, 4), "blue"), Image.Exif()
    image.putpixel((0, 0), (255, 0, 0))
    exif[274] = 6  # to be turned clockwise by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    path = str(tmp_path / "turned.png")
    [upright], [stored] = read([path]), read([path], upright=False)
    assert upright.pixels.shape == (1, 3, 6, 4) and stored.pixels.shape == (1, 3, 4, 6)
    assert upright.pixels[0, :, 0, 3].tolist() == [255, 0, 0] == stored.pixels[0, :, 0, 0].tolist()
    assert upright.pixels[0, :, 0, 0].tolist() == [0, 0, 255]
