"""Plans of prompts that are tuned on one CLIP and tested on its successor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.catalogue import DataSet
from experiments.plan import Plan
from experiments.protocols import Wishes
from experiments.run import Run, pairs_of
from experiments.upgrade import Model, Pair, find_model, upgrade

A, B = Model("ViT-B/16"), Model("weights/eva02.pt", ("INPUT.PIXEL_MEAN", "[0.5, 0.5, 0.5]"))


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    return Wishes(output=tmp_path, preset="own")


def runs(
    wishes: Wishes, learners: list[str], targets: tuple[str, ...] = (), readings: tuple[str, ...] = ()
) -> dict[str, Run]:
    sets = [DataSet(name) for name in targets]
    found = upgrade(Pair(A, B, wishes), [DataSet("dtd")], sets, learners, readings, [1])
    plan = Plan(found)
    prefix = f"{wishes.output}/upgrade/ViT-B-16-to-eva02/"
    return {str(folder).removeprefix(prefix): run for folder, run in plan.runs.items()}


def model_of(run: Run) -> dict[str, str]:
    pairs = pairs_of((*run.options, *run.extra))
    return {key: value for key, value in pairs.items() if key.startswith(("MODEL", "INPUT"))}


def test_each_test_is_on_the_clip_that_its_folder_says(wishes: Wishes) -> None:
    found = runs(wishes, ["coop", "contcoop"])
    old = {"MODEL.BACKBONE.NAME": "ViT-B/16"}
    new = {"MODEL.BACKBONE.PATH": "weights/eva02.pt", "INPUT.PIXEL_MEAN": "[0.5, 0.5, 0.5]"}
    for folder, run in found.items():
        assert model_of(run) == (old if folder.startswith("A_to_A/") else new), folder
        assert run.classes == "all" and run.shots == 16
    trained = [run for run in found.values() if run.trains]
    assert [run.trainer for run in trained] == ["CoOp", "CoOp", "ContCoOp", "ContCoOp"]
    moved = [run for folder, run in found.items() if folder.startswith("A_to_B")]
    assert len(moved) == 3 and len(found) == 2 + 4 + 3
    for run in moved:
        assert run.tests is not None and model_of(run.tests) == old and run.tests.trainer == run.trainer


def test_the_control_is_of_learners_that_start_from_words(wishes: Wishes) -> None:
    found = runs(wishes, ["coop", "kgcoop", "e2mim", "contcoop", "cocoop"], readings=("released",))
    control = {
        run.trainer: pairs_of(run.options) for name, run in found.items() if name.startswith("A_to_B_words/")
    }
    assert set(control) == {"CoOp", "KgCoOp"}
    assert all(pairs["TRAINER.COOP.UPGRADED_FROM"] == "ViT-B/16" for pairs in control.values())
    others = (run for name, run in found.items() if not name.startswith("A_to_B_words/"))
    assert not any("TRAINER.COOP.UPGRADED_FROM" in run.options for run in others)
    # the learner's configuration decides: one of them starts at random
    random_start = upgrade(
        Pair(A, B, Wishes(output=wishes.output, learner_cfg="vit_b16_ep20_lr35")),
        [DataSet("dtd")],
        [],
        ["coop"],
        [],
        [1],
    )
    assert not any("A_to_B_words" in str(run.folder) for run in random_start)


def test_targets_are_tested_and_not_trained_on(wishes: Wishes) -> None:
    found = runs(wishes, ["contcoop"], targets=("imagenet_r",))
    on_target = [name for name, run in found.items() if run.data.name == "imagenet_r"]
    place = "imagenet_r/shots_16"
    label = "ContCoOp/vit_b16_ep50_ctxv1-from-dtd/seed1"
    assert sorted(on_target) == [
        f"A_to_A/{place}/{label}", f"A_to_A/{place}/ZeroshotCLIP/vit_b16/seed1", f"A_to_B/{place}/{label}",
        f"B_to_B/{place}/{label}", f"B_to_B/{place}/ZeroshotCLIP/vit_b16/seed1",
    ]  # fmt: skip
    tested_on_new = found[f"B_to_B/{place}/{label}"]
    assert tested_on_new.tests is not None and "B_to_B" in str(tested_on_new.tests.folder)
    assert not any(found[name].trains for name in on_target)


def test_dpc_is_moved_with_what_it_builds_on(wishes: Wishes) -> None:
    found = runs(wishes, ["contcoop"], readings=("released",))
    (moved,) = [
        run for name, run in found.items() if name.startswith("A_to_B/") and run.trainer == "ContCoOp_DPC"
    ]
    assert "A_to_A" in pairs_of(moved.options)["TRAINER.DPC.BACKBONE_DIR"]
    assert [need.trainer for need in moved.needs] == ["ContCoOp", "ContCoOp_DPC"]


def test_what_cannot_be(wishes: Wishes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--methods has 'maple', whose prompts are in the image tower"):
        runs(wishes, ["maple"])
    with pytest.raises(ValueError, match="--old and --new are both 'ViT-B/16'"):
        Pair(A, A, wishes)
    with pytest.raises(ValueError, match=r"no file of CLIP's weights at 'gone\.pt'"):
        find_model("gone.pt", (), tmp_path)
    assert find_model("ViT-L/14", (), tmp_path) == Model("ViT-L/14")


@pytest.mark.parametrize("options", [("MODEL.BACKBONE.PATH", "x"), ("INPUT.PIXEL_MEAN", "[0, 0, 0]")])
def test_what_differs_between_the_models_is_not_for_every_run(
    wishes: Wishes, options: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=f"--options has {options[0]}, which differs"):
        Pair(A, B, replace(wishes, options=options))


def test_widths_are_compared_before_anything_is_trained(wishes: Wishes, tmp_path: Path) -> None:
    files = {}
    for width in (64, 128):
        files[width] = tmp_path / f"{width}.pt"
        torch.save({"token_embedding.weight": torch.zeros(49408, width, dtype=torch.float16)}, files[width])
    narrow, wide = Model(str(files[64])), Model(str(files[128]))
    with pytest.raises(ValueError, match=r"--old .*64\.pt is 64 wide, that of --new .*128\.pt 128"):
        Pair(narrow, wide, wishes).check_widths()
    same = tmp_path / "same.pt"
    same.write_bytes(files[64].read_bytes())
    Pair(narrow, Model(str(same)), wishes).check_widths()
    same.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"same\.pt is no readable CLIP file|not a plain weights file"):
        Pair(narrow, Model(str(same)), wishes).check_widths()
