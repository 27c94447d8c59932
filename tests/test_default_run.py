"""The default run, as the README promises it: the first phase of a 9-layer MLP on real digits, and the stuck one."""

import numpy as np
import pytest

import cloudchamber as cc

LIGHT = ["observe.measures=[feature_cosine,gradient_cosine,class_accuracy]"]


def run(tmp_path, *overrides):
    return cc.run(cc.load_recipe(overrides=[*LIGHT, *overrides]), tmp_path / "run").record


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_phase_ends_where_the_features_of_a_middle_layer_peak(tmp_path, seed):
    record = run(tmp_path, f"seed={seed}")
    (phase,) = [phase for phase in cc.find_phases(record) if phase.name == "first phase"]
    assert 400 <= phase.stop <= 750
    middle = record.feature_cosine.sel(layer="linear5")
    peak = int(middle.argmax("step"))
    assert 400 <= int(record.step[peak]) <= 750
    assert float(middle[peak]) > float(middle[0]) + 0.02
    assert float(middle[-1]) < float(middle[peak]) - 0.01
    assert "first_phase_over" in cc.diagnose(record).codes


def test_small_weights_and_a_large_rate_are_stuck_and_the_advice_says_what_to_change(tmp_path):
    record = run(tmp_path, "initialization.variance_scale=0.3", "optimizer.lr=0.1", "steps=1000")
    np.testing.assert_allclose(record.probe_loss[-1], np.log(10), atol=0.01)
    (stuck,) = [finding for finding in cc.diagnose(record) if finding.code == "stuck"]
    assert any("initialization.variance_scale" in advice for advice in stuck.advice)
