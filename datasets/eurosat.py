"""EuroSAT: satellite images of 10 kinds of land use (Helber et al., 2019)."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.fetch.sources import Source, on_drive

_MIRROR = "https://huggingface.co/datasets/torchgeo/eurosat/resolve"


@DATASET_REGISTRY.register()
class EuroSAT(FewShotBenchmark):
    dataset_dir = "eurosat"
    template = "a centered satellite photo of {}."
    image_dir = "2750"
    split_file = "split_zhou_EuroSAT.json"
    example = "AnnualCrop/AnnualCrop_1.jpg"
    published = Counts(10, 13500, 5400, 8100)
    renamed = {
        "AnnualCrop": "Annual Crop Land",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "SeaLake": "Sea or Lake",
    }
    mirror = "eurosat.zip"
    sources = (
        Source(
            (
                f"{_MIRROR}/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                f"{_MIRROR}/main/EuroSAT.zip",
                "http://madm.dfki.de/files/sentinel/EuroSAT.zip",  # the original home, often away
            ),
            {"2750": "2750"},
            "md5:c8fa014336c82ac7804f0398fcb19387",
        ),
        on_drive(
            "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
            "split_zhou_EuroSAT.json",
            "541503a77d0b26b735d85ec7a3e672804fe0aa466c2e5f07da772cc6c0af8ad2",
        ),
    )
