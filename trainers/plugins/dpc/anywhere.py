"""DPC on a trainer that nobody here has seen: ``class X_DPC(AnyDPC, X)`` for any `TrainerX` of Dassl's kind.

Of X it needs tensors that an optimiser moves, and a model that gives logits for images. It knows no towers,
so a step encodes the text of all classes, twice, where `plugin.py` encodes that of the mini-batch's once.

Shape legend: b images of the mini-batch, n classes, L image-text pairs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dassl.config import CfgNode as CN
from dassl.config import extend_defaults
from dassl.data.datasets import Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.engine.base import TrainerBase
from dassl.engine.checkpoint import PREFIX, find_checkpoint
from dassl.metrics import compute_accuracy
from dassl.utils import load_checkpoint, plain_name
from trainers.plugins.dpc.batches import Ranking
from trainers.plugins.dpc.dual import DualTrainer
from trainers.plugins.dpc.loss import contrastive_loss
from trainers.plugins.dpc.options import OPTIONS, check_options, warn_of_idle_options
from trainers.plugins.dpc.weighting import DualPrompts

SUFFIX = "_DPC"


def extend_cfg(cfg: CN) -> None:
    """Add DPC's options as ``cfg.TRAINER.DPC``, for programs that make their settings themselves."""
    cfg.TRAINER.DPC = copy.deepcopy(OPTIONS)


def with_dpc(trainer: type[TrainerX]) -> type[TrainerX]:
    """The trainer ``<X>_DPC``, registered; one that is there already is returned as it is."""
    name = f"{trainer.__name__}{SUFFIX}"
    if name in TRAINER_REGISTRY:
        return TRAINER_REGISTRY.get(name)
    doc = f"`AnyDPC` on `{trainer.__name__}`."
    return TRAINER_REGISTRY.register(type(name, (AnyDPC, trainer), {"__doc__": doc}))


def plug_in(name: str) -> str:
    """Let a program know DPC on its trainer ``name``, and the options of it; the name of both."""
    TRAINER_REGISTRY.derive(SUFFIX, with_dpc)
    extend_defaults(extend_cfg)
    return f"{name}{SUFFIX}"


