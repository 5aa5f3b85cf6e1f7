"""EuroSAT: satellite images of 10 kinds of land use (Helber et al., 2019)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import FewShotBenchmark


@DATASET_REGISTRY.register()
class EuroSAT(FewShotBenchmark):
    dataset_dir = "eurosat"
    image_dir = "2750"
    split_file = "split_zhou_EuroSAT.json"
    example = "AnnualCrop/AnnualCrop_1.jpg"
    images_from = "http://madm.dfki.de/files/sentinel/EuroSAT.zip"
    split_from = "linked from https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md#eurosat"
