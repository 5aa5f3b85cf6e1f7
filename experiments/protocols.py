"""Protocols: from methods, data sets and seeds to lists of runs. What each is: docs/protocols.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.catalogue import (
    DEPT,
    SOURCE,
    ZERO_SHOT,
    DataSet,
    Protocol,
    known_configuration,
    methods,
)
from experiments.run import Run, pairs_of

FEW_SHOTS = (1, 2, 4, 8, 16)
READINGS = ("released", "paper", "direct", "two_step")
# two_step, the control: the prompt learner tuned on for as many steps as DPC takes, seen by all classes
TWO_STEP = {f"TRAINER.DPC.{part}": "False" for part in ("HARD_NEGATIVES", "WEIGHTING", "DECOUPLING")}


@dataclass(frozen=True)
class Wishes:
    """What a user may say beside methods, data sets and seeds.

    Attributes:
        data, output: roots of the named data sets and of the results.
        demo: use the embedded tiny CLIP, so every method's demo.yaml.
        preset: own or dpc, see configs/protocols.txt.
        shots: training images per class; None for the protocol's.
        cfg, learner_cfg, teacher_cfg: configurations of DPC, of what it builds on, of PromptKD's teacher;
            "" for the protocol's.
        options, dpc_options: KEY VALUE words for every run, and for DPC's alone.
        epoch: whose checkpoint tests load; None for the one that its training ended with.
        varied: KEY VALUE words for every training, which their folders name.
    """

    data: str = "data"
    output: Path = Path("output")
    demo: bool = False
    preset: str = "dpc"
    shots: int | None = None
    cfg: str = ""
    learner_cfg: str = ""
    teacher_cfg: str = ""
    options: tuple[str, ...] = ()
    dpc_options: tuple[str, ...] = ()
    epoch: int | None = None
    varied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a protocol trains, and on what."""

    folder: str  # below the results' root, up to the data set's name
    data: DataSet
    classes: str
    shots: int = 16


