"""Phase norm beside Eq. (29)-(31) of mlp2024 by hand, with every choice that the paper leaves open."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from norm_cases import SHAPES, PhaseNormByHand, batch_of, laws
from torch import nn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.interventions import BatchNorm, PhaseNorm

EXACT = {"rtol": 1e-10, "atol": 1e-10}
WATCHED = ("output", "normalized", "rectified")


def frozen_norm():
    """At the constants of some batches whose neurons differ, with the first phase over."""
    norm = PhaseNorm(4, smoothing=0.5).double()
    spread = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    for seed in range(4):
        norm(spread * batch_of((4,), seed, shift=5.0))
    for seed in range(20):
        norm(batch_of((4,), seed))
    assert norm.frozen
    return norm


@laws
@given(
    st.sampled_from(list(SHAPES.values())),
    st.sampled_from(WATCHED),
    st.sampled_from(["batch", "running"]),
    st.booleans(),
    st.floats(-0.3, 0.9),
    st.floats(-1, 1),
    st.floats(0.3, 0.95),
    st.integers(0, 1000),
)
def test_every_batch_is_normalized_as_the_equations_say(
    sizes, watched, statistics, once, threshold, start, smoothing, seed
):
    shape, axis = sizes
    choices = {"threshold": threshold, "start": start, "smoothing": smoothing, "momentum": 0.2, "eps": 1e-4}
    choices |= {"watched": watched, "statistics": statistics, "once": once}
    norm, slow = PhaseNorm(4, axis, **choices).double(), PhaseNormByHand(4, axis, **choices)
    slow.similarity = float(torch.tensor(start))  # it starts in float32
    for step in range(10):
        x = batch_of(shape, 100 * seed + step, samples=4, shift=3.0 if step % 5 < 3 else 0.0)
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        ours, theirs = norm(one), slow.train(other)
        torch.testing.assert_close(ours, theirs, **EXACT)
        gradients = [torch.autograd.grad(y.pow(3).sum(), z)[0] for y, z in ((ours, one), (theirs, other))]
        torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-8)
        assert float(norm.similarity) == pytest.approx(slow.similarity, abs=1e-12)
        assert (bool(norm.frozen), int(norm.batches)) == (slow.frozen, slow.batches)


def test_in_the_first_phase_it_is_batch_norm_without_scale_and_shift():
    phase, batch = PhaseNorm(4).double(), BatchNorm(4, affine=False).double()
    for seed in range(50):
        x = batch_of((4,), seed, shift=4.0)
        assert torch.equal(phase(x), batch(x))
    assert torch.equal(phase.eval()(x), batch.eval()(x))
    assert not phase.frozen


def test_afterwards_each_sample_is_normalized_by_itself_with_the_same_constants_in_training_and_evaluation():
    norm = frozen_norm()
    before, x = copy.deepcopy(norm.state_dict()), 7 * batch_of((4,), 99, shift=9.0)
    together = norm(x)
    assert torch.equal(together, torch.cat([norm(row[None]) for row in x]))
    assert torch.equal(together, norm.eval()(x))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_afterwards_it_is_an_affine_map_that_a_linear_layer_can_take_over():
    norm, layer = frozen_norm(), nn.Linear(3, 4).double()
    scale = (norm.running_var + norm.eps).rsqrt()
    folded = nn.Linear(3, 4).double()
    with torch.no_grad():
        folded.weight.copy_(scale[:, None] * layer.weight)
        folded.bias.copy_(scale * (layer.bias - norm.running_mean))
    x = batch_of((3,), 5)
    torch.testing.assert_close(folded(x), norm(layer(x)), **EXACT)


def test_the_end_of_the_first_phase_is_final_unless_asked_otherwise():
    for once in (True, False):
        norm = PhaseNorm(4, start=0.3, once=once).double()
        norm(batch_of((4,), 0) - batch_of((4,), 0).mean(0))  # opposite on average: a falls below 0.3
        assert norm.frozen
        for seed in range(30):
            norm(batch_of((4,), seed, shift=9.0))
        assert bool(norm.frozen) == once
        assert (float(norm.similarity) > 0.3) != once


def test_from_a_start_of_one_it_cannot_freeze_before_batch_120_whatever_comes():
    norm = PhaseNorm(2)
    opposite = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # mean cosine 0
    for batch in range(1, 125):
        norm(opposite)
        assert bool(norm.frozen) == (batch >= 120)  # 0.99^119 > 0.3 > 0.99^120
    assert int(norm.batches) == 119
    assert math.isclose(0.9**119, 3.6e-6, rel_tol=0.01)  # what is left of the start of μ and σ²


def test_from_a_start_at_the_threshold_it_never_normalizes():
    norm, x = PhaseNorm(4, start=0.0, eps=1e-12).double(), batch_of((4,), 0)
    for seed in range(20):
        torch.testing.assert_close(norm(x + seed), x + seed, rtol=1e-9, atol=1e-9)
    assert norm.frozen
    assert not norm.batches


def test_the_cosine_of_what_is_watched_is_what_the_choices_are_said_to_make_it():
    """Independent Gaussians: normalized about −1/n, rectified about 1/π."""
    found = {}
    for watched in WATCHED:
        norm = PhaseNorm(400, smoothing=0.0, watched=watched)
        norm(torch.randn(200, 400, generator=torch.Generator().manual_seed(0)))
        found[watched] = float(norm.similarity)
    assert found["output"] == pytest.approx(0, abs=0.002)
    assert found["normalized"] == pytest.approx(-1 / 199, abs=0.0005)
    assert found["rectified"] == pytest.approx(1 / math.pi, abs=0.01)


@pytest.mark.parametrize("broken", [0.0, math.nan, math.inf])
def test_a_batch_without_a_cosine_leaves_the_similarity_as_it_is(broken):
    norm = PhaseNorm(4)
    norm(torch.full((5, 4), broken))
    assert float(norm.similarity) == 1.0
    assert not norm.frozen


def test_the_similarity_is_that_of_whole_samples():
    """A feature map is one vector; opposite positions make it orthogonal, not its positions."""
    norm = PhaseNorm(1, axis=1, smoothing=0.0)
    norm(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    assert float(norm.similarity) == 0.0


def test_watching_adds_nothing_to_the_gradient():
    x = batch_of((4,), 0, shift=4.0).requires_grad_()
    for watched in WATCHED:
        phase, batch = PhaseNorm(4, watched=watched).double(), BatchNorm(4, affine=False).double()
        weights = batch_of((4,), 1)
        one, other = (torch.autograd.grad((norm(x) * weights).sum(), x)[0] for norm in (phase, batch))
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_under_autocast_is_watched_in_single_precision(dtype):
    norm, x = PhaseNorm(4), batch_of((4,), 0, shift=4.0)
    assert norm(x.to(dtype)).dtype == dtype
    assert norm.similarity.dtype == torch.float32
    assert float(norm.similarity) > 0.99


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"threshold": 1.5}, "`threshold` lies between -1 and 1; got 1.5"),
        ({"start": math.nan}, "`start` lies between -1 and 1; got nan"),
        ({"smoothing": -0.1}, "`smoothing` lies between 0 and 1; got -0.1"),
        ({"momentum": 2.0}, "`momentum` lies between 0 and 1; got 2.0"),
        ({"eps": -1.0}, "`eps` lies between 0 and inf; got -1.0"),
    ],
)
def test_a_number_out_of_range_is_refused(settings, rule):
    with pytest.raises(InvalidInput, match=rule):
        PhaseNorm(4, **settings)
