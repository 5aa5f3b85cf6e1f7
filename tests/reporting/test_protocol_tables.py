"""The tables of the cross-dataset and few-shot protocols, DPC's variants, and the paper's figures."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path

import pytest

from parse_test_res import main
from reporting.names import BENCHMARK, SHIFTED_IMAGENETS
from reporting.paper import read_table

TARGETS = BENCHMARK[1:]


def write_run(root: Path, place: str, trainer: str, seed: int, accuracy: float | None, **other) -> None:
    """A run as the scripts leave it, ``place`` such as xd/test/dtd; without an accuracy it is unfinished."""
    record = {"dataset": place.split("/")[-1], "shots": 16, "cfg": "demo", "subset": "all"} | other
    folder = root / place / f"shots_{record['shots']}" / trainer / record.pop("cfg") / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "log.txt").touch()
    if accuracy is None:
        return
    record |= {"method": trainer, "seed": seed, "split": "test", "time": "2026-01-01T00:00:00"}
    record |= {"subsample_classes": record.pop("subset"), "metrics": {"accuracy": accuracy}}
    (folder / "results.jsonl").write_text(json.dumps(record) + "\n")


def output_of(capsys, *argv) -> str:
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out


def records_of(text: str) -> dict[str, dict[str, str]]:
    """The lines of a CSV by their method."""
    return {record["method"]: record for record in csv.DictReader(io.StringIO(text))}


def cells_of(text: str) -> list[list[str]]:
    """Header and lines of a Markdown table."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line[:1] == "|" and "---" not in line]
    return [[cell.strip() for cell in line] for line in lines]


def write_table2(root: Path, trainer: str, *, add: float = 0.0, cfg: str = "demo") -> dict[str, float]:
    """A complete cross-dataset tree of three seeds, ``add`` better on the source than seed + the rank."""
    means = {}
    for rank, name in enumerate((*BENCHMARK, *SHIFTED_IMAGENETS)):
        part = "train" if name == "ImageNet" else "test"
        for seed in (1, 2, 3):
            accuracy = 60.0 + rank + seed / 10 + (add if part == "train" else 0.0)
            write_run(root, f"xd/{part}/{name.lower()}", trainer, seed, accuracy, dataset=name, cfg=cfg)
        means[name] = 60.2 + rank + (add if part == "train" else 0.0)
    return means


def test_source_targets_and_both_averages(tmp_path, capsys):
    means = write_table2(tmp_path, "CoOp")
    write_table2(tmp_path, "CoOp_DPC", add=1.0)
    write_table2(tmp_path, "CoOp_DPC", add=2.0, cfg="demo-released")
    records = records_of(output_of(capsys, tmp_path, "--xd", "--format", "csv"))
    assert list(records) == ["CoOp", "CoOp + DPC (paper)", "CoOp + DPC (released)"]
    cross_dataset = statistics.fmean(means[name] for name in TARGETS)
    cross_domain = statistics.fmean(means[name] for name in SHIFTED_IMAGENETS)
    for add, record in enumerate(records.values()):
        assert float(record["source_accuracy"]) == pytest.approx(means["ImageNet"] + add)
        assert float(record["cross_dataset_average"]) == pytest.approx(cross_dataset)
        assert float(record["cross_domain_average"]) == pytest.approx(cross_domain)
        assert float(record["cross_domain_average_std"]) == pytest.approx(0.1)
        assert float(record["DTD"]) == pytest.approx(means["DTD"])
        assert record["missing"] == ""
    markdown = output_of(capsys, tmp_path, "--xd")
    header = cells_of(markdown)[0]
    assert header[:2] == ["Method", "ImageNet (source)"] and "cross-dataset average (10)" in header
    assert "Incomplete" not in markdown and "no runs" not in markdown


def test_papers_figures_and_differences(tmp_path, capsys):
    means = write_table2(tmp_path, "CoOp_DPC")
    write_run(tmp_path, "xd/train/imagenet", "VPT", 1, 70.0, dataset="ImageNet")  # not in the paper
    records = records_of(output_of(capsys, tmp_path, "--xd", "--paper", "--format", "csv"))
    ours = records["CoOp + DPC (paper)"]
    assert (ours["source_accuracy_paper"], ours["cross_domain_average_paper"]) == ("71.8", "60.31")
    assert float(ours["source_accuracy_difference"]) == pytest.approx(means["ImageNet"] - 71.8)
    average = statistics.fmean(means[name] for name in TARGETS)
    assert float(ours["cross_dataset_average_difference"]) == pytest.approx(average - 64.98)
    assert records["VPT"]["source_accuracy_paper"] == ""


