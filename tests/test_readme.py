"""The README tells the truth: its snippet runs as it stands, its commands exist, its pictures are there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_snippet_runs_as_it_stands(tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "own_loop.py").write_text(snippet, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "own_loop.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "how sure" in done.stdout
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_its_pictures_and_links_exist():
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_it_fits_on_two_screens():
    assert README.count("\n") <= 110
