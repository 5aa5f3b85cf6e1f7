import logging
import pickle
import random
import subprocess
import sys

import joblib
import pytest
import torch
from PIL import Image
from torch.utils.data import RandomSampler

from dassl.data import DataManager, DatasetWrapper, build_data_loader, loader
from dassl.data.data_manager import num_workers
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.data.samplers import build_sampler
from dassl.utils import read_image
from tests.conftest import ROOT
from tests.dassl.tiny import tiny_cfg, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


def epoch_of(manager, epoch):
    manager.set_epoch(epoch)
    torch.manual_seed(epoch)
    batches = list(manager.train_loader_x)
    return torch.cat([b["img"] for b in batches]), torch.cat([b["index"] for b in batches])


def test_manager(images, caplog):
    with caplog.at_level(logging.INFO):
        manager = DataManager(tiny_cfg("out", images))
    assert manager.num_classes == 3 and manager.lab2cname == {0: "r", 1: "g", 2: "b"}
    assert len(manager.train_loader_x) == 4 and "leaves out 2 of 18" in caplog.text
    assert manager.train_loader_u is None
    batch = next(iter(manager.test_loader))
    assert set(batch) == {"img", "label", "domain", "impath", "index"}
    assert batch["img"].shape == (9, 3, 8, 8) and batch["label"].tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_drop_last_can_be_switched_off(images, caplog):
    with caplog.at_level(logging.WARNING):
        manager = DataManager(tiny_cfg("out", images, "DATALOADER.TRAIN_X.DROP_LAST", False))
    assert len(manager.train_loader_x) == 5 and "leaves out" not in caplog.text
    # A single incomplete batch is kept, as in Dassl.
    manager = DataManager(tiny_cfg("out", images, "DATALOADER.TRAIN_X.BATCH_SIZE", 32))
    assert len(manager.train_loader_x) == 1


