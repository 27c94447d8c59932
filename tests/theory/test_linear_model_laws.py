"""The two-layer linear network: what holds for every start."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from cloudchamber.theory.linear_model import LinearModel

float64 = torch.float64
LOSSES = ("mean_square", "half_mean_square")
laws = settings(derandomize=True, max_examples=50, deadline=None, database=None)


def exponents(orders):
    return st.floats(-orders, orders).map(lambda power: 10.0**power)


@st.composite
def cases(draw, orders):
    seed, hidden, inputs = draw(st.integers(0, 10_000)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    random = torch.Generator().manual_seed(seed)
    u, W, n = (torch.randn(*shape, generator=random) for shape in ((hidden,), (hidden, inputs), (inputs,)))
    size = exponents(orders)
    return {
        "u": u.double() * draw(size),
        "W": W.double() * draw(size),
        "n": n.double(),
        "y": draw(size) * draw(st.sampled_from([1.0, -1.0, 0.0])),
        "rho": draw(size),
        "gamma": draw(size) * draw(st.sampled_from([1.0, -1.0])),
        "rate_u": draw(size),
        "rate_w": draw(size),
        "loss": draw(st.sampled_from(LOSSES)),
    }


def for_models(orders=5.0):
    """Run a test on many models; they are made outside of the strategy, where beartype's random numbers are refused."""

    def decorate(test):
        @laws
        @given(cases(orders))
        def tested(case):
            test(LinearModel.from_weights(**case))

        return tested

    return decorate


def some_times(model):
    unit = model.learning_time if model.learning_time.isfinite() else torch.tensor(1.0, dtype=float64)
    return torch.tensor([0.0, 1e-3, 0.1, 1.0, 10.0, 1e3, math.inf], dtype=float64) * unit


def close(a, b, rtol=1e-10):
    return torch.allclose(a, b, rtol=rtol, atol=1e-300)


@for_models()
def test_the_flow_starts_at_the_weights(model):
    weights = model.weights
    assert close(model.u(0.0), weights.u)
    assert close(model.W(0.0), weights.W)
    assert model.z(0.0) == 1.0
    assert close(model.norm_u(0.0), weights.u.norm())
    assert close(model.norm_w(0.0), weights.w.norm())


@for_models()
def test_numbers_follow_from_the_weights(model):
    t = some_times(model)[:-1]
    u, w = model.u(t), model.w(t)
    sizes = u.norm(dim=-1), w.norm(dim=-1)
    # With P or Q near 0 the vectors are known to the rounding of the start alone.
    rounding = 1e-12 * (model.start.uu.sqrt() / model.start.ratio + model.start.ww.sqrt())
    stretch = torch.maximum(model.z(t).sqrt(), 1 / model.z(t).sqrt())
    assert ((model.norm_u(t) - sizes[0]).abs() <= 1e-10 * sizes[0] + rounding * stretch * model.start.ratio).all()
    assert ((model.norm_w(t) - sizes[1]).abs() <= 1e-10 * sizes[1] + rounding * stretch).all()


@for_models()
def test_conserved_quantities(model):
    start, t = model.start, some_times(model)
    norms = model.norm_u(t) ** 2, model.norm_w(t) ** 2
    balance = norms[0] / start.rate_u - norms[1] / start.rate_w
    scale = (norms[0] / start.rate_u + norms[1] / start.rate_w).clamp(min=start.P + start.Q)
    assert ((balance - 4 * start.R).abs() <= 1e-10 * scale).all()
    cross = norms[0] * norms[1] * (1 - model.layer_alignment(t) ** 2)
    assert ((cross - start.gram).abs() <= 1e-10 * norms[0] * norms[1]).all()


