"""The two-layer linear network: batches, shapes, precisions, data on a line, and what is refused."""

import math

import pytest
import torch
from unchecked import refused

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.theory.line_data import line_data
from cloudchamber.theory.linear_model import LinearModel

float64 = torch.float64
HIDDEN, INPUTS = 4, 3


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def network(*batch, **changes):
    u, W, n = gaussian(*batch, HIDDEN), gaussian(*batch, HIDDEN, INPUTS, seed=1), gaussian(INPUTS, seed=2)
    return LinearModel.from_weights(**({"u": u, "W": W, "n": n, "y": 1.0} | changes))


SCALARS = ("z", "output", "residual", "excess_loss", "kernel", "layer_alignment", "norm_u", "norm_w")


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)])
@pytest.mark.parametrize("times", [(), (7,), (2, 4), (0,)])
def test_shapes(batch, times):
    model, t = network(*batch), torch.rand(times)
    for name in SCALARS:
        assert getattr(model, name)(t).shape == batch + times
        assert getattr(model, name)(t).dtype == float64
    assert model.u(t).shape == batch + times + (HIDDEN,)
    assert model.w(t).shape == batch + times + (HIDDEN,)
    assert model.W(t).shape == batch + times + (HIDDEN, INPUTS)
    x = gaussian(6, INPUTS)
    assert model.outputs(x, t).shape == batch + times + (6,)
    assert model.kernel_matrix(x, x[:2], t).shape == batch + times + (6, 2)
    for name in ("s", "alpha_plus", "alpha_minus", "learning_time", "alignment_grows", "reaches_saddle"):
        assert getattr(model, name).shape == batch
    assert [term.shape for term in model.learning_terms] == [batch, batch]


def test_a_batch_is_its_members():
    named = {"y": gaussian(3), "rate_u": gaussian(3, seed=5).exp(), "gamma": gaussian(3, seed=6)}
    together, t = network(3, **named), torch.linspace(0, 2, 5, dtype=float64)
    u, W = gaussian(3, HIDDEN), gaussian(3, HIDDEN, INPUTS, seed=1)
    for i in range(3):
        alone = network(u=u[i], W=W[i], **{name: value[i] for name, value in named.items()})
        for name in (*SCALARS, "u", "W"):
            assert torch.equal(getattr(together, name)(t)[i], getattr(alone, name)(t))


def test_one_start_at_many_rates_and_targets():
    model = network(rate_u=torch.ones(4, 1), y=torch.arange(3.0))
    assert model.output(torch.zeros(2)).shape == (4, 3, 2)
    assert model.W(1.0).shape == (4, 3, HIDDEN, INPUTS)


def test_the_length_of_the_direction_does_not_matter():
    n = gaussian(INPUTS, seed=2)
    for factor in (1e-200, 7.0, 1e200):
        assert torch.allclose(network(n=factor * n).W(0.3), network().W(0.3), rtol=1e-13)


def test_float32_weights_are_taken_as_they_are():
    u = gaussian(HIDDEN).float()
    assert torch.equal(network(u=u).u(0.5), network(u=u.double()).u(0.5))


def test_the_kernel_and_the_outputs_on_the_line():
    model, t = network(2, rho=0.7, gamma=-1.3, rate_w=2.0), torch.tensor([0.0, 0.4], dtype=float64)
    x = 0.7 * model.weights.n[:1]
    assert torch.allclose(model.kernel_matrix(x, x, t)[..., 0, 0], model.kernel(t), rtol=1e-12)
    assert torch.allclose(model.outputs(x, t)[..., 0], model.output(t), rtol=1e-12)


def test_the_kernel_is_the_one_of_autograd():
    model = network(rho=0.7, gamma=-1.3, rate_u=0.5, rate_w=2.0)
    x, other = gaussian(4, INPUTS, seed=8), gaussian(2, INPUTS, seed=9)

    def gradients(rows):
        u, W = model.u(0.4).requires_grad_(), model.W(0.4).requires_grad_()
        each = [torch.autograd.grad(-1.3 * u @ W @ row, (u, W)) for row in rows]
        return torch.stack([torch.cat([0.5**0.5 * g, (2.0**0.5 * h).flatten()]) for g, h in each])

    expected = gradients(x) @ gradients(other).T
    assert torch.allclose(model.kernel_matrix(x, other, 0.4), expected, rtol=1e-12)


def test_data_on_a_line():
    n, a, targets = gaussian(INPUTS), gaussian(20, seed=1), gaussian(20, seed=2)
    x = a[:, None] * n
    data = line_data(x, targets)
    W, u = gaussian(HIDDEN, INPUTS, seed=3), gaussian(HIDDEN, seed=4)
    model = LinearModel.from_weights(u, W, data.n, y=data.y, rho=data.rho)
    for t in (0.0, 0.2, math.inf):
        outputs = model.outputs(x, t)
        loss = (outputs - targets).square().mean()
        assert torch.allclose(loss, model.excess_loss(t) + data.least_loss, rtol=1e-12)
    assert math.isclose(data.rho, x.square().sum(1).mean().sqrt(), rel_tol=1e-12)


