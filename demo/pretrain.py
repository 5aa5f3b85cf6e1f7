"""Pretrain the demo's tiny CLIP on rendered images with captions and write it in OpenAI's format.

    python -m demo.pretrain --output demo/tiny_clip.pt
    python -m demo.pretrain --output demo/next_clip.pt --start-from demo/tiny_clip.pt --seed 2 --steps 7000 \
        --vision-width 192 --vision-layers 3

The second is an upgrade of the first, as EVA-CLIP is of CLIP: another image tower, and a text tower that
starts from the first one's, its projection apart, and moves at a 25th of the rate.

The loss is CLIP's symmetric InfoNCE (Radford et al., 2021) with every caption that is true of an
image counted as a positive of it, since short captions fit many images of a batch. Linear heads that
name an image's attributes help the image tower to learn and are thrown away afterwards.
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import os
import random
import time
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from clip import CLIP, Architecture, openai_state_dict, similarity_logits, tokenize
from demo.captions import caption_batch, fits, vocabulary_texts
from demo.glyphs import build_bank
from demo.render import ATTRIBUTES, Batch, Renderer

log = logging.getLogger(__name__)

VOCABULARY = 49408  # entries of CLIP's tokenizer
CONTEXT = 77
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
ARCHITECTURE = Architecture(
    embed_dim=128,
    image_resolution=32,
    vision_layers=4,
    vision_width=128,
    vision_patch_size=8,
    context_length=CONTEXT,
    vocab_size=VOCABULARY,
    transformer_width=128,
    transformer_layers=3,
)


INHERITED_SHARE = 1 / 25  # EVA-CLIP: 2e-5 for the text tower where the base rate is 5e-4


class CompactVocabulary:
    """The few tokens that captions use, renumbered in the same order.

    Training a full vocabulary would spend most of each step on rows that no caption touches. The
    order is kept because CLIP finds the end-of-text token as the largest id.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.used = torch.unique(tokenize(texts))  # sorted, padding's 0 included
        self._rows: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.used)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Renumbered token ids [N, CONTEXT]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        for text, row in zip(new, tokenize(new) if new else (), strict=True):
            self._rows[text] = torch.searchsorted(self.used, row)
        return torch.stack([self._rows[text] for text in texts])

    def expand(self, embedding: Tensor) -> Tensor:
        """[len(self), D] -> [VOCABULARY, D], zero for tokens that never occurred."""
        full = torch.zeros(VOCABULARY, embedding.shape[1], dtype=embedding.dtype)
        full[self.used] = embedding
        return full


def contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Mean over images and captions of the cross-entropy with the positives as equal targets.

    Args:
        logits: [B, C], images by captions.
        positive: bool [B, C], caption j is true of image i. Images without a caption are negatives only.
    """
    wanted = positive.float()
    described = positive.any(dim=1)
    by_image = F.cross_entropy(logits[described], F.normalize(wanted[described], p=1, dim=1))
    by_caption = F.cross_entropy(logits.t(), F.normalize(wanted.t(), p=1, dim=1))
    return (by_image + by_caption) / 2


class AttributeHeads(nn.Module):
    """A linear classifier for every attribute, on the image features."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embed_dim, sum(ATTRIBUTES.values()))

    def loss(self, features: Tensor, attributes: Tensor) -> Tensor:
        """Cross-entropy of the content plus a tenth of each other attribute's, where it is known."""
        logits = self.linear(features).split(list(ATTRIBUTES.values()), dim=1)
        losses = [
            F.cross_entropy(scores, wanted, ignore_index=-1)
            for scores, wanted in zip(logits, attributes.t(), strict=True)
        ]
        return losses[0] + 0.1 * torch.stack(losses[1:]).sum()


