"""The exponents diagram: networks against the exact solution, and phases against the rule of xu2024."""

import math

import numpy as np
import pytest
import torch

from cloudchamber.theory import TABLE_1, LinearModel
from cloudchamber.training.diagrams import DIAGRAMS, exponents
from cloudchamber.training.diagrams.scalings import drift_exponent, scaled, stable_rate

EXPONENTS = DIAGRAMS["exponents"]
TASK = {"kappa": 50, "finite_width": 8, "loss_ratio": 1e-10, "tolerance": 1e-9}


def exact(over, cell):
    """The network of a cell, solved."""
    of, task = scaled(over, cell), {**TASK, "over": over}
    sizes = exponents._sizes(of, 50)
    u, w = exponents._start(task, cell, exponents._width(task, of), sizes)
    rates = {"rate_u": sizes["rate_u"], "rate_w": sizes["rate_w"]}
    return LinearModel.from_weights(u, w[:, None], torch.ones(1), y=1.0, gamma=sizes["gamma"], **rates)


CELLS = [
    ("rates", {"c_gamma": -0.5, "c_eta": 0.0, "seed": 0}),
    ("rates", {"c_gamma": -1.25, "c_eta": 1.25, "seed": 1}),
    ("initializations", {"c_u": 1.0, "c_w": -0.5, "seed": 2}),
    ("table_1", {"row": "stable rate", "scaling": "lazy", "seed": 3}),
    ("table_1", {"row": "constant rate", "scaling": "Kaiming", "seed": 4}),
]


@pytest.mark.parametrize(("over", "cell"), CELLS, ids=str)
def test_time_and_drift_are_those_of_the_exact_solution(over, cell):
    found, model = exponents.work({**TASK, "over": over}, [cell]), exact(over, cell)
    first = float(model.output(0.0)) - 1
    # a time by bisection: the residual of the exact solution falls
    low, high = [0.0, 0.0], [1e6, 1e6]
    for place, part in enumerate((0.75, 0.25)):
        for _ in range(200):
            middle = (low[place] + high[place]) / 2
            above = abs(float(model.output(middle)) - 1) > part * abs(first)
            low[place], high[place] = (middle, high[place]) if above else (low[place], middle)
    assert float(found["learning_time"][0]) == pytest.approx(low[1] - low[0], rel=1e-3)
    drift = abs(float(model.kernel(math.inf)) / float(model.kernel(0.0)) - 1)
    assert float(found["kernel_drift"][0]) == pytest.approx(drift, rel=1e-3)
    assert float(found["loss_ratio"][0]) <= 1e-10


@pytest.mark.parametrize("key", list(TABLE_1), ids=str)
def test_the_exponent_of_the_drift_is_the_limit_of_the_exact_solution(key):
    """`from_reduced` s at κ = 1e40 and 1e60, for typical P and Q."""
    of = scaled("table_1", dict(zip(("row", "scaling"), key, strict=True)))
    c = of.exponents
    logs = []
    for power in (40, 60):
        kappa = 10.0**power
        size = {name: kappa ** float(value) for name, value in vars(c).items()}
        uu, ww = size["c_d"] * size["c_u"] / size["c_eta_u"], size["c_d"] * size["c_w"] / size["c_eta_w"]
        # u·w is of the order of its standard deviation, 0.3 here, or 0
        uw = 0.0 if of.zero_initial_output else 0.3 * math.sqrt(uu * ww / max(size["c_d"], 1.0))
        P, Q = (uu + ww + 2 * uw) / 4, (uu + ww - 2 * uw) / 4
        s = size["c_gamma"] * math.sqrt(size["c_eta_u"] * size["c_eta_w"])
        # K² − f² is conserved, with K = s(P + Q) and f = s(P − Q) = s u·w at the start
        squared = (1 - (s * uw) ** 2) / (s * (P + Q)) ** 2
        logs.append(math.log10(abs(math.expm1(0.5 * math.log1p(squared)))))
    assert (logs[1] - logs[0]) / 20 == pytest.approx(float(drift_exponent(of)), abs=0.02)


def test_the_conserved_quantity_behind_it():
    model = exact("rates", {"c_gamma": -0.75, "c_eta": 0.5, "seed": 0})
    times = torch.tensor([0.0, 0.1, 1.0, math.inf])
    # `kernel` is 2γ²η_uη_w(Pz + Q/z) and s = γ√(η_uη_w): s(Pz + Q/z) = kernel/(2s)
    s = 50**-0.75 * 50**0.5
    kept = (model.kernel(times) / (2 * s)) ** 2 - model.output(times) ** 2
    torch.testing.assert_close(kept, kept[:1].expand(4), rtol=1e-9, atol=1e-9)


def test_a_small_diagram_is_in_the_phases_of_theory():
    found = EXPONENTS.run("smoke", c_gamma=[-1.25, -1.0, -0.5], c_eta=[0.0, 1.0, 1.25], kappa=[30, 300, 3000], seeds=40)
    same = found.phase == found.predicted_phase
    assert set(np.unique(found.predicted_phase)) == {"frozen", "kernel", "learning", "unstable"}
    assert bool(same.all()), found.phase.values
    assert float(abs(found.time_slope - found.predicted_time_slope).max()) < 0.1
    assert "9 of 9 cells" in EXPONENTS.summary(found)


def test_a_wrong_prediction_is_seen():
    """The check can fail."""
    found = EXPONENTS.run("smoke", kappa=[30, 3000], seeds=20)
    wrong = found.assign(predicted_phase=found.predicted_phase.roll(c_eta=1))
    assert "4 in another" in EXPONENTS.summary(wrong)


def test_the_table_has_its_cells():
    found = EXPONENTS.run("smoke", over="table_1", seeds=2)
    for (row, scaling), cell in TABLE_1.items():
        assert found.predicted_phase.sel(row=row, scaling=scaling).item() == cell.published
    assert bool(found.time_slope.notnull().all())


def test_the_line_of_stable_rates_is_where_theory_learns_in_time_of_order_1():
    for c_gamma in (-1.5, -1.0, -0.75, 0.0):
        cell = {"c_gamma": c_gamma, "c_eta": float(stable_rate(c_gamma))}
        assert scaled("rates", cell).phase.learning_time_exponent == 0


def test_widths_differ_within_a_chunk():
    """Table 1 mixes a finite width with growing ones."""
    cells = [{"row": "learning", "scaling": name, "seed": 0} for name in ("lazy", "NTK", "lazy", "Xavier")]
    task = {**TASK, "over": "table_1"}
    whole = exponents.work(task, cells)
    for place, cell in enumerate(cells):
        alone = exponents.work(task, [cell])
        for name, values in whole.items():
            np.testing.assert_allclose(alone[name][0], values[place], rtol=1e-6)
