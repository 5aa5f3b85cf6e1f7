"""What the original repositories compute in a training step, written plainly on the same towers.

Nothing is saved: 77 tokens for every class, all classes in every step, frozen features computed in every
step. Loading is left out: a step is given images that were loaded before.

Shape legend: n base classes, b images of the mini-batch, L image-text pairs, D text width, E joint width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from benchmarks.meters import Stopwatch
from clip import CLIP, tokenize

CONTEXT = "a photo of a"


class Path77:
    """Steps of CoOp and of DPC on it; each returns its number of image-text pairs.

    Args:
        clip: frozen towers.
        classnames: n names.
        cfg: of the run; for the mini-batch's and the optimiser's numbers.
        clock: is on while the text tower runs.
    """

    def __init__(self, clip: CLIP, classnames: Sequence[str], cfg: CN, clock: Stopwatch) -> None:
        self.clip, self.clock, self.batch_size = clip, clock, cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        self.device = clip.token_embedding.weight.device
        self.tokens = tokenize([f"{CONTEXT} {name}." for name in classnames]).to(self.device)  # [n, 77]
        self.length = len(CONTEXT.split())
        with torch.no_grad():
            embedded = clip.token_embedding(self.tokens[0, 1 : 1 + self.length])
        self.tuned = embedded.clone()  # P, [M, D]
        self.ctx = nn.Parameter(embedded.clone())
        self.optim = torch.optim.SGD([self.ctx], lr=cfg.OPTIM.LR, momentum=0.9, weight_decay=5e-4)
        self.use_classes(len(classnames))

    def use_classes(self, n: int) -> None:
        """Work with the first n classes only."""
        with torch.no_grad():
            self.embeddings = self.clip.token_embedding(self.tokens[:n])  # [n, 77, D]
        self.eot = self.tokens[:n].argmax(dim=1)

    def batch_for(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The same batch with labels among the classes in use."""
        return {"img": batch["img"], "label": batch["label"] % len(self.eot)}

    def text_features(self, ctx: Tensor) -> Tensor:  # [n, E]
        suffix = self.embeddings[:, 1 + self.length :]
        prompts = torch.cat([self.embeddings[:, :1], ctx.expand(len(suffix), -1, -1), suffix], dim=1)
        return F.normalize(self.clip.encode_embeddings(prompts, self.eot).float(), dim=-1)

    def image_features(self, images: Tensor) -> Tensor:  # [B, E]
        return F.normalize(self.clip.encode_image(images).float(), dim=-1)

    def coop_step(self, batch: dict[str, Any]) -> int:
        images, labels = batch["img"].to(self.device), batch["label"].to(self.device)
        images = self.image_features(images)
        with self.clock.on():
            texts = self.text_features(self.ctx)
        logits = self.clip.logit_scale.exp() * images @ texts.t()
        self._update(F.cross_entropy(logits, labels))
        return len(images)

    def dpc_step(self, batch: dict[str, Any]) -> int:
        images, labels = batch["img"].to(self.device), batch["label"].to(self.device)
        with torch.no_grad():  # the sampler's query
            query = self.image_features(images[: self.batch_size])
            with self.clock.on():
                tuned = self.text_features(self.tuned)
            (query @ tuned.t()).topk(min(8, len(tuned))).indices.tolist()
        features = self.image_features(images)
        with self.clock.on():
            texts = self.text_features(self.ctx)[labels]  # [L, E]
        logits = self.clip.logit_scale.exp() * features @ texts.t()
        pairs = torch.arange(len(logits), device=self.device)
        self._update((F.cross_entropy(logits, pairs) + F.cross_entropy(logits.t(), pairs)) / 2)
        return len(images)

    def _update(self, loss: Tensor) -> None:
        with self.clock.on():  # the image tower is frozen: the backward pass is the text tower's
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
            loss.item()
