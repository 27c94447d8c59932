"""The real data: shapes, counts, means, and that a second load is a matter of mapping a file.

Only where CLOUDCHAMBER_DATA names a folder that has them; the tests of the readers themselves need none.
"""

import hashlib
import struct
import time
from pathlib import Path

import pytest
import torch

from cloudchamber.data import AdultConfig, ImagesConfig, TextConfig, available, load_data

MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.fixture(autouse=True)
def real(real_folder, real_cache, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_DATA", real_folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(real_cache))
    return Path(real_folder)


def loaded(config, part="train"):
    if not available(config.name):
        pytest.skip(f"{config.name} is not in CLOUDCHAMBER_DATA: NOT TESTED")
    return load_data(config, 0, part)


def moments(inputs):
    over = (0, 2, 3)
    return inputs.mean(over).tolist(), inputs.double().std(over, correction=0).tolist()


@pytest.mark.parametrize(
    ("name", "shape", "train", "test"),
    [
        ("cifar10", (3, 32, 32), [5000] * 10, [1000] * 10),
        ("cifar100", (3, 32, 32), [500] * 100, [100] * 100),
        ("cifar100_part", (3, 32, 32), [100] * 100, [20] * 100),
        ("mnist", (1, 28, 28), MNIST_TRAIN, MNIST_TEST),
        ("tiny_imagenet_50", (3, 64, 64), [500] * 50, [50] * 50),
    ],
)
def test_images(name, shape, train, test):
    for part, counts in (("train", train), ("test", test)):
        found = loaded(ImagesConfig(name=name, size=shape[1]), part)
        assert found.inputs.shape == (sum(counts), *shape)
        assert torch.bincount(found.targets).tolist() == counts
        assert len(set(found.class_names)) == len(counts)
        assert found.inputs.isfinite().all()
        if part == "train":
            mean, deviation = moments(found.inputs)
            assert max(map(abs, mean)) < 1e-5
            assert deviation == pytest.approx([1.0] * shape[0], abs=1e-5)


def test_the_means_and_deviations_of_cifar10_and_mnist_are_the_published_ones():
    for name, mean, deviation in (
        ("cifar10", [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
        ("mnist", [0.1307], [0.3081]),
    ):
        found = moments(loaded(ImagesConfig(name=name, normalization="scaled")).inputs)
        assert found[0] == pytest.approx(mean, abs=5e-5)
        assert found[1] == pytest.approx(deviation, abs=5e-5)


def test_cifar10_begins_as_published_and_says_which_images_do_not():
    found = loaded(ImagesConfig(name="cifar10", normalization="scaled"))
    assert found.targets[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert (found.inputs[0, :, 0, 0] * 255).round().int().tolist() == [59, 62, 63]
    lossy = "73 of 50000 images are decoded from a lossy copy"
    assert (lossy in found.source) == ("parquet" in found.source)


def test_mnist_is_byte_for_byte_the_published_one():
    """The MD5 sums are those of the unpacked IDX files."""
    published = {
        "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    }
    for part, sums in published.items():
        found = loaded(ImagesConfig(name="mnist", normalization="scaled"), part)
        images = (found.inputs[:, 0] * 255).round().to(torch.uint8).numpy()
        labels = found.targets.to(torch.uint8).numpy()
        files = [struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) for array in (images, labels)]
        contents = [header + array.tobytes() for header, array in zip(files, (images, labels), strict=True)]
        assert tuple(hashlib.md5(content).hexdigest() for content in contents) == sums


def test_the_second_load_decodes_nothing(monkeypatch):
    config = ImagesConfig(name="cifar10")
    first = loaded(config)

    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("cloudchamber.data.stored.read_images", refuse)
    monkeypatch.setattr("cloudchamber.data.stored.archives", refuse)
    start = time.perf_counter()
    assert torch.equal(loaded(config).inputs, first.inputs)
    print(f"second load: {time.perf_counter() - start:.2f} s")


def test_adult():
    for part, counts in (("train", [24720, 7841]), ("test", [12435, 3846])):
        found = loaded(AdultConfig(), part)
        assert found.inputs.shape == (sum(counts), 108)
        assert torch.bincount(found.targets).tolist() == counts
        one_hot = (found.inputs == 0) | (found.inputs == 1)
        assert int(one_hot.all(0).sum()) == 102
        assert torch.equal((found.inputs * one_hot.all(0)).sum(1), torch.full((len(found),), 8.0))


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("cola", [2528, 6023], [324, 719]), ("sst2", [29780, 37569], [428, 444]), ("ag_news", None, [1900] * 4)],
)
def test_texts(name, train, test):
    for part, counts in (("train", train), ("test", test)):
        found = loaded(TextConfig(name=name), part)
        assert counts is None or torch.bincount(found.targets).tolist() == counts
        assert found.inputs.max() < len(found.vocabulary)
        assert (found.inputs[:, -1] > 0).all()
    assert (found.inputs == 1).sum() < 0.12 * (found.inputs > 0).sum()
