"""`cloudchamber predict` as a shell user meets it."""

import sys

import pytest

from cloudchamber.cli import main

SMALL = ["--set", "model.depth=4", "--set", "model.width=16", "--set", "observe.probe_samples=50"]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloudchamber", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return command


def test_it_prints_verdict_layers_and_findings_and_writes_nothing(cli, tmp_path):
    code, out, err = cli("predict", *SMALL)
    assert code == 0, err
    assert "linear1" in out
    assert "how sure" in out
    assert "plateau" in out
    assert list(tmp_path.iterdir()) == []


def test_it_takes_recipes_and_overrides(cli, tmp_path):
    (tmp_path / "mine.yaml").write_text("steps: 50\ninitialization:\n  variance_scale: 0.05\n")
    code, out, _ = cli("predict", "mine.yaml", *SMALL)
    assert code == 0
    assert out.startswith("stuck")
    assert "after 50 steps" in out


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (["predict", "nowhere.yaml"], 1, "nowhere.yaml"),
        (["predict", "--set", "steps=0"], 2, "1 or more"),
        (["predict", "--set", "optimizer.mommentum=1"], 2, "mommentum"),
    ],
)
def test_misuse_is_one_sentence_with_a_remedy(cli, arguments, expected, words):
    code, _, err = cli(*arguments)
    assert code == expected
    assert words in err
    assert "Remedy: " in err
    assert err.count("\n") == 1


def test_phase_says_which_and_how_to_change_it(cli, tmp_path):
    code, out, err = cli("phase", "--set", "model.depth=2", "--set", "model.width=64", "--set", "optimizer.lr=0.3")
    assert code == 0, err
    assert out.startswith("learning phase")
    assert "as parametrised" in out
    assert "to get into the kernel phase: multiply the output by" in out
    assert list(tmp_path.iterdir()) == []


def test_phase_of_a_recipe_without_steps_is_refused(cli):
    code, _, err = cli("phase", "--set", "steps=0")
    assert code == 2
    assert "Remedy: " in err
