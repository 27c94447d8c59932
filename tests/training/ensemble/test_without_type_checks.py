"""The refusals that type checking would be ahead of, once more in a process without it."""

import subprocess
import sys
from pathlib import Path

from unchecked import TYPES_ARE_CHECKED


def test_wrong_types():
    if not TYPES_ARE_CHECKED:
        return
    files = [Path(__file__).parent / f"test_{name}.py" for name in ("bad_input", "chunks", "stopping")]
    command = [sys.executable, "-m", "pytest", "-q", *files, "-p", "no:cacheprovider"]
    options = ["-o", "addopts=--import-mode=importlib", "-k", "options or data or refused"]
    found = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
