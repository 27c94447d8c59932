"""Records on disk: what was written comes back, and what is damaged says so."""

import sqlite3
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import made_up_record

from cloudchamber._core import storage
from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.registry import quantities
from cloudchamber._core.schema import SCHEMA_VERSION, CoverageRow, Frame, LayerInfo
from cloudchamber._core.storage import JOURNAL_NAME, RECORD_NAME, Journal, open_record, save_record

RECORD = made_up_record(
    [0, 10, 20],
    [2.3, np.nan, 2.1],
    feature_cosine=[0.1, np.nan, np.inf],
    class_accuracy=np.array([np.linspace(0, 1, 10)] * 3),
    effective_width=[3, 2, 1],
    image_steps=(0, 20),
)


def frame(classes=3, widths=(3, 2)):
    return Frame(
        layers=tuple(LayerInfo(f"l{i}", "Linear", width, 5, "relu") for i, width in enumerate(widths)),
        coverage=(CoverageRow("l0", "Linear", "measured"),),
        classes=classes,
        quantities=quantities(),
        sample_classes=(0, 1, 2) if classes else (-1, -1, -1),
        neuron_ids=tuple(tuple(range(width)) for width in widths),
        constants={"constant_predictor_loss": 1.1},
        recipe="# ü\n",
    )


def observation(step, seed=0):
    random = np.random.default_rng(seed + step)
    cosines = np.ma.MaskedArray(random.normal(size=2), mask=[False, step % 2 == 1])
    cosines.data[0] = np.nan if step == 2 else cosines.data[0]
    values = {"probe_loss": np.ma.MaskedArray(np.float64(random.random()), mask=False), "feature_cosine": cosines}
    if step % 3 == 0:
        images = random.normal(size=(2, 3, 3)).astype(np.float32)
        mask = np.zeros((2, 3, 3), dtype=bool)
        mask[1, 2:], mask[1, :, 2:] = True, True
        values["neuron_cosine"] = np.ma.MaskedArray(images, mask=mask)
    return Observation(step, values)


def journal_with(path, steps, **changes):
    journal = Journal(path)
    journal.start(frame(**changes))
    for step in steps:
        journal.append(observation(step))
    return journal


def buffer_with(steps, **changes):
    buffer = RecordBuffer(frame(**changes))
    for step in steps:
        buffer.append(observation(step))
    return buffer


# netCDF


def test_a_saved_record_comes_back_identical(tmp_path):
    save_record(RECORD, tmp_path / RECORD_NAME)
    assert open_record(tmp_path / RECORD_NAME).identical(RECORD)
    assert open_record(str(tmp_path)).identical(RECORD)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("steps", [[], [1], [1, 2], [0, 1, 2, 3]])
def test_records_with_empty_dimensions_come_back_identical(tmp_path, classes, steps):
    record = buffer_with(steps, classes=classes).dataset()
    save_record(record, tmp_path / RECORD_NAME)
    assert open_record(tmp_path).identical(record)


def test_a_very_long_recipe_fits(tmp_path):
    record = RECORD.assign_attrs(recipe="x" * 200_000)
    save_record(record, tmp_path / RECORD_NAME)
    assert open_record(tmp_path).attrs["recipe"] == record.attrs["recipe"]