@for_models(orders=2.0)
def test_z_solves_its_equation(model):
    """ż = −4s (f − y) z, and ḟ = −2K (f − y); half of both for the halved loss."""
    t = some_times(model)[:-2].requires_grad_()
    by_time = [torch.autograd.grad(quantity(t).sum(), t)[0] for quantity in (model.z, model.output)]
    factor, residual = model.start.factor, model.residual(t)
    speed = 4 * factor * model.s.abs() * (model.start.y.abs() + model.start.output.abs())
    slope = -4 * factor * model.s * residual * model.z(t)
    assert ((by_time[0] - slope).abs() <= 1e-9 * (slope.abs() + speed * model.z(t))).all()
    slope = -2 * factor * model.kernel(t) * residual
    assert ((by_time[1] - slope).abs() <= 1e-9 * (slope.abs() + speed * residual.abs().max())).all()


@for_models()
def test_the_limit_is_where_long_times_lead(model):
    late = 300 * model.learning_time
    if late.isfinite() and not model.reaches_saddle:
        for quantity in (model.z, model.kernel, model.norm_u, model.norm_w):
            assert close(quantity(late), quantity(math.inf), rtol=1e-9)
        assert abs(model.layer_alignment(late) - model.layer_alignment(math.inf)) <= 1e-12
    assert close(model.z(math.inf), model.alpha_plus)
    assert model.residual(math.inf) == 0 or model.reaches_saddle
    if not model.reaches_saddle:
        assert close(model.output(math.inf), model.start.y, rtol=1e-12)


@for_models()
def test_alignment_is_monotone_and_grows_as_condition_24_says(model):
    alignment = model.layer_alignment(some_times(model))
    steps = alignment.diff()
    rising = torch.where(model.alignment_grows, steps, -steps)
    assert (rising >= -1e-12).all()
    assert bool(model.alignment_grows) == bool(model.start.output * model.s.sign() < model.start.y * model.s.sign())


@for_models()
def test_the_two_roots(model):
    plus, minus, start = model.alpha_plus, model.alpha_minus, model.start
    assert plus >= 0
    assert minus <= 0
    assert close(plus * minus * start.P, -start.Q, rtol=1e-9)
    assert close(model.learning_time, sum(model.learning_terms).rsqrt(), rtol=1e-9)
    gap = model.learning_terms[0] + model.learning_terms[1]
    assert close((plus - minus) * start.P * start.s.abs() * 4 * start.factor * start.s.abs(), gap.sqrt(), rtol=1e-9)


@for_models()
def test_half_the_loss_takes_twice_the_time(model):
    t = some_times(model)
    products = model.start.P, model.start.Q, model.start.R
    twice = [LinearModel.from_reduced(*products, y=0.7, loss=loss) for loss in LOSSES]
    assert close(twice[1].learning_time, 2 * twice[0].learning_time)
    assert close(sum(twice[1].learning_terms), sum(twice[0].learning_terms) / 4)
    for name in ("z", "output", "kernel", "layer_alignment", "norm_u", "norm_w"):
        assert close(getattr(twice[1], name)(2 * t), getattr(twice[0], name)(t))
    assert close(twice[1].excess_loss(2 * t), twice[0].excess_loss(t) / 2)


@for_models(orders=3.0)
def test_reduced_and_full_agree(model):
    start, t = model.start, some_times(model)
    named = {"y": start.y, "rho": start.rho, "gamma": start.gamma, "rate_u": start.rate_u, "rate_w": start.rate_w}
    loss = LOSSES[int(start.factor < 1)]
    reduced = LinearModel.from_reduced(start.P, start.Q, start.R, **named, loss=loss)
    scale = (start.s.abs() * (start.P + start.Q) + start.y.abs()).clamp(min=1e-300)
    assert ((reduced.output(t) - model.output(t)).abs() <= 1e-9 * scale).all()
    assert close(reduced.learning_time, model.learning_time)


def test_condition_24_in_20000_draws():
    """α₊ > 1, f(0) < y and a rising alignment are one and the same, whatever the learning rates."""
    random = torch.Generator().manual_seed(1)
    count = 20_000

    def normal(*shape):
        return torch.randn(count, *shape, generator=random, dtype=float64)

    model = LinearModel.from_weights(
        normal(5) * normal().exp()[:, None],
        normal(5, 1) * normal().exp()[:, None, None],
        torch.ones(1),
        y=normal().abs(),
        rate_u=(3 * normal()).exp(),
        rate_w=(3 * normal()).exp(),
    )
    grows = model.alignment_grows
    assert torch.equal(grows, model.alpha_plus > 1)
    assert torch.equal(grows, model.start.output < model.start.y)
    assert torch.equal(grows, model.layer_alignment(math.inf) > model.layer_alignment(0.0))
    assert 1000 < grows.sum() < count - 1000


