"""The HTML report: what it shows, what it must not do, and how it looks in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parse_test_res import main
from reporting.html import render
from tests.reporting.tree import class_lines, progress, write_base_new, write_full_run, write_logits

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WICKED = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&$x^{$"


class Page(HTMLParser):
    """Tags with their attributes, tables as texts, and the text of everything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.ranks: dict[str, str] = {}  # texts of marked cells
        self.text = ""
        self._cell: str | None = None
        self._class = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell, self._class = "", dict(attrs).get("class") or ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(" ".join(self._cell.split()))
            if self._class.startswith("rank"):
                self.ranks[self.tables[-1][-1][-1]] = self._class
            self._cell = None

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell += data

    def table(self, *header: str) -> list[list[str]]:
        (found,) = (table for table in self.tables if table[0][: len(header)] == list(header))
        return found


def page_of(root: Path) -> Page:
    return Page(render(root))


def write_all_protocols(root: Path, seeds: tuple[int, ...] = (1, 2)) -> None:
    for trainer, add in (("CoOp", 0.0), ("CoOp_DPC", 2.0)):
        for seed in seeds:
            log = "".join(progress(epoch, 20, 2.0 / epoch) for epoch in (1, 2, 3, 4))
            write_base_new(root, trainer, seed, (80.0 + add * seed, 60.0), log=log)
            for place, dataset in (("xd/train/imagenet", "ImageNet"), ("xd/test/dtd", "DTD")):
                write_full_run(root, place, trainer, seed, 50.0 + add + seed, dataset=dataset)
            for shots in (1, 4):
                place = "few_shot/eurosat"
                write_full_run(root, place, trainer, seed, 40.0 + shots + add, shots=shots)


def test_every_protocol_is_there_with_its_figures(tmp_path):
    write_all_protocols(tmp_path)
    page = page_of(tmp_path)
    base_new = page.table("Data set", "Method", "Base", "New", "H")
    assert base_new[1][:4] == ["EuroSAT", "CoOp", "80.00 ± 0.00", "60.00 ± 0.00"]
    assert base_new[2][:2] == ["CoOp + DPC (paper)", "83.00 ± 1.41"]  # below a cell that spans both
    assert base_new[2][4] == "+3.00 [-9.71, +15.71]"
    assert page.ranks["83.00 ± 1.41"] == "rank1" and page.ranks["80.00 ± 0.00"] == "rank2"
    xd = page.table("Method", "ImageNet (source)", "DTD")
    assert xd[2][:3] == ["CoOp + DPC (paper)", "53.50 ± 0.71", "53.50 ± 0.71"]
    few_shot = page.table("Data set", "Method", "1 shot", "4 shots")
    assert few_shot[1] == ["EuroSAT", "CoOp", "41.00 ± 0.00", "44.00 ± 0.00", "-", "-"]
    assert "EuroSAT, CoOp" not in page.text and "without all runs" not in page.text
    titles = {text.strip() for text in re.findall(r"<title>([^<]+)</title>", render(tmp_path))}
    assert "CoOp + DPC (paper), Base, seed 2: 84.00 %" in titles
    assert "4 images a class, CoOp, seed 1: 44.00 %" in titles
    assert "DTD, CoOp, seed 2: 52.00 %" in titles


def test_one_file_that_loads_and_runs_nothing(tmp_path, capsys):
    write_all_protocols(tmp_path / "output")
    path = tmp_path / "made" / "report.html"
    assert main([str(tmp_path / "output"), "--html", str(path)]) == 0
    assert f"report: {path}" in capsys.readouterr().out
    text = path.read_text()
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"svg", "table", "details", "polyline"} and "<svg" in text
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "img", "image", "object"}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name.split(":")[-1] not in ("href", "src") or value.startswith("#")
    assert not re.search(r"@import|url\((?!#)", text)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    again = render(tmp_path / "output")
    assert again[again.index("<main>") :] == text[text.index("<main>") :]  # nothing random in the plots


def test_what_files_say_is_text(tmp_path):
    rows = {WICKED: (10, 5)}
    log = class_lines(rows) + progress(1, 20, 1.0)
    folders = write_base_new(tmp_path, "CoOp", 1, (80.0, 60.0), log=log, words=WICKED)
    for folder in folders:
        file = folder / "results.jsonl"
        name = WICKED.replace('"', '\\"')
        file.write_text(file.read_text().replace("EuroSAT", name).replace("c0ffee", name))
        (folder / "run.json").write_text('{"<script>": {"a": "</table><script>alert(3)</script>"}}')
    text = render(tmp_path)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert WICKED in [row[0] for row in page.table("Data set", "Method", "Base")]
    classes = [table for table in page.tables if table[0][:2] == ["Class", "Images"]]
    assert [table[1][:2] for table in classes] == [[WICKED, "10"]] * 2
    assert text.count("alert(3)") and WICKED in page.text