@pytest.mark.parametrize(("student", "stands"), [("DTD", True), ("ImageNet", False), (None, False)])
@pytest.mark.parametrize(
    ("trainer", "shots", "printed"), [("PromptKD", 0, 72.42), ("PromptKD_DPC", 16, 74.43)]
)
def test_promptkds_figures_stand_beside_students_of_the_targets_alone(
    tmp_path, capsys, trainer, shots, printed, student, stands
):
    """The paper's saw each target's unlabelled images; a student of the source's is another protocol."""
    for part, name, tuned_on in (("train", "ImageNet", "ImageNet"), ("test", "DTD", student)):
        place = f"xd/{part}/{name.lower()}"
        origin = {"tuned_on": tuned_on} if tuned_on else {}
        write_run(tmp_path, place, trainer, 1, 70.0, dataset=name, shots=shots, **origin)
    (record,) = records_of(output_of(capsys, tmp_path, "--xd", "--paper", "--format", "csv")).values()
    assert record["source_accuracy_paper"] == (str(printed) if stands else "")


def test_selecting_on_test_images_is_said(tmp_path, capsys):
    for name in ("dtd", "ucf101"):
        write_run(tmp_path, f"base2new/train_base/{name}", "CoOp", 1, 70.0, subset="base", selected_on="test")
        write_run(tmp_path, f"base2new/test_new/{name}", "CoOp", 1, 60.0, subset="new", selected_on="test")
        write_run(tmp_path, f"base2new/train_base/{name}", "MaPLe", 1, 70.0, subset="base", selected_on="val")
        write_run(tmp_path, f"base2new/test_new/{name}", "MaPLe", 1, 60.0, subset="new")
    rows = cells_of(output_of(capsys, tmp_path, "--base-new", "--average"))
    assert [row[1] for row in rows[1:]] == ["CoOp (selected on test images)", "MaPLe"] * 3


def test_an_average_over_other_data_sets_is_not_compared_with_the_papers(tmp_path, capsys):
    write_run(tmp_path, "xd/train/imagenet", "CoOp", 1, 70.0, dataset="ImageNet")
    write_run(tmp_path, "xd/test/dtd", "CoOp", 1, 40.0, dataset="DescribableTextures")
    text = output_of(capsys, tmp_path, "--xd", "--paper")
    assert cells_of(text)[1] == ["CoOp", "70.00", "71.25", "-1.25", "40.00", "40.00", "64.98", "-"]
    assert "Not part of the cross-dataset average, no runs: Caltech101, OxfordPets" in text


def test_missing_and_unfinished_targets_are_shown(tmp_path, capsys):
    for seed in (1, 2, 3):
        write_run(tmp_path, "xd/train/imagenet", "CoOp", seed, 70.0, dataset="ImageNet")
        write_run(tmp_path, "xd/test/dtd", "CoOp", seed, 40.0 + seed, dataset="DescribableTextures")
        if seed != 2:
            accuracy = None if seed == 3 else 50.0
            write_run(tmp_path, "xd/test/eurosat", "CoOp", seed, accuracy, dataset="EuroSAT")
    text = output_of(capsys, tmp_path, "--xd")
    assert cells_of(text)[1][2:] == [
        "42.00 ± 1.00",
        "50.00 [1/3]",
        "45.50 [1/3]",
    ]  # no seed 2 or 3 in the average
    assert "Incomplete: CoOp, seed 2: EuroSAT missing; seed 3: EuroSAT unfinished." in text


