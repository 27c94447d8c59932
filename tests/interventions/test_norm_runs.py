"""Runs of recipes with norms: from recipe to record, resumed bit for bit."""

import numpy as np
import pytest
import torch

from cloudchamber.interventions import BatchNorm, PhaseNorm
from cloudchamber.training import load_recipe, resume, run
from cloudchamber.training.checkpoint import Checkpoint
from cloudchamber.training.session import Session

SMALL = [
    *("model.depth=5", "model.width=16", "batch_size=20", "steps=24", "checkpoint_every=5", "optimizer.lr=0.05"),
    *("observe.every=4", "observe.measures=[feature_cosine, class_accuracy]", "observe.probe_samples=20"),
]
PHASE = ["norms.name=phase_norm", "norms.smoothing=0.9", "norms.threshold=0.7", "norms.after=[linear1, linear3]"]


def small(*overrides):
    return load_recipe(overrides=[*SMALL, *overrides])


class StopsAt:
    """Interrupts a run as Ctrl-C would."""

    def __init__(self, step):
        self._step = step

    def started(self, recipe, step): ...

    def updated(self, step, loss):
        if step == self._step:
            raise KeyboardInterrupt

    def observed(self, buffer): ...


def test_the_norms_of_a_recipe_stand_where_it_says():
    session = Session.of(small(*PHASE, "dtype=float64"))
    found = {name: module for name, module in session.model.named_modules() if isinstance(module, PhaseNorm)}
    assert list(found) == ["linear1_norm", "linear3_norm"]
    assert found["linear1_norm"].threshold == 0.7
    assert found["linear1_norm"].running_mean.dtype == torch.float64
    without = Session.of(small("dtype=float64"))
    assert torch.equal(session.model.linear5.weight, without.model.linear5.weight)
    assert isinstance(Session.of(small("norms.name=batch_norm")).model.linear4_norm, BatchNorm)


@pytest.mark.parametrize("stop", [7, 15])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, stop):
    whole = run(small(*PHASE), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(small(*PHASE), tmp_path / "stopped", callbacks=[StopsAt(stop)])
    resumed = resume(tmp_path / "stopped")
    assert np.array_equal(whole.record.train_loss, resumed.record.train_loss, equal_nan=True)
    assert np.array_equal(whole.record.feature_cosine, resumed.record.feature_cosine)
    states = [Checkpoint.load(tmp_path / name) for name in ("whole", "stopped")]
    assert states[0].model.keys() == states[1].model.keys()
    assert all(torch.equal(value, states[1].model[name]) for name, value in states[0].model.items())
    assert bool(states[0].model["linear3_norm.frozen"])  # the test went through the end of the first phase
    assert 0 < int(states[0].model["linear3_norm.batches"]) < 24


def test_the_mode_of_observation_decides_which_mean_and_variance_are_seen(tmp_path):
    """In evaluation the running averages still are (0, 1) at step 0, as if there were no norm."""
    words = ["norms.name=centering_norm", "initialization.variance_scale=2.0"]
    seen = {
        mode: run(small(*words, f"observe.mode={mode}", "steps=4"), tmp_path / mode).record.feature_cosine
        for mode in ("eval", "train")
    }
    without = run(small(*words[1:], "steps=0"), tmp_path / "without").record.feature_cosine
    layer = {"step": 0, "layer": 3}
    assert float(seen["eval"][layer]) == pytest.approx(float(without[layer]), abs=1e-3)
    assert float(seen["train"][layer]) < float(without[layer]) - 0.2


def test_leaky_relu_of_any_slope_trains(tmp_path):
    recipe = small("model.activation=leaky_relu", "model.negative_slope=0.3", "steps=4")
    record = run(recipe, tmp_path / "run").record
    assert record.activation.values.tolist() == ["leaky_relu"] * 4 + ["none"]
    assert Session.of(recipe).model.activation2.negative_slope == 0.3
