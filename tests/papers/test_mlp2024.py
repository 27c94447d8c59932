"""What exhibits of mlp2024 say of made-up records whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import made_up_record

from cloudchamber.papers import Run
from cloudchamber.papers.mlp2024 import centering, lines
from cloudchamber.papers.mlp2024.census import slowest_growth
from cloudchamber.papers.mlp2024.fig56 import least_growth
from cloudchamber.papers.mlp2024.recipes import shortened
from cloudchamber.papers.mlp2024.six_panels import rise_and_fall, top_of_phase
from cloudchamber.training import Recipe

STEPS = np.arange(0, 1010, 10)


def run_of(left, feature_cosine=None):
    """A run whose loss leaves its plateau after `left` steps (None = never), with some feature cosine."""
    fall = np.zeros(len(STEPS)) if left is None else 1 / (1 + np.exp(-(STEPS - left) / 10))
    record = made_up_record(STEPS, 2.3026 * (1 - 0.9 * fall), feature_cosine=feature_cosine)
    run = Run(Recipe(), Path("nowhere"), 0.0)
    run.__dict__["record"] = record
    return run


def peaked(top_step, low=0.5, top=0.9, last=0.6):
    return np.interp(STEPS, [0, top_step, STEPS[-1]], [low, top, last])


def test_growth_is_the_smallest_ratio_of_leaving_steps():
    runs = [run_of(100), run_of(200), run_of(300)]
    assert slowest_growth(runs) == pytest.approx(1.5, rel=0.15)
    assert np.isnan(slowest_growth([run_of(100), run_of(None)]))


def test_a_run_that_never_leaves_counts_as_its_last_step_if_it_is_the_last_alone():
    assert least_growth([run_of(100), run_of(200), run_of(None)]) == pytest.approx(2.0, rel=0.15)
    assert np.isnan(least_growth([run_of(100), run_of(None), run_of(None)]))


def test_rise_and_fall_are_measured_around_the_phase():
    run = run_of(400, peaked(400))
    assert top_of_phase(run, "feature_cosine", "linear3") == pytest.approx(0.9)
    assert rise_and_fall(run, "feature_cosine", "linear3") == pytest.approx(0.3)
    assert top_of_phase(run_of(None), "feature_cosine", "linear3") == -np.inf


def test_centering_takes_the_worst_network_of_each_seed():
    falling, rising, plain = (
        run_of(50, np.linspace(*ends, len(STEPS))) if ends else run_of(400, peaked(400))
        for ends in ((0.4, 0.2), (0.3, 0.4), None)
    )
    found = centering.numbers([[falling, rising], [falling]], [[plain], [plain]], ", toy")
    assert found["never rises, toy"] == pytest.approx([0.1, 0.0])
    assert found["falls, toy"] == pytest.approx([-0.1, 0.2])
    assert found["rises without, toy"] == pytest.approx([0.4, 0.4])
    claims = centering.claims("mlp2024, Figure 55", "centering", ", toy")
    assert [claim.name for claim in claims] == list(found)


@given(st.permutations(["a, seed 0", "b, seed 0", "a, seed 1", "b, seed 1"]))
def test_runs_are_told_apart_by_seed_and_network_in_any_order(names):
    runs = {name: Run(Recipe(), Path(name), 0.0) for name in names}
    both = [sorted(run.folder.name for run in of) for of in lines.by_seed(runs)]
    assert sorted(both) == [["a, seed 0", "b, seed 0"], ["a, seed 1", "b, seed 1"]]
    assert sorted(of[0].folder.name for of in lines.by_seed(runs, "b".__eq__)) == ["b, seed 0", "b, seed 1"]
    assert {name: run.folder.name for name, run in lines.of_seed(runs, 1).items()} == {
        "a": "a, seed 1",
        "b": "b, seed 1",
    }


@pytest.mark.parametrize(("scale", "cut"), [("smoke", False), ("laptop", True), ("paper", False)])
def test_networks_are_cut_at_laptop_alone(scale, cut):
    assert shortened({"a": ("x=1",)}, scale, {"a": 5})["a"] == (("x=1", "steps=5") if cut else ("x=1",))
