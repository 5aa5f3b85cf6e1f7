"""The words nearest to learned context tokens: from a run's folder, and from a checkpoint file."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import clip
import interpret_prompt
from clip import CLIP, openai_state_dict, tokenize
from tests.conftest import ROOT, TINY
from trainers.core.words import Context, Neighbour, nearest, neighbours

Build = Callable[..., Any]
DEMO = ROOT / "demo" / "tiny_clip.pt"
FP32 = ("TRAINER.COOP.PREC", "fp32")
START = ["a", "photo", "of", "a"]
NAMES = ["Annual Crop Land", "Forest", "Highway or Road"]  # of the base classes


def ids(words: str) -> list[int]:
    found = [int(token) for token in tokenize(words)[0] if token][1:-1]
    assert len(found) == len(words.split()), "one token a word"
    return found


def rows_of(model: CLIP, words: str) -> Tensor:
    return model.token_embedding.weight[ids(words)].clone()


def brute_force(ctx: Tensor, words: Tensor, topk: int) -> list[list[tuple[int, float]]]:
    """Once more, in numpy and double precision: rows and distances of each token [M, D]."""
    found = []
    for vector in ctx.double().numpy():
        distances = np.sqrt(((words.double().numpy() - vector) ** 2).sum(axis=1))
        found.append([(int(row), float(distances[row])) for row in np.argsort(distances)[:topk]])
    return found


def context_in(folder: Path, *words: str) -> Context:
    return interpret_prompt.read(interpret_prompt.parse_arguments([str(folder), *words]))


def words_by(found: list[Neighbour]) -> dict[tuple[str, str], list[str]]:
    """(class, prompt) -> nearest words of the tokens."""
    table: dict[tuple[str, str], list[str]] = {}
    for near in found:
        if near.rank == 1:
            table.setdefault((near.class_name, near.prompt), []).append(near.word)
    return table


def saved(trainer: Any, folder: Path) -> Path:
    """The folder of a run that ends with the trainer's present prompts."""
    trainer.save_model(0, str(folder))
    return folder


# -- the nearest words ------------------------------------------------------------------------------------


def test_as_brute_force_finds_them(tiny_clip: CLIP) -> None:
    words = tiny_clip.token_embedding.weight
    ctx = torch.randn(5, 64, generator=torch.Generator().manual_seed(1)) * 0.03
    rows, distances = nearest(ctx, words, 7)
    for m, expected in enumerate(brute_force(ctx, words, 7)):
        assert rows[m].tolist() == [row for row, _ in expected]
        assert distances[m].tolist() == pytest.approx([distance for _, distance in expected], rel=1e-5)


def test_of_equal_distances_the_first_word_stands_first() -> None:
    words = torch.zeros(1000, 4)
    words[77] = 1
    rows, distances = nearest(torch.full((1, 4), 0.5), words, 80)
    assert rows[0].tolist() == list(range(80)) and distances.unique().tolist() == [1.0]


# -- a run's folder ---------------------------------------------------------------------------------------


