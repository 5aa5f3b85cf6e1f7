"""What a prompt learner hands to the frozen towers.

Shape legend: C classes, M context tokens, T text tokens, P visual prompt tokens, D width of a tower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clip import CLIP, Deep, tokenize
from dassl.utils import plain_name

MOST_TOKENS, MOST_BLOCKS = 1024, 1000  # of a prompt and of a tower, far more than there are


class TextPrompts(NamedTuple):
    """Input of the text tower, cut to the longest prompt."""

    embeddings: Tensor  # [C, T, D]
    eot: Tensor  # [C], position of the end-of-text token
    deep: Deep = ()  # entry i, [M, D], enters before block i + 1; or by block, see `clip.Written`


class ImagePrompts(NamedTuple):
    """Input of the image tower beside the image; empty for methods that leave it alone."""

    shallow: Tensor | None = None  # [P, D]
    deep: Deep = ()  # entry i, [P, D], enters before block i + 1; or by block, see `clip.Written`


class PromptLearner(nn.Module):
    """Owner of a method's tuned tensors: every parameter of it is tuned.

    A persistent buffer is a statistic gathered while tuning; other buffers are frozen.

    Attributes:
        LEFTOVERS: keys (a regular expression) that the original repository stores and nobody needs.
    """

    LEFTOVERS = ""

    def text_prompts(self, classes: Tensor | None = None) -> TextPrompts:
        """Prompts of the given class indices ([L], in this order), or of all classes."""
        raise NotImplementedError

    def image_prompts(self) -> ImagePrompts:
        return ImagePrompts()

    def checkpoint_key(self, name: str) -> str:
        """The key of parameter ``name`` in the original repository's checkpoints."""
        return name

    @property
    def tunes_image_tower(self) -> bool:
        """Whether image features depend on the tuned tensors."""
        return type(self).image_prompts is not PromptLearner.image_prompts

    def tuned_tensors(self) -> dict[str, Tensor]:
        """Checkpoint key -> the leaf that the optimiser moves, parametrised or not."""
        return {self.checkpoint_key(plain_name(name)): leaf for name, leaf in self.named_parameters()}

    def stored_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds: the tuned tensors, and statistics gathered while tuning."""
        state = self.state_dict(keep_vars=True)
        return {self.checkpoint_key(plain_name(name)): tensor for name, tensor in state.items()}


class ContextPrompts(nn.Module):
    """Embedded class prompts "<context> <name>." into which M learned context tokens are written.

    Args:
        clip: owner of the token embedding.
        classnames: C names; underscores become spaces.
        context: the text in front of the names, M words or more.
        position: where the name stands: behind ("end"), inside ("middle") or before ("front") the context.
        length: M.
        template: what follows the context, with {} for the name.

    Raises:
        ValueError: unknown position, or a prompt longer than the context of the text tower.
    """

    embeddings: Tensor
    order: Tensor | None

    def __init__(
        self,
        clip: CLIP,
        classnames: Sequence[str],
        context: str,
        length: int,
        position: str = "end",
        template: str = "{}.",
    ) -> None:
        super().__init__()
        names = [name.replace("_", " ") for name in classnames]
        texts = [f"{context} {template.replace('{}', name)}".lstrip() for name in names]
        try:
            tokens = tokenize(texts, clip.arch.context_length)
        except ValueError as error:
            longest = max(names, key=len)
            raise ValueError(
                f"{error}: a class name such as {longest[:80]!r}, CTX_INIT or N_CTX is too long"
            ) from error
        self.eot = tokens.argmax(dim=1)  # [C], on the CPU: reading it never waits for the device
        self.length = length
        with torch.no_grad():
            embeddings = clip.token_embedding(
                tokens[:, : int(self.eot.max()) + 1].to(clip.token_embedding.weight.device)
            )
        self.register_buffer("embeddings", embeddings, persistent=False)  # [C, T, D]
        self.register_buffer("order", self._token_order(names, position), persistent=False)

    def _token_order(self, names: Sequence[str], position: str) -> Tensor | None:
        """Which token of the "end" layout stands at each position, [C, T]; None for that layout."""
        if position not in ("end", "middle", "front"):
            raise ValueError(f"CLASS_TOKEN_POSITION is {position!r}; it must be 'end', 'middle' or 'front'")
        if position == "end":
            return None
        before = self.length // 2 if position == "middle" else 0
        total = self.embeddings.shape[1]
        rows = []
        for name_length in ((tokenize(names) != 0).sum(dim=1) - 2).tolist():
            first_name = 1 + self.length
            after_name = first_name + name_length
            name, rest = range(first_name, after_name), range(after_name, total)
            context = range(1, first_name)
            rows.append([0, *context[:before], *name, *context[before:], *rest])
        return torch.tensor(rows)

    def forward(self, context: Tensor | None, classes: Tensor | None = None, deep: Deep = ()) -> TextPrompts:
        """Prompts with ``context`` written in.

        Args:
            context: [M, D] for all classes, or [C, M, D], one a class; None keeps the words.
            classes: [L] class indices to prompt, in this order; all when None.
        """
        embeddings, order, eot = self.embeddings, self.order, self.eot
        if classes is not None:
            eot, on_device = eot[classes.cpu()], classes.to(embeddings.device)
            embeddings, order = embeddings[on_device], order if order is None else order[on_device]
            if context is not None and context.dim() == 3:
                context = context[on_device]
        longest = int(eot.max()) + 1 if len(eot) else 1
        x = embeddings[:, :longest]
        if context is not None:
            x = torch.cat([x[:, :1], context.expand(len(x), -1, -1), x[:, 1 + self.length :]], dim=1)
        if order is not None:
            x = x.gather(1, order[:, :longest, None].expand_as(x))
        return TextPrompts(x, eot, deep)


def starting_context(clip: CLIP, text: str, length: int, classes: int | None = None) -> tuple[str, Tensor]:
    """Words that stand in for the context in the class prompts, and the values that it starts from.

    Args:
        text: words to start from; empty for a random start behind placeholder words.
        length: M; the first M tokens of ``text`` are taken.
        classes: C, for a random context of its own for each class.

    Returns:
        The words, and [M, D] or [C, M, D].

    Raises:
        ValueError: ``text`` has fewer than M tokens.
    """
    width = clip.arch.transformer_width
    if not text:
        shape = (length, width) if classes is None else (classes, length, width)
        return " ".join(["X"] * length), nn.init.normal_(torch.empty(shape), std=0.02)
    tokens = tokenize(text)[0, 1:]
    count = int(tokens.argmax())
    if count < length:
        raise ValueError(
            f"CTX_INIT {text!r} has {count} tokens, fewer than the {length} context tokens: "
            "use more words, fewer context tokens, or an empty CTX_INIT"
        )
    embedding = clip.token_embedding
    with torch.no_grad():
        return text, embedding(tokens[:length].to(embedding.weight.device)).clone()


def vision_sizes(clip: CLIP) -> tuple[int, int]:
    """Width and number of blocks of the image tower.

    Raises:
        ValueError: it is a ResNet, which has no tokens to put prompts between.
    """
    if not isinstance(clip.arch.vision_layers, int):
        raise ValueError("MODEL.BACKBONE is a ResNet, but visual prompts need a ViT, such as ViT-B/16")
    return clip.arch.vision_width, clip.arch.vision_layers
