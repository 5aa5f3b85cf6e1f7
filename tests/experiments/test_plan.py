"""What a plan holds, and how what is there is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from experiments.catalogue import DataSet, Protocol, expand
from experiments.paper import FIGURES, TABLES
from experiments.plan import Plan
from experiments.protocols import Wishes, base2new, few_shot, xd
from experiments.run import Run, how_words, pairs_of
from experiments.state import Kind, write_settings
from tests.conftest import ROOT

EUROSAT = DataSet("eurosat")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # configurations are found from the root


def make(tmp_path: Path, **wishes: object) -> Plan:
    wish = Wishes(output=tmp_path, **wishes)  # type: ignore[arg-type]
    return Plan(base2new([EUROSAT], ["coop"], ["released"], [1], wish))


def leave(run: object, plan: Plan, config_hash: str = "abc") -> None:
    """What a finished run leaves."""
    folder: Path = run.folder  # type: ignore[attr-defined]
    folder.mkdir(parents=True, exist_ok=True)
    if run.trains:  # type: ignore[attr-defined]
        (folder / "prompt_learner").mkdir(exist_ok=True)
        (folder / "prompt_learner/checkpoint").write_text("model.pth.tar-20\n")
    record = {"split": "test", "config_hash": config_hash, "metrics": {"accuracy": 1.0}}
    (folder / "results.jsonl").write_text(json.dumps(record) + "\n")
    write_settings(folder, run.settings())  # type: ignore[attr-defined]


def kinds(plan: Plan) -> Counter[Kind]:
    return Counter(state.kind for state in plan.states.values())


def test_a_plan_has_what_is_needed_first(tmp_path: Path) -> None:
    plan = make(tmp_path)
    assert [run.trainer for run in plan.runs.values()] == [
        "ZeroshotCLIP", "ZeroshotCLIP", "CoOp", "CoOp", "CoOp_DPC", "CoOp_DPC"
    ]  # fmt: skip
    seen: set[Path] = set()
    for run in plan.runs.values():
        assert all(need.folder in seen for need in run.needs)
        seen.add(run.folder)
    assert kinds(plan) == {Kind.TO_RUN: 6}


def test_the_papers_tables(tmp_path: Path) -> None:
    plan = Plan(TABLES[1].runs([], [1, 2, 3], Wishes(output=tmp_path)))
    trainers = Counter(run.trainer for run in plan.runs.values())
    both = 2 * 11 * 3  # training and test, or base and new
    assert trainers == {
        **dict.fromkeys(("ZeroshotCLIP", "CoOp", "MaPLe", "PromptKD"), both),
        **{f"{name}_DPC": both for name in ("CoOp", "MaPLe", "PromptSRC", "PromptKD")},
        "PromptSRC": both + 11 * 3,  # the teachers, too
    }
    # students see each target's images, and DPC's tests those of the source's student
    plan = Plan(TABLES[2].runs([], [1], Wishes(output=tmp_path)))
    students = [run for run in plan.runs.values() if run.trainer == "PromptKD" and run.trains]
    assert len(students) == 14 + 1 and all(run.needs[-1].trainer == "PromptSRC" for run in students)
    assert all("TRAINER.MODAL" in run.options for run in students)


def test_the_papers_figure_5(tmp_path: Path) -> None:
    plan = Plan(FIGURES[5].runs([], [1], Wishes(output=tmp_path)))
    trainers = Counter(run.trainer for run in plan.runs.values())
    names = ("CoOp", "MaPLe", "PromptSRC")
    expected = {f"{name}{plugin}" for name in names for plugin in ("", "_DePT", "_DPC")}
    assert trainers == {**dict.fromkeys(expected, 2 * 11), "ZeroshotCLIP": 2 * 11}
    # each plug-in stands on the same learner, and none on the other
    assert {run.needs[0].trainer for run in plan.runs.values() if run.trainer.endswith("_DPC")} == set(names)


def test_the_papers_figure_1(tmp_path: Path) -> None:
    """Table 1's learners, and DePT on those that it goes on."""
    plan = Plan(FIGURES[1].runs([], [1], Wishes(output=tmp_path)))
    table = Plan(TABLES[1].runs([], [1], Wishes(output=tmp_path)))
    more = {run.trainer for folder, run in plan.runs.items() if folder not in table.runs}
    assert set(table.runs) < set(plan.runs) and more == {"CoOp_DePT", "MaPLe_DePT", "PromptSRC_DePT"}


