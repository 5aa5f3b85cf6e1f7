"""ImageNet (ILSVRC 2012): 1,000 kinds of objects (Deng et al., 2009); its validation images test."""

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.benchmark import Counts, FewShotBenchmark
from datasets.class_folders import check_folders, list_images, subfolders
from datasets.fetch.sources import IMAGENET_CLASSNAMES
from datasets.lists import read_classnames
from datasets.pickles import read_pickled
from datasets.split_file import Split


@DATASET_REGISTRY.register()
class ImageNet(FewShotBenchmark):
    dataset_dir = "imagenet"
    is_source = True
    image_dir = "images"
    lists = ("images/train", "images/val", "classnames.txt")
    example = "train/n01440764/n01440764_18.JPEG"
    published = Counts(1000, 1281167, 50000, 50000)
    val_is_test = True
    sources = (IMAGENET_CLASSNAMES,)
    origin = (
        "by hand: register at https://image-net.org/download.php, fetch ILSVRC2012_img_train.tar and "
        "ILSVRC2012_img_val.tar, and unpack them into one folder a class under images/train and images/val"
    )

    @classmethod
    def read(cls, folder: Path) -> Split:
        images, names_file = cls.image_root(folder), folder / "classnames.txt"
        names = read_classnames(names_file)
        for part in ("train", "val"):
            check_folders(images / part, subfolders(images / part), names, names_file)
        ordered = {wnid: names[wnid] for wnid in sorted(names)}
        train = list_images(images, {f"train/{wnid}": name for wnid, name in ordered.items()})
        test = list_images(images, {f"val/{wnid}": name for wnid, name in ordered.items()})
        # Upstream caches its listing, whose order decides which images a seed selects.
        if (listing := folder / "preprocessed.pkl").is_file():
            ordered_train = read_pickled(listing, {"train": train})["train"]
            if len(ordered_train) != len(train):
                raise ValueError(
                    f"{listing} lists {len(ordered_train)} training images, there are {len(train)}; "
                    "delete the file, or unpack the images again"
                )
            train = ordered_train
        return {"train": train, "val": test, "test": test}
