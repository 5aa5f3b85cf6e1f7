import numpy as np
import pytest
import torch
from PIL import Image

from dassl.config import get_cfg_default
from dassl.data.transforms import AVAI_CHOICES, Compose, build_transform, is_fixed
from dassl.data.transforms import functional as F
from dassl.utils import read_image

CLIP_INPUT = [
    "INPUT.SIZE", (32, 32),
    "INPUT.INTERPOLATION", "bicubic",
    "INPUT.PIXEL_MEAN", [0.48145466, 0.4578275, 0.40821073],
    "INPUT.PIXEL_STD", [0.26862954, 0.26130258, 0.27577711],
    "INPUT.TRANSFORMS", ("random_resized_crop", "random_flip", "normalize"),
]  # fmt: skip


@pytest.fixture
def cfg():
    cfg = get_cfg_default()
    cfg.merge_from_list(CLIP_INPUT)
    return cfg


@pytest.fixture
def img():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.usefixtures("pillow_of_the_records")
@pytest.mark.parametrize(
    ("record", "is_train", "choices"),
    [("test", False, None), ("train", True, None), ("train_normalize", True, ["normalize"])],
)
def test_golden(shared, cfg, record, is_train, choices):
    """Bit for bit what Dassl and torchvision compute."""
    golden = shared / "golden"
    expected = np.load(golden / f"rec/preprocess_{record}.npz")
    transform = build_transform(cfg, is_train, choices)
    assert len(expected) >= 10
    for key in expected:
        _, name, *seed = key.split("/")
        if seed:
            torch.manual_seed(int(seed[0]))
        output = transform(read_image(str(golden / "data/odd" / name)))
        np.testing.assert_array_equal(output.numpy(), expected[key], err_msg=key)


@pytest.mark.parametrize("choice", AVAI_CHOICES)
def test_every_choice_draws_from_the_generator_alone(cfg, img, choice):
    cfg.INPUT.CROP_PADDING = 2
    choices = [choice] if choice == "random_crop" else [choice, "random_resized_crop"]
    transform = build_transform(cfg, True, choices)
    before = torch.get_rng_state()
    first = transform(img, generator=torch.Generator().manual_seed(1))
    again = transform(img, generator=torch.Generator().manual_seed(1))
    assert first.shape == (3, 32, 32) and first.dtype == torch.float32
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    others = [transform(img, generator=torch.Generator().manual_seed(s)) for s in range(2, 12)]
    assert any(not torch.equal(first, other) for other in others)


def test_global_and_own_random_numbers_agree(cfg, img):
    transform = build_transform(cfg, True)
    torch.manual_seed(3)
    assert torch.equal(transform(img), transform(img, generator=torch.Generator().manual_seed(3)))


def test_images_stay_as_they_are(cfg, img):
    before = img.tobytes()
    choices = [c for c in AVAI_CHOICES if c != "random_crop"]
    build_transform(cfg, True, choices)(img)
    assert img.tobytes() == before


def test_blur_keeps_a_constant_and_hue_turns_full_circle(img):
    flat = Image.new("RGB", (30, 30), (10, 200, 90))
    assert F.gaussian_blur(flat, 5, 1.0).tobytes() == flat.tobytes()
    assert F.adjust_hue(img, 0.0).size == img.size
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    r, g, b = F.adjust_hue(red, 1 / 3).getpixel((0, 0))
    assert g > 250 and r < 8 and b < 8


def test_wrong_choices(cfg):
    with pytest.raises(ValueError, match="random_flip"):
        build_transform(cfg, True, ["random_flop"])
    with pytest.raises(ValueError, match="list"):
        build_transform(cfg, True, "normalize")
    cfg.INPUT.INTERPOLATION = "cubic"
    with pytest.raises(ValueError, match="bicubic"):
        build_transform(cfg, True)


def test_random_crop_of_a_small_image(cfg):
    with pytest.raises(ValueError, match="CROP_PADDING"):
        build_transform(cfg, True, ["random_crop"])(Image.new("RGB", (10, 10)))


class SaysSo:
    """An object of someone else's, whose word nothing is known of."""

    def __call__(self, img):
        return img

    def is_fixed(self):
        return True


def test_only_a_pipeline_that_says_so_is_fixed():
    cfg = get_cfg_default()
    assert is_fixed(build_transform(cfg, True, ["normalize"]))
    assert is_fixed(build_transform(cfg, False, ["normalize"]))
    assert not is_fixed(build_transform(cfg, True, ["normalize", "random_flip"]))
    fixed = Compose([])
    for other in (SaysSo(), Compose([SaysSo()]), F.to_tensor, [fixed], [fixed, fixed], None):
        assert not is_fixed(other)