def test_figure_6_shows_the_trainings_of_dpc(tmp_path: Path) -> None:
    plan = Plan(FIGURES[6].runs([EUROSAT, DataSet("dtd")], [1, 2], Wishes(output=tmp_path)))
    script, *words = FIGURES[6].command(plan, tmp_path, "data")
    folders = [Path(word) for word in words[: words.index("--root")]]
    assert script == "sweep_weights.py" and words[-3:] == ["data", "--plot", str(tmp_path / "figure6.png")]
    assert len(folders) == 4 and all(plan.runs[folder].trainer == "CoOp_DPC" for folder in folders)
    assert all(plan.runs[folder].trains for folder in folders)


def test_the_control_is_the_learner_tuned_on(tmp_path: Path) -> None:
    readings = ("released", "two_step")
    plan = Plan(base2new([EUROSAT], ["coop", "promptkd"], readings, [1], Wishes(output=tmp_path)))
    control = [run for folder, run in plan.runs.items() if folder.parent.name.endswith("-two_step")]
    assert [run.trainer for run in control] == ["CoOp_DPC"] * 2 + ["PromptKD_DPC"] * 2
    for run in control:
        words = run.key_values()
        said = dict(zip(words[::2], words[1::2], strict=True))
        assert said["TRAINER.DPC.VARIANT"] == "direct"
        parts = ("HARD_NEGATIVES", "WEIGHTING", "DECOUPLING")
        assert [said[f"TRAINER.DPC.{part}"] for part in parts] == ["False"] * 3
        twin = plan.runs[
            run.folder.parent.parent / run.folder.parent.name.replace("two_step", "released") / "seed1"
        ]
        assert twin.cfg == run.cfg and twin.needs[0].folder == run.needs[0].folder


def test_what_is_varied_stands_in_the_folder(tmp_path: Path) -> None:
    wishes = Wishes(output=tmp_path, varied=("OPTIM.MAX_EPOCH", "5"), dpc_options=("TRAINER.DPC.TOPK", "4"))
    plan = Plan(base2new([EUROSAT], ["coop"], ["paper"], [1], wishes))
    labels = {run.trainer: (run.folder.parent.name, run.options) for run in plan.runs.values() if run.trains}
    (learner, words), (dpc, more) = labels["CoOp"], labels["CoOp_DPC"]
    assert learner.endswith("+OPTIM.MAX_EPOCH=5") and words[:2] == ("OPTIM.MAX_EPOCH", "5")
    assert dpc == "vit_b16_ep20+OPTIM.MAX_EPOCH=5+TOPK=4"
    assert " ".join(more).count("OPTIM.MAX_EPOCH 5 TRAINER.DPC.TOPK 4") == 1
    zero = next(run for run in plan.runs.values() if run.trainer == "ZeroshotCLIP")
    assert zero.options == ()


def test_other_data_sets_in_place_of_the_papers(tmp_path: Path) -> None:
    wishes = Wishes(output=tmp_path)
    one = {run.data.name for run in TABLES[1].runs([EUROSAT], [1], wishes)}
    assert one == {EUROSAT.name}
    across = Plan(TABLES[2].runs([EUROSAT, DataSet("dtd")], [1], wishes))
    trained = {run.data.name for run in across.runs.values() if run.trains and run.trainer == "CoOp"}
    tested = {run.data.name for run in across.runs.values() if run.tests and run.trainer == "CoOp"}
    assert (trained, tested) == ({EUROSAT.name}, {"dtd"})
    demo = {run.data.name for run in TABLES[1].runs([], [1], Wishes(output=tmp_path, demo=True))}
    assert demo == {"digits", "letters"}


def test_few_shot_takes_each_number_of_images_once(tmp_path: Path) -> None:
    plan = Plan(few_shot([EUROSAT], ["coop"], [], [1], Wishes(output=tmp_path, preset="own")))
    counts = [(run.trainer, run.shots, run.cfg) for run in plan.runs.values()]
    assert counts == [
        ("ZeroshotCLIP", 0, "vit_b16"), ("CoOp", 1, "rn50_ep50"), ("CoOp", 2, "rn50_ep100"),
        ("CoOp", 4, "rn50_ep100"), ("CoOp", 8, "rn50"), ("CoOp", 16, "rn50"),
    ]  # fmt: skip


def test_what_is_done_is_told_by_settings_and_hash(tmp_path: Path) -> None:
    for run in make(tmp_path).runs.values():
        leave(run, make(tmp_path))
    assert kinds(make(tmp_path)) == {Kind.DONE: 6}
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "base2new").rename(moved / "base2new")
    assert kinds(make(moved)) == {Kind.DONE: 6}  # results may be taken elsewhere as a whole

    other = make(moved, options=("OPTIM.LR", "0.1"))
    assert kinds(other) == {Kind.OTHER: 6}
    with pytest.raises(ValueError, match=r"OPTIM\.LR was not set, now 0\.1 \(and 5 more\); set OUTPUT"):
        other.refuse_other_settings()
    quiet = make(moved, options=("TRAIN.PRINT_FREQ", "1", "DATALOADER.NUM_WORKERS", "0"))
    assert kinds(quiet) == {Kind.DONE: 6}
    assert kinds(make(moved, options=("TRAINER.DPC.TOPK", "4"))) == {Kind.DONE: 4, Kind.OTHER: 2}