def test_views_depend_on_seed_epoch_and_index_only(images):
    plain = DataManager(tiny_cfg("out", images, "DATALOADER.CACHE_MB", 0))
    worker = DataManager(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", 1))
    first, order = epoch_of(plain, 0)
    assert torch.equal(first, epoch_of(worker, 0)[0])
    assert torch.equal(first, epoch_of(plain, 0)[0])
    second, second_order = epoch_of(plain, 1)
    common = set(order.tolist()) & set(second_order.tolist())
    same = [
        torch.equal(first[order.tolist().index(i)], second[second_order.tolist().index(i)]) for i in common
    ]
    assert not all(same)
    other, _ = epoch_of(DataManager(tiny_cfg("out", images, "SEED", 2)), 0)
    assert not torch.equal(first, other)


def test_k_transforms_and_img0(images):
    options = ("DATALOADER.K_TRANSFORMS", 2, "DATALOADER.RETURN_IMG0", True)
    batch = next(iter(DataManager(tiny_cfg("out", images, *options)).train_loader_x))
    first, second = batch["img"]
    assert first.shape == (4, 3, 8, 8) and not torch.equal(first, second)
    assert batch["img0"].shape == (4, 3, 8, 8)


def test_foreign_transforms(images):
    cfg = tiny_cfg("out", images)
    data = [Datum(str(images / "0_0.png"))]
    wrapper = DatasetWrapper(cfg, data, transform=[lambda img: img.width, lambda img: img.height])
    assert (wrapper[0]["img"], wrapper[0]["img2"]) == (14, 12)


def test_load_item(images):
    manager = DataManager(tiny_cfg("out", images))
    item = manager.dataset.test[-1]
    assert torch.equal(manager.load_item(item, 5), manager.load_item(item, 5))
    assert not torch.equal(manager.load_item(item, 5), manager.load_item(item, 6))
    assert torch.equal(manager.load_item(item, 5, is_train=False), manager.load_item(item, 6, is_train=False))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_scale_with_the_machine(images, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    for asked, used in ((-1, 6), (0, 0), (4, 4), (9, 6)):
        assert num_workers(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", asked)) == used
    monkeypatch.setattr(joblib, "cpu_count", lambda: 128)
    assert num_workers(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", -1)) == 16
    monkeypatch.setattr(loader, "_FORKS", False)
    assert num_workers(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", -1)) == 0
    monkeypatch.setattr(loader, "_FORKS", True)
    manager = DataManager(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", 64))
    assert manager.train_loader_x.num_workers == 5 and manager.test_loader.num_workers == 1  # batches
    with pytest.raises(ValueError, match=r"NUM_WORKERS.*-2"):
        num_workers(tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", -2))


def test_unreadable_images(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"broken\.png"):
        read_image(str(broken))
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        read_image(str(tmp_path / "absent.png"))
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.png"):
        read_image(str(tmp_path / "cut.png"))


def test_large_photos(tmp_path, monkeypatch):
    path = str(tmp_path / "large.png")
    Image.new("RGB", (30, 20)).save(path)
    code = (
        "import sys; from PIL import Image; from dassl.utils import read_image; "
        "Image.MAX_IMAGE_PIXELS = 400; print(read_image(sys.argv[1]).size)"
    )  # 600 pixels are between Pillow's limit and twice it
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("(30, 20)\n", "")
    monkeypatch.setattr("dassl.utils.files.MOST_PIXELS", 500)
    with pytest.raises(ValueError, match=r"large\.png.*30 x 20 pixels are more than 500; save it smaller"):
        read_image(path)


@pytest.mark.parametrize("workers", [0, 1])
def test_missing_image_in_a_loader(images, workers):
    cfg = tiny_cfg("out", images, "DATALOADER.NUM_WORKERS", workers)
    loader = build_data_loader(cfg, data_source=[Datum("nowhere.png")], tfm=lambda img: img)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        next(iter(loader))
    with pytest.raises(ValueError, match="at least one image"):
        build_data_loader(cfg, data_source=[])


def test_fewshot_draw():
    items = [Datum(f"{i}", label=i % 3, classname=f"c{i % 3}") for i in range(11)]
    base = DatasetBase(train_x=items, test=items)
    random.seed(5)
    train, val = base.generate_fewshot_dataset(items, items, num_shots=2)
    random.seed(5)
    expected = [random.sample([d for d in items if d.label == label], 2) for label in (0, 1, 2)]
    assert train == [item for items in expected for item in items]
    assert len(val) == 6
    assert base.generate_fewshot_dataset(items, num_shots=-1) is items
    few = base.generate_fewshot_dataset(items, num_shots=4)
    assert [d for d in few if d.label == 2] == [d for d in items if d.label == 2]  # only 3 there, in order
    repeated = base.generate_fewshot_dataset(items, num_shots=4, repeat=True)
    assert len(repeated) == 12


def test_datum_pickles_with_dassls_attributes():
    datum = pickle.loads(pickle.dumps(Datum("a.png", 1, 0, "cat")))
    assert vars(datum) == {"_impath": "a.png", "_label": 1, "_domain": 0, "_classname": "cat"}


def test_wrong_datasets():
    with pytest.raises(ValueError, match="no training images"):
        DatasetBase(train_x=[], test=[Datum()])
    with pytest.raises(ValueError, match=r"label \[0\]"):
        DatasetBase(train_x=[Datum("a", 1, classname="x")], test=[Datum()])
    with pytest.raises(ValueError, match="two class names"):
        DatasetBase.get_lab2cname([Datum("a", 0, classname="x"), Datum("b", 0, classname="y")])
    with pytest.raises(ValueError, match="TinyImages"):
        DATASET_REGISTRY.get("TinyImage")
    with pytest.raises(ValueError, match="already registered"):
        DATASET_REGISTRY.register(type("TinyImages", (), {}))


def test_samplers():
    data = [Datum(f"{i}", label=i % 4, domain=i % 2) for i in range(22)]
    assert isinstance(build_sampler("RandomSampler", data_source=data), RandomSampler)
    assert list(build_sampler("SequentialSampler", data_source=data)) == list(range(22))

    for kind in ("RandomDomainSampler", "SeqDomainSampler"):
        sampler = build_sampler(kind, data_source=data, batch_size=4, n_domain=2)
        order = list(sampler)
        assert len(order) == len(sampler) == 20 and len(set(order)) == 20
        for start in range(0, 20, 4):
            assert sorted(data[i].domain for i in order[start : start + 4]) == [0, 0, 1, 1]

    sampler = build_sampler("RandomClassSampler", data_source=data, batch_size=4, n_ins=2)
    order = list(sampler)
    for start in range(0, len(order), 4):
        labels = [data[i].label for i in order[start : start + 4]]
        assert labels[0] == labels[1] != labels[2] == labels[3]
    with pytest.raises(ValueError, match="N_INS"):
        build_sampler("RandomClassSampler", data_source=data, batch_size=4, n_ins=5)
    with pytest.raises(ValueError, match="RandomSampler"):
        build_sampler("RandomSamplr", data_source=data)
