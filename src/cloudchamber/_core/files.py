"""Files that are either whole or absent: write to a temporary name beside the target, then rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudchamber._core.errors import FileAccess


def cache_folder() -> Path:
    """Return where is kept what can be had again: `$XDG_CACHE_HOME/cloudchamber`, by default ~/.cache."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    root = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return root / "cloudchamber"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, rename it to `path`.

    The content reaches the disk before the rename. After an exception the temporary file is removed and
    whatever stood at `path` still stands there.

    Raises:
        FileAccess: if the folder cannot be made or written.
    """
    target = Path(path)
    with _access_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        os.close(descriptor)
    temporary = Path(name)
    try:
        with _access_errors(target):
            yield temporary
            _apply_umask(temporary)
            _flush_to_disk(temporary)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes | memoryview) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    write_bytes(path, text.encode())


def make_folder(path: Path | str) -> Path:
    """Create a folder with its parents and check that it can be written.

    Raises:
        FileAccess: if it cannot be made or written.
    """
    folder = Path(path)
    with _access_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left behind in `folder`."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


@contextmanager
def _access_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileAccess):
            raise
        reason = error.strerror or str(error)
        raise FileAccess(
            f"{target} must be writable; got: {reason}. Remedy: choose another folder or free it."
        ) from error


def _apply_umask(path: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
