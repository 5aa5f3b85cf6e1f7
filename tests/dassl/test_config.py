import pytest
from yacs.config import CfgNode as CN

from dassl.config import (
    Options,
    changed_settings,
    clean_cfg,
    config_hash,
    get_cfg_default,
    relevant,
    relevant_settings,
)


def test_defaults_are_dassls():
    cfg = get_cfg_default()
    assert (cfg.OPTIM.LR, cfg.OPTIM.WEIGHT_DECAY, cfg.OPTIM.NAME) == (0.0003, 5e-4, "adam")
    assert cfg.INPUT.SIZE == (224, 224) and cfg.INPUT.RRCROP_SCALE == (0.08, 1.0)
    assert cfg.DATALOADER.TRAIN_X.DROP_LAST and cfg.DATASET.SUBSAMPLE_CLASSES == "all"


def test_what_only_other_projects_need(tmp_path):
    cfg, own = get_cfg_default(), get_cfg_default(for_others=False)
    assert set(own.TRAINER) == {"NAME"} and own.DATALOADER.NUM_WORKERS == -1
    assert cfg.DATALOADER.NUM_WORKERS == 4  # which loaders of their own take
    file = tmp_path / "fixmatch.yaml"
    file.write_text(
        'TRAINER:\n  FIXMATCH:\n    STRONG_TRANSFORMS: ["randaugment_fixmatch"]\n    WEIGHT_U: 2\n'
    )
    cfg.merge_from_file(str(file))
    assert cfg.TRAINER.FIXMATCH.STRONG_TRANSFORMS == ("randaugment_fixmatch",)
    assert cfg.TRAINER.FIXMATCH.WEIGHT_U == 2.0 and cfg.TRAINER.MEANTEACHER.RAMPUP == 5
    assert get_cfg_default().TRAINER.FIXMATCH.WEIGHT_U == 1.0
    own.merge_from_list(["TRAINER.NAME", "FixMatch"])
    with pytest.raises(ValueError, match=r"TRAINER\.FIXMATCH"):
        own.merge_from_file(str(file))


def test_settings_of_dassl_that_do_little_here():
    cfg = get_cfg_default()
    names = {
        "DATASET": "NUM_LABELED VAL_PERCENT STL10_FOLD CIFAR_C_TYPE CIFAR_C_LEVEL ALL_AS_UNLABELED",
        "INPUT": "NO_TRANSFORM RANDAUGMENT_N RANDAUGMENT_M",
        "TRAIN": "COUNT_ITER",
    }
    assert all(name in cfg[group] for group, words in names.items() for name in words.split())
    assert (cfg.MODEL.BACKBONE.PRETRAINED, cfg.MODEL.HEAD.HIDDEN_LAYERS, cfg.VERSION) == (True, (), 1)


def test_trees_are_independent():
    first, second = get_cfg_default(), get_cfg_default()
    first.OPTIM.LR = 1.0
    assert second.OPTIM.LR == 0.0003


def test_options_added_as_coop_does(tmp_path):
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CN()
    cfg.TRAINER.COOP.N_CTX = 16
    cfg.TRAINER.COOP.CTX_INIT = ""
    file = tmp_path / "coop.yaml"
    file.write_text('INPUT:\n  SIZE: (32, 32)\n  TRANSFORMS: ["normalize"]\nOPTIM:\n  LR: 2e-3\n')
    cfg.merge_from_file(str(file))
    cfg.merge_from_list(["TRAINER.COOP.N_CTX", "4", "TRAINER.COOP.CTX_INIT", "a photo of a", "OPTIM.LR", "1"])
    assert cfg.TRAINER.COOP.N_CTX == 4 and cfg.TRAINER.COOP.CTX_INIT == "a photo of a"
    assert cfg.INPUT.SIZE == (32, 32) and cfg.INPUT.TRANSFORMS == ("normalize",)
    assert cfg.OPTIM.LR == 1.0 and isinstance(cfg.OPTIM.LR, float)
    cfg.freeze()
    with pytest.raises(AttributeError):
        cfg.OPTIM.LR = 2.0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("OPTIM.LRR", "1", "OPTIM.LRR.*OPTIM.LR"),
        ("OPTM.LR", "1", "OPTM.*OPTIM"),
        ("OPTIM", "1", "group"),
        ("OPTIM.LR", "fast", "OPTIM.LR"),
        ("SEED", "1.5", "SEED"),
    ],
)
def test_wrong_options(key, value, message):
    with pytest.raises(ValueError, match=message):
        get_cfg_default().merge_from_list([key, value])


