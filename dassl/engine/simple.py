"""A trainer that reads its data and settings from the configuration."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from datetime import timedelta
from typing import Any

from dassl.config import CfgNode, Options, changed_settings, check_settings, complete, relevant_settings
from dassl.data import DataManager
from dassl.data.datasets import options_of_datasets
from dassl.engine import resume
from dassl.engine.curves import curve_logger
from dassl.engine.processes import agree_on_random_numbers, by_main, check_same, of_all
from dassl.engine.runtime import find_runtime
from dassl.engine.selection import selection_images
from dassl.engine.testing import Tester
from dassl.evaluation import build_evaluator
from dassl.modeling import SimpleNet
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_pretrained_weights
from dassl.utils.processes import world_size

logger = logging.getLogger(__name__)


class SimpleTrainer(Tester):
    """Builds data, model and evaluator from ``cfg``; evaluates, saves and resumes.

    ``data_manager`` takes the place of the one that ``cfg`` describes.

    A subclass implements ``run_epoch``, nearly always ``build_model`` (which calls ``register_model``), and
    may override ``check_cfg``, ``build_data_loader`` and the hooks of ``TrainerBase``.
    """

    shares_batches = False  # whether several processes (``torchrun``) may compute one mini-batch together
    selects_on = ""  # the images that the final model is selected on, see `selection_images`
    scaler: Any = None  # a gradient scaler that a subclass sets is part of the resume file

    def __init__(self, cfg: CfgNode, data_manager: Any = None) -> None:
        super().__init__()
        complete(cfg)
        check_settings(cfg)
        curve_logger(cfg)
        self._check_processes()
        self.check_cfg(cfg)
        self.runtime = find_runtime(cfg.USE_CUDA)
        agree_on_random_numbers()  # a run without SEED has drawn its own in each
        self.device = self.runtime.device
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.dm: Any = data_manager
        self.find_inputs()
        self.build_data_loader()
        self._check_data()
        agree_on_random_numbers()  # the first process to read a data set may have drawn what others read
        self.build_model()
        if not self.get_model_names():  # nothing to train or load, such as zero-shot
            self.epochs_trained = 0
        if not hasattr(self, "lab2cname"):  # build_data_loader of trainers for older versions of Dassl
            self.lab2cname = self.dm.lab2cname
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Raise a ``ValueError`` when the trainer cannot work with ``cfg``."""

    def _check_processes(self) -> None:
        if (processes := world_size()) > 1 and not self.shares_batches:
            raise ValueError(
                f"WORLD_SIZE is {processes}, but {type(self).__name__} computes a mini-batch on one process, "
                "and several would write the same files: start train.py without torchrun"
            )

    def _check_data(self) -> None:
        if self.runtime.world_size == 1:
            return
        dataset, parts = getattr(self.dm, "dataset", None), ("train_x", "val", "test")
        items = [(i.impath, i.label) for part in parts for i in getattr(dataset, part, None) or ()]
        if len(set(of_all(hashlib.sha256(repr(items).encode()).hexdigest()))) > 1:
            raise ValueError(f"DATASET.ROOT {self.cfg.DATASET.ROOT!r} holds other images for some processes")

    def find_inputs(self) -> None:
        """Find the files of other runs that this one builds on, before any data is read.

        Raises:
            FileNotFoundError: one is not there; names the setting that leads to it.
        """

    @classmethod
    def own_options(cls) -> dict[str, Any] | None:
        """The settings below ``TRAINER`` that this trainer reads, by full name, with their defaults.

        All others there are taken for other trainers'. None: it doesn't say, and all of them count.
        """
        return None

    @classmethod
    def known_options(cls) -> Options:
        """What trainer and data sets add to Dassl's settings."""
        return Options(cls.own_options(), options_of_datasets())

    def build_data_loader(self) -> None:
        """Create the data manager ``dm``, unless there is one, and take over its loaders and facts."""
        dm = self.dm = self.dm or self.build_data_manager()
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname

    def build_data_manager(self) -> DataManager:
        """Read the data set and build its loaders."""
        return DataManager(self.cfg)

    def build_model(self) -> None:
        """Build ``model``, optimiser and scheduler, and register them: a `SimpleNet`, unless overridden.

        Raises:
            ValueError: ``MODEL.BACKBONE.NAME`` is not registered in ``dassl.modeling``.
        """
        cfg = self.cfg
        self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def train(self) -> None:  # type: ignore[override]
        """Train from where the last run stopped, or from the start."""
        if self.test_finished_run(self.cfg.RESUME or self.output_dir):
            return
        super().train(self.start_epoch, self.max_epoch)

    def test_finished_run(self, directory: str) -> bool:
        """Test the finished run in ``directory``, where its settings differ in nothing but the classes.

        So the original repositories' commands do that name a trained folder and other classes, but not
        ``--eval-only``.

        Returns:
            Whether there was such a run; if so, there is nothing to train.

        Raises:
            ValueError: what is there belongs to a run with other settings.
        """
        names, options = self.get_model_names(), self.known_options()
        classes = resume.finished_classes(directory, names, self.max_epoch, self.cfg, options)
        if classes is None:
            return False
        logger.warning(
            "%s holds a finished run on the %s classes: nothing is trained, it is tested on the %s classes",
            directory, classes, self.cfg.DATASET.SUBSAMPLE_CLASSES,
        )  # fmt: skip
        self.at_start()
        self.load_model(directory, None if self.cfg.TEST.FINAL_MODEL == "best_val" else self.max_epoch)
        if not self.cfg.TEST.NO_TEST:
            self.test()
        return True

    # Hooks

    def finish_model(self) -> None:
        """Add to the final model what needs its last weights, before it is tested."""

    def prepare(self) -> None:
        """Make what training needs and an evaluation does not.

        Called before the first epoch, and before an interrupted run is restored: ``load_extra_state`` finds
        what is made here.
        """
        self.selects_on = selection_images(self.cfg, self.dm, getattr(self, "val_loader", None))

    def before_train(self) -> None:
        self.prepare()
        directory = self.cfg.RESUME or self.output_dir
        self.start_epoch = self.epochs_trained = self.resume_model_if_exist(directory)
        self.resumed = bool(self.start_epoch) or os.path.exists(resume.resume_path(directory))
        if self.resumed:
            logger.info("Resuming %s after epoch %d of %d", directory, self.start_epoch, self.max_epoch)
        elif self.cfg.RESUME:
            raise FileNotFoundError(f"RESUME {directory!r} holds no run to resume")
        if (name := curve_logger(self.cfg)) == "tensorboard":
            self.init_writer(os.path.join(self.output_dir, name))
        elif name:
            self.init_tracker(name, self.cfg)
        self.time_start = time.time()

    def before_epoch(self) -> None:
        set_epoch = getattr(self.dm, "set_epoch", None)
        agree_on_random_numbers()
        if set_epoch is not None:
            set_epoch(self.epoch)

    def after_epoch(self) -> None:
        last_epoch = self.epoch + 1 == self.max_epoch
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST:
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(
                    self.epoch, self.output_dir, val_result=result, model_name="model-best.pth.tar"
                )
        if last_epoch or (frequency > 0 and (self.epoch + 1) % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    def after_train(self) -> None:
        # Existing scripts count the results behind a line that is exactly this.
        logger.info("Finish training")
        logger.info("Training took %s", timedelta(seconds=round(time.time() - self.time_start)))
        tests = not self.cfg.TEST.NO_TEST
        if tests and self.cfg.TEST.FINAL_MODEL == "best_val":
            self.epochs_trained = None
            self.load_model(self.output_dir)
        self.finish_model()
        if tests:
            self.test()
        self.close_writer()

    # Checkpoints

    def checkpoint_origin(self) -> dict[str, Any]:
        origin: dict[str, Any] = {
            "settings": relevant_settings(self.cfg, self.known_options()),
            "changed_settings": sorted(changed_settings(self.cfg, self.known_options())),
        }
        return {**origin, "selected_on": self.selects_on} if self.selects_on else origin

    def save_resume_point(self, epochs: int | None = None) -> None:
        behind = self.epoch + 1 if epochs is None else epochs
        for name in self.get_model_names():
            check_same(self.resume_state_dict(name))
        by_main(lambda: resume.save_resume_file(self, self.cfg, self.output_dir, behind))

    def remove_resume_point(self) -> None:
        by_main(lambda: resume.remove_resume_file(self.output_dir))

    def resume_model_if_exist(self, directory: str) -> int:
        """Go on from the resume file in ``directory``, else from its last checkpoints (not bit for bit).

        Returns:
            The number of epochs behind it, 0 if there is nothing.

        Raises:
            ValueError: what is there belongs to a run with other settings.
        """
        if self.get_model_names() and os.path.exists(resume.resume_path(directory)):
            return resume.load_resume_file(self, self.cfg, directory)
        epoch = super().resume_model_if_exist(directory)
        if 0 < epoch < self.max_epoch:
            logger.warning(
                "%s has checkpoints but no %s: after epoch %d the random numbers are not those of an "
                "uninterrupted run", directory, resume.RESUME_FILE, epoch,
            )  # fmt: skip
        return epoch

    def check_resumable(self, checkpoint: dict[str, Any], path: str) -> None:
        """Refuse a checkpoint of a run with other settings, where it says so."""
        if "settings" in checkpoint:
            resume.check_settings(checkpoint, self.cfg, self.known_options(), path)
