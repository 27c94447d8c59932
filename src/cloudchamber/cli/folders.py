"""Where a run goes when nobody says where."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def next_folder(parent: Path) -> Path:
    """Return the first of parent/001, parent/002, ... that does not exist.

    >>> next_folder(Path("does-not-exist")).as_posix()
    'does-not-exist/001'
    """
    return next(folder for number in count(1) if not (folder := parent / f"{number:03d}").exists())
