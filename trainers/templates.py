"""Hand-written prompt templates of the CoOp family."""

from __future__ import annotations

DEFAULT_TEMPLATE = "a photo of a {}."

# One per data set that has a better one than the default.
DATASET_TEMPLATES = {
    "OxfordPets": "a photo of a {}, a type of pet.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a photo of {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
}

# The seven of OpenAI's 80 ImageNet templates that alone do as well as all together.
SELECTED_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def dataset_template(dataset: str) -> str:
    """The template of a data set by its registered name."""
    return DATASET_TEMPLATES.get(dataset, DEFAULT_TEMPLATE)
