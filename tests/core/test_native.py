"""Native libraries: compiled once, shared by processes, and absent without harm."""

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloudchamber._core import native
from cloudchamber._core.native import library

COMPILER = native._compiler() or ""
pytestmark = pytest.mark.skipif(not COMPILER, reason="no C++ compiler")
SOURCE = 'extern "C" int seven() { return 7; }\n'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(native.SWITCH, raising=False)
    native._loaded.cache_clear()
    yield
    native._loaded.cache_clear()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "seven.cpp"
    path.write_text(SOURCE)
    return path


def compiled(tmp_path):
    return sorted((tmp_path / "cache" / "cloudchamber" / "native").iterdir())


def test_it_is_compiled_once_and_anew_when_its_source_changes(source, tmp_path, monkeypatch):
    found = library(source)
    assert found is not None
    assert found.seven() == 7
    assert len(compiled(tmp_path)) == 1
    native._loaded.cache_clear()
    monkeypatch.setattr(native, "_compile", None)  # is not called again
    assert library(source) is not None
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source.write_text(SOURCE.replace("7", "8"))
    native._loaded.cache_clear()
    found = library(source)
    assert found is not None
    assert found.seven() == 8
    assert len(compiled(tmp_path)) == 2


def test_many_that_compile_at_once_leave_one_whole_library(source, tmp_path):
    path = tmp_path / "cache" / "cloudchamber" / "native" / "seven.so"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: native._compile(source, COMPILER, path), range(4)))
    assert compiled(tmp_path) == [path]
    assert ctypes.CDLL(str(path)).seven() == 7


def test_it_can_be_switched_off(source, monkeypatch):
    assert native.compiler_name() not in ("", "off", "none")
    monkeypatch.setenv(native.SWITCH, "0")
    assert library(source) is None
    assert native.compiler_name() == "off"


def test_clangs_threads_are_not_torchs(monkeypatch, tmp_path):
    (tmp_path / "clang++-15").write_text("")
    monkeypatch.setattr(native, "_torch_shares_its_threads", lambda: True)
    assert "-fopenmp" in native._flags(COMPILER)
    assert "-fopenmp" not in native._flags(str(tmp_path / "clang++-15"))


def test_without_a_compiler_there_is_none(source, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library(source) is None
    assert "no C++ compiler" in caplog.text
    assert native.compiler_name() == "none"


def test_what_does_not_compile_is_said_and_done_without(source, tmp_path, caplog):
    caplog.set_level("INFO")
    source.write_text("this is no program")
    assert library(source) is None
    assert "seven.cpp is not used" in caplog.text
    assert compiled(tmp_path) == []


def test_a_damaged_library_is_done_without(source, tmp_path):
    folder = tmp_path / "cache" / "cloudchamber" / "native"
    folder.mkdir(parents=True)
    (folder / f"seven-{native._key(source, COMPILER)}.so").write_bytes(b"damaged")
    assert library(source) is None


def test_a_cache_that_cannot_be_written_is_done_without(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert library(source) is None


def test_importing_the_library_compiles_nothing(tmp_path):
    subprocess.run([sys.executable, "-c", "import cloudchamber"], check=True)
    assert not (tmp_path / "cache").exists()