class AnyDPC(DualTrainer):
    """Put in front of any `TrainerX`, whose run in ``TRAINER.DPC.BACKBONE_DIR`` tuned P.

    Every parameter of its registered models that requires a gradient becomes dual, also where that is a part
    of a tower. A step replaces the trainer's own, and with it all of its losses; see `own_loss`.
    """

    _classes_of_tuned: Sequence[Any] | None = None  # P' data set and class names; None where nothing says

    # -- what the trainer in front of which it stands may say otherwise ----------------------------------

    def training_logits(self, images: Tensor) -> Tensor:
        """Logits [L, n] of all classes, with gradients.

        In evaluation mode: there the family's models give logits, some give a loss in training mode. Override
        it where images alone are not enough, or where dropout and batch statistics matter.
        """
        for name in self.get_model_names():
            self._models[name].eval()
        return self.model(images)

    def own_loss(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """A scalar beside the contrastive loss (Sec. 3.3), for the L images [L, 3, H, W] and labels [L]."""
        return None

    # -- two prompts (Sec. 3.2) ---------------------------------------------------------------------------

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        name = self._behind().__name__
        if "DPC" not in cfg.TRAINER:
            raise ValueError(
                f"cfg.TRAINER.DPC is missing, which {type(self).__name__} needs: call "
                "trainers.plugins.dpc.anywhere.extend_cfg(cfg) where the settings are made"
            )
        check_options(cfg.TRAINER.DPC, name)
        has_own_loss = type(self).own_loss is not AnyDPC.own_loss
        warn_of_idle_options(cfg.TRAINER.DPC, name, has_own_loss)

    def _behind(self) -> type:
        ancestors = type(self).__mro__
        return next(cls for cls in ancestors[ancestors.index(AnyDPC) :] if cls not in AnyDPC.__mro__)

    def build_model(self) -> None:
        super().build_model()
        self._take_tuned()
        models = nn.ModuleDict(self._models)
        self.dual_prompts = DualPrompts(models, self.rule_of, lambda name, tensor: tensor.requires_grad)
        for model in self._models.values():
            _keep_names(model)

    def _take_tuned(self) -> None:
        """Load P with the trainer's own ``load_model``, which knows what its files hold."""
        options = self.cfg.TRAINER.DPC
        directory, epoch, first = options.BACKBONE_DIR, options.BACKBONE_EPOCH, self.get_model_names()[0]
        if epoch is None:
            epoch = _final_epoch(directory, first)
        path = find_checkpoint(directory, first, epoch or None, "TRAINER.DPC.BACKBONE_DIR")
        self.backbone_checkpoint = path
        before = self.epochs_trained, self.selected_on
        # which epoch is the last is for us to find: the family's load_model does not know -1
        super().load_model(directory, int(path.name.removeprefix(PREFIX)) if epoch else None)
        self.epochs_trained, self.selected_on = before

    def writer(self) -> str:
        """Who writes the checkpoints that are read: the trainer behind, as long as P is."""
        return type(self).__name__ if hasattr(self, "dual_prompts") else self._behind().__name__

    def on_source_classes(self) -> bool:
        if not self.cfg.TRAINER.DPC.DECOUPLING or self._classes_of_tuned is None:
            return True
        dataset, names = self._classes_of_tuned
        return dataset == self.cfg.DATASET.NAME and set(names) >= set(self.lab2cname.values())

    # -- a step -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        if not self.weight_base:
            raise ValueError("TRAINER.DPC.WEIGHT_BASE is 0, which evaluates P: set it in (0, 1] to train P'")
        super().prepare()
        self._classes_of_tuned = self._classes()
        if self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            self.negatives = self.negative_sampler()

    def pool_images(self, chosen: str) -> list[Datum]:
        dataset = self.dm.dataset
        if chosen == "train" and not hasattr(dataset, "train_full"):
            if self.cfg.TRAINER.DPC.NEGATIVE_POOL == "train":
                raise ValueError(
                    f"TRAINER.DPC.NEGATIVE_POOL is 'train', but {type(dataset).__name__} has no train_full, "
                    "all images of the training split: set it to fewshot, or name a .json of them"
                )
            chosen = "fewshot"
        return super().pool_images(chosen)

    @torch.no_grad()
    def rank(self, images: Tensor) -> Ranking:
        with self.dual_prompts.showing("tuned"):
            scores = self._logits(self._to_device(images))
        self.set_model_mode("train")
        return Ranking(scores, None)

    def forward_backward(self, batch: Mapping[str, Any]) -> Any:
        if not self.cfg.TRAINER.DPC.HARD_NEGATIVES:
            return super().forward_backward(dict(batch))
        images, labels = self._to_device(batch["img"]), self._to_device(batch["label"])
        logits = self._logits(images)
        if not logits.requires_grad:
            raise ValueError(
                f"the logits of {self._behind().__name__} do not depend on its parameters: override "
                "AnyDPC.training_logits so that they have a gradient"
            )
        loss = contrastive_loss(logits[:, labels].float(), self.reading.reduction)
        parts = {"loss_cl": loss.detach()}
        own = self.own_loss(images, labels) if self.cfg.TRAINER.DPC.KEEP_BACKBONE_LOSS else None
        if own is not None:
            parts["loss_own"] = own.detach()
            loss = loss + own
        self._step(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.detach(), **parts, "acc": compute_accuracy(logits, labels)[0].detach()}

    def _logits(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=self.scaler is not None):
            logits = self.training_logits(images)
        if not isinstance(logits, Tensor) or logits.shape != (len(images), self.num_classes):
            found = f"of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"AnyDPC needs logits [{len(images)}, {self.num_classes}], but the model of "
                f"{self._behind().__name__} gave {found}: override AnyDPC.training_logits"
            )
        return logits

    def _step(self, loss: Tensor) -> None:
        """One step of all optimisers; the family scales losses in its own ``forward_backward``."""
        if self.scaler is None or type(self).model_backward is not TrainerBase.model_backward:
            return self.model_backward_and_update(loss)
        self.model_zero_grad()
        self.detect_anomaly(loss)
        self.scaler.scale(loss).backward()
        for optim in filter(None, self._optims.values()):
            self.scaler.step(optim)
        self.scaler.update()

    # -- checkpoints --------------------------------------------------------------------------------------

    def checkpoint_extras(self, name: str) -> dict[str, Any]:
        """Also which classes P' was tuned on."""
        return {**super().checkpoint_extras(name), "dpc_classes": list(self._classes())}

    def load_checkpoint_extras(self, name: str, checkpoint: dict[str, Any], path: str) -> None:
        super().load_checkpoint_extras(name, checkpoint, path)
        self.check_stored(checkpoint, path)

    def _classes(self) -> tuple[str, list[str]]:
        """This run's data set and its classes."""
        return self.cfg.DATASET.NAME, [name for _, name in sorted(self.lab2cname.items())]

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        super().load_model(directory, epoch)
        if not directory:
            return
        for name in self.get_model_names():
            path = str(find_checkpoint(directory, name, epoch))
            checkpoint = load_checkpoint(path)
            if "dpc" not in checkpoint:
                raise ValueError(f"{path!r} was not written by a trainer with DPC")
        self.take_stored(checkpoint, path)  # they all say the same
        self._classes_of_tuned = checkpoint["dpc_classes"]


def _final_epoch(directory: str, model: str) -> int | None:
    """The epoch that a run ended with: 0 stands for the best one on validation images."""
    try:
        find_checkpoint(directory, model, None)
    except FileNotFoundError:
        return -1
    return 0


def _keep_names(model: nn.Module) -> None:
    """Let checkpoints of ``model`` have the names that its tensors had before they became dual."""

    def rename(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        for key in [key for key in state if key.startswith(prefix)]:
            state[plain_name(key)] = state.pop(key)

    def name_back(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, _ in model.named_parameters(remove_duplicate=False):
            plain = prefix + plain_name(name)
            if plain in state:
                state[prefix + name] = state.pop(plain)

    model._register_state_dict_hook(rename)
    model.register_load_state_dict_pre_hook(name_back)
