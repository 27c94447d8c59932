"""Where data are looked for, in which order, and what is said when they are nowhere."""

import logging
from pathlib import Path

import pytest
import torch
from data_cases import labels, origin, pixels, point_to, served, write_cifar10, write_idx

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput
from cloudchamber._core.files import cache_folder
from cloudchamber.data import ImagesConfig, available, load_data, stored
from cloudchamber.data.decoded import decoded_file
from cloudchamber.data.places import data_folder

CIFAR = ImagesConfig(name="cifar10", normalization="scaled")
TRAIN, TEST = pixels(20, 3, 32, 32), pixels(10, 3, 32, 32, seed=1)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Return an archive of made-up CIFAR-10, of which the source table knows, but which is nowhere."""
    path = write_cifar10(tmp_path / "made-up.tar.gz", TRAIN, TEST)
    point_to(monkeypatch, "cifar10", [origin(path)], [origin(path)], (20, 10))
    return path


def put(archive, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / archive.name).write_bytes(archive.read_bytes())
    return folder / archive.name


def downloads(cache):
    return cache / "downloads/cifar10"


def is_the_data(dataset):
    return torch.equal((dataset.inputs * 255).round().to(torch.uint8), TRAIN)


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    def forbid():
        monkeypatch.setitem(monkeypatched, "cifar10", stored.Kind((3, 32, 32), refuse))

    monkeypatched = dict(stored.KINDS)
    monkeypatch.setattr(stored, "KINDS", monkeypatched)
    return forbid


def test_nothing_is_available_where_nothing_is(archive, cache):
    assert not available("cifar10")
    with pytest.raises(FileAccess) as caught:
        load_data(CIFAR, seed=0)
    message = str(caught.value)
    for part in (
        "The data set cifar10 is neither in $CLOUDCHAMBER_DATA, which is not set, nor in",
        str(downloads(cache)),
        "http://127.0.0.1:9/nowhere: ",
        "Connection refused",
        "Remedy: connect to a network, or set CLOUDCHAMBER_DATA to a folder that holds cifar10/train.parquet "
        "or cifar10/made-up.tar.gz (from http://127.0.0.1:9/nowhere)",
    ):
        assert part in message


def test_the_folder_that_was_set_is_named_where_it_has_nothing(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path))
    assert not available("cifar10")
    with pytest.raises(FileAccess, match=f"neither in {tmp_path}, nor in"):
        load_data(CIFAR, seed=0)


def test_an_archive_in_the_data_folder_is_used(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "data"))
    put(archive, tmp_path / "data/cifar10")
    assert available("cifar10")
    found = load_data(CIFAR, seed=0)
    assert is_the_data(found)
    assert found.source == f"made-up.tar.gz ({origin(archive).checksum})"


def test_an_archive_in_the_data_folder_that_is_not_the_published_one_is_refused(archive, tmp_path, monkeypatch, cache):
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "data"))
    put(archive, tmp_path / "data/cifar10").write_bytes(b"another")
    put(archive, downloads(cache))
    with pytest.raises(DamagedFile, match=r"made-up.tar.gz must have the published md5:.*; got md5:"):
        load_data(CIFAR, seed=0)


def test_an_archive_in_the_cache_is_used(archive, cache):
    put(archive, downloads(cache))
    assert available("cifar10")
    assert is_the_data(load_data(CIFAR, seed=0))


def test_a_download_is_kept_and_used_from_then_on(archive, cache, monkeypatch):
    with served({"/c": archive.read_bytes()}) as (address, asked):
        known = origin(archive, f"{address}/c")
        point_to(monkeypatch, "cifar10", [known], [known], (20, 10))
        assert not available("cifar10")
        assert is_the_data(load_data(CIFAR, seed=0))
        assert (downloads(cache) / archive.name).read_bytes() == archive.read_bytes()
        assert len(load_data(CIFAR, seed=0, part="test")) == 10
        assert available("cifar10")
    assert asked == ["/c"]


def test_a_damaged_archive_in_the_cache_is_downloaded_again(archive, cache, monkeypatch, caplog):
    put(archive, downloads(cache)).write_bytes(b"half")
    with served({"/c": archive.read_bytes()}) as (address, _):
        known = origin(archive, f"{address}/c")
        point_to(monkeypatch, "cifar10", [known], [known], (20, 10))
        assert is_the_data(load_data(CIFAR, seed=0))
    assert "made-up.tar.gz is damaged and is downloaded again" in caplog.text


def test_a_wrong_download_is_refused_and_the_next_one_is_free_to_succeed(archive, cache, monkeypatch):
    with served({"/c": b"a page that says sorry"}) as (address, _):
        known = origin(archive, f"{address}/c")
        point_to(monkeypatch, "cifar10", [known], [known], (20, 10))
        with pytest.raises(DamagedFile, match=r"The data set cifar10 is neither in .*/c: md5:"):
            load_data(CIFAR, seed=0)
    assert list(downloads(cache).iterdir()) == []
    put(archive, downloads(cache))
    assert is_the_data(load_data(CIFAR, seed=0))


def test_decoded_images_are_enough(archive, cache, no_decoding):
    path = put(archive, downloads(cache))
    first = load_data(CIFAR, seed=0)
    load_data(CIFAR, seed=0, part="test")
    path.unlink()
    no_decoding()
    assert available("cifar10")
    second = load_data(CIFAR, seed=0)
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)
    assert (first.class_names, first.source) == (second.class_names, second.source)


def test_another_archive_is_decoded_anew(archive, cache, tmp_path, monkeypatch):
    put(archive, downloads(cache))
    load_data(CIFAR, seed=0)
    other = write_cifar10(tmp_path / "made-up.tar.gz", 255 - TRAIN, TEST)
    put(other, downloads(cache))
    point_to(monkeypatch, "cifar10", [origin(other)], [origin(other)], (20, 10))
    assert torch.equal(load_data(CIFAR, seed=0).inputs, (255 - TRAIN).float() * torch.tensor(1 / 255))


@pytest.mark.parametrize("damage", ["cut", "emptied", "another format"])
def test_damaged_decoded_images_are_made_anew(archive, cache, damage, caplog, monkeypatch):
    put(archive, downloads(cache))
    load_data(CIFAR, seed=0)
    path = decoded_file("cifar10-train", origin(archive).checksum)
    content = path.read_bytes()
    if damage == "another format":
        monkeypatch.setattr("cloudchamber.data.decoded._FORMAT", "2")
    else:
        path.write_bytes(content[:-1] if damage == "cut" else b"")
    assert is_the_data(load_data(CIFAR, seed=0))
    assert ("is damaged and is made anew" in caplog.text) == (damage != "another format")
    assert (path.read_bytes() == content) == (damage != "another format")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(archive, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "data"))
    put(archive, tmp_path / "data/cifar10")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert is_the_data(load_data(CIFAR, seed=0))
    assert "decoded images are not kept" in caplog.text


def test_samples_that_are_missing_are_warned_of_and_noted(archive, cache, monkeypatch, caplog):
    put(archive, downloads(cache))
    point_to(monkeypatch, "cifar10", [origin(archive)], [origin(archive)], (50_000, 10))
    with caplog.at_level(logging.WARNING, "cloudchamber"):
        found = load_data(CIFAR, seed=0)
    assert found.source.endswith("; 20 samples, 50000 as published")
    assert "20 samples, 50000 as published" in caplog.text


def test_images_of_another_size_are_refused(tmp_path, monkeypatch, cache):
    files = [write_idx(tmp_path / "i.gz", pixels(3, 20, 20)), write_idx(tmp_path / "l.gz", labels(3, 10))]
    known = [origin(file) for file in files]
    point_to(monkeypatch, "mnist", known, known, (3, 3))
    for file in files:
        put(file, cache / "downloads/mnist")
    with pytest.raises(DamagedFile, match=r"must hold images of \(1, 28, 28\); got \(1, 20, 20\)"):
        load_data(ImagesConfig(name="mnist"), seed=0)


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/cloudchamber")
    monkeypatch.setenv("HOME", "/home/somebody")
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == Path("/home/somebody/.cache/cloudchamber")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/somebody/.cache/cloudchamber")


def test_where_the_data_are(monkeypatch, tmp_path):
    assert data_folder() is None
    monkeypatch.setenv("CLOUDCHAMBER_DATA", "")
    assert data_folder() is None
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDCHAMBER_DATA", "~")
    assert data_folder() == tmp_path


def test_a_data_folder_that_is_none_is_told_and_not_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "tpyo"))
    for call in (lambda: available("mnist"), lambda: load_data(CIFAR, seed=0)):
        with pytest.raises(FileAccess, match=r"CLOUDCHAMBER_DATA names a folder; got .*tpyo"):
            call()


def test_what_is_always_there_and_what_does_not_exist():
    assert available("digits")
    assert available("sines")
    with pytest.raises(InvalidInput, match=r"a data set is one of digits, sines, cifar10, .*; got cifar11"):
        available("cifar11")