def test_each_source_has_a_table_and_zero_shot_joins_it(tmp_path, capsys):
    for source, cfg in (("ImageNet", "demo"), ("Digits", "demo-from-digits")):
        write_run(tmp_path, f"xd/train/{source.lower()}", "CoOp", 1, 70.0, dataset=source)
        write_run(tmp_path, "xd/test/letters", "CoOp", 1, 75.0, dataset="Letters", cfg=cfg)
    write_run(tmp_path, "xd/test/letters", "ZeroshotCLIP", 1, 74.0, dataset="Letters")
    write_run(tmp_path, "xd/test/digits", "ZeroshotCLIP", 1, 60.0, dataset="Digits")
    cells = cells_of(output_of(capsys, tmp_path, "--xd"))
    headers = [line[1] for line in cells if line[0] == "Method"]
    assert headers == ["ImageNet (source)", "Digits (source)"]
    assert cells[-2:] == [["Zero-shot CLIP", "60.00", "74.00", "74.00"], ["CoOp", "70.00", "75.00", "75.00"]]


def test_few_shot_table_and_curve(tmp_path, capsys):
    for shots, accuracy in ((1, 60.0), (4, 70.0), (16, 80.0)):
        for seed in (1, 2):
            write_run(
                tmp_path, "few_shot/eurosat", "CoOp", seed, accuracy + seed, dataset="EuroSAT", shots=shots
            )
            done = (shots, seed) != (16, 2)
            arguments = {"dataset": "EuroSAT", "shots": shots, "cfg": "demo-released"}
            write_run(tmp_path, "few_shot/eurosat", "CoOp_DPC", seed, accuracy if done else None, **arguments)
    for seed in (1, 2):
        write_run(tmp_path, "few_shot/eurosat", "ZeroshotCLIP", seed, 50.0, dataset="EuroSAT", shots=0)
    picture = tmp_path / "curve.png"
    text = output_of(capsys, tmp_path, "--few-shot", "--plot", picture)
    rows = cells_of(text)
    assert rows[0][2:] == ["0 shots", "1 shot", "4 shots", "16 shots"]
    assert rows[1][1:] == ["Zero-shot CLIP", "50.00 ± 0.00", "-", "-", "-"]
    assert rows[2][1:] == ["CoOp", "-", "61.50 ± 0.71", "71.50 ± 0.71", "81.50 ± 0.71"]
    assert rows[3][1] == "CoOp + DPC (released)" and rows[3][5] == "80.00 [1/2]"
    assert "Incomplete (by shots): EuroSAT, CoOp + DPC (released), seed 2: 16 unfinished." in text
    assert text.count("Incomplete") == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_few_shot_average_over_data_sets(tmp_path, capsys):
    for name, accuracy in (("EuroSAT", 60.0), ("Caltech101", 90.0)):
        write_run(tmp_path, f"few_shot/{name.lower()}", "CoOp", 1, accuracy, dataset=name, shots=4)
    text = output_of(capsys, tmp_path, "--few-shot", "--average")
    assert [cell.strip() for cell in text.splitlines()[4].split("|")[1:-1]] == [
        "average of 2",
        "CoOp",
        "75.00",
    ]


def write_pair(root: Path, trainer: str, dataset: str, base: float, new: float, cfg: str = "demo") -> None:
    for subset, part, accuracy in (("base", "train_base", base), ("new", "test_new", new)):
        place = f"base2new/{part}/{dataset.lower()}"
        write_run(root, place, trainer, 1, accuracy, dataset=dataset, subset=subset, cfg=cfg)


def test_table1_beside_the_papers(tmp_path, capsys):
    names = {"DTD": "DescribableTextures", "Flowers102": "OxfordFlowers"}
    printed = {row["dataset"]: row for row in read_table(1) if row["method"] == "MaPLe+DPC"}
    for name in BENCHMARK:
        base, new = float(printed[name]["base"]) + 0.5, float(printed[name]["new"])
        write_pair(tmp_path, "MaPLe_DPC", names.get(name, name), base, new)
    text = output_of(capsys, tmp_path, "--base-new", "--average", "--paper")
    rows = {row[0]: row[1:] for row in cells_of(text)[1:]}
    assert list(rows) == [*BENCHMARK, "average of 11"]
    assert rows["average of 11"][:7] == [
        "MaPLe + DPC (paper)",
        "86.43",
        "85.93",
        "+0.50",
        "73.31",
        "73.31",
        "-0.00",
    ]
    assert rows["DTD"][:4] == ["MaPLe + DPC (paper)", "85.98", "85.48", "+0.50"]
    assert "Table 1" in text


