"""The ledger: one writer, damage, full disks."""

import os
import random
import sqlite3
import subprocess
import sys

import pytest
from sweep_cases import NUMBERS, Watching, bits, times

from cloudchamber import DamagedFile, FileAccess, InvalidInput
from cloudchamber.training.sweep import ledger as ledgers
from cloudchamber.training.sweep.execute import execute
from cloudchamber.training.sweep.ledger import Ledger, name_of


@pytest.fixture
def path(tmp_path):
    """A ledger with half of the numbers."""
    execute(NUMBERS[:2], times, ledger=tmp_path / "ledger.sqlite")
    return tmp_path / "ledger.sqlite"


def holds(path, count):
    assert bits(Ledger(path, name_of(times)).load()) == bits(execute(NUMBERS[:count], times))


def test_a_second_process_is_refused_while_the_first_one_writes(path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cloudchamber import FileAccess\n"
        "from cloudchamber.training.sweep.ledger import Ledger\n"
        "book = Ledger(Path(sys.argv[1]), 'w')\n"
        "try:\n"
        "    with book.held(): print('held')\n"
        "except FileAccess as error: print(error)\n"
    )

    def other():
        command = [sys.executable, "-c", code, path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    said = []
    execute(NUMBERS, times, ledger=path, callbacks=[Watching(1, lambda: said.append(other()))])
    assert said[0].startswith("one process writes a ledger at a time; got ")
    assert "Remedy: wait for it, or choose another folder." in said[0]
    holds(path, 4)


def test_a_second_sweep_in_this_process_is_refused_and_readers_are_not(path):
    def look():
        with pytest.raises(FileAccess, match="which another one is writing"):
            execute(NUMBERS, times, ledger=path)
        holds(path, 3)

    execute(NUMBERS, times, ledger=path, callbacks=[Watching(1, look)])
    holds(path, 4)


def test_a_killed_writer_leaves_no_lock(path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from cloudchamber.training.sweep.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1]), 'w').held(): os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    execute(NUMBERS, times, ledger=path)
    holds(path, 4)


def test_a_full_disk_keeps_what_was_committed_and_the_sweep_goes_on_later(path, monkeypatch):
    connect, pages = ledgers._connect, path.stat().st_size // 4096

    def small_disk(*arguments):
        connection = connect(*arguments)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(ledgers, "_connect", small_disk)
        with pytest.raises(FileAccess, match=r"got: database or disk is full. Remedy: free the disk, then start"):
            execute(NUMBERS, times, ledger=path)
    found = Ledger(path, name_of(times)).load()
    assert 2 <= len(found) < 4
    execute(NUMBERS, times, ledger=path)
    holds(path, 4)


def test_a_folder_that_cannot_be_made_is_an_access_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileAccess, match=r"must be writable; got: .* Remedy: "):
        execute(NUMBERS, times, ledger=tmp_path / "file" / "ledger")


def test_garbage_is_no_ledger(path):
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(DamagedFile, match=r"ledger of a sweep; got: file is not a database. Remedy: "):
        execute(NUMBERS, times, ledger=path)


def test_a_truncated_ledger_is_damaged_or_empty_or_whole(path):
    content = path.read_bytes()
    for length in [*range(0, 200, 20), *range(0, len(content), 4096), len(content) - 1]:
        path.write_bytes(content[:length])
        try:
            found = Ledger(path, name_of(times)).load()
        except DamagedFile:
            continue
        assert length in (0, len(content) - 1), length
        assert len(found) in (0, 2)


def test_changed_bytes_are_found_out_or_do_not_matter(path):
    content, whole = path.read_bytes(), bits(Ledger(path, name_of(times)).load())
    numbers, found = random.Random(0), 0
    for _ in range(300):
        changed = bytearray(content)
        changed[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        path.write_bytes(changed)
        try:
            assert bits(Ledger(path, name_of(times)).load()).items() <= whole.items()
        except (DamagedFile, InvalidInput):
            found += 1
    assert found > 30


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE chunk SET errors = '{'",
        "UPDATE chunk SET errors = '[]'",
        "UPDATE chunk SET arrays = x'00'",
        "UPDATE chunk SET checksum = 0",
        "DROP TABLE chunk",
    ],
)
def test_wrong_content_is_damage(path, change):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(DamagedFile, match=r"whole ledger of a sweep; got: .* Remedy: delete it and start"):
        execute(NUMBERS, times, ledger=path)


def test_a_ledger_of_a_newer_version_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(InvalidInput, match=r"reads ledgers of format 1; got 7 .* Remedy: update cloudchamber"):
        execute(NUMBERS, times, ledger=path)


def test_a_ledger_of_pickled_objects_is_not_loaded(path, tmp_path):
    import io

    import numpy as np

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    content = io.BytesIO()
    np.savez(content, **{"/value": np.array([Evil()], dtype=object)})
    row = ("[null]", "{}", 0.0, content.getvalue())
    checksum = ledgers._checksum(name_of(times), "key", *row)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?)", (name_of(times), "key", *row, checksum))
    connection.close()
    with pytest.raises(DamagedFile, match="allow_pickle=False"):
        Ledger(path, name_of(times)).load()
    assert not (tmp_path / "evil").exists()
