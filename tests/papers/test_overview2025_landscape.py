"""What the exhibits on convolutions, the loss landscape and narrow networks compute, beside laws and slow twins."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cloudchamber.data import Dataset
from cloudchamber.papers.overview2025.channel_blocks import block_strength, blocks, line_shares
from cloudchamber.papers.overview2025.critical_points import Problem, copies, embedded_points
from cloudchamber.papers.overview2025.loss_times import BIN, loss_times, plateaus, samples, shared_share
from cloudchamber.papers.overview2025.narrowing import as_narrow, grouped, narrowed, width_of
from cloudchamber.papers.overview2025.one_convolution import network

HERE = Path()


def test_kernels_on_one_line_are_one_block_and_shuffling_breaks_it():
    layer = nn.Conv2d(2, 12, 3)
    with torch.no_grad():
        signs = torch.tensor([1.0, -1.0] * 6)
        layer.weight.copy_(signs[:, None, None, None] * torch.randn(2, 3, 3))
        layer.bias.zero_()
    found = blocks(layer, torch.randn(5, 2, 6, 6), seed=0)
    assert np.allclose(found.strength, 1.0, atol=1e-5)
    assert (found.null < 0.7).all()
    assert line_shares(layer.weight) == (1.0, 0.5)


def test_strength_of_random_kernels_is_that_of_shuffled_ones():
    torch.manual_seed(0)
    found = blocks(nn.Conv2d(3, 40, 3), torch.randn(3, 3, 8, 8), seed=1)
    assert np.allclose(found.strength / found.null, 1.0, atol=0.1)
    assert block_strength(torch.full((3, 3), torch.nan)) != block_strength(torch.eye(3))


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_network_of_one_convolution_has_deviation_of_its_exponent(kernel):
    data = Dataset("x", torch.zeros(2, 1, 12, 12), torch.zeros(2, dtype=torch.long), classes=10)
    model = network(data, channels=16, kernel=kernel, act="tanh", exponent=2.0, seed=0)
    assert model(data.inputs).shape == (2, 10)
    assert float(model.get_submodule("linear").weight.detach().std()) == pytest.approx(16**-2.0, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(narrow=st.integers(1, 4), more=st.integers(0, 9), seed=st.integers(0, 1000))
def test_random_copies_share_out_every_neuron(narrow, more, seed):
    found = copies(narrow, narrow + more, seed)
    sums = torch.zeros(narrow, dtype=torch.float64).index_add_(0, found.origin, found.share)
    assert torch.allclose(sums, torch.ones(narrow, dtype=torch.float64))


def test_embedded_points_are_critical_and_no_count_falls():
    found = embedded_points(HERE, target="sine", act="tanh", narrow=[1], wide=[1, 5], starts=2, count=40, seed=0)
    assert float(found.gradient.max()) < 1e-12
    assert float(found.wide_gradient.max()) < 1e-10
    assert bool((found.wide_inertia >= found.inertia).all())
    assert (found.inertia.sum("count") == 3).all()
    assert (found.wide_inertia.sum("count") == 3 * found.wide_width).all()


def test_loss_of_a_problem_is_that_of_the_network_written_out():
    x, y = samples("three tanh", 7)
    problem = Problem(torch.tanh, x, y, 2)
    theta = torch.arange(6, dtype=torch.float64) / 7
    (w1, b1, w2, b2, a1, a2) = theta
    out = a1 * torch.tanh(w1 * x + b1) + a2 * torch.tanh(w2 * x + b2)
    assert float(problem.loss(theta)) == pytest.approx(float((out - y).square().mean()))


def test_epochs_are_counted_once_and_what_never_leaves_says_so():
    how = {"target": "section 3", "act": "relu", "width": 3, "count": 10, "steps": 40}
    found = loss_times(HERE, **how, std=1e-3, power=0.0, lr=0.01, seeds=5)
    assert np.allclose(found.density.sum("bin"), 1.0)
    assert found.left.values.tolist() == [40.0] * 5


def test_plateaus_stand_out_and_their_shares_count_neighbours():
    density = np.full(140, 1e-5)
    density[[20, 60]] = 0.2
    low, high = plateaus(density)
    assert high - low == pytest.approx(40 * BIN)
    shares, chance = shared_share({2: np.array([low]), 4: np.array([low + BIN, high])})
    assert shares == {2: 1.0, 4: 0.5}
    assert chance[4] < 0.1 < chance[2] * 2


def test_narrowing_by_the_published_rule_keeps_what_is_the_same_and_goes_as_far_as_asked():
    found = narrowed(
        HERE, data="digits", samples=0, width=12, steps=5, lr=0.1, tune=1, starts=["m^-2", "He"], seed=0
    )  # fmt: skip
    assert (found.neurons <= 12).all()
    assert float(found.agreement.sel(start="He", way="cosine 0.9")) == 1.0


def test_a_net_of_copies_is_merged_exactly_and_narrower_on_request():
    from cloudchamber.models import MLP

    torch.manual_seed(0)
    model = MLP(4, 3, depth=2, width=10)
    with torch.no_grad():
        first = model.get_submodule("linear1")
        first.weight[5:].copy_(2 * first.weight[:5])
        first.bias[5:].copy_(2 * first.bias[:5])
    small = grouped(model, 0.9)
    x = torch.randn(20, 4)
    assert width_of(small) <= 5
    if width_of(small) == 5:
        assert torch.allclose(small(x), model(x), atol=1e-5)
    assert width_of(as_narrow(model, 3)) <= 3
