"""Where lines and dots stand."""

from __future__ import annotations

import pytest

from reporting.charts import Dot, dot_chart, line_chart
from reporting.run_folders import flat_settings, thinned


def test_lines_rise_with_their_values():
    chart = line_chart("loss", {"seed1": [(1, 4.0), (2, 1.0), (4, 2.5)], "seed2": [(4, 1.0)]})
    (x1, y1), (x2, y2), (x4, y4) = (tuple(map(float, p.split(","))) for p in chart.lines[0].points.split())
    assert x1 < x2 < x4 and y1 < y4 < y2  # pixels count downwards
    assert [text for _, text in chart.y_ticks] == ["1", "4"] and chart.y_ticks[1][0] == y1
    assert [text for _, text in chart.x_ticks] == ["0", "4"] and chart.x_ticks[1][0] == x4
    assert len(set(chart.lines[1].points.split())) == 1 and len(chart.lines[1].points.split()) == 2


def test_a_constant_is_a_line_in_the_middle_and_nothing_is_no_chart():
    chart = line_chart("lr", {"seed1": [(0.5, 0.002), (1, 0.002)]})
    assert len(chart.y_ticks) == 1 and 0 < chart.y_ticks[0][0] < chart.height
    assert line_chart("loss", {"seed1": []}) is None and dot_chart("DTD", []) is None


def test_dots_stand_at_their_row_and_accuracy():
    dots = [Dot("CoOp", "Base", 1, 81.0), Dot("CoOp", "New", 1, 60.5), Dot("MaPLe", "Base", 2, 92.0)]
    chart = dot_chart("DTD", dots)
    xs, ys, colours, texts = zip(*chart.circles, strict=True)
    assert xs[1] < xs[0] < xs[2] and max(ys[:2]) < ys[2]
    assert colours[0] == colours[2] != colours[1]
    assert texts[2] == "MaPLe, Base, seed 2: 92.00 %"
    ticks = {float(text): x for x, text in chart.ticks}
    assert min(ticks) <= 60.5 and max(ticks) >= 92
    inside = (81 - 60) / (100 - 60) if max(ticks) == 100 else None
    width = ticks[max(ticks)] - ticks[min(ticks)]
    assert inside is not None and xs[0] - ticks[min(ticks)] == pytest.approx(inside * width, abs=0.2)


def test_thinning_keeps_the_ends_and_leaves_out_what_is_no_number():
    points = {i / 10: float(i) for i in range(1001)} | {0.05: float("nan"), 7.77: float("inf")}
    thin = thinned(points, most=50)
    assert len(thin) == 50 and thin[0] == (0.0, 0.0) and thin[-1] == (100.0, 1000.0)
    assert thin == sorted(thin) and all(y == pytest.approx(10 * x) for x, y in thin)
    assert thinned({1.0: 2.0, 0.5: 3.0}) == [(0.5, 3.0), (1.0, 2.0)]


def test_settings_are_named_by_what_stands_above_them():
    lines = ["A:", "  B:", "    C: 1", "  D: ", "  E: a: b", "F: ()", "odd line", "G: "]
    assert dict(flat_settings(lines)) == {"A.B.C": "1", "A.D": "", "A.E": "a: b", "F": "()", "G": ""}
