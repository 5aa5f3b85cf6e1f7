"""Captions for rendered images: sentences that say some of what an image shows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from demo.glyphs import CONTENTS, DIGITS, LETTERS
from demo.render import ATTRIBUTES, BACKGROUNDS, COLOURS

_INK = list(COLOURS)
_COLUMN = {name: i for i, name in enumerate(ATTRIBUTES)}
_OPENINGS = (
    "a photo of {a}", "a photo of {a}", "a photo of {a}", "a photo of the", "itap of {a}", "a picture of {a}",
    "an image of {a}", "art of the", "a drawing of {a}", "{a}", "the", "a origami", "this is {a}",
    "there is {a}",
)  # fmt: skip
_QUALITY_OPENINGS = {
    0: ("a good photo of {a}", "a sharp photo of {a}", "a clear picture of {a}"),
    1: ("a blurry photo of {a}", "a low resolution photo of {a}", "a blurred picture of the"),
    2: ("a pixelated photo of {a}", "a low resolution photo of {a}", "a pixelated image of the"),
    3: ("a noisy photo of {a}", "a bad photo of the", "a grainy picture of {a}"),
}
_CASE_WORDS = {1: ("lowercase", "small"), 2: ("capital", "uppercase")}


class Caption:
    """A sentence and what it claims: a row as in ``demo.render.ATTRIBUTES``, -1 where it says nothing."""

    def __init__(self, text: str, claims: list[int]) -> None:
        self.text = text
        self.claims = claims


def caption(shown: Sequence[int], rng: random.Random) -> Caption:
    """A random true sentence about an image with the attributes ``shown``; what it shows is always named."""
    facts = dict(zip(ATTRIBUTES, shown, strict=True))
    claims = [-1] * len(ATTRIBUTES)

    def say(attribute: str, likely: float) -> bool:
        """Whether to mention the attribute; if so, it is claimed."""
        if facts[attribute] < 0 or rng.random() >= likely:
            return False
        claims[_COLUMN[attribute]] = facts[attribute]
        return True

    claims[_COLUMN["content"]] = facts["content"]
    opening = rng.choice(_QUALITY_OPENINGS[facts["quality"]] if say("quality", 0.25) else _OPENINGS)
    words = []
    if facts["size"] and say("size", 0.3):
        words.append(("", "small", "large")[facts["size"]])
    if facts["weight"] > 0 and say("weight", 0.3):
        words.append(("", "thin", "bold")[facts["weight"]])
    if facts["slanted"] and say("slanted", 0.3):
        words.append("italic")
    if say("ink", 0.25):
        words.append(_INK[facts["ink"]])
    if say("medium", 0.35):
        words.append(rng.choice((("printed", "typed"), ("handwritten", "hand drawn"))[facts["medium"]]))
    if facts["case"] and say("case", 0.3):
        words.append(rng.choice(_CASE_WORDS[facts["case"]][:1] if facts["case"] == 1 else _CASE_WORDS[2]))
    words.append(_noun(facts["content"], rng))
    ending = _ending(facts, say, rng)
    return Caption(_join(opening, words) + ending + rng.choice((".", ".", "")), claims)


def fits(claims: Tensor, shown: Tensor) -> Tensor:
    """Whether each caption is true of each image: [C, A] claims, [B, A] attributes -> bool [B, C]."""
    claims, shown = claims[None], shown[:, None]
    return ((claims < 0) | (claims == shown)).all(dim=-1)


def caption_batch(attributes: Tensor, rng: random.Random) -> tuple[list[str], Tensor]:
    """One caption for each image: texts, and claims int64 [B, A]."""
    captions = [caption(row, rng) for row in attributes.tolist()]
    return [c.text for c in captions], torch.tensor([c.claims for c in captions])


def _noun(content: int, rng: random.Random) -> str:
    name = CONTENTS[content]
    if content < len(DIGITS):
        return rng.choice(
            (name, name, *(f"{kind} {x}" for kind in ("digit", "number") for x in (name, content)))
        )
    if content < len(DIGITS) + len(LETTERS):
        return rng.choice((name, f"letter {name}", f"letter {name}", f"letter {name}", f"character {name}"))
    return rng.choice((name, f"{name} shape"))


def _ending(facts: dict[str, int], say: Callable[[str, float], bool], rng: random.Random) -> str:
    if facts["quality"] == 2 and say("quality", 0.2):
        return " in a video game"
    ground = _INK[facts["ground"]] if say("ground", 0.2) else ""
    pattern = BACKGROUNDS[facts["background"]] if say("background", 0.2) else ""
    if not ground and not pattern:
        return ""
    article = "an" if (pattern or ground)[0] in "aeio" else "a"
    middle = " ".join(word for word in (pattern, ground) if word)
    phrases = [f" on {article} {middle} background", f" on {article} {middle} wall", f" on {ground}"]
    return rng.choice(phrases[: 2 if pattern else 3])


def _join(opening: str, words: Sequence[str]) -> str:
    article = "an" if words[0][0] in "aeio" else "a"
    return " ".join([opening.format(a=article), *words])


def vocabulary_texts() -> list[str]:
    """Texts that together hold every token that a caption can have."""
    words = [*CONTENTS, *COLOURS, *BACKGROUNDS, *(str(i) for i in range(len(DIGITS)))]
    words += ["small", "large", "thin", "bold", "italic", "printed", "typed", "handwritten", "hand drawn"]
    words += [word for group in _CASE_WORDS.values() for word in group]
    words += ["digit", "number", "letter", "character", "shape", "on a background"]
    words += ["on an wall", "in a video game", "."]
    openings = [*_OPENINGS, *(o for group in _QUALITY_OPENINGS.values() for o in group)]
    return [*words, *(opening.format(a=article) for opening in openings for article in ("a", "an"))]