def normalise(images: Tensor) -> Tensor:
    """Pixels 0 to 1 [B, 3, S, S] as CLIP's towers expect them."""
    return (images - torch.tensor(PIXEL_MEAN)[:, None, None]) / torch.tensor(PIXEL_STD)[:, None, None]


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 3 % of the steps, then a cosine to a hundredth of the peak."""
    warmup = max(1, round(0.03 * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def difficulty(step: int, steps: int) -> float:
    """From undistorted black and white to the full range over 70 % of the steps.

    The tower needs it: after 64,000 images it names 10 % right when started at the full range, 67 % with
    an easy start.
    """
    return min(1.0, step / (0.7 * steps))


def build_optimizer(
    new: Sequence[nn.Parameter], inherited: Sequence[nn.Parameter], decay: float
) -> torch.optim.Optimizer:
    """AdamW that decays matrices only; each group has the ``share`` of the learning rate that it moves at."""
    groups = []
    for parameters, share in ((new, 1.0), (inherited, INHERITED_SHARE)):
        matrices = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        for kind, its_decay in ((matrices, decay), (others, 0.0)):
            if kind:
                groups.append({"params": kind, "weight_decay": its_decay, "share": share})
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def save_compressed(state: dict[str, Tensor], path: Path) -> None:
    """Write ``torch.save``'s archive with its entries deflated: unused vocabulary rows then cost nothing.

    ``torch.load(path, weights_only=True)`` reads it like any other.
    """
    plain = io.BytesIO()
    torch.save(state, plain)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    # a fixed date, so that the same weights give the same bytes
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            target.writestr(entry, source.read(name), zipfile.ZIP_DEFLATED, compresslevel=9)
    os.replace(temporary, path)


class Pretraining:
    """The model in training, with the vocabulary it uses and the heads that help.

    Args:
        architecture: of the model, but for its vocabulary.
        start: state dict of a model whose text tower this one starts from; None for a random start.
    """

    def __init__(
        self, seed: int, architecture: Architecture = ARCHITECTURE, start: dict[str, Tensor] | None = None
    ) -> None:
        self.vocabulary = CompactVocabulary(vocabulary_texts())
        self.model = CLIP.create(Architecture(**{**vars(architecture), "vocab_size": len(self.vocabulary)}))
        self.heads = AttributeHeads(architecture.embed_dim)
        self.inherited = [] if start is None else self._inherit(start)
        known = {id(parameter) for parameter in self.inherited}
        parameters = (*self.model.parameters(), *self.heads.parameters())
        self.new = [parameter for parameter in parameters if id(parameter) not in known]
        self._speaker = random.Random(seed)

    @torch.no_grad()
    def _inherit(self, start: dict[str, Tensor]) -> list[nn.Parameter]:
        """Take over a text tower but for where its output goes; its parameters."""
        state = {**start, "token_embedding.weight": start["token_embedding.weight"][self.vocabulary.used]}
        taken = []
        for name, parameter in self.model.named_parameters():
            if not name.startswith("visual.") and name not in ("text_projection", "logit_scale"):
                parameter.copy_(state[name])
                taken.append(parameter)
        return taken

    def loss(self, batch: Batch, captions: int) -> Tensor:
        """Loss of a batch whose first ``captions`` images are described in words."""
        texts, claims = caption_batch(batch.attributes[:captions], self._speaker)
        with torch.autocast("cpu", torch.bfloat16):
            images = self.model.encode_image(normalise(batch.images)).float()
            words = self.model.encode_text(self.vocabulary.encode(texts)).float()
        logits = similarity_logits(images, words, self.model.logit_scale.exp())
        contrast = contrastive_loss(logits, fits(claims, batch.attributes))
        return contrast + self.heads.loss(images, batch.attributes)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Keep the logit scale at most 100, as CLIP does."""
        self.model.logit_scale.clamp_(max=math.log(100))

    def state_dict(self) -> dict[str, Tensor]:
        """The model under OpenAI's keys in fp16, with the full vocabulary and OpenAI's scalars."""
        state = {key: value.detach().clone() for key, value in openai_state_dict(self.model).items()}
        state["token_embedding.weight"] = self.vocabulary.expand(state["token_embedding.weight"])
        state["vocab_size"] = torch.tensor(VOCABULARY)
        return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


def pretrain(
    job: Pretraining,
    output: Path,
    steps: int,
    batch: int,
    captions: int,
    peak: float,
    seed: int,
    save_every: int,
) -> None:
    """Train for ``steps`` steps; write the weights now and then and at the end.

    Args:
        job: what is trained.
        output: weights file to write.
        steps: optimiser steps.
        batch: images a step.
        captions: how many of them have a caption.
        peak: highest learning rate.
        seed: of everything random.
        save_every: steps between two saves.
    """
    started = time.monotonic()
    renderer = Renderer(build_bank(seed), seed)
    optimizer = build_optimizer(job.new, job.inherited, decay=0.1)
    parameters = [*job.new, *job.inherited]
    log.info(
        "%d words in use, %d parameters", len(job.vocabulary), sum(p.numel() for p in job.model.parameters())
    )
    average = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * learning_rate(step, steps, peak)
        # at some 17 tokens the plain attention kernel is faster than the fused one
        with sdpa_kernel(SDPBackend.MATH):
            loss = job.loss(renderer.batch(batch, difficulty(step, steps)), captions)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        job.clamp_scale()
        average = loss.item() if step == 0 else 0.98 * average + 0.02 * loss.item()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            minutes = (time.monotonic() - started) / 60
            log.info("step %d/%d  loss %.3f  %.1f min", step + 1, steps, average, minutes)
        if (step + 1) % save_every == 0 or step + 1 == steps:
            save_compressed(job.state_dict(), output)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the tiny CLIP of the demo.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("tiny_clip.pt"))
    parser.add_argument("--steps", type=int, default=6000, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=192, help="images a step")
    parser.add_argument("--captions", type=int, default=64, help="images of a step that have a caption")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-from", type=Path, help="weights whose text tower it starts from")
    parser.add_argument("--vision-width", type=int, default=ARCHITECTURE.vision_width)
    parser.add_argument("--vision-layers", type=int, default=ARCHITECTURE.vision_layers)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; others round differently")
    parser.add_argument("--save-every", type=int, default=500, help="steps between two saves")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    sizes = {"vision_width": args.vision_width, "vision_layers": args.vision_layers}
    start = torch.load(args.start_from, weights_only=True) if args.start_from else None
    job = Pretraining(args.seed, Architecture(**{**vars(ARCHITECTURE), **sizes}), start)
    pretrain(job, args.output, args.steps, args.batch, args.captions, args.lr, args.seed, args.save_every)


if __name__ == "__main__":
    main()