def test_columns_without_a_printed_figure_are_left_out_and_named(tmp_path, capsys):
    write_pair(tmp_path, "CoOp", "my_set", 80.0, 60.0)
    text = output_of(capsys, tmp_path, "--base-new", "--paper")
    assert cells_of(text)[0] == ["Data set", "Method", "Base", "New", "H", "n"]
    assert "The paper prints no figures for these rows: Base, New, H." in text
    (record,) = records_of(output_of(capsys, tmp_path, "--base-new", "--paper", "--format", "csv")).values()
    assert record["h_paper"] == ""  # a CSV's columns do not depend on its rows
    write_pair(tmp_path, "CoOp", "EuroSAT", 80.0, 60.0)
    text = output_of(capsys, tmp_path, "--base-new", "--paper")
    assert "prints no figures" not in text and cells_of(text)[1][3:5] == ["87.60", "-7.60"]


def test_variants_of_dpc_are_told_apart_and_both_compared(tmp_path, capsys):
    write_pair(tmp_path, "CoOp_DPC", "EuroSAT", 90.0, 60.0)
    write_pair(tmp_path, "CoOp_DPC", "EuroSAT", 80.0, 60.0, cfg="demo-released")
    records = records_of(output_of(capsys, tmp_path, "--base-new", "--paper", "--format", "csv"))
    assert {name: (r["base"], r["base_paper"]) for name, r in records.items()} == {
        "CoOp + DPC (paper)": ("90.0", "93.4"),
        "CoOp + DPC (released)": ("80.0", "93.4"),
    }


def test_numbers_of_shots_are_named_and_only_the_papers_compared(tmp_path, capsys):
    for shots in (4, 16):
        for seed, (subset, part) in enumerate((("base", "train_base"), ("new", "test_new"))):
            place = f"base2new/{part}/eurosat"
            write_run(tmp_path, place, "CoOp", 1, 80.0 + seed, dataset="EuroSAT", subset=subset, shots=shots)
    records = records_of(output_of(capsys, tmp_path, "--base-new", "--paper", "--format", "csv"))
    printed = {name: record["base_paper"] for name, record in records.items()}
    assert printed == {"CoOp (4 shots)": "", "CoOp (16 shots)": "87.6"}


def test_papers_tables_are_complete_and_consistent():
    rows = {(row["method"], row["dataset"]): row for row in read_table(1)}
    assert len(rows) == 8 * 12
    for (method, dataset), row in rows.items():
        base, new, h = (float(row[name]) for name in ("base", "new", "h"))
        assert h == pytest.approx(2 * base * new / (base + new), abs=0.02), (method, dataset)
    assert [len(read_table(number)) for number in (2, 3, 4, 5)] == [8, 5, 3, 6]


@pytest.mark.parametrize("option", ["--xd", "--few-shot"])
def test_a_folder_without_such_runs_is_an_error_that_names_it(tmp_path, capsys, option):
    write_pair(tmp_path, "CoOp", "EuroSAT", 80.0, 70.0)
    assert main([str(tmp_path), option]) == 2
    assert f"no results.jsonl below {tmp_path} holds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--xd", "--plot", "x.png"], ["--xd", "--average"], ["--few-shot", "--paper"], ["--paper"]],
)
def test_options_go_with_their_tables(tmp_path, capsys, words):
    with pytest.raises(SystemExit):
        main([str(tmp_path), *words])
    assert "goes with" in capsys.readouterr().err


def test_own_data_sets_keep_their_names(tmp_path: Path, capsys) -> None:
    accuracies = {"my_set": 10.0, "My Set": 20.0, "myset": 30.0, "MYSET": 40.0}
    for name, accuracy in accuracies.items():
        for part, subset in (("train_base", "base"), ("test_new", "new")):
            write_run(tmp_path, f"base2new/{part}/{name}", "CoOp", 1, accuracy, subset=subset)
    write_run(tmp_path, "base2new/test_new/my_set", "CoOp", 2, None, subset="new")
    shown = output_of(capsys, tmp_path, "--base-new")
    assert {row[0]: float(row[2]) for row in cells_of(shown)[1:]} == accuracies
    assert "my_set, CoOp, seed 2: base missing, new unfinished" in shown
