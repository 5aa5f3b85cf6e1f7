"""Which images a run selects its final model on, where it selects one at all."""

from __future__ import annotations

import logging
from typing import Any

from dassl.config import CfgNode

logger = logging.getLogger(__name__)


def selection_images(cfg: CfgNode, dm: Any, val_loader: Any) -> str:
    """ "test" or "val", which is said of every result; "" where nothing is selected.

    Args:
        cfg: settings of the run.
        dm: its data manager; other people's trainers may keep none.
        val_loader: of the images that epochs are compared on; None: they are the test images.
    """
    if cfg.TEST.FINAL_MODEL != "best_val":
        return ""
    tested = {item.impath for item in getattr(getattr(dm, "dataset", None), "test", ())}
    chosen_on = () if val_loader is None else getattr(val_loader.dataset, "data_source", ())
    if val_loader is not None and not any(item.impath in tested for item in chosen_on):
        return "val"
    logger.warning(
        "TEST.FINAL_MODEL is best_val, but the val split is of test images: the model is selected on "
        "test images (TEST.FINAL_MODEL last_step selects none)"
    )
    return "test"
