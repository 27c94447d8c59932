"""Data sets in Parquet form: images of every kind, tables and texts, damage, and missing libraries."""

import sys

import pytest
import torch
from data_cases import labels, origin, person, pixels, point_to, table_of, write_cifar10, write_parquet
from data_cases import write_parquet_images as write_images

pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra `papers`): PARQUET WAS NOT TESTED")

from cloudchamber._core.errors import DamagedFile, FileAccess
from cloudchamber.data import AdultConfig, ImagesConfig, TextConfig, available, load_data
from cloudchamber.data.parquet import read_columns, read_images

NAMES = tuple("abcdefghij")
COLOURS, GREY = pixels(20, 3, 32, 32), pixels(20, 1, 28, 28)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("kind", ["PNG", "WebP"])
@pytest.mark.parametrize("images", [COLOURS, GREY], ids=["colour", "grey"])
def test_lossless_images_are_read_as_written(tmp_path, images, kind):
    path = write_images(tmp_path / "images.parquet", images, labels(20, 10), NAMES, kind)
    found = read_images(path, tuple(images.shape[1:]))
    assert torch.equal(found.pixels, images)
    assert torch.equal(found.labels, labels(20, 10))
    assert (found.class_names, found.note) == (NAMES, "")


def test_grey_images_become_rgb_where_the_set_is(tmp_path):
    path = write_images(tmp_path / "images.parquet", GREY, labels(20, 10), NAMES)
    assert torch.equal(read_images(path, (3, 28, 28)).pixels, GREY.expand(-1, 3, -1, -1))


def test_classes_without_names_are_called_by_number(tmp_path):
    path = write_images(tmp_path / "images.parquet", GREY, labels(20, 3), None)
    assert read_images(path, (1, 28, 28)).class_names == ("0", "1", "2")


def test_images_of_a_lossy_copy_are_counted(tmp_path):
    paths = [f"{i}_cat_from_jpeg.webp" if i in (3, 19) else f"{i}_from_jpeg_cat.webp" for i in range(20)]
    path = write_images(tmp_path / "images.parquet", COLOURS, labels(20, 10), NAMES, paths=paths)
    assert read_images(path, (3, 32, 32)).note == "2 of 20 images are decoded from a lossy copy"


def test_parquet_in_the_data_folder_comes_before_everything_else(folder, tmp_path, monkeypatch, cache):
    archive = write_cifar10(tmp_path / "made-up.tar.gz", 255 - COLOURS, COLOURS)
    point_to(monkeypatch, "cifar10", [origin(archive)], [origin(archive)], (20, 20))
    (folder / "cifar10").mkdir()
    (folder / "cifar10/made-up.tar.gz").write_bytes(archive.read_bytes())
    for part in ("train", "test"):
        write_images(folder / f"cifar10/{part}.parquet", COLOURS, labels(20, 10), NAMES)
    found = load_data(ImagesConfig(name="cifar10", normalization="scaled"), seed=0)
    assert torch.equal((found.inputs * 255).round().to(torch.uint8), COLOURS)
    assert found.class_names == NAMES
    assert found.source.startswith("cifar10/train.parquet (sha256:")
    kept = sorted(path.name for path in (cache / "decoded").iterdir())
    assert len(kept) == 1
    assert kept[0].startswith("cifar10-train-sha256-")


def test_a_changed_parquet_file_is_decoded_anew(folder):
    for images in (GREY, 255 - GREY):
        write_images(folder / "mnist/train.parquet", images, labels(20, 10), NAMES)
        found = load_data(ImagesConfig(name="mnist", normalization="scaled"), seed=0)
        assert torch.equal((found.inputs * 255).round().to(torch.uint8), images)


def test_both_parts_must_be_there_to_be_available(folder):
    write_images(folder / "mnist/train.parquet", GREY, labels(20, 10), NAMES)
    assert not available("mnist")
    write_images(folder / "mnist/test.parquet", GREY, labels(20, 10), NAMES)
    assert available("mnist")


def damaged(path, columns):
    return write_parquet(path, columns, NAMES)


IMAGE = {"bytes": b"no image", "path": "a"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [IMAGE], "label": [0]}, "image 0 of .* must be a PNG, JPEG or WebP image"),
        ({"image": [{"bytes": None, "path": "a"}], "label": [0]}, "image 0 of .* must be a PNG"),
        ({"picture": [IMAGE], "label": [0]}, "columns of its kind"),
        ({"image": [IMAGE]}, "columns of its kind"),
        ({"image": [1], "label": [0]}, "columns of its kind"),
        ({"image": [IMAGE], "label": ["cat"]}, "columns of its kind"),
        ({"image": [IMAGE], "label": [None]}, "columns of its kind"),
    ],
)
def test_what_are_no_images_is_refused(tmp_path, columns, message):
    with pytest.raises(DamagedFile, match=message):
        read_images(damaged(tmp_path / "images.parquet", columns), (1, 28, 28))


def test_images_of_another_size_and_labels_without_a_name_are_refused(tmp_path):
    path = write_images(tmp_path / "images.parquet", GREY, labels(20, 10), NAMES)
    with pytest.raises(DamagedFile, match=r"images of \(3, 32, 32\); image 0 is \(3, 28, 28\)"):
        read_images(path, (3, 32, 32))
    path = write_images(tmp_path / "images.parquet", GREY, labels(20, 10), NAMES[:9])
    with pytest.raises(DamagedFile, match="labels from 0 to 8; got 0 to 9"):
        read_images(path, (1, 28, 28))


