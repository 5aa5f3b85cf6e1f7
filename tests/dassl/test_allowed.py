"""What settings may be: every one of ours has a rule, and what breaks it is said in a line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import train
from dassl.config import check_settings
from dassl.config.allowed import ALLOWED
from dassl.config.node import flatten
from dassl.config.yaml_file import MOST, read_settings

DEFAULTS = dict(flatten(train.default_cfg()))
ROOT = Path(__file__).resolve().parents[2]
NEVER = [math.nan, -math.inf, None, {}, b"x", "a\nb", "\ud800", [[]], "((((" * 300]


def checked(*pairs: Any) -> None:
    cfg = train.default_cfg()
    cfg.merge_from_list(pairs)
    check_settings(cfg)


def test_every_setting_has_a_rule_that_its_default_keeps() -> None:
    without = [
        key for key, default in DEFAULTS.items() if key not in ALLOWED and not isinstance(default, bool)
    ]
    assert not without
    assert not set(ALLOWED) - set(DEFAULTS), "a rule of no setting"
    check_settings(train.default_cfg())


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_what_no_setting_may_be_is_refused_in_a_line(key: str) -> None:
    allows_none = DEFAULTS[key] is None
    for value in NEVER:
        if value is None and allows_none:
            continue
        if isinstance(value, str) and len(value) > 999 and isinstance(DEFAULTS[key], str):
            continue  # strange words, but words
        with pytest.raises(ValueError) as caught:
            checked(key, value)
        message = str(caught.value)
        assert key in message and "\n" not in message.replace(repr(value), "") and len(message) < 500


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("OPTIM.LR", 0, "OPTIM.LR is 0.0; it must be a number above 0 (command line)"),
        ("OPTIM.LR", "1e400", "OPTIM.LR is inf"),
        ("OPTIM.LR", "True", "OPTIM.LR is True; it must be a number above 0"),
        ("OPTIM.MOMENTUM", 1, "OPTIM.MOMENTUM is 1.0; it must be a number from 0 on, below 1"),
        ("OPTIM.MAX_EPOCH", 0, "OPTIM.MAX_EPOCH is 0; it must be a whole number from 1 on"),
        ("OPTIM.MAX_EPOCH", 1.5, "OPTIM.MAX_EPOCH is 1.5; it must be a whole number"),
        ("OPTIM.STEPSIZE", "()", "OPTIM.STEPSIZE is (); it must be a tuple, 1 or more of them"),
        ("INPUT.SIZE", "(32,)", "INPUT.SIZE is (32,); it must be two whole numbers of pixels"),
        ("INPUT.SIZE", "(32.0, 32)", "INPUT.SIZE is (32.0, 32)"),
        ("INPUT.SIZE", 32, "INPUT.SIZE is 32; it must be two whole numbers"),
        ("INPUT.INTERPOLATION", "bicubik", "Did you mean 'bicubic'?"),
        ("INPUT.TRANSFORMS", "('normalise',)", "Did you mean 'normalize'?"),
        ("INPUT.TRANSFORMS", "normalize", "INPUT.TRANSFORMS is 'normalize'; it must be a tuple"),
        ("INPUT.PIXEL_STD", "[0.2, 0, 0.2]", "INPUT.PIXEL_STD is [0.2, 0, 0.2]"),
        ("INPUT.RRCROP_SCALE", "(1.0, 0.5)", "the smaller first"),
        ("INPUT.GB_K", 20, "INPUT.GB_K is 20; it must be odd"),
        ("OPTIM.NAME", "adamm", "Did you mean 'adam'"),
        ("OPTIM.LR_SCHEDULER", "cosin", "Did you mean 'cosine'?"),
        ("DATALOADER.TRAIN_X.SAMPLER", "RandomSampling", "Did you mean 'RandomSampler'"),
        ("DATALOADER.TEST.SAMPLER", "RandomClassSampler", "DATALOADER.TEST.SAMPLER is 'RandomClassSampler'"),
        ("SEED", 2**64, f"SEED is {2**64}; it must be a whole number from -1 to {2**64 - 1}"),
        ("SEED", -7, "SEED is -7"),
        ("MODEL.INIT_WEIGHTS", "/", "MODEL.INIT_WEIGHTS is '/'; it must be the path of an existing file"),
        ("OUTPUT_DIR", __file__, "it must be a folder that is there or can be made"),
        ("OUTPUT_DIR", "x" * 300, "it must be a folder that is there or can be made"),
        ("OUTPUT_DIR", "", "OUTPUT_DIR is ''"),
        ("TRAINER.DPC.BACKBONE_EPOCH", "last", "TRAINER.DPC.BACKBONE_EPOCH is 'last'"),
        ("TRAINER.MMRL.REP_LAYERS", "[]", "TRAINER.MMRL.REP_LAYERS is []"),
        ("TRAINER.IVLP.PREC", "fp8", "TRAINER.IVLP.PREC is 'fp8'"),
        ("--seed", "1", "--seed stands behind KEY VALUE words"),
    ],
)
def test_messages(key: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        checked(key, value)
    assert said in str(caught.value)


def test_what_fits_together() -> None:
    with pytest.raises(ValueError, match=r"OPTIM.SGD_NESTEROV is True with OPTIM.MOMENTUM 0.0"):
        checked("OPTIM.NAME", "sgd", "OPTIM.SGD_NESTEROV", True, "OPTIM.MOMENTUM", 0)
    with pytest.raises(ValueError, match=r"OPTIM.STEPSIZE is \(3, 2\); multi_step needs .* ascending"):
        checked("OPTIM.LR_SCHEDULER", "multi_step", "OPTIM.STEPSIZE", (3, 2))
    checked("OPTIM.LR_SCHEDULER", "multi_step", "OPTIM.STEPSIZE", (2, 3))


def test_a_word_among_numbers_and_back() -> None:
    key = "TRAINER.DPC.WEIGHT_BASE"
    for value in ("auto", "None", 0, 0.2, 1):
        checked(key, value)
        checked(key, "auto", key, value, key, "auto")
    for value in ("autos", -0.1, 1.1, math.nan, True):
        with pytest.raises(ValueError, match=r"WEIGHT_BASE is .*; it must be w_b in"):
            checked(key, "auto", key, value)


def test_the_file_and_the_flag_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("OPTIM: {LR: .nan}")
    with pytest.raises(ValueError, match=r"OPTIM.LR is nan; .* \(config file '.*mine.yaml'\)"):
        train.setup_cfg(train.parse_arguments(["--config-file", str(file)]))
    with pytest.raises(ValueError, match=r"SEED is -9; .* \(--seed\)"):
        train.setup_cfg(train.parse_arguments(["--seed", "-9"]))
    words = ["--config-file", str(file), "OPTIM.LR", "0.1"]
    assert train.setup_cfg(train.parse_arguments(words)).OPTIM.LR == 0.1, "the last word counts"


BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"OPTIM: {LR: 0.1", "is not valid YAML: "),
        (b"OPTIM:\n\tLR: 1", r"is not valid YAML: .* \(line 2, column 1\)"),
        (b"- OPTIM", r"it holds \['OPTIM'\]"),
        (b"5", "it holds 5"),
        (b"words", "it holds 'words'"),
        (b"1: 2", "the key 1 in it is no text"),
        (b"OPTIM: {null: 2}", "the key None in OPTIM is no text"),
        (b"OPTIM: {LR: 2020-01-01}", "OPTIM.LR is a date"),
        (b"OPTIM: {LR: 2020-99-99}", "is not valid YAML"),
        (b"OPTIM: !!python/object/apply:os.system ['true']", "is not valid YAML: could not determine"),
        (b"OPTIM: !!bool maybe", "is not valid YAML"),
        (b"OPTIM: {LR: 1, LR: 2}", r"LR is there twice \(line 1"),
        (b"? [a, b]\n: 1", "is not valid YAML"),
        (b"OPTIM: &a {X: *a}", "deeper than"),
        (BOMB.encode(), f"more than {MOST:,} values"),
        (b"a: " + b"[" * 3000, "is not valid YAML"),
        ("OPTIM: {}".encode("utf-16"), "is not text in UTF-8"),
        (b"a: \x00", "is not valid YAML"),
        (b"a: 1\n---\nb: 2", "is not valid YAML: but found another document"),
        (b"#" * 2_000_000, "has 2,000,000 bytes"),
    ],
)
def test_yaml_of_every_kind(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_settings(str(file))
    assert str(file) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_file_of_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.yml").write_text("# nothing\n")
    assert read_settings(str(tmp_path / "x.yml")) == {}
    assert "is empty" in caplog.text
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_settings(str(tmp_path))
    with pytest.raises(ValueError, match=r"must end in .yaml or .yml"):
        read_settings(__file__)


def test_all_files_of_ours_are_read() -> None:
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(files) > 60
    for file in files:
        read_settings(str(file))
