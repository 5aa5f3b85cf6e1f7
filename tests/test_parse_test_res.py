"""parse_test_res.py: logs of the original repositories and ours, and the base/new table."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from parse_test_res import main
from reporting.base_new import harmonic_mean
from reporting.logs import parse_log

RESULT = "=> result\n* total: 1,000\n* correct: 810\n* accuracy: {}%\n* error: 19.0%\n* macro_f1: 80.5%\n"


def write_log(folder: Path, accuracy: str, trained: bool = True) -> None:
    folder.mkdir(parents=True)
    text = "epoch [1/1] * accuracy: 1.0%\n" + RESULT.format("2.0")
    if trained:
        text += (
            "Finish training\nDeploy the last-epoch model\n" + RESULT.format(accuracy) + "Elapsed: 0:00:09\n"
        )
    (folder / "log.txt").write_text(text)


def write_result(root: Path, subset: str, seed: int, accuracy: float, **other) -> Path:
    """A results.jsonl as train.py leaves it behind a training (base) or a test (new)."""
    record = {
        "method": "CoOp",
        "dataset": "Digits",
        "split": "test",
        "subsample_classes": subset,
        "shots": 16,
    }
    record |= {
        "seed": seed,
        "epoch": 5,
        "metrics": {"accuracy": accuracy},
        "time": "2026-01-01T00:00:00",
    } | other
    part = "train_base" if subset == "base" else "test_new"
    cfg = record.pop("cfg", "demo")
    folder = root / part / record["dataset"].lower() / "shots_16" / record["method"] / cfg / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    (folder / "log.txt").touch()
    return folder


def output_of(capsys, *argv) -> str:
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells of a Markdown table by its method column."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    return {line[1]: line for line in lines[2:]}


@pytest.mark.parametrize("number", ["81.0", "81.04"])
@pytest.mark.parametrize("prefix", ["", "[06:11:02] INFO engine: "])
def test_last_result_behind_the_training_counts(number, prefix):
    text = RESULT.format("2.0") + "Finish training\n" + RESULT.format("3.0") + RESULT.format(number)
    text = "".join(prefix + line + "\n" for line in text.splitlines())
    assert parse_log(text) == float(number)
    assert parse_log(text, keyword="macro_f1") == 80.5


def test_a_test_log_needs_its_option():
    assert parse_log(RESULT.format("81.0")) is None
    assert parse_log(RESULT.format("81.0"), test_log=True) == 81.0
    assert parse_log("* accuracy: 81.0%\n", test_log=True) is None  # no result block


def test_mean_and_spread_over_seeds(tmp_path, capsys):
    for seed, accuracy in ((1, "80.0"), (2, "82.5"), (10, "84.0")):
        write_log(tmp_path / f"seed{seed}", accuracy)
    values = [80.0, 82.5, 84.0]
    text = output_of(capsys, tmp_path)
    assert text.index("seed2/") < text.index("seed10/")
    spread = f"+- {statistics.pstdev(values):.2f}% (population standard deviation, n = 3)"
    assert f"* accuracy: {statistics.fmean(values):.2f}% {spread}" in text
    interval = 1.96 * statistics.pstdev(values) / 3**0.5
    said = f"+- {interval:.2f}% (95% interval, 1.96 population standard deviation / sqrt(n), n = 3)"
    assert said in output_of(capsys, tmp_path, "--ci95")


def test_an_unfinished_training_is_named_and_left_out(tmp_path, capsys):
    write_log(tmp_path / "seed1", "80.0")
    write_log(tmp_path / "seed2", "", trained=False)
    text = output_of(capsys, tmp_path)
    assert (
        "seed2/log.txt. No result" in text
        and "80.00% +- 0.00% (population standard deviation, n = 1)" in text
    )


def test_several_folders_of_runs(tmp_path, capsys):
    write_log(tmp_path / "eurosat" / "seed1", "80.0")
    write_log(tmp_path / "dtd" / "seed1", "60.0")
    text = output_of(capsys, tmp_path, "--multi-exp")
    assert text.endswith("Average performance over 2 folders\n* accuracy: 70.00%\n")


def test_h_is_taken_per_seed_and_nothing_is_rounded_before_the_mean(tmp_path, capsys):
    base, new = [90.004, 80.004, 70.0], [50.0, 60.0, 77.7]
    for seed, (b, n) in enumerate(zip(base, new, strict=True), 1):
        write_result(tmp_path, "base", seed, b)
        write_result(tmp_path, "new", seed, n)
    h = [2 / (1 / b + 1 / n) for b, n in zip(base, new, strict=True)]
    expected = [
        f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}" for values in (base, new, h)
    ]
    assert rows_of(output_of(capsys, tmp_path, "--base-new"))["CoOp"] == ["Digits", "CoOp", *expected, "3"]
    csv = output_of(capsys, tmp_path, "--base-new", "--format", "csv").splitlines()[1].split(",")
    assert float(csv[3]) == pytest.approx(statistics.fmean(base), abs=1e-12)
    assert float(csv[7]) == pytest.approx(statistics.fmean(h), abs=1e-12)


def test_harmonic_mean_of_nothing_is_nothing():
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(80.0, 80.0) == pytest.approx(80.0)


def test_missing_and_unfinished_runs_are_shown_and_left_out(tmp_path, capsys):
    for seed in (1, 2, 3):
        write_result(tmp_path, "base", seed, 80.0)
        if seed != 2:
            write_result(tmp_path, "new", seed, 60.0 + seed)
        write_result(tmp_path, "base", seed, 50.0, method="ZeroshotCLIP")
        write_result(tmp_path, "new", seed, 50.0, method="ZeroshotCLIP")
    killed = write_result(tmp_path, "base", 3, 90.0, method="CoOp_DPC")
    (killed / "results.jsonl").unlink()
    text = output_of(capsys, tmp_path, "--base-new")
    rows = rows_of(text)
    assert list(rows) == ["Zero-shot CLIP", "CoOp", "CoOp + DPC (paper)"]
    assert rows["CoOp"][2:] == ["80.00 ± 0.00", "62.00 ± 1.41", "69.85 ± 0.90", "2"]
    assert rows["CoOp + DPC (paper)"][2:] == ["-", "-", "-", "0"]
    assert "Digits, CoOp, seed 2: new missing." in text
    assert "seed 3: base unfinished, new missing." in text
    assert "Zero-shot CLIP, seed" not in text


def test_the_newest_of_several_results_counts(tmp_path, capsys):
    write_result(tmp_path, "new", 1, 60.0)
    write_result(tmp_path, "base", 1, 90.0, time="2026-01-03T00:00:00")
    write_result(tmp_path, "base", 1, 80.0, time="2026-01-02T00:00:00")
    assert rows_of(output_of(capsys, tmp_path, "--base-new"))["CoOp"][2] == "90.00"


def test_two_configurations_are_never_averaged(tmp_path, capsys):
    for cfg, accuracy in (("demo", 80.0), ("demo_released", 70.0)):
        for subset in ("base", "new"):
            write_result(tmp_path, subset, 1, accuracy, cfg=cfg)
    rows = rows_of(output_of(capsys, tmp_path, "--base-new"))
    assert {name: row[2] for name, row in rows.items()} == {
        "CoOp (demo)": "80.00",
        "CoOp (demo_released)": "70.00",
    }


def test_the_average_takes_h_behind_the_mean_over_data_sets(tmp_path, capsys):
    numbers = {"Digits": (90.0, 50.0), "EuroSAT": (70.0, 80.0)}
    for dataset, pair in numbers.items():
        for seed in (1, 2):
            for subset, accuracy in zip(("base", "new"), pair, strict=True):
                if (dataset, seed, subset) != ("EuroSAT", 2, "new"):
                    write_result(tmp_path, subset, seed, accuracy, dataset=dataset)
    text = output_of(capsys, tmp_path, "--base-new", "--average")
    assert rows_of(text)["CoOp"] == ["average of 2", "CoOp", "80.00", "65.00", "71.72", "1"]
    assert "average of 2, CoOp, seed 2: new unfinished." in text


def test_a_single_data_set_has_no_average(tmp_path, capsys):
    write_methods(tmp_path, {"CoOp": 80.0})
    plain = output_of(capsys, tmp_path, "--base-new")
    assert output_of(capsys, tmp_path, "--base-new", "--average") == plain


def test_a_cut_off_last_line_is_no_result_and_a_broken_one_is_an_error(tmp_path, capsys):
    folder = write_result(tmp_path, "base", 1, 80.0)
    write_result(tmp_path, "new", 1, 60.0)
    file = folder / "results.jsonl"
    good = file.read_text()
    file.write_text(good + '{"method": "Co')
    assert rows_of(output_of(capsys, tmp_path, "--base-new"))["CoOp"][2] == "80.00"
    file.write_text('{"method": "Co\n' + good)
    assert main([str(tmp_path), "--base-new"]) == 2
    assert "results.jsonl, line 1: not JSON" in capsys.readouterr().err
    file.write_text('{"method": "CoOp", "metrics": {}}\n')
    assert main([str(tmp_path), "--base-new"]) == 2
    assert "line 1: dataset, split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1, 2]", "not a record"),
        ('{"metrics": 3}', "metrics.accuracy is missing"),
        ('{"metrics": {"accuracy": "90"}}', "metrics.accuracy is '90', not a number"),
        ('{"metrics": {"accuracy": NaN}}', "metrics.accuracy is nan, not a number"),
    ],
)
def test_a_line_that_is_no_result_is_an_error_that_names_it(tmp_path, capsys, line, said):
    folder = write_result(tmp_path, "base", 1, 80.0)
    file = folder / "results.jsonl"
    record = json.loads(file.read_text())
    other = json.loads(line)
    file.write_text(json.dumps(other if isinstance(other, list) else record | other) + "\n")
    assert main([str(tmp_path), "--base-new"]) == 2
    assert f"{file}, line 1: {said}" in capsys.readouterr().err


def test_latex_escapes_names_and_keeps_the_notes_as_comments(tmp_path, capsys):
    for subset in ("base", "new"):
        for seed in (1, 2):
            write_result(tmp_path, subset, seed, 80.0 + seed, method="CoOp_DPC")
        write_result(tmp_path, subset, 1, 80.0, method="CoOp_DPC", cfg="demo_a")
    text = output_of(capsys, tmp_path, "--base-new", "--format", "latex")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    best, second = r"\textbf{81.50} $\pm$ 0.71", r"\underline{80.00}"
    first = rf"\multirow{{2}}{{*}}{{Digits}} & CoOp + DPC (paper) (demo) & {best} & {best} & {best} & 2 \\"
    assert first in lines
    assert rf"& CoOp + DPC (paper) (demo\_a) & {second} & {second} & {second} & 1 \\" in lines
    assert lines[0] == r"% needs \usepackage{booktabs,multirow}" and lines[1].startswith("% Accuracy in %")
    bare = output_of(capsys, tmp_path, "--base-new", "--format", "latex", "--no-mark")
    assert "textbf" not in bare and "underline" not in bare


def test_latex_takes_every_sign_of_a_name_as_text(tmp_path, capsys):
    for subset in ("base", "new"):
        write_result(tmp_path, subset, 1, 80.0, dataset=r"50% \\_{a}~^$&#")
    text = output_of(capsys, tmp_path, "--base-new", "--format", "latex")
    back = r"\textbackslash{}"
    assert rf"50\% {back}{back}\_\{{a\}}\textasciitilde{{}}\textasciicircum{{}}\$\&\# & CoOp " in text


def test_a_bar_in_a_name_makes_no_column(tmp_path, capsys):
    for subset in ("base", "new"):
        write_result(tmp_path, subset, 1, 80.0, dataset="a|b\nc")
    assert r"| a\|b c " in output_of(capsys, tmp_path, "--base-new")


def write_methods(root: Path, accuracies: dict[str, float]) -> None:
    for method, accuracy in accuracies.items():
        for subset in ("base", "new"):
            write_result(root, subset, 1, accuracy, method=method)


def test_the_best_of_a_data_set_is_marked_on_request(tmp_path, capsys):
    write_methods(tmp_path, {"CoOp": 80.004, "MaPLe": 80.0, "VPT": 79.0, "CoCoOp": 78.0})
    write_result(tmp_path, "base", 1, 99.0, dataset="EuroSAT")
    write_result(tmp_path, "new", 1, 10.0, dataset="EuroSAT")
    assert "*" not in output_of(capsys, tmp_path, "--base-new")
    for words, best, second in (
        (("--mark",), "**80.00**", "79.00"),
        (("--mark", "--format", "plain"), "*80.00", "79.00"),
        (("--format", "latex"), r"\textbf{80.00}", r"\underline{79.00}"),
    ):
        text = output_of(capsys, tmp_path, "--base-new", *words)
        lines = [line for line in text.splitlines() if "80.00" in line]
        assert len(lines) == 2 and all(line.count(best) == 3 for line in lines), text
        (line,) = (line for line in text.splitlines() if "79.00" in line)
        assert line.count(second) == 3
        marked = line.replace(second, "")
        assert "*" not in marked and "bf" not in marked
        (alone,) = (line for line in text.splitlines() if "99.00" in line)  # the best of one is nothing
        assert "bf{99" not in alone and "*99" not in alone
    assert "80.004" in output_of(capsys, tmp_path, "--base-new", "--format", "csv")


def test_plain_text_is_aligned(tmp_path, capsys):
    write_methods(tmp_path, {"CoOp": 80.0, "PromptSRC": 9.5})
    lines = output_of(capsys, tmp_path, "--base-new", "--format", "plain").splitlines()
    assert lines[0].split() == ["Data", "set", "Method", "Base", "New", "H", "n"]
    assert set(lines[1]) == {"-", " "} and "|" not in "".join(lines)
    assert lines[2].index("80.00") + 5 == lines[3].index("9.50") + 4  # the points stand below each other


def test_plot_writes_a_picture(tmp_path, capsys):
    for subset in ("base", "new"):
        write_result(tmp_path, subset, 1, 80.0)
    picture = tmp_path / "plots" / "base_new.png"
    output_of(capsys, tmp_path, "--base-new", "--plot", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [[], ["--base-new"], ["--multi-exp"], ["--test-log"]])
def test_a_wrong_or_empty_folder_is_an_error_that_names_it(tmp_path, capsys, options):
    for folder in (tmp_path / "absent", tmp_path):
        assert main([str(folder), *options]) == 2
        assert str(folder) in capsys.readouterr().err


def test_options_of_the_two_ways_do_not_mix(tmp_path, capsys):
    for words in (
        ["--plot", "x.png"],
        ["--format", "csv"],
        ["--average"],
        ["--base-new", "--ci95"],
        ["--mark"],
        ["--difference"],
    ):
        with pytest.raises(SystemExit):
            main([str(tmp_path), *words])
