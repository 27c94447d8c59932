"""`cloudchamber papers` as a shell user meets it."""

import sys

import pytest

from cloudchamber.cli import main
from cloudchamber.papers import Interrupted, entries


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOUDCHAMBER_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CLOUDCHAMBER_RUNS", str(tmp_path / "runs"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloudchamber", "papers", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return call


def test_list_names_all_98_and_two_sections_and_marks_the_built_ones(cli):
    code, out, _ = cli("list")
    assert code == 0
    assert len(out.splitlines()) == 98 + 2
    assert cli("list", "xu2024")[1].count("\n") == 6
    assert "built" in cli("list", "mlp2024/tab1")[1]


def test_run_show_and_check_tell_the_same(cli, tmp_path):
    code, out, err = cli("run", "mlp2024/fig3", "--scale", "smoke", "--plain")
    assert code == 0, err
    assert "[not decidable] tenfold" in out
    assert "digits instead of cifar10" in out
    assert (tmp_path / "results" / "mlp2024" / "fig3" / "smoke" / "figure.png").is_file()
    assert "mlp2024/fig3 at smoke: up to date" in cli("run", "mlp2024/fig3", "--scale", "smoke", "--resume")[1]
    shown = cli("show", "mlp2024/fig3", "--scale", "smoke")[1]
    assert "figure  results/mlp2024/fig3/smoke/figure.png" in shown
    assert "cloudchamber papers run mlp2024/fig3 --scale laptop" in cli("show", "mlp2024/fig3")[1]


def test_check_prints_all_98_and_writes_the_gallery(cli, tmp_path):
    code, out, _ = cli("check")
    assert code == 0
    assert all(f"{item.id} " in out for item in entries())
    assert "98 exhibits and 2 sections" in out
    assert "not run: to be built" in out
    assert (tmp_path / "results" / "index.html").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("interrupted after step 3 of 20")], ids=str)
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(cli, monkeypatch, error):
    def stopped(*_):
        raise error

    monkeypatch.setattr("cloudchamber.papers.run_exhibit", stopped)
    code, out, err = cli("run", "mlp2024/fig3", "--scale", "smoke", "--plain")
    assert code == 130
    assert "mlp2024/fig3: interrupted" in err
    assert "same command" in err
    assert "Traceback" not in out + err


def test_check_fails_where_a_result_is_damaged(cli, tmp_path):
    folder = tmp_path / "results" / "mlp2024" / "tab1" / "laptop"
    folder.mkdir(parents=True)
    (folder / "verdicts.json").write_text("{}")
    code, out, _ = cli("check", "mlp2024/tab1")
    assert code == 1
    assert "damaged" in out


MISUSE = {
    "nothing named": (["run"], 2, "--all"),
    "both": (["run", "mlp2024/tab1", "--all"], 2, "--all"),
    "scale": (["run", "mlp2024/tab1", "--scale", "huge"], 2, "laptop"),
    "unknown": (["run", "mlp2024/tab9"], 2, "mlp2024/tab"),
    "to be built": (["show", next(item.id for item in entries() if not item.built)], 2, "to be built"),
    "no data": (["run", "mlp2024/tab1", "--plain"], 1, "cifar10"),
}


@pytest.mark.parametrize(("arguments", "expected", "words"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_one_sentence_with_a_remedy(cli, monkeypatch, arguments, expected, words):
    monkeypatch.setattr("cloudchamber.data.places.fetch", _no_network)
    code, out, err = cli(*arguments)
    assert code == expected, err
    assert words in err
    assert "Remedy: " in err
    assert "Traceback" not in out + err


def _no_network(origin, folder):
    from cloudchamber import FileAccess

    raise FileAccess(f"no network in tests; wanted {origin.file}")
