"""`cloudchamber compare` as a shell user meets it."""

import sys

import pytest
from made_up import made_up_record

import cloudchamber as cc
from cloudchamber.cli import main


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run a command in this process; return its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloudchamber", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return command


@pytest.fixture
def folders(tmp_path):
    for name, momentum in (("one", 0.0), ("two", 0.9)):
        (tmp_path / name).mkdir()
        record = made_up_record([0, 10, 20], [2.3, 2.0, 1.0], recipe=f"optimizer: {{momentum: {momentum}}}\n")
        cc.save_record(record, tmp_path / name / "record.nc")
    return "one", "two"


def test_compare_prints_the_comparison(cli, folders):
    code, out, err = cli("compare", *folders)
    assert code == 0, err
    assert out == str(cc.compare({name: cc.open_record(name) for name in folders})) + "\n"
    assert "optimizer.momentum  0.0  0.9" in out


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (["one"], 2, "at least two runs; got 1 (one)"),
        (["one", "one/"], 2, "at least two runs; got 1 (one)"),
        (["one", "nowhere"], 1, "nowhere"),
        (["one", "."], 1, "record.nc"),
    ],
)
@pytest.mark.usefixtures("folders")
def test_misuse_is_one_sentence_with_a_remedy(cli, arguments, expected, words):
    code, out, err = cli("compare", *arguments)
    assert code == expected
    assert words in err
    assert "Remedy: " in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1


def test_without_a_folder_it_says_how_to_use_it(cli):
    code, _, err = cli("compare")
    assert code == 2
    assert "DIR" in err
