"""A sweep can be killed at any instant, again and again, and goes on to the bit-identical dataset."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLER = Path(__file__).parent / "sweep_killer.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="sweeps are forked")
def test_a_sweep_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    command = [sys.executable, str(KILLER), str(tmp_path), "120", "6", "6"]  # 2 000 cells, 20 kills: see docs/sweeps.md
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    added = json.loads(ended.stdout)["added"]
    assert len(added) == 6
    assert sum(added) > 0
