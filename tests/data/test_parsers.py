"""The published formats: round trips through writers that go byte by byte, and every kind of damage."""

import gzip
import re

import pytest
import torch
from data_cases import (
    CIFAR10,
    idx,
    labels,
    laws,
    pixels,
    records,
    tar,
    write_cifar10,
    write_cifar100,
    write_idx,
    write_tiny_imagenet,
    zipped,
)
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.cifar import parse_cifar, read_cifar10, read_cifar100, read_cifar100_part
from cloudchamber.data.mnist import parse_idx, read_mnist
from cloudchamber.data.tiny_imagenet import CLASSES, read_tiny_imagenet


@laws
@given(st.integers(1, 4), st.sampled_from([1, 2]), st.integers(0, 99))
def test_cifar_records_are_read_as_written(n, label_bytes, seed):
    images, columns = pixels(n, 3, 32, 32, seed=seed), pixels(label_bytes, n, seed=seed + 1)
    found_labels, found = parse_cifar(records(images, *columns), label_bytes)
    assert torch.equal(found, images)
    assert torch.equal(found_labels, columns.T)


def test_the_colours_of_a_cifar_record_are_planes_and_its_rows_follow_one_another():
    content = bytes([9]) + bytes(i % 251 for i in range(3072))
    found = parse_cifar(content, 1)[1][0]
    assert all(int(found[c, y, x]) == (1024 * c + 32 * y + x) % 251 for c in range(3) for y in (0, 31) for x in (0, 5))


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_cut_cifar_file_is_refused(size):
    with pytest.raises(DamagedFile, match=f"records of 3073 bytes; got {size} bytes"):
        parse_cifar(bytes(size), 1)


@laws
@given(st.lists(st.integers(0, 5), max_size=4), st.integers(0, 99))
def test_idx_files_are_read_as_written(shape, seed):
    values = pixels(*shape, seed=seed)
    assert torch.equal(parse_idx(idx(values)), values)


@laws
@given(st.data())
def test_an_idx_file_with_a_byte_more_or_less_is_refused(data):
    content = idx(pixels(*data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))))
    for damaged in (content[: data.draw(st.integers(0, len(content) - 1))], content + b"x"):
        with pytest.raises(DamagedFile, match="an IDX file"):
            parse_idx(damaged)


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x0d\x01" + bytes(8), b"\x89PNG1234", b"\x00\x00\x08\x03\x00"])
def test_what_is_no_idx_file_of_bytes_is_refused(content):
    with pytest.raises(DamagedFile):
        parse_idx(content)


def test_cifar10_comes_batch_after_batch(tmp_path):
    train, test = pixels(20, 3, 32, 32), pixels(10, 3, 32, 32, seed=1)
    path = write_cifar10(tmp_path / "c.tar.gz", train, test)
    for part, images in (("train", train), ("test", test)):
        found = read_cifar10((path,), part)
        assert torch.equal(found.pixels, images)
        assert torch.equal(found.labels, labels(len(images), 10))
        assert (found.labels.dtype, found.class_names) == (torch.int64, CIFAR10)


