"""What the exhibits of overview2025 compute: orientations and static neurons, flows, crossings, packed datasets."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cloudchamber.papers.overview2025 import fig2, fig5, growing, orientations, terminal, turning
from cloudchamber.papers.overview2025.packing import packed, unpacked


@pytest.fixture(scope="module")
def grown():
    """Two small networks of Figure 1, seen before and after some steps."""
    return growing.trained(Path(), width=15, lr=0.1, count=20, epochs=[0, 3, 40], seeds=2)


def test_networks_are_a_loop_over_the_module(grown):
    x, y = growing.samples(20)
    model = growing.network(15, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    held = grown.isel(seed=1, epoch=-1)
    w, a = torch.from_numpy(held.w.values), torch.from_numpy(held.a.values)
    torch.testing.assert_close(growing.values(w, a, x), model(x)[:, 0].detach(), atol=1e-5, rtol=1e-4)
    assert float(held.loss) == pytest.approx(nn.functional.mse_loss(model(x), y).item(), rel=1e-4)


def test_dead_neurons_do_not_move_and_are_static(grown):
    dead = orientations.dead(grown)[:, 0]
    assert dead.any()
    assert (~dead).any()
    assert orientations.moved(grown)[dead].max() == 0
    assert orientations.static(grown)[dead].all()


def test_the_target_bends_where_it_is_said_to():
    kinks = torch.tensor(orientations.KINKS, dtype=torch.float64)[:, None]
    second = growing.target(kinks + 0.01) - 2 * growing.target(kinks) + growing.target(kinks - 0.01)
    assert (second.abs() > 1e-3).all()
    between = torch.tensor([[-0.6], [-0.15], [0.2], [0.6], [0.9]], dtype=torch.float64)
    flat = growing.target(between + 0.01) - 2 * growing.target(between) + growing.target(between - 0.01)
    assert (flat.abs() < 1e-12).all()


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.permutations(range(4)), st.floats(-2.9, 2.9))
def test_orientations_fit_the_target_to_either_side_and_no_others_do(sides, order, off):
    ends = (orientations.bending_at(orientations.KINKS) + 180 * np.array(sides) + off)[list(order)]
    wrapped = (ends + 180) % 360 - 180
    assert orientations.fits_target(wrapped)
    assert not orientations.fits_target(wrapped[1:])
    assert not orientations.fits_target(np.append(wrapped, 60.0))


@given(st.permutations(orientations.FINAL), st.floats(-20, 20))
def test_a_list_is_as_far_as_its_worst_member(order, off):
    assert orientations.mismatch(np.array([*order])) == 0
    moved = np.array([order[0] + off, *order[1:]])
    assert orientations.mismatch(moved) == pytest.approx(abs(off), abs=1e-9) or abs(off) > 3
    assert orientations.mismatch(moved) <= abs(off) + 1e-9


def test_counted_orientations_leave_out_the_static_the_dead_and_the_weak():
    weights = torch.tensor([[1.0, 0.0], [0.99, 0.02], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.01, 0.01]])
    still, silent = np.zeros(6, dtype=bool), np.zeros(6, dtype=bool)
    still[3], silent[4] = True, True
    assert orientations.counted(weights, still, silent).tolist() == pytest.approx([0.0, 90.0])


@pytest.mark.parametrize(("name", "lines"), [("tanh", 1), ("xtanh", 2)])
def test_neurons_of_equal_speed_turn_to_the_directions_predicted(name, lines):
    found = turning.flowed(Path(), activation=name, start="equal", width=30, count=20, ratio=0.99, seeds=1)
    layer = turning.layer(found, 0)
    assert layer.predicted.attracting_lines(growing=True) == lines
    angles = turning.layer(found, 0).weights
    units = nn.functional.normalize(angles, dim=1)
    nearest = (units @ layer.predicted.directions.T).amax(1)
    assert float((nearest > np.cos(np.radians(5))).double().mean()) >= 0.9
    assert float(found.loss_ratio[0]) <= 0.99


def test_networks_of_figure_2_start_from_the_same_numbers_and_end_fitted():
    options = {"width": 10, "count": 8, "ratio": 1e-2, "tolerance": 1e-2, "seeds": 2}
    found = terminal.fitted(Path(), target=fig2.FIRST, exponents=[0.5, 2.0], **options)
    assert found.a.dims == ("gamma", "seed", "neuron")
    assert float(found.loss_ratio.max()) <= 1e-2
    alone = terminal.fitted(Path(), target=fig2.FIRST, exponents=[2.0], **(options | {"seeds": 1}))
    np.testing.assert_allclose(found.w.values[1, 0], alone.w.values[0, 0], rtol=1e-3, atol=1e-4)


def test_slopes_cross_zero_where_a_straight_line_does():
    slope = np.array([[-0.3, -0.1, 0.3], [-0.3, -0.2, -0.1]])
    cells = (("gamma_prime", "gamma", "layer"), slope[:, :, None])
    margin = (("gamma", "gamma_prime", "layer"), np.array([[-0.2, -0.2], [0.0, 0.0], [0.2, 0.2]])[:, :, None])
    axes = {"gamma": [0.8, 1.0, 1.2], "gamma_prime": [0.0, 0.2], "layer": ["input"]}
    found = fig5.crossings(xr.Dataset({"slope": cells, "margin": margin}, axes))
    np.testing.assert_allclose(found, [0.05, 0.4])


@given(st.integers(1, 3), st.integers(1, 3))
def test_packed_datasets_come_back(first, second):
    parts = {
        name: xr.Dataset({"x": ("i", np.arange(size))}, {"i": np.arange(size) / 2, "k": "one"}, {"title": name})
        for name, size in (("a", first), ("b", second))
    }
    whole = packed(parts)
    for name, part in parts.items():
        assert unpacked(whole, name).identical(part)