class Builder:
    """Makes the runs of one protocol."""

    def __init__(self, protocol: str, wishes: Wishes) -> None:
        self.protocol, self.wishes = Protocol(protocol, wishes.preset), wishes

    # -- what is trained ---------------------------------------------------------------------------------

    def learner(self, method: str, place: Place, seed: int, student_of: Place | None = None) -> Run:
        """The training of a prompt learner; of PromptKD the teacher's comes first.

        Args:
            student_of: where PromptKD's student learns, when that is not where its teacher does.
        """
        if method == "promptkd":
            return self._promptkd(place, seed, student_of or place)
        cfg = self._cfg(methods()[method], method, place, self.wishes.learner_cfg)
        said = self.protocol.settings(method, place.data, place.shots, cfg)
        return self._train(methods()[method], cfg, cfg, place, seed, said=said, varied=self.wishes.varied)

    def _promptkd(self, place: Place, seed: int, own: Place) -> Run:
        cfg = self._cfg("PromptSRC", "teacher", place, self.wishes.teacher_cfg)
        teacher = self._train("PromptSRC", cfg, cfg, place, seed)
        cfg = self._cfg("PromptKD", "promptkd", own, self.wishes.learner_cfg)
        said = self.protocol.settings("promptkd", own.data, own.shots, cfg)
        # it learns from all images, without their labels; its teacher from labelled ones of each class
        shots = own.shots if self.protocol.name == "few_shot" else 0
        label = cfg + from_source(place.data) if own.data != place.data else cfg
        options = self._teacher_words(teacher)
        own = replace(own, shots=shots)
        varied = self.wishes.varied
        return self._train("PromptKD", cfg, label, own, seed, options, (teacher,), said, varied)

    def _teacher_words(self, teacher: Run) -> tuple[str, ...]:
        words = ("TRAINER.PROMPTKD.TEACHER_DIR", str(teacher.folder))
        return words if self.protocol.name == "base2new" else (*words, "TRAINER.MODAL", "cross")

    def dpc(self, backbone: str, reading: str, place: Place, seed: int) -> Run:
        """The training of DPC on a prompt learner's."""
        learner = self.learner(backbone, place, seed)
        trainer = f"{learner.trainer}_DPC"
        cfg = self._cfg(trainer, backbone, place, self.wishes.cfg)
        label = cfg if self.wishes.preset == "dpc" else f"{cfg}-own"
        varied = (*self.wishes.varied, *self.wishes.dpc_options)
        options = self._teacher_words(learner.needs[0]) if backbone == "promptkd" else ()
        variant = "direct" if reading == "two_step" else reading
        options += ("TRAINER.DPC.BACKBONE_DIR", str(learner.folder), "TRAINER.DPC.VARIANT", variant)
        if reading == "two_step":
            options += tuple(word for pair in TWO_STEP.items() for word in pair)
        said = self.protocol.settings(backbone, place.data, place.shots, cfg, plugin=True)
        reading = "" if reading == "paper" else f"-{reading}"
        return self._train(trainer, cfg, label, place, seed, options, (learner,), said, varied, reading)

    def _train(
        self,
        trainer: str,
        cfg: str,
        label: str,
        place: Place,
        seed: int,
        options: tuple[str, ...] = (),
        needs: tuple[Run, ...] = (),
        said: tuple[str, ...] = (),
        varied: tuple[str, ...] = (),
        ending: str = "",
    ) -> Run:
        """``label``, what is ``varied`` and ``ending`` name the folder."""
        for key, value in pairs_of(varied).items():
            label += f"+{key.removeprefix('TRAINER.DPC.')}={value}".replace("/", "_")
        label, options = label + ending, (*options, *varied)
        folder = self._folder(place.folder, place.data, place.shots, trainer, label, seed)
        return Run(
            self.wishes.output, folder, self.wishes.data, trainer, cfg, place.data, seed, place.shots,
            place.classes, (*options, *said), self._extra(trainer), needs, said=said,
        )  # fmt: skip

    def _extra(self, trainer: str) -> tuple[str, ...]:
        """The user's words for every run; a plug-in's own settings mean nothing to the others."""
        absent = [f"TRAINER.{name}." for name in ("DPC", "DEPT") if not trainer.upper().endswith(f"_{name}")]
        pairs = pairs_of(self.wishes.options)
        kept = {key: value for key, value in pairs.items() if not key.startswith(tuple(absent))}
        return tuple(word for pair in kept.items() for word in pair)

    def _folder(self, part: str, data: DataSet, shots: int, trainer: str, label: str, seed: int) -> Path:
        return self.wishes.output / part / data.name / f"shots_{shots}" / trainer / label / f"seed{seed}"

    def _cfg(self, trainer: str, method: str, place: Place, wish: str) -> str:
        plugin = trainer.endswith("_DPC")
        default = self.protocol.configuration(method, place.data, place.shots, plugin)
        if self.wishes.demo or place.data.is_demo:
            default = "demo"
        return known_configuration(trainer, wish or default)

    # -- what is tested ----------------------------------------------------------------------------------

    def test(
        self, training: Run, part: str, data: DataSet, classes: str, source: DataSet | None = None
    ) -> Run:
        """The test of a training's prompts on other classes or another data set."""
        label = training.folder.parent.name.split("-from-")[0]
        label += from_source(source) if source else ""
        folder = self._folder(part, data, training.shots, training.trainer, label, training.seed)
        said = self._said_of(training, data)
        options = (*training.options[: len(training.options) - len(training.said)], *said)
        return replace(
            training, folder=folder, data=data, classes=classes, needs=(*training.needs, training),
            tests=training, trains=False, epoch=self.wishes.epoch, options=options, said=said,
        )  # fmt: skip

    def _said_of(self, training: Run, data: DataSet) -> tuple[str, ...]:
        """What the protocol has for a training's prompts on ``data``."""
        if data == training.data:
            return training.said
        learner = training.trainer.removesuffix("_DPC")
        plugin = learner != training.trainer
        return self.protocol.settings(learner.lower(), data, training.shots, training.cfg, plugin)

    def zero_shot(self, part: str, data: DataSet, classes: str, seed: int, shots: int) -> Run:
        """The test of zero-shot CLIP, which needs no training."""
        place = Place(part, data, classes, shots)
        cfg = self._cfg("ZeroshotCLIP", ZERO_SHOT, place, self.wishes.learner_cfg)
        return replace(self._train("ZeroshotCLIP", cfg, cfg, place, seed), trains=False)