def test_cifar100_has_its_fine_labels_and_its_part_the_first_images_of_each(tmp_path):
    train, test = pixels(10_200, 1, 1, 1).expand(-1, 3, 32, 32), pixels(2_300, 1, 1, 1).expand(-1, 3, 32, 32)
    path = write_cifar100_fast(tmp_path, train, test)
    whole = read_cifar100((path,), "test")
    assert torch.equal(whole.pixels, test)
    assert torch.equal(whole.labels, labels(2_300, 100))
    assert whole.class_names[99] == "fine99"
    for part, images, size in (("train", train, 10_000), ("test", test, 2_000)):
        found = read_cifar100_part((path,), part)
        assert torch.equal(found.pixels, images[:size])  # the labels go round, so the first of each are the first
        assert torch.bincount(found.labels).tolist() == [size // 100] * 100


def write_cifar100_fast(folder, train, test):
    """Write many flat images; see `write_cifar100` for the obvious way."""
    members = {"cifar-100-binary/fine_label_names.txt": "\n".join(f"fine{i}" for i in range(100)).encode()}
    for part, images in (("train", train), ("test", test)):
        first = torch.zeros(len(images), 1, dtype=torch.uint8)
        fine = labels(len(images), 100)[:, None].to(torch.uint8)
        members[f"cifar-100-binary/{part}.bin"] = torch.cat([first, fine, images.flatten(1)], 1).numpy().tobytes()
    return tar(folder / "c100.tar.gz", members)


def test_both_writers_of_cifar100_agree(tmp_path):
    images = pixels(3, 3, 32, 32)
    slow = read_cifar100((write_cifar100(tmp_path / "slow.tar.gz", images, images),), "train")
    fast = read_cifar100((write_cifar100_fast(tmp_path, images, images),), "train")
    assert torch.equal(slow.pixels, fast.pixels)
    assert torch.equal(slow.labels, fast.labels)


def test_an_archive_of_something_else_is_refused(tmp_path):
    other = tar(tmp_path / "other.tar.gz", {"readme": b"hello"})
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(other.read_bytes()[:-9])
    text = tmp_path / "text.tar.gz"
    text.write_text("no archive")
    for path in (other, damaged, text):
        with pytest.raises(DamagedFile, match="must be an archive with cifar-10-batches-bin/test_batch"):
            read_cifar10((path,), "test")


def test_a_label_without_a_class_is_refused(tmp_path):
    folder = "cifar-10-batches-bin"
    members = {f"{folder}/batches.meta.txt": b"a\nb\n", f"{folder}/test_batch.bin": records(pixels(1, 3, 32, 32), [2])}
    with pytest.raises(DamagedFile, match="labels from 0 to 1; got 2 to 2"):
        read_cifar10((tar(tmp_path / "c.tar.gz", members),), "test")


def test_mnist_is_read_as_written(tmp_path):
    images, digits = pixels(12, 28, 28), labels(12, 10)
    files = (write_idx(tmp_path / "images.gz", images), write_idx(tmp_path / "labels.gz", digits))
    found = read_mnist(files, "train")
    assert torch.equal(found.pixels, images[:, None])
    assert torch.equal(found.labels, digits)
    assert found.class_names == tuple("0123456789")


def test_mnist_files_that_do_not_belong_together_are_refused(tmp_path):
    images, fewer = write_idx(tmp_path / "i.gz", pixels(3, 28, 28)), write_idx(tmp_path / "l.gz", labels(2, 10))
    with pytest.raises(DamagedFile, match="n images and n labels"):
        read_mnist((images, fewer), "train")
    with pytest.raises(DamagedFile, match="n images and n labels"):
        read_mnist((fewer, fewer), "train")


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(idx(pixels(3, 28, 28)))[:-12], b""])
def test_a_damaged_packed_file_is_refused(tmp_path, content):
    path = tmp_path / "damaged.gz"
    path.write_bytes(content)
    with pytest.raises(DamagedFile):
        read_mnist((path, path), "test")


def test_tiny_imagenet_has_the_50_classes_in_the_order_of_the_paper(tmp_path):
    path = write_tiny_imagenet(tmp_path / "tiny.zip")
    train, test = read_tiny_imagenet((path,), "train"), read_tiny_imagenet((path,), "test")
    assert train.pixels.shape == (100, 3, 64, 64)
    assert train.labels.tolist() == [label for label in range(50) for _ in range(2)]
    expected = [3 * label + i for label in range(50) for i in range(2)]
    assert train.pixels.float().mean((1, 2, 3)).round().int().tolist() == expected
    # The annotations are in the opposite order, and class 50 is none of the paper's.
    assert test.labels.tolist() == list(range(49, -1, -1))
    assert test.pixels[:, 0, 0, 0].tolist() == [255 - 3 * label for label in range(49, -1, -1)]


APPENDIX = (
    "we randomly selected the following 50 categories, orangutan, parking meter, snorkel, American alligator, oboe, "
    "basketball, rocking chair, hopper, neck brace, candy store, broom, seashore, sewing machine, sunglasses, panda, "
    "pretzel, pig, volleyball, puma, alp, barbershop, ox, flagpole, lifeboat, teapot, walking stick, brain coral, "
    "slug, abacus, comic book, CD player, school bus, banister, bathtub, German shepherd, black stork, "
    "computer keyboard, tarantula, sock, Arabian camel, bee, cockroach, cannon, tractor, cardigan, suspension bridge, "
    "beer bottle, viaduct, guacamole, and iPod for training"  # mlp2024, Appendix B.3
)


def test_the_classes_of_tiny_imagenet_are_those_that_the_paper_names():
    named = re.search("following 50 categories, (.*) for training", APPENDIX)[1].replace(" and ", " ").split(", ")
    ours = [name.split(" ", 1)[1] for name in CLASSES]
    other = {(theirs, name) for theirs, name in zip(named, ours, strict=True) if theirs != name}
    assert other == {
        ("hopper", "grasshopper"),
        ("candy store", "confectionery"),
        ("panda", "lesser panda"),
        ("pig", "hog"),
        ("puma", "cougar"),
        ("banister", "bannister"),
    }
    assert len(set(CLASSES)) == 50


def test_an_archive_that_is_not_tiny_imagenet_is_refused(tmp_path):
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    for path in (text, zipped(tmp_path / "other.zip", {"readme": b"hello"})):
        with pytest.raises(DamagedFile, match="must be an archive with tiny-imagenet-200"):
            read_tiny_imagenet((path,), "test")
    broken = {"tiny-imagenet-200/train/n02480495/images/n02480495_0.JPEG": b"no image"}
    with pytest.raises(DamagedFile, match=r"image 0 of .* must be a PNG, JPEG or WebP image"):
        read_tiny_imagenet((zipped(tmp_path / "broken.zip", broken),), "train")