def test_the_ratio_of_the_rates_decides_neither_sign_nor_amount_of_the_change_of_alignment():
    """‖u‖²‖w‖² − (u·w)² is conserved and u·w ends at y/γρ, at any rates: they only decide the way and the norms.

    The paper's prose in Section 2.2 says that the alignment depends strongly on the ratio; z(∞) does, ζ(∞) does not.
    """
    random = torch.Generator().manual_seed(2)
    ratios = 10 ** torch.linspace(-3, 3, 61, dtype=float64)
    u, w, y = (torch.randn(*shape, generator=random, dtype=float64) for shape in ((500, 1, 4), (500, 1, 4), (500, 1)))
    model = LinearModel.from_weights(u, w[..., None], torch.ones(1), y=y.abs(), rate_u=ratios, rate_w=1 / ratios)
    change = model.layer_alignment(math.inf) - model.layer_alignment(0.0)
    assert torch.equal(change.sign(), (y.abs() - model.start.output).sign())
    assert (change - change[:, :1]).abs().max() < 1e-12
    expected = y.abs() / (y.abs() ** 2 + model.start.gram).sqrt()
    assert (model.layer_alignment(math.inf) - expected).abs().max() < 1e-12
    for quantity in (model.alpha_plus.log(), model.norm_u(math.inf).log(), model.norm_w(math.inf).log()):
        assert (quantity.amax(1) - quantity.amin(1)).median() > 0.1
    halfway = model.layer_alignment(0.1)
    assert (halfway.amax(1) - halfway.amin(1)).median() > 0.1


def test_the_alignment_ends_where_gradient_descent_ends():
    """The same with the weights themselves: descent at rates of ratio 1, 10 and 100 reaches one alignment."""
    random = torch.Generator().manual_seed(3)
    u0, w0 = (torch.randn(4, generator=random, dtype=float64) for _ in range(2))
    endings = []
    for rate_u, rate_w in ((1.0, 1.0), (3.0, 0.3), (0.1, 10.0)):
        u, w = u0.clone(), w0.clone()
        for _ in range(5_000):
            error = 5e-3 * (u @ w - 1.0)
            u, w = u - rate_u * error * w, w - rate_w * error * u
        endings.append(torch.cosine_similarity(u, w, dim=0))
        exact = LinearModel.from_weights(u0, w0[:, None], torch.ones(1), y=1.0, rate_u=rate_u, rate_w=rate_w)
        assert abs(endings[-1] - exact.layer_alignment(math.inf)) < 5e-3
    assert max(endings) - min(endings) < 5e-3
    assert abs(endings[0] - torch.cosine_similarity(u0, w0, dim=0)) > 0.1


@pytest.mark.parametrize(
    ("P", "Q", "y", "gamma", "alignment"),
    [(2.0, 0.0, -1.0, 1.0, 1.0), (0.0, 2.0, 1.0, 1.0, -1.0), (2.0, 0.0, 1.0, -1.0, 1.0), (0.0, 2.0, -1.0, -1.0, -1.0)],
)
def test_the_saddle_is_reached_from_an_aligned_start(P, Q, y, gamma, alignment):
    model = LinearModel.from_reduced(P, Q, y=y, gamma=gamma)
    assert model.reaches_saddle
    assert model.alpha_plus == (0.0 if P > 0 else math.inf)
    t = torch.tensor([0.0, 1.0, 10.0, 1e4, math.inf], dtype=float64)
    assert (model.layer_alignment(t) == alignment).all()
    assert (model.output(t).abs().diff() <= 0).all()
    for quantity in (model.output, model.norm_u, model.norm_w, model.kernel):
        assert quantity(math.inf) == 0.0
    assert model.residual(math.inf) == -y
    # Near the saddle ‖u‖² falls like e^{−4|s y| t}.
    late = model.norm_u(torch.tensor([20.0, 21.0], dtype=float64)) ** 2
    assert math.isclose(late[1] / late[0], math.exp(-4), rel_tol=1e-9)


