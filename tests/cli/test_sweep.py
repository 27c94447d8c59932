"""`cloudchamber sweep` as a shell user meets it."""

import os
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr

import cloudchamber as cc
from cloudchamber.cli import main
from cloudchamber.cli.progress import BarProgress, Tally, progress
from cloudchamber.cli.sweep_words import duration
from cloudchamber.training.sweep.chunks import Chunk, Outcome

RECIPE = """
recipe:
  data: {name: sines, samples: 20, dimension: 2}
  model: {depth: 2, width: 4}
  batch_size: null
  steps: 5
"""
SWEEP = f"{RECIPE}axes:\n  optimizer.lr: [0.1, 1.0e+6]\n  seed: {{range: 3}}\n"


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run a command in this process; return its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr.yaml").write_text(SWEEP)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloudchamber", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return command


def test_sweep_says_what_came_of_it_and_leaves_a_folder(cli, tmp_path):
    code, out, err = cli("sweep", "lr.yaml")
    assert code == 0, err
    assert "0/6 cells in 1 chunks" in out
    assert "6/6 cells, 3 diverged" in out
    assert "6 cells: 3 finished, 3 diverged" in out
    assert "lowest probe_loss" in out
    assert "at optimizer.lr=0.1, seed=" in out
    assert out.endswith("dataset  sweeps/001/sweep.nc\n")
    with xr.open_dataset(tmp_path / "sweeps/001/sweep.nc", engine="h5netcdf") as dataset:
        assert dict(dataset.probe_loss.sizes) == {"optimizer.lr": 2, "seed": 3}
    assert cli("sweep", "lr.yaml")[0] == 0
    assert (tmp_path / "sweeps/002").is_dir()


def test_the_same_folder_goes_on(cli, tmp_path):
    cli("sweep", "lr.yaml", "--out", "here")
    before = (tmp_path / "here/sweep.nc").read_bytes()
    for arguments in (("lr.yaml", "--out", "here"), ("--resume", "here")):
        code, out, err = cli("sweep", *arguments)
        assert code == 0, err
        assert "6/6 cells in 1 chunks" in out
        assert (tmp_path / "here/sweep.nc").read_bytes() == before


def test_dry_run_shows_cells_chunks_and_time_and_runs_nothing(cli, tmp_path):
    code, out, err = cli("sweep", "lr.yaml", "--dry-run", "--set", "steps=50", "--on", "processes://2")
    assert code == 0, err
    assert out.startswith("6 cells in 1 chunk of 1 shape\n  optimizer.lr: 2\n  seed: 3\n")
    assert "timed, optimizer.lr=0.1, seed=0" in out
    assert "in one process" in out
    assert [path.name for path in tmp_path.iterdir()] == ["lr.yaml"]


def test_set_overrides_the_recipe(cli):
    assert cli("sweep", "lr.yaml", "--set", "steps=3", "--set", "model.width=7", "--out", "here")[0] == 0
    assert "steps: 3" in cc.open_sweep("here").dataset.attrs["sweep"]


def test_failing_cells_are_listed_and_the_exit_code_says_so(cli, tmp_path):
    (tmp_path / "bad.yaml").write_text(f"{RECIPE}axes: {{batch_size: [10, 21], seed: {{range: 12}}}}\n")
    code, out, _ = cli("sweep", "bad.yaml", "--out", "here")
    assert code == 1
    assert "24 cells: 12 finished, 12 failed" in out
    assert "cell 12 (batch_size=21, seed=0): InvalidRecipe: batch_size must be at most the 20 samples of sines" in out
    assert "… and 2 more: cc.open_sweep('here').failures" in out
    code, out, _ = cli("sweep", "--resume", "here", "--retry-failed")
    assert code == 1
    assert "12/24 cells" in out
    code, out, _ = cli("sweep", "bad.yaml", "--dry-run")
    assert code == 0
    assert "12 cells will fail like batch_size=21, seed=0: InvalidRecipe: " in out


