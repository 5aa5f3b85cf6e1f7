"""PromptKD's teacher: a larger CLIP with prompts that a PromptSRC run tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from clip import CLIP
from dassl.config import CfgNode as CN
from trainers.core import PromptedCLIP
from trainers.core.door import FINAL, find_prompts, read_prompts, take_prompts
from trainers.core.known_clip import KnownCLIP
from trainers.ivlp import VisionLanguageLearner

SETTING = "TRAINER.PROMPTKD.TEACHER_DIR"
MODEL_NAME = "VLPromptLearner"  # folder of its checkpoints
_LARGE = "VLPromptLearner_large"  # of the one that was published for the cross-dataset protocol


class PromptSizes(NamedTuple):
    """Sizes of the prompts of a `VisionLanguageLearner`, in the order of its arguments."""

    text_length: int
    text_depth: int
    vision_length: int
    vision_depth: int


def usual_teacher(dataset: str, modal: str) -> Path:
    """Where PromptKD's own repository has the teacher of a run, `<source>-xd` across data sets."""
    folder = Path("teacher_model")
    if modal == "base2novel":
        return folder / dataset
    return next(iter(sorted(folder.glob("*-xd"))), folder / "<source>-xd")


def find_teacher(options: CN, dataset: str, modal: str) -> Path:
    """The teacher's checkpoint: the best on its validation images where there is one, else the last.

    Where ``TEACHER_DIR`` is empty, it is looked for where PromptKD's own repository has it.

    Args:
        options: ``cfg.TRAINER.PROMPTKD``.
        dataset: ``cfg.DATASET.NAME``.
        modal: ``cfg.TRAINER.MODAL``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: ``TEACHER_DIR`` is empty, and there is none in the usual place either.
    """
    usual = usual_teacher(dataset, modal)
    directory = Path(options.TEACHER_DIR or usual)
    if not options.TEACHER_DIR and not directory.is_dir():
        raise ValueError(
            f"{SETTING} is empty, and there is no {usual}: it must be the folder that holds {MODEL_NAME}/ of "
            "a teacher tuned with PromptSRC (scripts/promptkd/base2new_train.sh makes one)"
        )
    large = (directory / _LARGE).is_dir() and not (directory / MODEL_NAME).is_dir()
    return find_prompts(SETTING, str(directory), _LARGE if large else MODEL_NAME, FINAL)


class TeacherPrompts:
    """The prompts in the checkpoint at ``path``.

    Raises:
        ValueError: it is damaged, or holds no such prompts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = read_prompts(SETTING, path, "PromptSRC")
        self.state: Mapping[str, Tensor] = self.checkpoint["state_dict"]
        self.sizes = self._sizes()

    def _sizes(self) -> PromptSizes:
        def depth(tower: str) -> int:
            return 1 + sum(key.startswith(tower) and key.endswith("VPT_shallow") for key in self.state)

        try:
            text, vision = self.state["prompt_learner.ctx"], self.state["image_encoder.VPT"]
        except KeyError as error:
            raise ValueError(f"{SETTING}: {self.path} lacks {error}: it is not PromptSRC's") from error
        return PromptSizes(len(text), depth("text_encoder."), len(vision), depth("image_encoder."))

    def text_state(self) -> dict[str, Tensor]:
        """The prompts of the text tower alone."""
        return {k: v for k, v in self.state.items() if k == "prompt_learner.ctx" or "text_enc" in k}

    def on(self, clip_model: CLIP, name: str, classnames: Sequence[str], context: str) -> PromptedCLIP:
        """The teacher: ``clip_model`` seen through the prompts, whose context stands for ``context``.

        Args:
            clip_model: in float32; not the one that they were tuned on is warned of.
            name: what settings call it.

        Raises:
            ValueError: they do not fit ``clip_model``.
        """
        if KnownCLIP.in_file(self.checkpoint) is not None:  # reading a large model's weights takes a second
            KnownCLIP.of(clip_model, name).warn_of_another(self.checkpoint, f"{SETTING}: {self.path}")
        learner = VisionLanguageLearner(clip_model, classnames, context, *self.sizes)
        try:
            take_prompts(self.state, learner)
        except ValueError as error:
            raise ValueError(f"{SETTING}: {self.path}: {error}") from error
        return PromptedCLIP(clip_model, learner)
