"""Whether gains hold over data sets, against scipy and with cases that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap

import parse_test_res
from reporting.significance import bootstrap, sign_test, significance_table
from tests.reporting.tree import write_base_new


def write(root: Path, dataset: str, gains: tuple[float, ...], cfg: str = "demo-released") -> None:
    for seed, gain in enumerate(gains, 1):
        write_base_new(root, "CoOp", seed, (80.0 + seed, 60.0), dataset=dataset)
        write_base_new(root, "CoOp_DPC", seed, (80.0 + seed + gain, 60.0), dataset=dataset, cfg=cfg)


def test_gains_are_paired_by_seed_and_averaged_by_data_set(tmp_path: Path) -> None:
    write(tmp_path, "DTD", (1.0, 3.0))
    write(tmp_path, "EuroSAT", (-4.0, -4.0))
    write(tmp_path, "UCF101", (5.0,))
    (line,) = significance_table(tmp_path).rows
    method, base, signs, p, new, new_signs, new_p = line[:7]
    assert method == "CoOp + DPC (released)" and line[-2:] == [3, 5]
    assert base.mean == pytest.approx((2 - 4 + 5) / 3) and base.low < base.mean < base.high
    assert (signs, p) == ("2/0/1", f"{binomtest(2, 3).pvalue:.3f}")
    assert (new.mean, new_signs, new_p) == (0.0, "0/3/0", "-")


def test_an_unpaired_seed_and_another_plug_in_are_no_pairs(tmp_path: Path) -> None:
    write(tmp_path, "DTD", (1.0, 1.0))
    write_base_new(tmp_path, "CoOp_DPC", 7, (99.0, 60.0), dataset="DTD", cfg="demo-released")
    write_base_new(tmp_path, "CoOp_DPC", 1, (71.0, 50.0), dataset="DTD", cfg="demo-two_step")
    found = {row[0]: row for row in significance_table(tmp_path).rows}
    assert list(found) == ["CoOp + DPC (released)", "CoOp + two-step tuning"]
    assert found["CoOp + DPC (released)"][1].mean == pytest.approx(1.0)
    assert found["CoOp + two-step tuning"][1].mean == pytest.approx(-10.0)


def test_what_is_changed_has_its_own_line(tmp_path: Path) -> None:
    write(tmp_path, "DTD", (1.0,))
    write_base_new(tmp_path, "CoOp_DPC", 1, (91.0, 60.0), dataset="DTD", cfg="demo+TOPK=4-released")
    names = [row[0] for row in significance_table(tmp_path).rows]
    assert names == ["CoOp + DPC (released)", "CoOp + DPC (released) (TOPK=4)"]


def test_the_bootstrap_of_one_value_a_group_is_scipys() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, 25)
    ours = bootstrap([[value] for value in values])
    theirs = scipy_bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean()) and ours.n == 25
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.1), pytest.approx(theirs.high, abs=0.1))


def test_groups_count_alike_whatever_their_number_of_seeds() -> None:
    found = bootstrap([[0.0] * 9, [6.0]])
    assert found.mean == 3.0 and (found.low, found.high) == (0.0, 6.0)
    one = bootstrap([[1.0, 3.0]])
    assert (one.mean, one.low, one.high) == (2.0, 1.0, 3.0)
    assert bootstrap([[5.0]])[1:3] == (None, None)
    assert bootstrap([[1.0, 2.0], [3.0]]) == bootstrap([[1.0, 2.0], [3.0]])


def test_signs() -> None:
    assert sign_test([1.0, 2.0, 0.0, -1.0]) == ("2/1/1", 1.0)
    assert sign_test([1.0] * 6) == ("6/0/0", pytest.approx(2 * 0.5**6))
    assert sign_test([0.0]) == ("0/1/0", None)


def test_nothing_to_compare_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_base_new(tmp_path, "CoOp", 1, (80, 60))
    assert parse_test_res.main([str(tmp_path), "--significance"]) == 2
    assert "has a seed in common with its prompt learner" in capsys.readouterr().err