def test_a_result_of_another_hand_in_the_same_folder_is_another(tmp_path: Path) -> None:
    plan = make(tmp_path)
    for run in plan.runs.values():
        leave(run, plan)
    training = next(run for run in plan.runs.values() if run.trainer == "CoOp" and run.trains)
    with (training.folder / "results.jsonl").open("a") as file:
        file.write(json.dumps({"split": "test", "config_hash": "of another command"}) + "\n")
    state = make(tmp_path).states[training.folder]
    assert state.kind is Kind.OTHER and "made by another command since" in state.why
    # a line that was cut off says nothing
    (training.folder / "results.jsonl").write_text(
        json.dumps({"split": "test", "config_hash": "abc"}) + '\n{"split": "test", "config'
    )
    assert make(tmp_path).states[training.folder].kind is Kind.DONE


def test_what_builds_on_a_new_training_is_out_of_date(tmp_path: Path) -> None:
    plan = make(tmp_path)
    for run in plan.runs.values():
        leave(run, plan)
    training = next(run for run in plan.runs.values() if run.trainer == "CoOp" and run.trains)
    (training.folder / "resume.pth.tar").touch()
    now = make(tmp_path).states
    assert {f"{run.trainer}{run.trains}": now[folder].kind for folder, run in plan.runs.items()} == {
        "ZeroshotCLIPFalse": Kind.DONE,
        "CoOpTrue": Kind.UNFINISHED,
        **dict.fromkeys(("CoOpFalse", "CoOp_DPCFalse"), Kind.OUTDATED),
        "CoOp_DPCTrue": Kind.OTHER,  # is not trained over
    }
    with pytest.raises(
        ValueError, match="it builds on an earlier CoOp than the one that is to run; set OUTPUT"
    ):
        make(tmp_path).refuse_other_settings()
    (training.folder / "resume.pth.tar").unlink()
    later = (training.folder / "results.jsonl").stat().st_mtime + 10
    os.utime(training.folder / "results.jsonl", (later, later))
    test = next(run for run in plan.runs.values() if run.trainer == "CoOp" and not run.trains)
    assert make(tmp_path).states[test.folder].kind is Kind.OUTDATED


def test_only_takes_what_matches_and_its_needs(tmp_path: Path) -> None:
    plan = make(tmp_path).only("test_new*CoOp_DPC")
    assert [(run.trainer, run.trains) for run in plan.runs.values()] == [
        ("CoOp", True), ("CoOp_DPC", True), ("CoOp_DPC", False)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="--only 'nothing' matches none of the 6 runs"):
        make(tmp_path).only("nothing")


def test_the_tree_is_below_what_it_builds_on(tmp_path: Path) -> None:
    lines = make(tmp_path).tree()
    dpc = next(line for line in lines if "CoOp_DPC" in line and "train_base" in line)
    assert dpc.startswith("  to run ") and lines[-1] == "6 runs: 6 to run"
    assert len(lines) == 7


def test_settings_of_dpc_alone_are_in_its_folders_name(tmp_path: Path) -> None:
    plan = make(tmp_path, dpc_options=("TRAINER.DPC.TOPK", "4"))
    for run in plan.runs.values():
        assert ("TRAINER.DPC.TOPK" in run.options) == run.trainer.endswith("_DPC")
        label = run.folder.parent.name
        assert (label == "vit_b16_ep20+TOPK=4-released") == run.trainer.endswith("_DPC")


def test_an_own_set_is_nobodys_row_whatever_its_name(tmp_path: Path) -> None:
    protocol = Protocol("base2new", "own")
    assert protocol.settings("promptkd", DataSet("dtd"), 0, "any") == ("TRAINER.PROMPTKD.KD_WEIGHT", "200.0")
    own = DataSet("dtd", "/images/dtd")
    assert protocol.settings("promptkd", own, 0, "any") == ("TRAINER.PROMPTKD.KD_WEIGHT", "1000.0")


def options_of(runs: Iterable[Run], trainer: str) -> list[tuple[str, str, dict[str, str]]]:
    return [(run.data.name, run.classes, pairs_of(run.options)) for run in runs if run.trainer == trainer]


