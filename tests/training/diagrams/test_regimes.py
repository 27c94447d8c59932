"""The regime diagrams: measured against the limits of theory, at widths that a test can afford."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from unchecked import refused

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber.data import available
from cloudchamber.theory import boundary_distance, regime, three_layer_regime
from cloudchamber.training.diagrams import DIAGRAMS, three_layer, two_layer
from cloudchamber.training.diagrams.regimes import agreement, regimes
from cloudchamber.training.diagrams.samples import samples
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.stops import LossRatio
from cloudchamber.training.flow.two_layer import TwoLayerNets

REGIMES = {"two-layer-regime": two_layer, "three-layer-regime": three_layer}


@pytest.fixture(scope="module")
def two():
    return DIAGRAMS["two-layer-regime"].run(
        "smoke", gamma=[0.5, 1.75], gamma_prime=[-0.25, 0.25], widths=[200, 800, 3200], seeds=6
    )


@pytest.fixture(scope="module")
def three():
    return DIAGRAMS["three-layer-regime"].run(
        "smoke", gamma=[1.0, 2.5], gamma_prime_1=[0.0, 0.5], widths=[25, 50, 100], seeds=6
    )


def test_the_signs_of_the_two_layer_diagram(two):
    assert bool((two.fitted == 1).all())
    assert bool((np.sign(two.slope) == np.sign(two.margin)).all())
    assert bool((two.regime == two.predicted_regime).all())
    assert float(abs(two.slope - two.predicted_slope).max()) < 0.35


def test_the_signs_of_the_three_layer_diagram(three):
    off = abs(three.margin) >= 0.25
    assert bool((np.sign(three.slope) == np.sign(three.margin)).where(off, True).all())
    assert int((three.regime == three.predicted_regime).where(off, False).sum()) >= 8
    assert float(abs(three.slope - three.predicted_slope).where(off).max()) < 0.35


def test_predictions_are_those_of_theory(two, three):
    for point in ({"gamma": 0.5, "gamma_prime": 0.25}, {"gamma": 1.75, "gamma_prime": -0.25}):
        cell, expected = two.sel({**point, "layer": "input"}), regime(*point.values())
        assert float(cell.margin) == expected.margin
        assert float(cell.predicted_slope) == expected.exponent
        assert str(cell.predicted_regime.item()) == expected.name
        assert float(cell.boundary_distance) == boundary_distance(*point.values())
    cell = three.sel(gamma=2.5, gamma_prime_1=0.5, gamma_prime_2=0.0)
    expected = three_layer_regime(2.5, 0.5, 0.0)
    assert cell.margin.values.tolist() == [float(one.margin) for one in vars(expected).values()]


def test_the_output_layer_is_the_input_layer_mirrored():
    """f is symmetric in the roles of a and |w|, so theory's regime of a at γ' is that of w at −γ'."""
    found = (
        DIAGRAMS["two-layer-regime"]
        .run("smoke", gamma=[1.5], gamma_prime=[-0.5, 0.5], widths=[200, 800, 3200], seeds=6)
        .squeeze()
    )
    for one, other in (("input", -0.5), ("output", 0.5)):
        assert float(found.slope.sel(layer=one, gamma_prime=other)) == pytest.approx(0.5, abs=0.12)


def test_the_boundary_is_where_the_margin_vanishes(two, three):
    for diagram, name in ((two, "gamma_prime"), (three.squeeze("gamma_prime_2"), "gamma_prime_1")):
        at = diagram.boundary.interp({f"boundary_{name}": diagram[name].values}).rename({f"boundary_{name}": name})
        # between fine points the boundary is a straight line, up to a kink
        assert float(abs(diagram.gamma - at - diagram.margin).max()) < 0.02


@pytest.mark.parametrize("name", list(REGIMES))
def test_a_network_depends_on_its_own_cell_alone(name):
    """Chunks can be cut anywhere."""
    diagram = DIAGRAMS[name]
    (chunk, *_) = diagram.chunks("smoke", precision="float64")
    task = {**chunk.task, "loss_ratio": 1e-2}
    whole = diagram.work(task, chunk.cells)
    for place in (0, len(chunk.cells) - 1):
        alone = diagram.work(task, chunk.cells[place : place + 1])
        for key, values in whole.items():
            np.testing.assert_allclose(alone[key], values[place : place + 1], rtol=1e-8)