def test_wrong_file(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("OPTIM:\n  LEARNING_RATE: 1\n")
    with pytest.raises(ValueError, match=r"wrong\.yaml.*OPTIM.LEARNING_RATE"):
        get_cfg_default().merge_from_file(str(file))
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        get_cfg_default().merge_from_file(str(tmp_path / "absent.yaml"))
    with pytest.raises(ValueError, match="KEY VALUE"):
        get_cfg_default().merge_from_list(["SEED"])


def test_hash_names_what_is_computed():
    cfg = get_cfg_default()
    before = config_hash(cfg)
    cfg.merge_from_list(["OUTPUT_DIR", "elsewhere", "DATALOADER.NUM_WORKERS", "1"])
    assert config_hash(cfg) == before
    cfg.SEED = 5
    assert config_hash(cfg) != before


COOP = Options(of_trainer={"TRAINER.COOP.N_CTX": 16, "TRAINER.COOP.PREC": "fp16"})


def coop_cfg(*options):
    """Settings with the options of two trainers."""
    cfg = get_cfg_default(for_others=False)
    cfg.TRAINER.COOP, cfg.TRAINER.MAPLE = CN({"N_CTX": 16, "PREC": "fp16"}), CN({"DEPTH": 9})
    cfg.merge_from_list(["TRAINER.NAME", "CoOp", *options])
    return cfg


def test_a_hash_outlives_settings_that_are_new(monkeypatch):
    before = config_hash(coop_cfg(), COOP)
    later = relevant._C.clone()
    later.OPTIM.NEW, later.NEWER = 3, CN({"STILL": (1, 2)})
    monkeypatch.setattr(relevant, "_C", later)
    cfg = coop_cfg()
    cfg.OPTIM.NEW, cfg.NEWER = 3, CN({"STILL": [1, 2]})
    cfg.TRAINER.COOP.NEW, cfg.DATASET.NEW = True, ""
    options = Options({**COOP.of_trainer, "TRAINER.COOP.NEW": True}, {"DATASET.NEW": ""})
    assert config_hash(cfg, options) == before
    for node, value in ((cfg.OPTIM, 4), (cfg.TRAINER.COOP, False), (cfg.DATASET, "x")):
        default, node.NEW = node.NEW, value
        assert config_hash(cfg, options) != before
        node.NEW = default
    assert config_hash(cfg, options) == before


def test_a_hash_is_of_what_differs_from_the_defaults(monkeypatch):
    before = config_hash(coop_cfg(), COOP)
    assert config_hash(coop_cfg("TRAINER.MAPLE.DEPTH", "3"), COOP) == before
    assert config_hash(coop_cfg("TRAINER.COOP.N_CTX", "4"), COOP) != before
    assert config_hash(coop_cfg("DATASET.NAME", "EuroSAT"), COOP) != before
    assert len({config_hash(coop_cfg("OPTIM.LR", rate), COOP) for rate in ("0.002", "0.003", "3e-4")}) == 3
    assert config_hash(coop_cfg("OPTIM.LR", "3e-4"), COOP) == before
    monkeypatch.setattr(relevant, "DEFAULTS_VERSION", relevant.DEFAULTS_VERSION + 1)
    assert config_hash(coop_cfg(), COOP) != before


def test_where_a_trainer_does_not_say_what_it_reads_all_options_count():
    before = config_hash(coop_cfg())
    assert config_hash(coop_cfg("TRAINER.MAPLE.DEPTH", "3")) != before
    assert "TRAINER.MAPLE.DEPTH" in relevant_settings(coop_cfg())
    assert changed_settings(coop_cfg()).keys() == {
        "TRAINER.NAME", "TRAINER.COOP.N_CTX", "TRAINER.COOP.PREC", "TRAINER.MAPLE.DEPTH"
    }  # fmt: skip
    assert changed_settings(coop_cfg(), COOP) == {"TRAINER.NAME": '"CoOp"'}


def test_clean_cfg():
    cfg = get_cfg_default()
    cfg.TRAINER.COOP, cfg.TRAINER.COCOOP = CN(), CN()
    clean_cfg(cfg, "CoOp")
    assert set(cfg.TRAINER) == {"NAME", "COOP"}


@pytest.mark.parametrize("name", ["settings.py", "settings.json", "settings"])
def test_a_file_that_is_not_yaml_is_refused_and_not_run(tmp_path, name):
    victim = tmp_path / "victim"
    (tmp_path / name).write_text(f"open({str(victim)!r}, 'w').close()\ncfg = {{}}\n")
    with pytest.raises(ValueError, match=rf"{name}' must end in \.yaml or \.yml"):
        get_cfg_default().merge_from_file(str(tmp_path / name))
    assert not victim.exists()
