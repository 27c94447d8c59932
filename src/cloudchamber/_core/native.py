"""Small C++ libraries, compiled once per machine for its processor; everything works without them, only slower.

They lie in the user's cache folder under a name that says what they were made of: source, compiler and processor. The
environment variable CLOUDCHAMBER_NATIVE=0 switches them off.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

from cloudchamber._core.errors import FileAccess
from cloudchamber._core.files import atomic_path, cache_folder

SWITCH = "CLOUDCHAMBER_NATIVE"
_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC"),
    *("-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
_PATIENCE = 60
_log = logging.getLogger("cloudchamber")


def library(source: Path) -> ctypes.CDLL | None:
    """Return a C++ source as a library, compiled where this was not done yet (about a second, logged).

    Args:
        source: one file that needs only the standard library.

    Returns:
        The library; None where there is no compiler or it fails, and where native code is switched off.
    """
    return None if os.environ.get(SWITCH, "1") == "0" else _loaded(source)


def compiler_name() -> str:
    """Return what native code is compiled with here, or why there is none: "off", "none".

    >>> bool(compiler_name())
    True
    """
    compiler = _compiler()
    if os.environ.get(SWITCH, "1") == "0":
        return "off"
    return "none" if compiler is None else Path(compiler).resolve().name


@cache
def _loaded(source: Path) -> ctypes.CDLL | None:
    compiler = _compiler()
    if compiler is None:
        _log.info("%s is not compiled: no C++ compiler was found.", source.name)
        return None
    path = cache_folder() / "native" / f"{source.stem}-{_key(source, compiler)}.so"
    try:
        if not path.is_file():
            _compile(source, compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, FileAccess, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        _log.info("%s is not used: %s", source.name, said.strip())
        return None


def _compiler() -> str | None:
    """The C++ compiler that $CXX names, or a usual one."""
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [named] if named else ["c++", "g++", "clang++"])), None)


def _compile(source: Path, compiler: str, path: Path) -> None:
    """Compile to a file that is there as a whole or not at all, whoever else does the same."""
    start = time.perf_counter()
    with atomic_path(path) as temporary:
        command = [compiler, *_flags(compiler), "-o", str(temporary), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE)
    _log.info("Compiled %s for this processor, once: %.1f s.", source.name, time.perf_counter() - start)


def _flags(compiler: str) -> tuple[str, ...]:
    """With threads only where they are torch's own: a second pool of them, as clang's, would stand in their way."""
    clang = "clang" in Path(compiler).resolve().name
    return (*_FLAGS, "-fopenmp") if not clang and _torch_shares_its_threads() else _FLAGS


def _torch_shares_its_threads() -> bool:
    """Whether torch has loaded the library of threads under the name that compilers link to."""
    try:
        return any(line.endswith("/libgomp.so.1") for line in Path("/proc/self/maps").read_text().splitlines())
    except OSError:
        return False


def _key(source: Path, compiler: str) -> str:
    made = Path(compiler).resolve()
    parts = (*_flags(compiler), str(made), str(made.stat().st_mtime_ns), _processor())
    return hashlib.sha256(source.read_bytes() + "\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """What instructions this processor knows: home folders are shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return "\n".join([platform.machine(), platform.processor(), *dict.fromkeys(known)])
