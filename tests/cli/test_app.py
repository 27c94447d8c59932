"""The commands as a shell user meets them: output, exit codes, one-sentence errors."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

import cloudchamber as cc
from cloudchamber.cli import main

SMALL = ["--set", "model.depth=3", "--set", "model.width=16", "--set", "observe.probe_samples=20", "--set", "threads=1"]


def command(monkeypatch, capsys, *arguments):
    """Run a command in this process; return its exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["cloudchamber", *map(str, arguments)])
    with pytest.raises(SystemExit) as leaving:
        main()
    captured = capsys.readouterr()
    return leaving.value.code or 0, captured.out, captured.err


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: command(monkeypatch, capsys, *arguments)


def python(code, **more):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **more)


def test_help_lists_the_commands_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['cloudchamber', '--help']\n"
        "from cloudchamber.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'xarray', 'matplotlib', 'plotly', 'sklearn', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    shown = python(code)
    assert shown.returncode == 0, shown.stderr
    for name in ("run", "report", "diagnose", "recipe"):
        assert name in shown.stdout


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'matplotlib', 'plotly', 'sklearn', 'typer', 'xarray'}"
    shown = python(f"import sys, cloudchamber; assert not {heavy} & set(sys.modules), set(sys.modules)")
    assert shown.returncode == 0, shown.stderr


def test_every_public_name_can_be_had():
    for name in dir(cc):
        assert getattr(cc, name) is not None


def test_an_unknown_public_name_says_what_there_is():
    with pytest.raises(AttributeError, match="diagnose"):
        cc.diagnoze  # noqa: B018


def test_version(cli):
    code, out, _ = cli("--version")
    assert code == 0
    assert out == f"cloudchamber {cc.__version__}\n"


def test_run_says_what_happened_and_leaves_a_folder(cli, tmp_path):
    code, out, err = cli("run", *SMALL, "--set", "steps=30")
    assert code == 0, err
    assert "step     30/30" in out
    folder = tmp_path / "runs" / "001"
    assert f"report  {'runs/001/report.html'}" in out
    names = {"recipe.yaml", "environment.json", "journal.sqlite", "record.nc", "checkpoint", "report.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert str(cc.diagnose(cc.open_record(folder))) in out
    assert cli("run", *SMALL, "--set", "steps=0")[0] == 0
    assert (tmp_path / "runs" / "002" / "record.nc").is_file()


def test_report_and_diagnose_of_a_killed_run_read_its_journal(cli, tmp_path):
    cli("run", *SMALL, "--set", "steps=20", "--out", "here")
    (tmp_path / "here" / "record.nc").unlink()
    (tmp_path / "here" / "report.html").unlink()
    assert cli("report", "here")[0] == 0
    assert (tmp_path / "here" / "report.html").is_file()
    code, out, _ = cli("diagnose", "here")
    assert code == 0
    assert "how sure" in out


def test_report_goes_where_it_is_told(cli, tmp_path):
    cli("run", *SMALL, "--set", "steps=10", "--out", "here")
    code, out, _ = cli("report", "here/record.nc", "--out", "elsewhere/mine.html")
    assert code == 0
    assert "elsewhere/mine.html" in out
    assert (tmp_path / "elsewhere" / "mine.html").is_file()


def test_recipe_prints_a_recipe_that_runs(cli, tmp_path):
    code, out, _ = cli("recipe", "--set", "optimizer.name=adam", "--set", "data.name=sines")
    assert code == 0
    assert yaml.safe_load(out)["optimizer"]["beta1"] == 0.9
    (tmp_path / "mine.yaml").write_text(out)
    overrides = [*SMALL, "--set", "steps=5", "--set", "batch_size=null", "--set", "loss=mse"]
    assert cli("run", "mine.yaml", *overrides)[0] == 0


MISUSE = {
    "misspelt field": (
        ["run", "--set", "optimizer.mommentum=0.9"],
        2,
        "optimizer.mommentum is not a field; choose from l2, lr, momentum",
    ),
    "negative width": (["run", "--set", "model.width=-4"], 2, "model.width"),
    "wrong kind": (["run", "--set", "data.name=imagenet"], 2, "digits"),
    "override without value": (["run", "--set", "steps"], 2, "field=value"),
    "missing recipe": (["run", "nowhere.yaml"], 1, "nowhere.yaml"),
    "missing run": (["run", "--resume", "nowhere"], 1, "nowhere"),
    "resume with a recipe": (["run", "--resume", "x", "--set", "steps=3"], 2, "--resume"),
    "unknown device": (["run", "--set", "device=warp"], 2, "device"),
    "unwritable folder": (["run", "--set", "steps=1", "--out", "/dev/null/x"], 1, "writable"),
    "missing record": (["report", "nowhere"], 1, "nowhere"),
    "no record in it": (["diagnose", "."], 1, "record.nc"),
    "a loss for other targets": (["run", "--set", "loss=mse"], 2, "cross_entropy"),
}


@pytest.mark.parametrize(("arguments", "expected", "words"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_one_sentence_with_a_remedy(cli, tmp_path, arguments, expected, words):
    code, out, err = cli(*arguments)
    assert code == expected
    assert words in err
    assert "Remedy: " in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_options_are_usage_errors(cli):
    code, _, err = cli("run", "--sett", "steps=3")
    assert code == 2
    assert "--sett" in err


def test_a_folder_that_holds_a_run_is_not_overwritten(cli, tmp_path):
    cli("run", *SMALL, "--set", "steps=5", "--out", "here")
    before = (tmp_path / "here" / "record.nc").read_bytes()
    code, _, err = cli("run", *SMALL, "--set", "steps=5", "--out", "here")
    assert code == 2
    assert "--resume here" in err
    assert (tmp_path / "here" / "record.nc").read_bytes() == before


@pytest.mark.parametrize("name", ["checkpoint/state.pt", "journal.sqlite"])
def test_damaged_files_are_named_when_resuming(cli, tmp_path, name):
    cli("run", *SMALL, "--set", "steps=20", "--out", "here")
    path = tmp_path / "here" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, out, err = cli("run", "--resume", "here")
    assert code == 1, out
    assert name in err
    assert "Remedy: " in err
    assert "Traceback" not in err


def test_a_truncated_record_is_named(cli, tmp_path):
    cli("run", *SMALL, "--set", "steps=20", "--out", "here")
    path = tmp_path / "here" / "record.nc"
    path.write_bytes(path.read_bytes()[:5000])
    code, _, err = cli("diagnose", "here")
    assert code == 1
    assert "record.nc" in err
    assert "journal" in err


def test_a_loss_that_becomes_nan_ends_with_a_finding_and_keeps_the_record(cli):
    code, out, err = cli("run", *SMALL, "--set", "optimizer.lr=1e12", "--set", "steps=50", "--out", "here")
    assert code == 3
    assert "not finite" in err
    assert "[problem]" in out
    assert "diverged" in cc.diagnose(cc.open_record("here")).codes


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(tmp_path):
    arguments = [sys.executable, "-m", "cloudchamber", "run", *SMALL, "--set", "steps=1000000", "--out", "here"]
    process = subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "here" / "checkpoint" / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "cloudchamber run --resume here" in err
    assert "Traceback" not in out + err
    assert cc.open_record(tmp_path / "here" / "record.nc").sizes["step"] >= 1
