"""Files are whole or absent, also after an exception."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from cloudchamber._core.errors import FileAccess
from cloudchamber._core.files import atomic_path, make_folder, remove_temporaries, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_after_an_exception_the_old_file_stands(tmp_path, error, before):
    target = tmp_path / "file.txt"
    if before is not None:
        target.write_text(before)

    def write():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == ([] if before is None else ["file.txt"])
    assert before is None or target.read_text() == before


def test_an_existing_file_is_replaced_and_readers_of_the_old_one_keep_it(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with target.open() as reader:
        write_text(target, "new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_text_is_utf8_and_bytes_are_bytes(tmp_path):
    write_text(tmp_path / "a", "γ = ½\n")
    assert (tmp_path / "a").read_bytes() == "γ = ½\n".encode()
    write_bytes(tmp_path / "b", memoryview(b"\x00\xff"))
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("place", ["file/below", "file/below/deeper", "folder", "x" * 300])
def test_places_that_cannot_be_written(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileAccess, match=r"must be writable; got: .* Remedy"):
        write_text(tmp_path / place, "x")
    assert names(tmp_path) == ["file", "folder"]


def test_proc_cannot_be_written():
    with pytest.raises(FileAccess, match="must be writable"):
        write_text("/proc/file", "x")
    with pytest.raises(FileAccess, match="must be writable"):
        make_folder("/proc/folder")


def test_a_full_disk_is_explained(tmp_path):
    def write():
        with atomic_path(tmp_path / "file"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FileAccess, match="No space left on device"):
        write()
    assert names(tmp_path) == []


def test_make_folder(tmp_path):
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert make_folder(str(tmp_path / "a")) == tmp_path / "a"
    assert names(tmp_path / "a") == ["b"]
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(FileAccess, match="must be writable"):
            make_folder(tmp_path / place)


KILLED = """
import os, sys
from cloudchamber._core.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    target = tmp_path / "record.nc"
    target.write_text("old")
    for name in (".hidden", "visible.tmp"):
        (tmp_path / name).write_text("")
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert len(names(tmp_path)) == 4
    remove_temporaries(tmp_path)
    assert names(tmp_path) == [".hidden", "record.nc", "visible.tmp"]
    assert target.read_text() == "old"