@pytest.mark.parametrize("cut", [0, 10, 5000, -1])
def test_a_cut_file_is_refused(tmp_path, cut):
    path = write_images(tmp_path / "images.parquet", COLOURS, labels(20, 10), NAMES)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedFile, match="must be Parquet with the columns of its kind"):
        read_images(path, (3, 32, 32))


def test_bytes_changed_on_the_way_are_refused_or_change_the_key(folder):
    path = write_images(folder / "mnist/train.parquet", GREY, labels(20, 10), NAMES)
    first = load_data(ImagesConfig(name="mnist"), seed=0).source
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    try:
        assert load_data(ImagesConfig(name="mnist"), seed=0).source != first
    except DamagedFile as error:
        assert "train.parquet" in str(error)  # noqa: PT017


@pytest.mark.parametrize("library", ["pyarrow", "PIL"])
def test_a_missing_library_is_named_with_the_extra_that_has_it(folder, monkeypatch, library):
    for part in ("train", "test"):
        write_images(folder / f"mnist/{part}.parquet", GREY, labels(20, 10), NAMES)
    for module in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, library, None)
    name = {"pyarrow": "pyarrow", "PIL": "Pillow"}[library]
    with pytest.raises(FileAccess, match=rf"{name} is needed .*pip install 'cloudchamber\[papers\]'"):
        load_data(ImagesConfig(name="mnist"), seed=0)


def test_parquet_is_available_without_its_libraries_only_where_it_was_decoded(folder, monkeypatch):
    for part in ("train", "test"):
        write_images(folder / f"mnist/{part}.parquet", GREY, labels(20, 10), NAMES)
    monkeypatch.setattr("cloudchamber.data.stored.parquet_is_readable", lambda: False)
    assert not available("mnist")
    load_data(ImagesConfig(name="mnist"), seed=0, part="test")
    assert available("mnist")


def test_the_decoded_images_of_both_forms_are_the_same(folder, tmp_path, monkeypatch):
    config = ImagesConfig(name="cifar10")
    for part in ("train", "test"):
        write_images(folder / f"cifar10/{part}.parquet", COLOURS, labels(20, 10), NAMES)
    ours = load_data(config, seed=0)
    archive = write_cifar10(tmp_path / "made-up.tar.gz", COLOURS, COLOURS)
    point_to(monkeypatch, "cifar10", [origin(archive)], [origin(archive)], (20, 20))
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "other"))
    (tmp_path / "other/cifar10").mkdir(parents=True)
    archive.rename(tmp_path / "other/cifar10/made-up.tar.gz")
    theirs = load_data(config, seed=0)
    assert torch.equal(ours.inputs, theirs.inputs)
    assert torch.equal(ours.targets, theirs.targets)


def test_adult_and_texts_are_read(folder):
    people = [person(i) for i in range(12)]
    for part in ("train", "test"):
        write_parquet(folder / f"adult/{part}.parquet", table_of(people), ["<=50K", ">50K"])
        write_parquet(folder / f"ag_news/{part}.parquet", {"text": ["Up. Down", "It"], "label": [3, 0]})
    assert available("adult")
    found = load_data(AdultConfig(), seed=0)
    assert found.targets.tolist() == [int(i % 4 == 0) for i in range(12)]
    assert "12 samples, 32561 as published" in found.source
    news = load_data(TextConfig(name="ag_news", length=4), seed=0)
    assert news.targets.tolist() == [3, 0]
    assert news.inputs.tolist() == [[0, news.vocabulary.index("up"), news.vocabulary.index("."), 3], [0, 0, 0, 4]]


def test_sst2_has_its_development_set_as_test_part(folder):
    write_parquet(folder / "sst2/train.parquet", {"sentence": ["fine fine", "bad"], "label": [1, 0]})
    write_parquet(folder / "sst2/validation.parquet", {"sentence": ["fine unheard"], "label": [1]})
    write_parquet(folder / "sst2/test.parquet", {"sentence": ["not this"], "label": [0]})
    assert load_data(TextConfig(name="sst2", length=2), seed=0, part="test").inputs.tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("config", "columns", "message"),
    [
        (TextConfig(name="cola"), {"words": ["a"], "label": [1]}, "columns `sentence` or `text`, and `label`"),
        (TextConfig(name="cola"), {"text": ["a"]}, "columns `sentence` or `text`, and `label`"),
        (TextConfig(name="cola"), {"text": ["a"], "label": [2]}, "labels from 0 to 1; got 2 to 2"),
        (AdultConfig(), {"age": [3], "label": [1]}, "columns of Adult; got none called .*capital-gain"),
        (AdultConfig(), {**table_of([person(1)]), "age": ["old"]}, "whole numbers in"),
    ],
)
def test_other_columns_are_refused(folder, config, columns, message):
    write_parquet(folder / f"{config.name}/train.parquet", columns)
    with pytest.raises(DamagedFile, match=message):
        load_data(config, seed=0)


def test_columns_are_read_as_written(tmp_path):
    columns = {"a": [1, 2, 3], "b": ["x", "y", "ü"]}
    assert read_columns(write_parquet(tmp_path / "t.parquet", columns)) == columns
    (tmp_path / "t.parquet").write_text("no Parquet")
    with pytest.raises(DamagedFile, match="must be Parquet"):
        read_columns(tmp_path / "t.parquet")
