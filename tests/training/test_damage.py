"""Damaged files, full disks, folders that cannot be written: typed errors with a remedy, and nothing is lost."""

import errno
import os
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import FILES, SINES, Do, assert_same, bits, checkpoint, files, journal, small

from cloudchamber._core import files as core_files
from cloudchamber._core import storage
from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput, InvalidRecipe
from cloudchamber._core.record import Observation
from cloudchamber.training import resume, run
from cloudchamber.training.checkpoint import Checkpoint

STATE = "checkpoint/state.pt"


class Stop(Exception):
    pass


def stop():
    raise Stop


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(small(SINES), tmp_path_factory.mktemp("whole") / "run").folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Stop):
        run(small(SINES), folder, callbacks=[Do(24, stop)])
    return folder


@pytest.fixture
def folder(tmp_path, stopped):
    """A run that was killed at step 24, after its checkpoint at step 21."""
    return shutil.copytree(stopped, tmp_path / "run")


def refuses(folder, error, *parts):
    """Check that resuming raises an error that says what to do, and that it leaves the folder as it is."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(error) as caught:
        resume(folder)
    message = str(caught.value)
    assert "Remedy: " in message
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_stopped_run_goes_on(folder, whole):
    resume(folder)
    assert_same(folder, whole)


REMEDY = "Remedy: delete it and resume: the run then starts again from step 0."


def test_a_truncated_checkpoint_is_damaged_whatever_its_length(folder, whole):
    content = (folder / STATE).read_bytes()
    for length in [*range(0, 64, 7), *range(64, len(content), len(content) // 40), len(content) - 1]:
        (folder / STATE).write_bytes(content[:length])
        refuses(folder, DamagedFile, f"{folder / STATE} must be a whole checkpoint of this run; got: ", REMEDY)
    (folder / STATE).unlink()
    assert resume(folder).status == "finished"
    assert_same(folder, whole)


@pytest.mark.parametrize(
    "content", [b"garbage", b"PK\x03\x04" + bytes(99), bytes(5000), b"\x80\x02}q\x00.", b"\x89HDF"]
)
def test_garbage_is_no_checkpoint(folder, content):
    (folder / STATE).write_bytes(content)
    refuses(folder, DamagedFile, REMEDY)


def test_a_checkpoint_with_one_changed_byte_is_found_out_or_the_same(folder):
    content = (folder / STATE).read_bytes()
    numbers = random.Random(0)
    before = storage.Journal(folder / "journal.sqlite").load()
    found = 0
    for _ in range(150):
        place = numbers.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << numbers.randrange(8)
        (folder / STATE).write_bytes(changed)
        found += not same_checkpoint(folder, content)
    assert found > 50
    assert storage.Journal(folder / "journal.sqlite").load().last_step == before.last_step


def same_checkpoint(folder, content):
    """Load the checkpoint; True if it is that of `content`, False if it is refused, an error otherwise."""
    try:
        loaded = Checkpoint.load(folder)
    except DamagedFile:
        return False
    (folder / STATE).write_bytes(content)
    assert bits(vars(loaded)) == bits(checkpoint(folder))
    return True


def test_loading_a_checkpoint_runs_no_code(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save({"step": 1, "model": Evil(), "optimizer": {}, "random": []}, folder / STATE)
    refuses(folder, DamagedFile, REMEDY)
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_that_is_something_else_is_damaged(folder):
    for content in ({}, {"step": 3}, torch.zeros(3), [1], {"step": 1, "model": {}, "optimizer": {}, "random": []}):
        torch.save(content, folder / STATE)
        refuses(folder, DamagedFile, REMEDY)


def test_a_checkpoint_that_is_a_folder_is_an_access_error(folder):
    (folder / STATE).unlink()
    (folder / STATE).mkdir()
    refuses(folder, FileAccess, "must be readable")


def test_a_missing_journal_is_named_with_a_way_out(folder, whole):
    (folder / "journal.sqlite").unlink()
    refuses(
        folder,
        DamagedFile,
        "journal.sqlite must hold the observations until the checkpoint at step 21; got: no such file.",
        f"Remedy: delete {folder / STATE} and resume: the run then starts again from step 0.",
    )
    assert not (folder / "journal.sqlite").exists()
    (folder / STATE).unlink()
    resume(folder)
    assert_same(folder, whole)


def test_a_truncated_journal_is_damaged_whatever_its_length(folder):
    content = (folder / "journal.sqlite").read_bytes()
    for length in [0, 1, 50, 99, 100, 2000, 4096, *range(8192, len(content), 16 * 4096), len(content) - 4096]:
        (folder / "journal.sqlite").write_bytes(content[:length])
        refuses(folder, DamagedFile, "journal.sqlite must be the whole journal of a run; got: ", "in a new folder")


def test_a_journal_that_lost_bytes_is_found_out_or_the_same(folder):
    whole = journal(folder)
    content = (folder / "journal.sqlite").read_bytes()
    numbers, found = random.Random(0), 0
    for trial in range(200):
        changed = bytearray(content)
        if trial < 50:
            del changed[-1 - trial * 80 :]
        else:
            changed[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        (folder / "journal.sqlite").write_bytes(changed)
        try:
            storage.Journal(folder / "journal.sqlite").load()
        except DamagedFile:
            found += 1
        else:
            assert journal(folder)[1] == whole[1]
    assert found > 50


def test_garbage_is_no_journal(folder):
    (folder / "journal.sqlite").write_bytes(b"garbage" * 1000)
    refuses(folder, DamagedFile, "file is not a database")
    (folder / STATE).unlink()
    with pytest.raises(DamagedFile, match="Remedy: start the run again in a new folder"):
        resume(folder)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM frame",
        "UPDATE frame SET content = '{'",
        "UPDATE frame SET content = '{}'",
        "UPDATE observation SET dtype = 'x'",
        "UPDATE observation SET shape = '[7]'",
        "UPDATE observation SET data = x'00'",
        "DROP TABLE observation",
    ],
)
def test_a_journal_with_wrong_content_is_damaged(folder, change):
    connection = sqlite3.connect(folder / "journal.sqlite")
    with connection:
        connection.execute(change)
    connection.close()
    refuses(folder, DamagedFile, "journal.sqlite must be the whole journal of a run; got: ")


def test_a_journal_that_ends_before_the_checkpoint_is_named_with_a_way_out(folder, whole):
    storage.Journal(folder / "journal.sqlite").truncate(16)
    refuses(folder, DamagedFile, "until the checkpoint at step 21; got: it ends at step 16.", "Remedy: delete ")
    (folder / STATE).unlink()
    resume(folder)
    assert_same(folder, whole)


def test_the_last_observation_of_a_finished_run_is_missed(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "run")
    storage.Journal(folder / "journal.sqlite").truncate(28)
    refuses(folder, DamagedFile, "until the checkpoint at step 30; got: it ends at step 28.")


@pytest.mark.parametrize("content", [b"steps: [", b"\xff", b"- 1"])
def test_a_damaged_recipe_is_named(folder, content):
    (folder / "recipe.yaml").write_bytes(content)
    refuses(folder, InvalidRecipe, "recipe.yaml")


def test_a_recipe_that_lost_its_end_is_not_taken_for_another(folder):
    content = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(content[: content.index("observe")])
    refuses(folder, InvalidInput, "a continued record is of the same recipe")


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[]", b'{"threads": "many"}'])
def test_the_environment_is_for_people_only(folder, whole, content):
    if content is None:
        (folder / "environment.json").unlink()
    else:
        (folder / "environment.json").write_bytes(content)
    resume(folder)
    assert checkpoint(folder)["step"] == 30
    assert journal(folder) == journal(whole)


@pytest.mark.parametrize("length", [0, 1, 100, 10_000])
def test_a_truncated_record_does_not_matter(tmp_path, whole, length):
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / "record.nc").write_bytes((folder / "record.nc").read_bytes()[:length])
    resume(folder)
    assert_same(folder, whole)


def test_leftovers_of_a_killed_writer_are_removed(tmp_path, folder, whole):
    for leftover in (".recipe.yaml.abc.tmp", ".record.nc.abc.tmp", "checkpoint/.state.pt.abc.tmp"):
        (folder / leftover).write_text("half")
    resume(folder)
    assert_same(folder, whole)
    (tmp_path / "new").mkdir()
    (tmp_path / "new/.recipe.yaml.abc.tmp").write_text("half")
    run(small(SINES), tmp_path / "new")
    assert_same(tmp_path / "new", whole)


def test_a_folder_that_cannot_be_made_is_an_access_error(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/run", tmp_path / ("x" * 300), "/proc/none/run"):
        with pytest.raises(FileAccess, match=r"must be writable; got: .* Remedy: "):
            run(small(SINES), folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_an_access_error(folder):
    folder.chmod(0o500)
    with pytest.raises(FileAccess, match="must be writable"):
        resume(folder)
    folder.chmod(0o700)


def disk_full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["state.pt", "record.nc"])
@pytest.mark.parametrize("place", ["write", "flush"])
def test_a_full_disk_leaves_the_old_file_and_the_run_goes_on_later(folder, whole, monkeypatch, name, place):
    (old,) = [path for path in (folder / STATE, whole / "record.nc") if path.name == name]
    if name == "record.nc":
        old = Path(shutil.copy(old, folder))
    before = old.read_bytes()
    with monkeypatch.context() as patch:
        if place == "flush":
            flush = core_files._flush_to_disk
            patch.setattr(core_files, "_flush_to_disk", lambda path: (disk_full if name in path.name else flush)(path))
        else:
            write = core_files.Path.write_bytes
            full = lambda path, content: (disk_full if name in path.name else write)(path, content)  # noqa: E731
            patch.setattr(core_files.Path, "write_bytes", full)
        with pytest.raises(FileAccess, match=rf"{name} must be writable; got: No space left on device. Remedy: "):
            resume(folder)
    assert old.read_bytes() == before
    assert files(folder) <= FILES
    resume(folder)
    assert_same(folder, whole)


def test_a_full_disk_under_the_journal_leaves_what_was_committed(folder, whole, monkeypatch):
    class Full(sqlite3.Connection):
        def executemany(self, *arguments):
            super().executemany(*arguments)
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(storage.sqlite3, "connect", lambda *place, **how: connect(*place, **how, factory=Full))
        with pytest.raises(FileAccess, match=r"got: database or disk is full. Remedy: free the disk"):
            resume(folder)
    assert storage.Journal(folder / "journal.sqlite").load().last_step == 20
    resume(folder)
    assert_same(folder, whole)


def test_a_journal_that_reaches_its_size_limit_is_an_access_error(folder, whole, monkeypatch):
    connect, pages = sqlite3.connect, (folder / "journal.sqlite").stat().st_size // 4096

    def small_disk(*place, **how):
        connection = connect(*place, **how)
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(storage.sqlite3, "connect", small_disk)
        patch.setattr(storage.Journal, "truncate", lambda *_: None)
        with pytest.raises(FileAccess, match=r"got: database or disk is full. Remedy: free the disk"):
            storage.Journal(folder / "journal.sqlite").append(big(31))
    resume(folder)
    assert_same(folder, whole)


def big(step):
    return Observation(step, {"neuron_cosine": np.ma.MaskedArray(np.zeros((1, 100, 1000)))})