def test_what_a_data_set_has_of_its_own_holds_for_dpc_where_the_line_says_so(tmp_path: Path) -> None:
    wishes, eurosat = Wishes(output=tmp_path, preset="own"), {
        "TRAINER.TASK": "B2N", "TRAINER.MMRL.REG_WEIGHT": "0.01", "TRAINER.MMRL.REP_DIM": "2048",
    }  # fmt: skip
    runs = list(base2new([EUROSAT], ["mmrl"], ["released"], [1], wishes))
    for trainer in ("MMRL", "MMRL_DPC"):
        told = options_of(runs, trainer)
        assert [classes for _, classes, _ in told] == ["base", "new"]
        assert all(eurosat.items() <= options.items() for _, _, options in told)
    runs = list(base2new([DataSet("sun397")], ["tcp"], ["released"], [1], wishes))
    assert all(options == {"OPTIM.MAX_EPOCH": "25"} for _, _, options in options_of(runs, "TCP"))
    assert all("OPTIM.MAX_EPOCH" not in options for _, _, options in options_of(runs, "TCP_DPC"))


def test_a_test_on_another_data_set_has_that_ones_settings(tmp_path: Path) -> None:
    wishes, targets = Wishes(output=tmp_path, preset="own"), [DataSet("dtd"), EUROSAT]
    runs = list(xd(DataSet("imagenet"), targets, ["mmrlpp"], ["released"], [1], wishes))
    for trainer in ("MMRLpp", "MMRLpp_DPC"):
        told = {name: options for name, _, options in options_of(runs, trainer)}
        betas = {name: options["TRAINER.MMRLpp.BETA"] for name, options in told.items()}
        assert betas == {"imagenet": "0.9", "dtd": "0.5", "eurosat": "0.3"}
        assert {options["TRAINER.TASK"] for options in told.values()} == {"CD"}
    runs = list(xd(DataSet("imagenet"), targets, ["tcp"], [], [1], wishes))
    words = {name: options.get("TRAINER.TCP.TEMPLATE") for name, _, options in options_of(runs, "TCP")}
    assert words == {"imagenet": None, "dtd": "{} texture.", "eurosat": None}


def test_groups_of_data_sets(tmp_path: Path) -> None:
    assert len(expand(["all11"], tmp_path)) == 11 and len(expand(["targets", "shifted"], tmp_path)) == 14
    own = tmp_path / "dtd"
    own.mkdir()
    with pytest.raises(ValueError, match="two data sets are called dtd"):
        expand(["all11", "./dtd"], tmp_path)
    assert expand(["dtd", "all11", "dtd"], tmp_path)[0] == DataSet("dtd")
    assert len(expand(["dtd", "all11", "dtd"], tmp_path)) == 11
    plan = Plan(xd(DataSet("imagenet"), [EUROSAT], ["coop"], [], [1], Wishes(output=tmp_path)))
    assert [run.place.split("/")[1] for run in plan.runs.values()] == ["train", "test"]


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ("OPTIM.LR 0.1 INPUT.SIZE (64, 64)", {"OPTIM.LR": "0.1", "INPUT.SIZE": "(64, 64)"}),
        ("TRAINER.COOP.CTX_INIT a photo of a SEED 3", {"TRAINER.COOP.CTX_INIT": "a photo of a", "SEED": "3"}),
        ("DATASET.DIR /My Images/a.b", {"DATASET.DIR": "/My Images/a.b"}),
        ("TRAINER.MMRLpp.BETA 0.9 TASK FS", {"TRAINER.MMRLpp.BETA": "0.9", "TASK": "FS"}),
        (
            "DATASET.TEMPLATE a photo of a {}. TRAINER.TCP.TEMPLATE {}, a type of pet.",
            {"DATASET.TEMPLATE": "a photo of a {}.", "TRAINER.TCP.TEMPLATE": "{}, a type of pet."},
        ),
    ],
)
def test_a_value_may_hold_blanks(words: str, pairs: dict[str, str]) -> None:
    assert pairs_of(tuple(words.split())) == pairs


def test_which_checkpoint_is_tested(tmp_path: Path) -> None:
    training, test = tmp_path / "training", tmp_path / "test"
    (training / "prompt_learner").mkdir(parents=True)
    (training / "prompt_learner/checkpoint").write_text("model.pth.tar-7\n")
    load = ["--eval-only", "--model-dir", str(training)]
    assert how_words(False, test, training, None) == [*load, "--load-epoch", "7"]
    (training / "prompt_learner/model-best.pth.tar").touch()
    assert how_words(False, test, training, None) == load
    assert how_words(False, test, training, 3) == [*load, "--load-epoch", "3"]
    assert how_words(True, training, None, None) == []
    (training / "resume.pth.tar").touch()
    assert how_words(True, training, None, None) == ["--resume", str(training)]


def test_a_plan_does_not_wait_for_torch() -> None:
    code = (
        "import sys, experiments.command, experiments.scripts, experiments.one; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