def test_what_is_missing_and_unfinished_and_chosen_by_test_images(tmp_path):
    write_base_new(tmp_path, "CoOp", 1, (80.0, 60.0))
    write_base_new(tmp_path, "MaPLe", 1, (80.0, 60.0), selected_on="test")
    write_full_run(tmp_path, "base2new/train_base/eurosat", "CoOp", 2, None)
    page = page_of(tmp_path)
    missing = page.table("Data set or source", "Method", "Missing or unfinished")
    assert missing[1] == ["EuroSAT", "CoOp", "seed 2: base unfinished, new missing"]
    assert missing[2] == ["EuroSAT", "MaPLe (selected on test images)", "seed 2: base missing, new missing"]
    assert "5 runs, 1 of them without a result" in page.text
    marks = re.findall(r"shots_16/(\w+)/demo/seed(\d)</code>.*?</summary>", render(tmp_path))
    assert ("CoOp", "2") in marks
    summaries = re.findall(r"<summary><code>(.*?)</code>(.*?)</summary>", render(tmp_path))
    said = {path: set(re.findall(r'"mark">([^<]+)<', rest)) for path, rest in summaries}
    assert said["base2new/train_base/eurosat/shots_16/CoOp/demo/seed2"] == {"unfinished"}
    assert said["base2new/test_new/eurosat/shots_16/MaPLe/demo/seed1"] == {"selected on test images"}
    assert said["base2new/test_new/eurosat/shots_16/CoOp/demo/seed1"] == set()


def test_settings_versions_and_commits(tmp_path):
    for seed in (1, 2, 3):
        torch, commit = ("2.12.0", "bead") if seed == 3 else ("2.13.0", "c0ffee")
        rate = 0.5 if seed == 3 else 0.002
        folder = write_full_run(
            *(tmp_path, "few_shot/eurosat", "CoOp", seed, 50.0), rate=rate, torch=torch, git_commit=commit
        )
        (folder / "run.json").write_text('{"plan": {"name": "trial", "numbers": [1, 2]}, "on": true}')
    page = page_of(tmp_path)
    facts = {row[0]: row[1] for table in page.tables for row in table if len(row) == 2}
    assert facts["PyTorch"] == "2.12.0"  # the last run's own, behind the usual
    usual = {row[0]: row[1] for row in next(t for t in page.tables if ["OS", "Linux"] in t)}
    assert usual["PyTorch"] == "2.13.0 (2 runs), 1 other: 2.12.0 (1)"
    settings = {row[0]: row[1] for row in next(t for t in page.tables if t[0][0] == "DATASET.NAME")}
    assert settings["OPTIM.LR"] == "0.002 (2 runs), 1 other: 0.5 (1)"
    assert settings["DATASET.TEMPLATE"] == "" and settings["OPTIM.STEPSIZE"] == "(-1,)"
    assert ["plan.numbers", "[1, 2]"] in [row for table in page.tables for row in table]
    own = [
        table[1:] for table in page.tables if table[0] == ["Name", "Value"] and ["OPTIM.LR", "0.5"] in table
    ]
    assert own == [[["OPTIM.LR", "0.5"], ["SEED", "3"]]]
    assert "of 2 commits of the code" in page.text and "--trainer CoOp" in page.text


def test_classes_from_logs_and_from_logits(tmp_path):
    first, second = {"Forest": (10, 5), "River (wide)": (4, 4)}, {"Forest": (10, 8), "River (wide)": (4, 3)}
    place = "base2new/train_base/eurosat"
    old = class_lines({"Forest": (10, 1), "Gone": (3, 3)})  # an evaluation before the last one
    for seed, classes in ((1, first), (2, second)):
        write_full_run(tmp_path, place, "CoOp", seed, 60.0, subset="base", log=old + class_lines(classes))
    folder = write_full_run(tmp_path, place, "MaPLe", 1, 60.0, subset="base")
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 5.0]], dtype=np.float32)
    names = np.array(["Forest", "River (wide)"])
    write_logits(folder, logits=logits, label=np.array([0, 0, 1]), classnames=names, impath=names)
    assert page_of(tmp_path).table("Class", "Images") == [
        ["Class", "Images", "CoOp/demo, shots_16 (2 seeds)", "MaPLe/demo, shots_16 (1 seed)"],
        ["Forest", "10", "65.0", "50.0"],
        ["River (wide)", "4", "87.5", "100.0"],
    ]


def test_what_a_plug_in_changes_of_a_class_stands_behind_it(tmp_path):
    place = "base2new/train_base/eurosat"
    for trainer, cfg, hits in (("CoOp", "demo", 5), ("CoOp_DPC", "demo-released", 7), ("MaPLe_DPC", "x", 3)):
        log = class_lines({"Forest": (10, hits)})
        write_full_run(tmp_path, place, trainer, 1, 60.0, subset="base", cfg=cfg, log=log)
    assert page_of(tmp_path).table("Class", "Images")[1] == ["Forest", "10", "50.0", "70.0 (+20.0)", "30.0"]


