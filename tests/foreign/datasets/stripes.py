import os

import numpy as np
from PIL import Image

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import listdir_nohidden, mkdir_if_missing, read_json, write_json


@DATASET_REGISTRY.register()
class Stripes(DatasetBase):
    """Three classes of stripes, drawn when they are missing."""

    dataset_dir = "stripes"

    def __init__(self, cfg):
        self.dataset_dir = os.path.join(
            os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT)), self.dataset_dir
        )
        self.split_path = os.path.join(self.dataset_dir, "split.json")
        if not os.path.exists(self.split_path):
            self.draw()
        split = read_json(self.split_path)
        train, test = ([Datum(impath=p, label=y, classname=c) for p, y, c in split[part]] for part in split)
        assert len(listdir_nohidden(self.dataset_dir)) == len(train) + len(test) + 1
        train = self.generate_fewshot_dataset(train, num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, val=test, test=test)

    def draw(self):
        mkdir_if_missing(self.dataset_dir)
        split = {"train": [], "test": []}
        for i in range(36):
            label = i % 3
            waves = 128 + 100 * np.sin(np.arange(16) * (label + 1) + i)
            pixels = np.tile(waves.astype(np.uint8)[:, None, None], (1, 16, 3))
            path = os.path.join(self.dataset_dir, f"{i}.png")
            Image.fromarray(pixels).save(path)
            split["train" if i < 24 else "test"].append([path, label, f"stripes {label + 1}"])
        write_json(split, self.split_path)