@pytest.mark.parametrize("name", list(DIAGRAMS))
def test_a_ledger_resumes_to_the_identical_diagram(name, tmp_path):
    diagram = DIAGRAMS[name]
    small = {"seeds": 2}
    once = diagram.run("smoke", ledger=tmp_path / "ledger.sqlite", **small)
    again = diagram.run("smoke", ledger=tmp_path / "ledger.sqlite", **small)
    xr.testing.assert_identical(once, again)
    xr.testing.assert_identical(once, diagram.run("smoke", **small))


def test_the_three_layer_start_and_scaling_are_those_of_the_definition():
    """One network by hand: f = κ aᵀ σ(W² σ(W¹ x)), κ = m^−γ, rates 1, m^2γ'₁, m^2(γ'₁+γ'₂)."""
    point, width = {"gamma": 1.25, "gamma_prime_1": 0.25, "gamma_prime_2": -0.5}, 12
    task = {"width": width, "samples": 4, "loss_ratio": 1e-2, "tolerance": 1e-4, "precision": "float64"}
    cell = {**point, "seed": 3}
    found = three_layer.work(task, [cell])
    start = three_layer._start(task, cell)
    model = torch.nn.Sequential(
        *[
            layer
            for a, b in ((2, width), (width, width))
            for layer in (torch.nn.Linear(a, b, bias=False), torch.nn.ReLU())
        ],
        torch.nn.Linear(width, 1, bias=False),
    ).double()
    # κ goes into the last weight: f is the same if that layer's rate is times κ², its distance relative as before.
    kappa = width**-1.25
    with torch.no_grad():
        for place, factor in ((0, 1.0), (2, 1.0), (4, kappa)):
            model[place].weight.copy_(factor * start[place // 2])
    x, y = samples("line", 4)
    rates = {"0": 1.0, "2": width**0.5, "4": kappa**2 * width**-0.5}
    flow = gradient_flow(
        model, (x, y[:, None]), loss="half_mse", until=LossRatio(1e-2), rates=rates, method=Exponential(1e-4)
    )
    expected = [float(flow.relative_distance[f"{place}.weight"]) for place in (0, 2, 4)]
    np.testing.assert_allclose(found["relative_distance"][0], expected, rtol=1e-6)


def test_the_two_layer_scaling_is_that_of_the_definition():
    width, cell = 30, {"gamma": 0.75, "gamma_prime": 0.25, "seed": 1}
    task = {
        "width": width,
        "data": "line",
        "samples": 4,
        "loss_ratio": 1e-2,
        "tolerance": 1e-4,
        "precision": "float64",
    }
    found = two_layer.work(task, [cell])
    a, w = two_layer._start(task, cell, 2)
    nets = TwoLayerNets(a[None], w[None], width**-0.75)
    flow = gradient_flow(
        nets,
        samples("line", 4),
        loss="half_mse",
        until=LossRatio(1e-2),
        rates={"a": width**0.25, "w": width**-0.25},
        method=Exponential(1e-4),
    )
    expected = [float(flow.relative_distance[name]) for name in ("w", "a")]
    np.testing.assert_allclose(found["relative_distance"][0], expected, rtol=1e-9)


def made(slopes_of_cells, scatter=0.0, fitted=True):
    """Networks whose log RD is slope × log m, at γ = 0.5, 1.5; γ' = 0."""
    widths, seeds = [10, 100, 1000], 4
    random = np.random.default_rng(0)
    power = np.array(slopes_of_cells)[:, None, None, None] * np.log(widths)[:, None]
    logs = power[..., None] + scatter * random.normal(size=(2, 1, 3, seeds, 1))
    ratio = np.full((2, 1, 3, seeds), 1e-7 if fitted else 1.0)
    axes = ("gamma", "gamma_prime", "width", "seed")
    coords = {"gamma": [0.5, 1.5], "gamma_prime": [0.0], "width": widths, "seed": range(seeds), "layer": ["input"]}
    data = {
        "relative_distance": ((*axes, "layer"), np.exp(logs)),
        "loss_ratio": (axes, ratio),
        "steps": (axes, np.ones(ratio.shape)),
    }
    return xr.Dataset(data, coords)


def read(networks):
    return regimes(networks, ("gamma", "gamma_prime"), lambda *point: {"input": regime(*point)}, 1e-6)


def test_made_up_networks_are_classified_by_their_slope():
    found = read(made([-0.5, 0.25], scatter=0.01))
    assert found.regime.values.ravel().tolist() == ["linear", "condensed"]
    assert "2 of 2 cells" in agreement(found, found.margin, 0.1)
    assert "(2 beyond the 95 % interval, 0 contradict it)" in agreement(found, found.margin, 0.1)


def test_wrong_slopes_are_said_to_be_wrong():
    """The check can fail."""
    words = agreement(found := read(made([0.5, -0.25], scatter=0.01)), found.margin, 0.1)
    assert "0 of 2 cells" in words
    assert "2 contradict it" in words
    assert "largest deviation of a slope 1.00" in words


def test_noise_is_undecided_and_networks_that_were_not_fitted_do_not_count():
    assert read(made([0.01, 0.01], scatter=2.0)).regime.values.ravel().tolist() == ["undecided"] * 2
    lost = read(made([-0.5, 0.25], fitted=False))
    assert bool(lost.slope.isnull().all())
    assert lost.regime.values.ravel().tolist() == ["undecided"] * 2
    assert float(lost.fitted.max()) == 0
    assert "0 of 2 cells" in agreement(lost, lost.margin, 0.1)


@pytest.mark.parametrize("name", list(DIAGRAMS))
def test_options_are_checked(name):
    diagram = DIAGRAMS[name]
    with refused("a scale is one of"):
        diagram.chosen("huge")
    with pytest.raises(InvalidRecipe, match="the options of"):
        diagram.chunks("smoke", colour="red")
    with pytest.raises(InvalidRecipe, match="seeds"):
        diagram.chunks("smoke", seeds=1)
    assert diagram.summary
    assert diagram.chosen().seeds >= 2


def test_samples():
    x, y = samples("line", 4)
    assert x.tolist() == [[-0.5, 1.0], [pytest.approx(-1 / 6), 1.0], [pytest.approx(1 / 6), 1.0], [0.5, 1.0]]
    assert y.tolist() == pytest.approx((x[:, 0] ** 2).tolist())


def test_small_digits_need_no_files():
    x, y = samples("digits", 30)
    assert x.shape == (30, 65)
    assert float(x[:, :-1].square().sum(1).mean()) == pytest.approx(1.0)
    assert y.tolist()[:4] == [1.0, -1.0, 1.0, -1.0]  # 0, 1, 2, 3


@pytest.mark.skipif(not available("mnist"), reason="MNIST is not in CLOUDCHAMBER_DATA: NOT TESTED")
def test_digits_of_mnist():
    x, y = samples("mnist", 50)
    assert x.shape == (50, 785)
    assert float(x[:, :-1].square().sum(1).mean()) == pytest.approx(1.0)
    assert set(y.tolist()) == {-1.0, 1.0}
    found = DIAGRAMS["two-layer-regime"].run(
        "smoke",
        data="mnist",
        samples=20,
        gamma=[0.5, 1.75],
        gamma_prime=[0.0],
        widths=[50, 200],
        seeds=3,
        loss_ratio=1e-3,
    )
    assert bool((np.sign(found.slope) == np.sign(found.margin)).all())


def test_the_summary_says_which_networks_do_not_count(two):
    diagram = DIAGRAMS["two-layer-regime"]
    assert "did not reach" not in diagram.summary(two)
    fewer = two.assign(fitted=two.fitted.copy())
    fewer.fitted[0, 0, 0] = 0.5
    assert "3 of 72 networks did not reach" in diagram.summary(fewer)
    broken = two.assign(failure=xr.full_like(two.loss_ratio, "", dtype="U20"))
    broken.failure[0, 0, 0, 0] = "ValueError: no"
    assert "1 networks failed: ValueError: no" in diagram.summary(broken)


def test_a_cell_that_raises_is_named_and_the_others_go_on(monkeypatch):
    diagram = DIAGRAMS["two-layer-regime"]

    def breaking(task, cells):
        if any(cell["gamma"] == 1.4 and cell["seed"] == 0 for cell in cells):
            raise ValueError("not this one")
        return two_layer.work(task, cells)

    found = replace(diagram, work=breaking).run("smoke", seeds=3)
    assert int((found.failure != "").sum()) == 4
    assert bool(found.relative_distance.sel(gamma=1.4, seed=0).isnull().all())
    assert bool(found.slope.notnull().all())
    assert "4 networks failed: ValueError: not this one" in diagram.summary(found)