def test_words_that_a_context_starts_from_are_at_distance_zero(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("TRAINER.COOP.CTX_INIT", "a photo of a", "MODEL.BACKBONE.PATH", str(DEMO))
    folder = saved(build("CoOp", *FP32, *start), tmp_path / "untrained")
    assert interpret_prompt.main([str(folder), "1"]) == 0
    assert capsys.readouterr().out == "1  a 0.0000\n2  photo 0.0000\n3  of 0.0000\n4  a 0.0000\n"
    found = list(neighbours(context_in(folder), 2))
    assert [near.distance for near in found if near.rank == 1] == [0.0] * 4
    assert all(near.distance > 0.01 for near in found if near.rank == 2)


def test_a_trained_context_as_brute_force_finds_it(build: Build, tmp_path: Path, tiny_clip: CLIP) -> None:
    trainer = build("CoOp", *FP32, "TRAINER.COOP.N_CTX", "3", "TEST.NO_TEST", "True")
    trainer.train()
    found = list(neighbours(context_in(Path(trainer.output_dir)), 4))
    ctx = trainer.model.prompt_learner.ctx.detach()
    expected = brute_force(ctx, tiny_clip.token_embedding.weight, 4)
    flat = [(m + 1, n + 1, *pair) for m, row in enumerate(expected) for n, pair in enumerate(row)]
    assert [(near.position, near.rank, near.token) for near in found] == [row[:3] for row in flat]
    assert [near.distance for near in found] == pytest.approx([row[3] for row in flat], rel=1e-5)
    for near in found:
        assert near.word == clip.tokenizer.default_tokenizer().word(near.token)


def class_specific(model: CLIP) -> Tensor:
    """[3, 2, D], each token very near to a word of its own."""
    ctx = torch.stack([rows_of(model, words) for words in ("cat dog", "red blue", "car tree")])
    return ctx + 1e-4


CSC_WORDS = {
    ("Annual Crop Land", ""): ["cat", "dog"],
    ("Forest", ""): ["red", "blue"],
    ("Highway or Road", ""): ["car", "tree"],
}


def test_class_specific_contexts_go_by_their_classes(
    build: Build, tmp_path: Path, tiny_clip: CLIP, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = build("CoOp", *FP32, "TRAINER.COOP.CSC", "True", "TRAINER.COOP.N_CTX", "2")
    trainer.model.prompt_learner.ctx.data.copy_(class_specific(tiny_clip))
    trainer.prepare()  # from here on a checkpoint names the classes
    folder = saved(trainer, tmp_path / "csc")
    [path] = folder.glob("*/model.pth.tar-1")
    for where in (folder, path):
        context = context_in(where)
        assert list(context.classes) == NAMES
        assert words_by(list(neighbours(context, 2))) == CSC_WORDS
    assert interpret_prompt.main([str(folder), "--topk", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first, second = ["1  cat 0.0008", "2  dog 0.0008"], ["1  red 0.0008", "2  blue 0.0008"]
    assert lines[:8] == [NAMES[0], *first, "", NAMES[1], *second, ""]


class Dual:
    """A DPC run whose P and P' are words."""

    P, PARALLEL = "cat dog red blue", "car tree bird fish"

    def __init__(self, build: Build, folder: Path, model: CLIP, *options: str, method: str = "CoOp") -> None:
        self.tuned, self.parallel = rows_of(model, self.P), rows_of(model, self.PARALLEL)
        self.words = model.token_embedding.weight
        self.folder = folder / "dpc"
        four = (*FP32, "TRAINER.COOP.N_CTX", "4")
        backbone = build(method, *four)
        backbone.model.prompt_learner.ctx.data.copy_(self.tuned)
        saved(backbone, folder / "backbone")
        dpc = ("TRAINER.DPC.BACKBONE_DIR", str(folder / "backbone"), "TRAINER.DPC.WEIGHT_NEW", "0.3")
        trainer = build(f"{method}_DPC", *four, *dpc, *options)
        with torch.no_grad():
            trainer.model.prompt_learner.ctx = self.parallel  # stored as the leaf that stands for it
        saved(trainer, self.folder)

    def found(self, *words: str) -> list[Neighbour]:
        return list(neighbours(context_in(self.folder, *words), 3))

    def assert_columns(self, found: list[Neighbour], expected: dict[str, Tensor]) -> None:
        assert list(dict.fromkeys(near.prompt for near in found)) == list(expected)
        for title, ctx in expected.items():
            column = [near for near in found if near.prompt == title]
            reference = [pair for row in brute_force(ctx, self.words, 3) for pair in row]
            assert [near.token for near in column] == [token for token, _ in reference], title
            distances = [near.distance for near in column]
            assert distances == pytest.approx([d for _, d in reference], abs=2e-6, rel=1e-4), title

    def mix(self, w: float) -> Tensor:
        return w * self.parallel + (1 - w) * self.tuned


@pytest.mark.parametrize("reading", ["paper", "direct", "released"])
def test_dpc_stands_in_columns(build: Build, tmp_path: Path, tiny_clip: CLIP, reading: str) -> None:
    dual = Dual(build, tmp_path, tiny_clip, "TRAINER.DPC.VARIANT", reading)
    found = dual.found()
    mixes = reading != "released"
    base = "base (w_b 0.2)" if mixes else "base (P' alone)"
    columns = {"P": dual.tuned, "P'": dual.parallel, base: dual.mix(0.2 if mixes else 1.0)}
    columns["new (w_n 0.3)"] = dual.mix(0.3)
    dual.assert_columns(found, columns)
    nearest_words = words_by(found)
    assert nearest_words["", "P"] == dual.P.split() and nearest_words["", "P'"] == dual.PARALLEL.split()


def test_dpc_s_weights_can_be_other_ones(build: Build, tmp_path: Path, tiny_clip: CLIP) -> None:
    dual = Dual(build, tmp_path, tiny_clip, "TRAINER.DPC.VARIANT", "paper")
    columns = {"P": dual.tuned, "P'": dual.parallel}
    changed = dual.found("--set", "TRAINER.DPC.WEIGHT_BASE", "0.7", "TRAINER.DPC.WEIGHT_NEW", "0.1")
    dual.assert_columns(changed, {**columns, "base (w_b 0.7)": dual.mix(0.7), "new (w_n 0.1)": dual.mix(0.1)})
    coupled = dual.found("--set", "TRAINER.DPC.DECOUPLING", "False")
    dual.assert_columns(coupled, {**columns, "base (w_b 0.2)": dual.mix(0.2), "new (w_b 0.2)": dual.mix(0.2)})
    tuned = dual.found("--set", "TRAINER.DPC.WEIGHT_BASE", "0")
    dual.assert_columns(tuned, {**columns, "base (P alone)": dual.tuned, "new (w_n 0.3)": dual.mix(0.3)})


def test_dpc_as_it_is_printed(
    build: Build, tmp_path: Path, tiny_clip: CLIP, capsys: pytest.CaptureFixture[str]
) -> None:
    dual = Dual(build, tmp_path, tiny_clip, "TRAINER.DPC.VARIANT", "direct")
    assert interpret_prompt.main([str(dual.folder), "--topk", "2"]) == 0
    title, first, second, third, *_ = capsys.readouterr().out.splitlines()
    starts = [title.index(name) for name in ("P ", "P'", "base (w_b 0.2)", "new (w_n 0.3)")]
    assert [first[start:].split()[0] for start in starts[:2]] == ["cat", "car"]
    assert [third[start:].split()[0] for start in starts[:2]] == ["dog", "tree"]
    assert (first[0], second[0], third[0]) == ("1", " ", "2")
    assert all(line[start - 2 : start] == "  " for line in (first, second) for start in starts)


def test_deep_prompts_are_left_out_and_said(build: Build, tmp_path: Path) -> None:
    for method, node in (("MaPLe", "MAPLE"), ("PromptSRC", "PROMPTSRC")):
        folder = saved(build(method, f"TRAINER.{node}.PREC", "fp32"), tmp_path / method)
        context = context_in(folder)
        assert list(context.prompts) == [""] and "1 deeper text prompts are left out" in context.notes[0]
        found = words_by(list(neighbours(context, 1)))["", ""]
        assert found == START[: len(found)]
        [path] = folder.glob("*/model.pth.tar-1")
        assert context_in(path).notes == context.notes


def test_what_cocoop_adds_is_said(build: Build, tmp_path: Path) -> None:
    options = ("TRAINER.COCOOP.PREC", "fp32", "TRAINER.COCOOP.CTX_INIT", "a photo of a")
    folder = saved(build("CoCoOp", *options), tmp_path / "cocoop")
    [path] = folder.glob("*/model.pth.tar-1")
    for where in (folder, path):
        assert "meta_net" in " ".join(context_in(where).notes)
        assert words_by(list(neighbours(context_in(where), 1)))["", ""] == START


def test_a_method_without_text_context_is_refused(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(build("VPT", "TRAINER.VPT.PREC", "fp32"), tmp_path / "vpt")
    [path] = folder.glob("*/model.pth.tar-1")
    for where in (folder, path):
        assert interpret_prompt.main([str(where)]) == 1
        assert "no text context" in (complaint := capsys.readouterr().err)
        assert "image tower, without words" in complaint


@pytest.fixture(scope="module")
def other_clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another CLIP of the same sizes, whose words are other vectors."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("other") / "clip.pt"
    torch.save(openai_state_dict(CLIP.create(TINY)), path)
    return path


def test_a_student_s_words_are_those_of_its_teacher_s_clip(
    build: Build, tmp_path: Path, other_clip_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_teacher = ("MODEL.BACKBONE.PATH", str(other_clip_file), "TRAINER.PROMPTSRC.PREC", "fp32")
    teacher = saved(build("PromptSRC", *on_teacher), tmp_path / "teacher")
    options = ("TRAINER.PROMPTKD.TEACHER_DIR", str(teacher), "TRAINER.PROMPTKD.PREC", "fp32")
    options += ("TRAINER.PROMPTKD.TEACHER_PATH", str(other_clip_file))
    student = saved(build("PromptKD", *options), tmp_path / "student")
    context = context_in(student)
    found = list(neighbours(context, 1))
    assert [(near.word, near.distance) for near in found] == [(word, 0.0) for word in START]
    assert "teacher's CLIP" in context.notes[0]

    [path] = student.glob("*/model.pth.tar-1")
    assert interpret_prompt.main([str(path)]) == 1
    assert f"interpret_prompt.py {student} shows it" in capsys.readouterr().err

    dpc = saved(build("PromptKD_DPC", *options, "TRAINER.DPC.BACKBONE_DIR", str(student)), tmp_path / "dpc")
    found = list(neighbours(context_in(dpc), 1))
    assert {near.word for near in found if near.position == 2} == {"photo"}
    assert {near.prompt: near.distance for near in found}.keys() >= {"P", "P'", "new (w_n 0)"}
    assert all(near.distance == 0 for near in found)


# -- a checkpoint file ------------------------------------------------------------------------------------


def as_upstream(path: Path, ctx: Tensor, key: str = "ctx", **more: Tensor) -> Path:
    state = {key: ctx, "token_prefix": torch.zeros(3, 1, 64), "token_suffix": torch.zeros(3, 72, 64), **more}
    torch.save({"state_dict": state, "epoch": 50, "optimizer": None, "scheduler": None}, path)
    return path


def test_a_file_of_another_repository(
    tmp_path: Path, tiny_clip: CLIP, tiny_clip_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = rows_of(tiny_clip, "cat dog").half()
    for key in ("ctx", "prompt_learner.ctx"):
        path = as_upstream(tmp_path / "model.pth.tar-50", ctx, key)
        assert interpret_prompt.main([str(path), "2", "--clip", str(tiny_clip_file)]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("1  cat 0.0000  ") and second.startswith("2  dog 0.0000  ")
        assert len(first.split()) == 5
    path = as_upstream(tmp_path / "csc", class_specific(tiny_clip))
    found = words_by(list(neighbours(context_in(path, "--clip", str(tiny_clip_file)), 1)))
    assert list(found) == [("class 0", ""), ("class 1", ""), ("class 2", "")]
    assert list(found.values()) == list(CSC_WORDS.values())


def test_whose_words_a_file_is_read_beside(
    build: Build, tmp_path: Path, tiny_clip: CLIP, tiny_clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def embedding(name: str) -> Tensor:
        asked.append(name)
        return tiny_clip.token_embedding.weight

    monkeypatch.setattr(clip, "load_token_embedding", embedding)
    theirs = as_upstream(tmp_path / "model.pth.tar-50", rows_of(tiny_clip, "cat"))
    [ours] = saved(build("CoOp", *FP32), tmp_path / "run").glob("*/model.pth.tar-1")
    for path, words in (
        (theirs, []), (theirs, ["--backbone", "RN50"]), (theirs, ["--clip", "my.pt"]),
        (ours, []), (ours, ["--backbone", "RN50"]),
    ):  # fmt: skip
        context_in(path, *words)
    assert asked == ["ViT-B/16", "RN50", "my.pt", str(tiny_clip_file), "RN50"]


def test_files_that_cannot_be_read_so(
    build: Build, tmp_path: Path, tiny_clip: CLIP, tiny_clip_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dual = Dual(build, tmp_path, tiny_clip)
    wide = as_upstream(tmp_path / "wide", torch.zeros(4, 768))
    foreign = as_upstream(tmp_path / "foreign", torch.zeros(4, 64), "context")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "weights")
    (tmp_path / "text").write_text("no checkpoint")
    for path, complaint in (
        (
            dual.folder / "prompt_learner/model.pth.tar-1",
            f"interpret_prompt.py {dual.folder} shows all of them",
        ),
        (wide, r"768 wide, the words of CLIP .*tiny.pt 64: .*--backbone or --clip"),
        (foreign, "none of the keys ctx, prompt_learner.ctx"),
        (tmp_path / "weights", "holds no state_dict"),
        (tmp_path / "text", "damaged or not a checkpoint"),
    ):
        assert interpret_prompt.main([str(path), "--clip", str(tiny_clip_file)]) == 1
        assert re.search(complaint, capsys.readouterr().err), complaint


# -- the command line -------------------------------------------------------------------------------------


def test_arguments_that_do_not_go_together(
    build: Build, tmp_path: Path, tiny_clip: CLIP, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(saved(build("CoOp", *FP32), tmp_path / "run"))
    path = str(as_upstream(tmp_path / "model.pth.tar-50", rows_of(tiny_clip, "cat")))
    (tmp_path / "empty").mkdir()
    for words, complaint in (
        ([folder, "0"], "TOPK is 0; it must be from 1 to 49408"),
        ([folder, "--topk", "-2"], "TOPK is -2"),
        ([folder, "--backbone", "RN50"], "--set MODEL.BACKBONE.PATH FILE"),
        ([folder, "--load-epoch", "9"], "model.pth.tar-9"),
        ([path, "--set", "OPTIM.LR", "1"], "--set and --load-epoch are for a run's folder"),
        ([path, "--clip", "a", "--backbone", "b"], "give one of them"),
        ([path, "--backbone", "ViT-Z"], "ViT-B/16"),
        ([str(tmp_path / "nowhere")], "neither a checkpoint file nor a run's folder"),
        ([str(tmp_path / "empty")], "is not the output folder of a finished run"),
    ):
        assert interpret_prompt.main(words) == 1
        assert complaint in (said := capsys.readouterr().err) and "--model-dir" not in said
    with pytest.raises(SystemExit):
        interpret_prompt.main([folder, "3", "--topk", "3"])


def test_the_table_holds_what_is_printed(
    build: Build, tmp_path: Path, tiny_clip: CLIP, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Dual(build, tmp_path, tiny_clip).folder
    assert interpret_prompt.main([str(folder), "2", "--csv", str(tmp_path / "words.csv")]) == 0
    printed = capsys.readouterr().out
    with (tmp_path / "words.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 4 * 2
    expected = list(neighbours(context_in(folder), 2))
    assert [[*row.values()] for row in rows] == [[str(value) for value in near] for near in expected]
    for row in rows:
        assert f"{row['word']} {float(row['distance']):.4f}" in printed