@pytest.mark.parametrize(("P", "Q", "y"), [(2.0, 0.0, 3.0), (0.0, 2.0, -3.0), (1e-6, 0.0, 3.0)])
def test_the_logistic_solution_of_proposition_1(P, Q, y):
    """With one of P and Q zero f is a logistic curve from f(0) to y with the rate 4|y| (s = 1)."""
    model = LinearModel.from_reduced(P, Q, y=y)
    assert not model.reaches_saddle
    t = torch.linspace(0, 3, 13, dtype=float64)
    f0 = P - Q
    expected = y / (1 + (y / f0 - 1) * torch.exp(-4 * abs(y) * t))
    assert torch.allclose(model.output(t), expected, rtol=1e-13)
    assert torch.allclose(model.output(math.inf), torch.tensor(y, dtype=float64), rtol=1e-15)


def test_a_network_at_the_saddle_stays_there():
    model = LinearModel.from_reduced(0.0, 0.0, y=torch.tensor([1.0, -1.0, 0.0], dtype=float64))
    t = torch.tensor([0.0, 1.0, 100.0, math.inf], dtype=float64)
    for quantity in (model.output, model.kernel, model.norm_u, model.norm_w):
        assert (quantity(t) == 0).all()
    assert model.layer_alignment(t).isnan().all()
    assert model.reaches_saddle.tolist() == [True, True, False]


@pytest.mark.parametrize(("P", "Q"), [(2.0, 0.0), (0.0, 2.0)])
def test_target_zero_from_an_aligned_start_is_algebraic_in_time(P, Q):
    """ż = −4P z²: f = f(0)/(1 + 4|f(0)| t)."""
    model = LinearModel.from_reduced(P, Q, y=0.0)
    t = torch.tensor([0.0, 0.5, 1e6, math.inf], dtype=float64)
    assert torch.allclose(model.output(t), (P - Q) / (1 + 8 * t), rtol=1e-14)
    assert model.learning_time == math.inf
    assert not model.reaches_saddle
    assert model.alpha_plus == (0.0 if P > 0 else math.inf)


def test_target_zero_in_general():
    """z(∞) = √(Q/P): the layers become orthogonal and keep 2√(PQ) of their size."""
    model = LinearModel.from_reduced(9.0, 4.0, y=0.0)
    assert math.isclose(model.z(math.inf), 2 / 3, rel_tol=1e-15)
    assert model.output(math.inf) == 0.0
    assert model.layer_alignment(math.inf) == 0.0
    assert math.isclose(model.norm_u(math.inf) ** 2, 12.0, rel_tol=1e-14)


def test_parallel_layers_that_pass_through_the_origin_turn_over():
    """u = −w, y > 0 after η-balance is broken: ζ jumps from −1 to 1 where one of them is zero (Eq. 22)."""
    u, w = torch.tensor([2.0], dtype=float64), torch.tensor([[-1.0]], dtype=float64)
    model = LinearModel.from_weights(u, w, torch.ones(1), y=1.0)
    alignment = model.layer_alignment(torch.linspace(0, 5, 101, dtype=float64))
    assert alignment[0] == -1.0
    assert alignment[-1] == 1.0
    assert (alignment.abs() == 1).all()


def test_the_norms_fall_and_rise_again_where_the_alignment_changes_sign():
    """Section 2.3, case 3: f(0) < 0 < y, so that ‖u‖ first decreases and then increases."""
    model = LinearModel.from_reduced(1.0, 4.0, 0.5, y=2.0)
    norms = model.norm_u(torch.linspace(0, 3, 200, dtype=float64))
    lowest = norms.argmin()
    assert 0 < lowest < 199
    assert (norms[: lowest + 1].diff() <= 0).all()
    assert (norms[lowest:].diff() >= 0).all()
