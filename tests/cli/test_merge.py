"""The command `merge` as a shell user meets it."""

import subprocess
import sys

import pytest
import torch

import cloudchamber as cc
from cloudchamber.cli import main
from cloudchamber.training import load_recipe
from cloudchamber.training.merging import trained_session

CONDENSED = [
    *("initialization.variance_scale=0.0001", "optimizer.lr=0.5", "model.depth=2", "model.width=32", "steps=60"),
    *("observe.probe_samples=20", "observe.every=30"),
]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloudchamber", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return command


def test_a_run_is_merged_and_its_report_and_diagnosis_say_so(cli, tmp_path):
    cc.run(load_recipe(None, CONDENSED), "runs/001")
    code, out, _ = cli("merge", "runs/001", "--dry-run", "--tolerance", 0.3, "--samples", 200)
    assert code == 0
    assert "merge within 0.3 (100 examples fitted, 100 held out)" in out
    assert not (tmp_path / "runs/001/merged").exists()
    # In a process of its own: what checks types here refuses the proxies with which the model is traced.
    words = ["merge", "runs/001", "--tolerance", "0.3", "--samples", "200", "--fine-tune", "2"]
    shown = subprocess.run([sys.executable, "-m", "cloudchamber", *words], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    out = shown.stdout
    assert "merging keeps the output within" in out
    assert "merged  runs/001/merged" in out
    plan = cc.load_plan("runs/001/merged")
    assert plan.layers
    code, out, _ = cli("diagnose", "runs/001")
    assert "act as copies; merging keeps the output within" in out
    assert cli("report", "runs/001")[0] == 0
    assert "act as copies" in (tmp_path / "runs/001/report.html").read_text()
    small = cc.load_merged("runs/001/merged", lambda: trained_session("runs/001").model)
    assert small(torch.zeros(2, 64)).shape == (2, 10)


def test_what_is_wrong_is_one_sentence(cli):
    code, _, err = cli("merge", "nowhere")
    assert code == 1
    assert "recipe.yaml" in err
    cc.run(load_recipe(None, CONDENSED), "runs/001")
    code, _, err = cli("merge", "runs/001", "--tolerance", -1)
    assert code == 2
    assert "0 or more" in err
    code, _, err = cli("merge", "runs/001", "--samples", 1)
    assert code == 2
    assert "half of them are held out" in err