def test_data_off_the_line_are_refused():
    with refused("the inputs are on one line"):
        line_data(torch.eye(2), torch.ones(2))
    with refused("one input at least is not zero"):
        line_data(torch.zeros(2, 3), torch.ones(2))
    with refused(r"`x` is \(n, d\) and `targets` \(n,\)"):
        line_data(torch.ones(2, 3), torch.ones(3))
    with refused("`targets` is finite; got nan"):
        line_data(torch.ones(2, 3), torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": torch.zeros(INPUTS)}, "`n` is a direction; got a zero vector"),
        ({"u": torch.full((HIDDEN,), math.nan)}, "`u` is finite; got nan"),
        ({"W": torch.full((HIDDEN, INPUTS), math.inf)}, "`W` is finite; got inf"),
        ({"y": math.nan}, "`y` is finite; got nan"),
        ({"gamma": 0.0}, "`gamma` is not 0"),
        ({"gamma": -math.inf}, "`gamma` is finite; got -inf"),
        ({"rho": 0.0}, "`rho` is positive; got 0.0"),
        ({"rate_u": -1.0}, "`rate_u` is positive; got -1.0"),
        ({"rate_w": torch.tensor([1.0, 0.0])}, "`rate_w` is positive; got 0.0"),
        ({"rate_w": math.nan}, "`rate_w` is finite; got nan"),
        ({"u": torch.ones(HIDDEN + 1)}, r"`u` is \(..., h\), `W` is \(..., h, d\)"),
        ({"n": torch.ones(INPUTS + 1)}, "`n` is"),
        ({"u": torch.tensor(1.0)}, "`u` is"),
        ({"W": torch.ones(HIDDEN)}, "`W` is"),
        ({"u": torch.ones(2, HIDDEN), "W": torch.ones(3, HIDDEN, INPUTS)}, "the leading dimensions of all arguments"),
        ({"y": torch.ones(2), "rho": torch.ones(3)}, "the leading dimensions of all arguments"),
        ({"u": torch.ones(HIDDEN, dtype=torch.complex64)}, "`u` holds real numbers"),
    ],
)
def test_bad_networks_are_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        network(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"P": -1.0}, "`P` is 0 or more: it is a squared length; got -1.0"),
        ({"Q": torch.tensor([1.0, -1.0])}, "`Q` is 0 or more"),
        ({"R": 1.1}, "`R` is p·q, so that R² ≤ PQ"),
        ({"P": 0.0, "R": 1e-9}, "R² ≤ PQ"),
        ({"R": math.nan}, "`R` is finite"),
        ({"P": math.inf}, "`P` is finite"),
    ],
)
def test_bad_reduced_starts_are_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        LinearModel.from_reduced(**({"P": 1.0, "Q": 1.0, "R": 0.0, "y": 1.0} | changes))


def test_the_largest_r_is_allowed_with_its_rounding():
    assert LinearModel.from_reduced(2.0, 3.0, math.sqrt(6.0), y=1.0).start.gram < 1e-12
    assert LinearModel.from_reduced(2.0, 2.0, -2.0, y=1.0).norm_u(0.0) == 0.0


def test_an_unknown_loss_is_refused():
    with refused("`loss` is one of"):
        LinearModel.from_reduced(1.0, 1.0, y=1.0, loss="absolute")


@pytest.mark.parametrize("t", [-1.0, math.nan, torch.tensor([0.0, -1e-9])])
def test_bad_times_are_refused(t):
    for name in ("z", "output", "u", "W"):
        with pytest.raises(InvalidInput, match="a time is 0 or more"):
            getattr(network(), name)(t)


def test_inputs_of_another_dimension_are_refused():
    x = torch.ones(2, INPUTS + 1)
    with pytest.raises(InvalidInput, match=r"inputs are \(n, 3\); got \(2, 4\)"):
        network().outputs(x, 1.0)
    with pytest.raises(InvalidInput, match=r"inputs are \(n, 3\); got \(2, 4\)"):
        network().kernel_matrix(x, x, 1.0)


def test_a_reduced_model_has_no_vectors():
    model = LinearModel.from_reduced(1.0, 2.0, y=1.0)
    for name in ("u", "w", "W"):
        with pytest.raises(Unsupported, match="from_weights"):
            getattr(model, name)(1.0)
    with pytest.raises(Unsupported, match="from_weights"):
        model.outputs(torch.ones(1, 2), 1.0)


def test_a_zero_layer_has_no_alignment_at_the_start_and_gets_one():
    model = network(u=torch.zeros(HIDDEN))
    assert model.layer_alignment(0.0).isnan()
    assert 0 < model.layer_alignment(1e-3) <= 1
    assert model.layer_alignment(math.inf) == 1.0