def from_source(source: DataSet) -> str:
    """What a test's folder says of its source; nothing of the usual one."""
    return "" if source == DataSet(SOURCE) else f"-from-{source.name}"


# -- base-to-new: trained on the first half of the classes, tested on both ---------------------------------


def base2new_place(data: DataSet, wishes: Wishes) -> Place:
    return Place("base2new/train_base", data, "base", wishes.shots or 16)


def base2new(
    sets: Sequence[DataSet],
    learners: Sequence[str],
    readings: Sequence[str],
    seeds: Sequence[int],
    wishes: Wishes,
) -> Iterator[Run]:
    """Zero-shot CLIP, the learners, and DPC on each in the given readings."""
    builder = Builder("base2new", wishes)
    for seed in seeds:
        for data in sets:
            place = base2new_place(data, wishes)
            for classes in ("base", "new"):
                yield builder_zero_shot(builder, data, classes, seed, place.shots)
            for method in learners:
                for training in trainings(builder, method, readings, place, seed):
                    yield training
                    yield builder.test(training, "base2new/test_new", data, "new")


def builder_zero_shot(builder: Builder, data: DataSet, classes: str, seed: int, shots: int) -> Run:
    plain = Builder(builder.protocol.name, replace(builder.wishes, learner_cfg=""))
    return plain.zero_shot(f"base2new/test_{classes}", data, classes, seed, shots)


def trainings(
    builder: Builder, method: str, readings: Sequence[str], place: Place, seed: int
) -> Iterator[Run]:
    """A learner's training and DPC's on it; DPC is not on a learner with DePT, which refuses it."""
    yield builder.learner(method, place, seed)
    for reading in () if method.endswith(DEPT) else readings:
        yield builder.dpc(method, reading, place, seed)


# -- cross-dataset and cross-domain: trained on all classes of a source, tested elsewhere -----------------


def xd(
    source: DataSet,
    targets: Sequence[DataSet],
    learners: Sequence[str],
    readings: Sequence[str],
    seeds: Sequence[int],
    wishes: Wishes,
) -> Iterator[Run]:
    builder = Builder("xd", wishes)
    for seed in seeds:
        for method in learners:
            for training in trainings(builder, method, readings, xd_place(source, wishes), seed):
                yield training
                for target in targets:
                    yield xd_test(builder, training, source, target)


def xd_place(source: DataSet, wishes: Wishes) -> Place:
    return Place("xd/train", source, "all", wishes.shots or 16)


def xd_test(builder: Builder, training: Run, source: DataSet, target: DataSet) -> Run:
    """A training's test on a target. PromptKD's students are distilled on each target's own images."""
    if training.trainer == "PromptKD":
        training = xd_student(builder, source, target, training.seed)
    return builder.test(training, "xd/test", target, "all", source)


def xd_student(builder: Builder, source: DataSet, target: DataSet, seed: int) -> Run:
    place = xd_place(source, builder.wishes)
    own = place if target == source else replace(place, folder="xd/distil", data=target)
    return builder.learner("promptkd", place, seed, own)


# -- few-shot: trained and tested on all classes, with several numbers of images --------------------------


def few_shot(
    sets: Sequence[DataSet],
    learners: Sequence[str],
    readings: Sequence[str],
    seeds: Sequence[int],
    wishes: Wishes,
) -> Iterator[Run]:
    """A curve for each method; zero-shot CLIP's point is at 0 images."""
    builder = Builder("few_shot", wishes)
    counts = (wishes.shots,) if wishes.shots else FEW_SHOTS
    for seed in seeds:
        for data in sets:
            plain = Builder("few_shot", replace(wishes, learner_cfg=""))
            yield plain.zero_shot("few_shot", data, "all", seed, 0)
            for method in learners:
                for shots in counts:
                    yield from trainings(
                        builder, method, readings, Place("few_shot", data, "all", shots), seed
                    )
