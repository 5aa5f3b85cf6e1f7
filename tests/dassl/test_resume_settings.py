"""Under which settings a run may go on."""

from __future__ import annotations

from typing import Any

import pytest
from yacs.config import CfgNode as CN

from dassl.config import Options, changed_settings, get_cfg_default, relevant_settings
from dassl.engine.resume import check_settings

COOP = Options(of_trainer={"TRAINER.COOP.N_CTX": 16, "TRAINER.COOP.PREC": "fp16"})
UNTOLD = Options()


def settings(**options: Any) -> Any:
    """Settings with the options of two trainers; ``OPTIM__LR=0.1`` changes one."""
    cfg = get_cfg_default()
    cfg.TRAINER.NAME = "CoOp"
    cfg.TRAINER.COOP, cfg.TRAINER.KD = CN({"N_CTX": 16, "PREC": "fp16", "W": 8.0}), CN({"WEIGHT": 1000.0})
    for key, value in options.items():
        *parents, leaf = key.split("__")
        node = cfg
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    return cfg


def written(options: Options, early: bool = False, **changes: Any) -> dict[str, Any]:
    """What a run of `settings` left; ``early``: by a version that wrote every setting, and only these."""
    cfg = settings(**changes)
    if early:
        return {"settings": relevant_settings(cfg)}
    return {
        "settings": relevant_settings(cfg, options),
        "changed_settings": sorted(changed_settings(cfg, options)),
    }


def check(state: dict[str, Any], cfg: Any, options: Options = COOP) -> None:
    check_settings(state, cfg, options, "run/resume.pth.tar")


@pytest.mark.parametrize("early", [False, True])
def test_options_of_other_trainers_do_not_matter(early: bool) -> None:
    state = written(COOP, early)
    check(state, settings(TRAINER__KD__WEIGHT=200.0))
    check(state, settings(TRAINER__COOP__W=1.0))  # of one that shares the group
    check(state, settings(TRAINER__KD__NEW=1, TRAINER__OTHER=CN({"A": 1}), TRAINER__MODAL="cross"))
    with pytest.raises(ValueError, match=r"TRAINER\.COOP\.N_CTX was 16, now 4"):
        check(state, settings(TRAINER__COOP__N_CTX=4))
    with pytest.raises(ValueError, match=r"TRAINER\.KD\.WEIGHT was 1000\.0, now 200\.0"):
        check(written(UNTOLD), settings(TRAINER__KD__WEIGHT=200.0), UNTOLD)


@pytest.mark.parametrize("early", [False, True])
def test_what_other_trainers_no_longer_have_does_not_matter(early: bool) -> None:
    state = written(COOP, early, TRAINER__KD__OLD=3, TRAINER__OLDER=CN({"A": 1}), TRAINER__MODAL="cross")
    check(state, settings())


def test_a_setting_that_the_file_lacks_was_at_its_default() -> None:
    state = written(COOP)
    del state["settings"]["OPTIM.GAMMA"], state["settings"]["TRAINER.COOP.PREC"]
    check(state, settings())
    with pytest.raises(ValueError, match=r"OPTIM\.GAMMA was 0\.1, now 0\.5"):
        check(state, settings(OPTIM__GAMMA=0.5))
    with pytest.raises(ValueError, match=r'TRAINER\.COOP\.PREC was "fp16", now "fp32"'):
        check(state, settings(TRAINER__COOP__PREC="fp32"))
    # whose default nobody says
    check(written(UNTOLD), settings(TRAINER__KD__NEW=1), UNTOLD)


@pytest.mark.parametrize("key", ["OPTIM.GAMMA", "TRAINER.COOP.PREC"])
def test_a_setting_that_is_no_more_counts_unless_it_was_at_its_default(key: str) -> None:
    group, _, leaf = key.rpartition(".")
    cfg = settings()
    del (cfg.OPTIM if group == "OPTIM" else cfg.TRAINER.COOP)[leaf]
    options = Options({k: v for k, v in (COOP.of_trainer or {}).items() if k != key})
    check(written(COOP), cfg, options)
    changed = written(COOP, **{key.replace(".", "__"): "x"})
    early = written(COOP, early=True)
    for state, value in ((changed, '"x"'), (early, early["settings"][key])):
        with pytest.raises(ValueError, match=rf"{key} was {value}, now absent"):
            check(state, cfg, options)


def test_settings_of_place_never_count() -> None:
    state = written(COOP)
    state["settings"]["DATALOADER.NUM_WORKERS"] = "3"  # of a version that counted it
    check(state, settings(OUTPUT_DIR="elsewhere", TEST__CACHE_FEATURES=False))