def test_a_diagram_is_computed_by_its_name_and_goes_on(cli, tmp_path):
    small = ["two-layer-regime", "--scale", "smoke", "--set", "seeds=2", "--set", "widths=[50, 100]"]
    code, out, err = cli("sweep", *small, "--dry-run")
    assert code == 0, err
    assert "cells in" in out
    code, out, err = cli("sweep", *small, "--out", "here")
    assert code == 0, err
    assert "figure   here/diagram.png" in out
    assert {path.name for path in (tmp_path / "here").iterdir()} == {
        "diagram.json",
        "diagram.nc",
        "diagram.png",
        "ledger.sqlite",
        "ledger.sqlite.lock",
    }
    before = cc.open_record(tmp_path / "here/diagram.nc")
    code, out, err = cli("sweep", "--resume", "here")
    assert code == 0, err
    first, *_ = out.splitlines()
    done, _, total = first.split()[0].partition("/")
    assert done == total
    assert cc.open_record(tmp_path / "here/diagram.nc").identical(before)
    code, _, err = cli("sweep", "two-layer-regime", "--scale", "smoke", "--out", "here")
    assert code == 2
    assert "a folder holds one diagram" in err


MISUSE = {
    "nothing": ([], 2, "a sweep is a file or the name of a diagram"),
    "no such file": (["nowhere.yaml"], 1, "two-layer-regime"),
    "no such folder": (["--resume", "nowhere"], 1, "nowhere"),
    "misspelt axis": (["bad.yaml"], 2, "got optimizer.mommentum. Remedy: choose optimizer.momentum"),
    "an override of an axis": (["lr.yaml", "--set", "seed=3"], 2, "an override sets what no axis sets; got seed"),
    "a misspelt override": (["lr.yaml", "--set", "stepps=3"], 2, "stepps is not a field"),
    "an unknown place": (["lr.yaml", "--on", "moon"], 2, "`on` is processes"),
    "an unknown place, dry": (["lr.yaml", "--on", "moon", "--dry-run"], 2, "`on` is processes"),
    "resume beside a file": (["lr.yaml", "--resume", "here"], 2, "--resume goes on with the folder's own sweep"),
    "a scale of a sweep": (["lr.yaml", "--scale", "smoke"], 2, "--scale is for diagrams"),
    "an unknown scale": (["exponents", "--scale", "huge"], 2, "a scale is one of"),
    "an unknown option": (["exponents", "--set", "colour=red"], 2, "colour"),
    "an unwritable folder": (["lr.yaml", "--out", "/dev/null/x"], 1, "writable"),
}


@pytest.mark.parametrize(("arguments", "expected", "words"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_one_sentence_with_a_remedy(cli, tmp_path, arguments, expected, words):
    (tmp_path / "bad.yaml").write_text("axes: {optimizer.mommentum: [0]}\n")
    code, out, err = cli("sweep", *arguments)
    assert code == expected
    assert words in err
    assert "Remedy: " in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"bad.yaml", "lr.yaml"}


def test_ctrl_c_says_how_to_go_on(tmp_path):
    (tmp_path / "long.yaml").write_text(
        f"{RECIPE}  observe: {{every: 1}}\naxes: {{seed: {{range: 2000}}}}\ncells_per_chunk: 2\n"
    )
    arguments = [sys.executable, "-m", "cloudchamber", "sweep", "long.yaml", "--out", "here"]
    process = subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "here" / "ledger.sqlite").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "cloudchamber sweep --resume here" in err
    assert "Traceback" not in out + err


def test_the_bar_counts_cells_and_weighs_them_by_cost():
    chunks = [Chunk({"n": n}, ({}, {}), cost=float(n)) for n in range(1, 5)]
    with progress(plain=False) as bar:
        assert isinstance(bar, BarProgress)
        bar.started(chunks, chunks[:1])
        task = bar._bar.tasks[0]
        assert (task.completed, task.total) == (1.0, 10.0)
        bar.finished(chunks[3], Outcome({}, (None, "ValueError: no")))
        assert (task.completed, task.fields["tally"]) == (5.0, "4/8 cells, 1 failed")
    assert str(Tally()) == "0/0 cells"


def test_durations_are_told_as_people_do():
    assert [duration(seconds) for seconds in (0.2, 89, 91, 5000, 6000, 200_000)] == [
        "0 s",
        "89 s",
        "2 min",
        "83 min",
        "1.7 h",
        "2.3 d",
    ]