def test_calibration_and_what_holds_over_data_sets_are_there(tmp_path):
    for trainer, cfg, ece in (("CoOp", "demo", 4.0), ("CoOp_DPC", "demo-released", 9.0)):
        for part, subset in (("train_base", "base"), ("test_new", "new")):
            metrics = {"accuracy": 60.0 + ece, "ece": ece}
            write_full_run(
                tmp_path, f"base2new/{part}/eurosat", trainer, 1, 0.0, subset=subset, cfg=cfg,
                metrics=metrics, reliability=[[10, 0.9, 0.6]],
            )  # fmt: skip
    page = page_of(tmp_path)
    assert page.table("Data set", "Method", "ECE base")[1][:4] == ["EuroSAT", "CoOp", "4.00", "4.00"]
    assert page.table("Method", "Δ Base")[1][:3] == ["CoOp + DPC (released)", "+5.00", "1/0/0"]
    assert "EuroSAT, new classes" in page.text  # a panel of the diagram


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("kind", ["pickle", "shapes", "labels", "no archive", "large"])
def test_logits_that_are_none_are_said_and_never_executed(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    folder = write_full_run(tmp_path / "output", "few_shot/eurosat", "CoOp", 1, 60.0)
    arrays = {"logits": np.zeros((2, 2)), "label": np.array([0, 1]), "classnames": np.array(["a", "b"])}
    if kind == "pickle":
        arrays["classnames"] = np.array([Bomb(), Bomb()], dtype=object)
    elif kind == "shapes":
        arrays["label"] = np.array([0, 1, 1])
    elif kind == "labels":
        arrays["label"] = np.array([0, 2])
    elif kind == "large":
        arrays["logits"] = np.zeros((2**13, 2**11))
    write_logits(folder, **arrays)
    if kind == "no archive":
        (folder / "logits.npz").write_bytes(b"nothing")
    page = page_of(tmp_path / "output")
    assert "not read logits.npz: " in page.text and "Accuracies of classes" not in page.text
    assert not Path("executed").exists()


def test_curves_of_trainings(tmp_path):
    for seed in (1, 2):
        log = "".join(progress(epoch, 20, "nan" if epoch == 3 else 4.0 - epoch) for epoch in (1, 2, 3, 4))
        write_full_run(tmp_path, "few_shot/eurosat", "CoOp", seed, 60.0, log=log)
    text = render(tmp_path)
    lines = re.findall(r'<polyline points="([^"]+)" stroke="(#\w+)"><title>(\w+)</title>', text)
    assert [line[2] for line in lines] == ["seed1", "seed2"] * 3  # loss, acc, lr
    assert lines[0][1] != lines[1][1]
    points = [tuple(map(float, point.split(","))) for point in lines[0][0].split()]
    assert len(points) == 3  # what is not a number is not drawn
    (x1, y1), (x2, y2), (x4, y4) = points
    assert x2 - x1 == pytest.approx((x4 - x2) / 2, abs=0.2) and y1 < y2 < y4  # the loss falls
    assert re.findall(r'class="title">(\w+)<', text) == ["loss", "acc", "lr"]
    assert "3</text>" in text and "0</text>" in text  # the loss's ends, not the batch's 9


def test_a_tree_of_hundreds_of_runs_stays_small_and_quick(tmp_path):
    log = "".join(
        progress(epoch, batch, 1 / (epoch * batch)) for epoch in range(1, 5) for batch in range(1, 21)
    )
    log += class_lines({f"class {i}": (50, i) for i in range(20)})
    for dataset in [f"set{i}" for i in range(10)]:
        for trainer in ("CoOp", "CoOp_DPC", "MaPLe", "MaPLe_DPC", "PromptSRC"):
            for seed in (1, 2, 3):
                write_base_new(tmp_path, trainer, seed, (80.0 + seed, 60.0), dataset=dataset, log=log)
    begun = time.process_time()
    text = render(tmp_path)
    assert time.process_time() - begun < 20
    assert text.count('<details class="run">') == 300 and len(text) < 3_000_000


@pytest.mark.parametrize("folder", ["absent", "."])
def test_a_folder_without_runs_is_an_error_that_names_it(tmp_path, capsys, folder):
    assert main([str(tmp_path / folder), "--html", str(tmp_path / "report.html")]) == 2
    assert str(tmp_path / folder) in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_runs_without_a_protocol_are_still_listed(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "log.txt").write_text(progress(1, 20, 1.0))
    page = page_of(tmp_path)
    assert "mine" in page.text and "1 folder has a log and no result" in page.text


def test_a_browser_shows_it(tmp_path):
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"needs a browser on PATH: {', '.join(BROWSERS)}")
    write_all_protocols(tmp_path / "output")
    assert main([str(tmp_path / "output"), "--html", str(tmp_path / "report.html")]) == 0
    picture = tmp_path / "shot.png"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1300,3200"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}"]
    page = f"file://{tmp_path / 'report.html'}"
    subprocess.run([browser, *words, page], check=True, capture_output=True, timeout=120)
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert image.size == (1300, 3200)
    for name, colour, least in (("bars", (0x2B, 0x6C, 0xB0), 5000), ("paper", (255, 255, 255), 500_000)):
        assert (pixels == colour).all(axis=1).sum() > least, name
    assert (pixels.max(axis=1) < 80).sum() > 3000  # letters
