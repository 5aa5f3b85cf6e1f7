"""A trainer as the family writes them: a module of the tuned part, its optimiser, one step."""

import os.path as osp

import torch
from torch import nn
from torch.cuda.amp import GradScaler
from torch.nn import functional as F

from clip import Towers
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, load_pretrained_weights


class Learner(nn.Module):
    def __init__(self, cfg, towers):
        super().__init__()
        self.scale = nn.Parameter(torch.full([towers.text.shape[1]], cfg.TRAINER.SCALED.START))
        self.register_buffer("token_prefix", torch.zeros(1))

    def forward(self, text):
        return text * self.scale


class Model(nn.Module):
    def __init__(self, cfg, classnames):
        super().__init__()
        self.towers = Towers(len(classnames))
        self.prompt_learner = Learner(cfg, self.towers)

    def forward(self, image):
        text = self.prompt_learner(self.towers.text)
        return 10 * F.normalize(self.towers(image), dim=-1) @ F.normalize(text, dim=-1).t()


@TRAINER_REGISTRY.register()
class Scaled(TrainerX):
    def check_cfg(self, cfg):
        assert cfg.TRAINER.SCALED.START > 0

    def build_model(self):
        cfg = self.cfg
        classnames = self.dm.dataset.classnames
        self.model = Model(cfg, classnames)
        for name, param in self.model.named_parameters():
            if "prompt_learner" not in name:
                param.requires_grad_(False)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model.prompt_learner, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)
        self.scaler = GradScaler() if torch.cuda.is_available() else None

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        loss_summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return loss_summary

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def load_model(self, directory, epoch=None):
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        model_file = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            model_path = osp.join(directory, name, model_file)
            if not osp.exists(model_path):
                raise FileNotFoundError(f'Model not found at "{model_path}"')
            state_dict = load_checkpoint(model_path)["state_dict"]
            state_dict.pop("token_prefix")
            self._models[name].load_state_dict(state_dict, strict=False)
