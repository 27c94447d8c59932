"""Run folders, callbacks and commands: a stuck run goes on from its checkpoint in a new folder."""

import json
import sys

import pytest
import torch
from rescue_cases import RULE, data, network, trained
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber._core.errors import FileAccess, InvalidInput
from cloudchamber.cli import main
from cloudchamber.control import StopWhenStuck, initialization_of
from cloudchamber.control.remedy import PutPhaseNorm, Redraw, Setting
from cloudchamber.control.runs import changed
from cloudchamber.diagnosis import PhaseRule
from cloudchamber.interventions import PhaseNorm
from cloudchamber.training import load_recipe, resume, run
from cloudchamber.training.checkpoint import CHECKPOINT_NAME

STUCK = (
    *("model.width=16", "model.depth=6", "initialization.variance_scale=0.02", "optimizer.lr=0.05"),
    *("optimizer.momentum=0.9", "batch_size=50", "steps=560", "observe.every=20", "observe.measures=[light]"),
    *("observe.probe_samples=60", "checkpoint_every=200"),
)


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "stuck"
    return run(load_recipe(overrides=STUCK), folder).folder


@pytest.fixture(scope="module")
def rescued(stuck, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "rescued"
    return cc.rescue_run(stuck, out, steps=100, trial_steps=100)


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["cloudchamber", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as left:
        code = left.code or 0
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_run_goes_on_from_its_checkpoint_with_the_remedy(stuck, rescued):
    result = rescued.result
    assert [remedy.name for remedy in rescued.plan.remedies] == ["phase norm"]
    assert (result.status, result.step) == ("finished", 660)
    assert result.record.step.values.tolist() == [*range(0, 661, 20)]
    before = cc.open_record(stuck).probe_loss.values
    assert (result.record.probe_loss.values[: len(before)] == before).all()
    assert result.record.probe_loss.values[-1] < 0.85 * float(result.record.constant_predictor_loss)
    recipe = load_recipe(result.folder / "recipe.yaml")
    assert (recipe.norms.name, recipe.steps) == ("phase_norm", 660)
    told = json.loads((result.folder / "rescue.json").read_text())
    assert (told["step"], told["steps"][0]["name"]) == (560, "phase norm")
    assert (result.folder / "environment.json").is_file()


def test_the_trial_told_what_then_happened(rescued):
    trial = rescued.plan.trials[-1]
    assert trial.outcome == "moves"
    train = rescued.result.record.train_loss
    assert train.sel(step=580).item() == trial.losses[19]


def test_a_rescued_run_is_a_run_that_can_be_stopped_and_resumed(stuck, rescued, tmp_path):
    class StopAt:
        stop = False

        def started(self, recipe, step):
            pass

        def updated(self, step, loss):
            self.stop = step == 620

        def observed(self, buffer):
            pass

    halted = cc.rescue_run(stuck, tmp_path / "again", steps=100, trial_steps=100, callbacks=[StopAt()])
    assert (halted.result.status, halted.result.step) == ("interrupted", 620)
    finished = resume(tmp_path / "again")
    assert finished.record.identical(rescued.result.record)


def test_the_old_folder_stays_and_a_plan_alone_writes_nothing(stuck, monkeypatch, capsys):
    before = files_of(stuck)
    code, shown, _ = command(monkeypatch, capsys, "rescue", stuck, "--plan", "--trial-steps", 100)
    assert code == 0
    assert "[rescue] Training is stuck so far" in shown
    assert "Put phase norm after 5 layers" in shown
    assert files_of(stuck) == before
    assert list(stuck.parent.iterdir()) == [stuck]


def test_the_commands_lead_from_a_stuck_run_to_a_free_one(stuck, tmp_path, monkeypatch, capsys):
    code, shown, _ = command(monkeypatch, capsys, "diagnose", stuck)
    assert code == 0
    assert shown.rstrip().endswith(f"rescue  cloudchamber rescue {stuck}")
    assert "`cloudchamber rescue RUN`" in shown
    out = tmp_path / "free"
    words = ("rescue", stuck, "--out", out, "--steps", 60, "--trial-steps", 60, "--plain")
    code, shown, _ = command(monkeypatch, capsys, *words)
    assert code == 0
    assert shown.index("Put phase norm") < shown.index("from step 560 to 620") < shown.index("report  ")
    assert (out / "report.html").is_file()
    code, _, said = command(monkeypatch, capsys, *words)
    assert code == 2
    assert "a new run needs a folder without one" in said
    code, shown, _ = command(monkeypatch, capsys, "rescue", out)
    assert (code, "[nothing to do]" in shown) == (0, True)


def test_a_folder_without_a_run_or_a_checkpoint_is_refused(stuck, tmp_path, monkeypatch, capsys):
    code, _, said = command(monkeypatch, capsys, "rescue", tmp_path / "nowhere")
    assert code == 1
    assert "a run folder holds recipe.yaml" in said
    with pytest.raises(FileAccess):
        cc.rescue_run(tmp_path, tmp_path / "out")
    for name, content in files_of(stuck).items():
        if name != CHECKPOINT_NAME:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=r"from its checkpoint; got .* Remedy: go on with it first"):
        cc.rescue_run(tmp_path, tmp_path / "out")
    with pytest.raises(InvalidInput, match="goes on for a step or more; got 0"):
        cc.rescue_run(stuck, tmp_path / "out", steps=0, trial_steps=60)
    assert not (tmp_path / "out").exists()


def test_what_remedies_change_in_a_recipe():
    recipe = load_recipe(overrides=["optimizer.weight_decay=0.1", "initialization.name=parametrization"])
    remedies = [
        Setting("no decay", "weight_decay", (0.0, 0.0), "Drop it."),
        Setting("larger steps", "lr", (5.0, 0.1), "Use larger ones.", 10.0),
        PutPhaseNorm(("linear1",)),
        Redraw(),
    ]
    new = changed(recipe, remedies, 70)
    assert (new.optimizer.lr, new.optimizer.weight_decay, new.steps) == (0.1, 0.0, 70)
    assert new.norms.after == ["linear1"]
    assert new.initialization == recipe.initialization


def test_a_run_stops_when_it_is_stuck_and_can_go_on(tmp_path, caplog):
    watcher = StopWhenStuck(every=1, rule=PhaseRule(stuck_steps=100, stuck_observations=5))
    result = run(load_recipe(overrides=[*STUCK, "steps=180"]), tmp_path / "run", callbacks=[watcher])
    assert (result.status, result.step) == ("interrupted", watcher.stuck_at)
    assert 100 <= result.step <= 140
    assert "The run is stuck at step" in caplog.text
    only_says = StopWhenStuck(stop=False, every=1, rule=PhaseRule(stuck_steps=100, stuck_observations=5))
    assert resume(tmp_path / "run", callbacks=[only_says]).status == "finished"
    assert only_says.stuck_at is not None


@pytest.mark.parametrize("applies", [True, False])
def test_a_loop_of_ones_own_is_rescued_on_the_way(applies):
    model = network(0.02, 7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    options = {"probe": data(), "loss": fn.cross_entropy}
    with cc.Monitor(model, **options, every=5, measures="light") as monitor:
        rescuer = cc.Rescuer(model, optimizer, monitor, **options, apply=applies, every=2, rule=RULE, trial_steps=60)

        class Both:
            def observe(self, step):
                monitor.observe(step)
                rescuer.look()

        trained(model, optimizer, 200, Both())
    at, plan = rescuer.plans[0]
    assert 60 <= at <= 80
    assert [remedy.name for remedy in plan.remedies] == ["phase norm"]
    assert plan.applied == applies
    assert any(isinstance(module, PhaseNorm) for module in model.modules()) == applies
    assert len(rescuer.plans) == (1 if applies else 3)
    assert (monitor.record.probe_loss.values[-1] < 0.9) == applies
    with pytest.raises(InvalidInput, match="`every` is a whole number, 1 or more; got 0"):
        cc.Rescuer(model, optimizer, monitor, **options, every=0)


def test_a_dry_run_of_an_initialization_prints_layers_rates_and_regime(monkeypatch, capsys):
    words = ("initialize", "--set", "model.depth=2", "--set", "model.width=256")
    code, shown, _ = command(monkeypatch, capsys, *words, "--set", "initialization.name=condensed")
    assert code == 0
    rows = [line.split() for line in shown.splitlines() if line.startswith("linear")]
    assert [row[:4] for row in rows] == [["linear1", "Linear", "64", "256"], ["linear2", "Linear", "256", "10"]]
    assert "condensed." in shown
    scaled = ("--set", "initialization.name=parametrization", "--set", "initialization.scaling=mean_field")
    _, shown, _ = command(monkeypatch, capsys, *words, *scaled)
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("linear")] == ["256", "0.003906"]
    code, _, said = command(monkeypatch, capsys, *words, *scaled[:3], "initialization.scaling=mup")
    assert code == 2
    assert "a parametrization is one of" in said
    code, _, said = command(monkeypatch, capsys, *words, *scaled, "--set", "optimizer.name=adam")
    assert (code, "are those of sgd; got adam" in said) == (2, True)
    assert initialization_of(load_recipe()).regime == "linear"
