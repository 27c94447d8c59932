"""The tests that type checking gets in the way of, once more in a process without it."""

import subprocess
import sys
from pathlib import Path

from unchecked import TYPES_ARE_CHECKED


def test_wrong_types():
    if not TYPES_ARE_CHECKED:
        return
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        Path(__file__).with_name("test_rescue.py"),
        "-p",
        "no:cacheprovider",
    ]
    options = ["-o", "addopts=--import-mode=importlib", "-k", "wrong_types_are"]
    found = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
