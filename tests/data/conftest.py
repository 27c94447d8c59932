"""Every test has an empty cache of its own, no data folder, and a network that ends at this machine."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # data_cases

REAL_FOLDER = os.environ.get("CLOUDCHAMBER_DATA", "")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("CLOUDCHAMBER_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "cloudchamber"


@pytest.fixture(scope="session")
def real_folder():
    """Return the folder of real data that the tests were started with, or skip."""
    if not REAL_FOLDER:
        pytest.skip("CLOUDCHAMBER_DATA is not set: NO REAL DATA WERE TESTED")
    return REAL_FOLDER