def test_saving_again_replaces(tmp_path):
    save_record(RECORD, tmp_path / RECORD_NAME)
    save_record(RECORD.isel(step=slice(2)), tmp_path / RECORD_NAME)
    assert open_record(tmp_path).sizes["step"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [RECORD_NAME]


def test_the_file_is_plain_netcdf_that_others_can_read(tmp_path):
    save_record(RECORD, tmp_path / RECORD_NAME)
    with xr.open_dataset(tmp_path / RECORD_NAME, engine="h5netcdf") as dataset:
        np.testing.assert_array_equal(dataset.probe_loss, RECORD.probe_loss)


def test_a_file_that_was_read_can_be_replaced_and_deleted(tmp_path):
    save_record(RECORD, tmp_path / RECORD_NAME)
    record = open_record(tmp_path)
    (tmp_path / RECORD_NAME).unlink()
    assert record.load().identical(RECORD)


def test_every_truncation_is_damage(tmp_path):
    save_record(RECORD, tmp_path / RECORD_NAME)
    content = (tmp_path / RECORD_NAME).read_bytes()
    for length in [*range(0, 100, 9), *range(100, len(content), len(content) // 60), len(content) - 60]:
        (tmp_path / RECORD_NAME).write_bytes(content[:length])
        with pytest.raises(DamagedFile, match=r"Remedy: delete it"):
            open_record(tmp_path)


def test_every_changed_byte_is_damage_or_harmless(tmp_path):
    save_record(RECORD, tmp_path / RECORD_NAME)
    content = (tmp_path / RECORD_NAME).read_bytes()
    random = np.random.default_rng(0)
    for place in [*random.integers(0, len(content), 40), len(content) - 1, len(content) - 20]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        (tmp_path / RECORD_NAME).write_bytes(changed)
        with suppress(DamagedFile):
            assert open_record(tmp_path).identical(RECORD)


def foreign_netcdf(path):
    xr.Dataset({"x": ("t", np.arange(3.0))}).to_netcdf(path, engine="h5netcdf")


def foreign_netcdf3(path):
    path.write_bytes(b"CDF\x01" + bytes(200))


FOREIGN = {
    "text": lambda path: path.write_text("not a record"),
    "nothing": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "signature": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000)),
    "netCDF": foreign_netcdf,
    "netCDF 3": foreign_netcdf3,
    "SQLite": lambda path: journal_with(path, [0]),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_record_is_damage(tmp_path, kind):
    FOREIGN[kind](tmp_path / RECORD_NAME)
    with pytest.raises(DamagedFile, match="Remedy"):
        open_record(tmp_path / RECORD_NAME)


@pytest.mark.parametrize("version", ["one", -3, 0, np.nan, [1, 2], 0.5])
def test_a_version_that_never_was_is_damage(tmp_path, version):
    save_record(RECORD.assign_attrs(schema_version=version), tmp_path / RECORD_NAME)
    with pytest.raises(DamagedFile, match="Remedy"):
        open_record(tmp_path)


def test_a_newer_schema_asks_for_an_update(tmp_path):
    save_record(RECORD.assign_attrs(schema_version=SCHEMA_VERSION + 1), tmp_path / RECORD_NAME)
    with pytest.raises(InvalidInput, match="Remedy: update cloudchamber"):
        open_record(tmp_path)


def test_older_records_are_migrated_step_by_step(tmp_path, monkeypatch):
    save_record(RECORD.rename(probe_loss="old_loss").assign_attrs(schema_version=1), tmp_path / RECORD_NAME)
    monkeypatch.setattr(storage, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(storage.MIGRATIONS, 1, lambda r: r.rename(old_loss="loss_2").assign_attrs(schema_version=2))
    monkeypatch.setitem(storage.MIGRATIONS, 2, lambda r: r.rename(loss_2="probe_loss").assign_attrs(schema_version=3))
    record = open_record(tmp_path)
    assert record.attrs["schema_version"] == 3
    np.testing.assert_array_equal(record.probe_loss, RECORD.probe_loss)


@pytest.mark.parametrize("name", ["missing.nc", "folder/record.nc", "journal.sqlite"])
def test_a_missing_file_cannot_be_accessed(tmp_path, name):
    with pytest.raises(FileAccess, match="Remedy: check the path"):
        open_record(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_cannot_be_accessed(tmp_path):
    with pytest.raises(FileAccess, match=r"record\.nc or journal\.sqlite; got: neither"):
        open_record(tmp_path)


@pytest.mark.parametrize("folder", ["file/below", "file"])
def test_an_unwritable_folder(tmp_path, folder):
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(FileAccess, match="must be writable"):
        save_record(RECORD, tmp_path / folder / RECORD_NAME)


def test_a_folder_in_the_place_of_the_record(tmp_path):
    (tmp_path / RECORD_NAME).mkdir()
    with pytest.raises(FileAccess, match="must be writable"):
        save_record(RECORD, tmp_path / RECORD_NAME)
    assert [path.name for path in tmp_path.iterdir()] == [RECORD_NAME]


# the journal


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.sets(st.integers(0, 2**40), max_size=6))
def test_a_journal_gives_back_what_was_appended(tmp_path, steps):
    steps = sorted(steps)
    loaded = journal_with(tmp_path / JOURNAL_NAME, steps).load()
    assert loaded.frame == frame()
    assert loaded.dataset().identical(buffer_with(steps).dataset())
    for found, expected in zip(loaded.observations, buffer_with(steps).observations, strict=True):
        for name, array in expected.values.items():
            assert found.values[name].dtype == array.dtype
            np.testing.assert_array_equal(np.ma.getmaskarray(found.values[name]), np.ma.getmaskarray(array))
            np.testing.assert_array_equal(found.values[name].data, array.data)


def test_a_run_folder_with_only_a_journal_is_read(tmp_path):
    journal_with(tmp_path / JOURNAL_NAME, [0, 1, 3])
    assert open_record(tmp_path).identical(buffer_with([0, 1, 3]).dataset())
    assert open_record(tmp_path / JOURNAL_NAME).identical(buffer_with([0, 1, 3]).dataset())


def test_the_journal_is_read_where_it_knows_more_than_the_record(tmp_path):
    save_record(buffer_with([0, 1]).dataset(), tmp_path / RECORD_NAME)
    journal = journal_with(tmp_path / JOURNAL_NAME, [0, 1])
    assert open_record(tmp_path).step.values.tolist() == [0, 1]
    journal.append(observation(5))  # the run was resumed, then killed
    assert open_record(tmp_path).step.values.tolist() == [0, 1, 5]
    assert open_record(tmp_path / RECORD_NAME).step.values.tolist() == [0, 1]


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_whole_record_is_read_whatever_the_journal_is(tmp_path, damage):
    save_record(buffer_with([0, 1]).dataset(), tmp_path / RECORD_NAME)
    if damage is not None:
        (tmp_path / JOURNAL_NAME).write_bytes(damage)
    assert open_record(tmp_path).step.values.tolist() == [0, 1]


def test_starting_empties_and_truncating_forgets(tmp_path):
    journal = journal_with(tmp_path / JOURNAL_NAME, [0, 1, 2, 3])
    journal.truncate(1)
    assert [o.step for o in journal.load().observations] == [0, 1]
    journal.append(observation(2))
    journal.truncate(99)
    assert journal.load().last_step == 2
    journal.start(frame(classes=0))
    assert journal.load().frame.classes == 0
    assert journal.load().last_step == -1


def test_the_same_step_is_not_committed_twice(tmp_path):
    journal = journal_with(tmp_path / JOURNAL_NAME, [0, 1])
    with pytest.raises((DamagedFile, InvalidInput, FileAccess)):
        journal.append(observation(1))
    assert journal.load().dataset().identical(buffer_with([0, 1]).dataset())


def test_every_truncation_of_a_journal_is_damage_or_a_prefix(tmp_path):
    journal = journal_with(tmp_path / JOURNAL_NAME, range(6))
    content = journal.path.read_bytes()
    for length in [*range(0, 100, 7), *range(100, len(content), 997), len(content) - 1]:
        journal.path.write_bytes(content[:length])
        with pytest.raises(DamagedFile, match="Remedy"):
            open_record(tmp_path)


def test_a_changed_byte_of_a_journal_raises_nothing_else(tmp_path):
    journal = journal_with(tmp_path / JOURNAL_NAME, range(6))
    content = journal.path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        changed, place = bytearray(content), int(random.integers(0, len(content)))
        changed[place] ^= 1 << int(random.integers(8))
        journal.path.write_bytes(changed)
        with suppress(DamagedFile, FileAccess, InvalidInput):
            open_record(tmp_path)


def sql(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def other_tables(path):
    sql(path, "CREATE TABLE frame (other TEXT)", "CREATE TABLE observation (other TEXT)")


def text_frame(text):
    def write(path):
        journal_with(path, [0])
        sql(path, f"UPDATE frame SET content = '{text}'")

    return write


def no_frame(path):
    journal_with(path, [0])
    sql(path, "DELETE FROM frame")


def newer_frame(path):
    journal_with(path, [0])
    sql(path, 'UPDATE frame SET content = replace(content, \'"classes"\', \'"new_field": 1, "classes"\')')


DAMAGED_JOURNALS = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a journal " * 50),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)),
    "netCDF": lambda path: save_record(RECORD, path),
    "no tables": lambda path: sql(path, "CREATE TABLE t (x)"),
    "other tables": other_tables,
    "no frame": no_frame,
    "newer frame": newer_frame,
    "not JSON": text_frame("{"),
    "a list": text_frame("[]"),
    "a number": text_frame("3"),
    "other JSON": text_frame('{"layers": 3}'),
    "null": text_frame("null"),
}


@pytest.mark.parametrize("kind", DAMAGED_JOURNALS)
def test_what_is_no_journal_is_damage(tmp_path, kind):
    DAMAGED_JOURNALS[kind](tmp_path / JOURNAL_NAME)
    with pytest.raises(DamagedFile, match="Remedy"):
        open_record(tmp_path)
    with pytest.raises(DamagedFile, match="Remedy"):
        Journal(tmp_path / JOURNAL_NAME).load()


def test_reading_makes_no_journal(tmp_path):
    with pytest.raises(FileAccess):
        Journal(tmp_path / JOURNAL_NAME).load()
    with pytest.raises(FileAccess):
        Journal(tmp_path / JOURNAL_NAME).append(observation(0))
    assert not list(tmp_path.iterdir())


def test_a_journal_in_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path / "file" / JOURNAL_NAME,
        tmp_path / "nowhere" / JOURNAL_NAME,
        "/proc/journal.sqlite",
        tmp_path,
    ):
        with pytest.raises(FileAccess, match="Remedy"):
            Journal(path).start(frame())


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")  # so that the transaction reaches the file before its end
connection.execute("BEGIN IMMEDIATE")
for step in range(100, 400):
    values = (step, "probe_loss", "<f8", "[]", os.urandom(2000), b"", 0)
    connection.execute("INSERT INTO observation VALUES (?, ?, ?, ?, ?, ?, ?)", values)
os.kill(os.getpid(), 9)
"""


def test_a_journal_killed_within_a_transaction_holds_all_before(tmp_path):
    journal = journal_with(tmp_path / JOURNAL_NAME, range(4))
    size = journal.path.stat().st_size
    killed = subprocess.run([sys.executable, "-c", KILLED, str(journal.path)], check=False)
    assert killed.returncode == -9
    assert journal.path.stat().st_size > size
    assert open_record(tmp_path).identical(buffer_with(range(4)).dataset())
    journal.append(observation(4))
    assert journal.load().last_step == 4


def test_a_journal_can_be_read_while_it_is_written(tmp_path):
    journal = journal_with(tmp_path / JOURNAL_NAME, [0])
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert open_record(tmp_path).step.values.tolist() == [0]
    connection.close()
