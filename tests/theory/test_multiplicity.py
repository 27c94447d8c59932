"""Multiplicity: known functions of every kind, laws, and functions about which autograd is wrong."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from theory.field_cases import laws, unchecked
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.theory import multiplicity

EXACT = {
    "tanh": (torch.tanh, 1, 1),
    "sigmoid": (torch.sigmoid, 1, 0.25),
    "softplus": (fn.softplus, 1, 0.5),
    "softplus, sharp": (nn.Softplus(beta=3.0), 1, 0.5),
    "gelu": (fn.gelu, 1, 0.5),
    "gelu by tanh": (nn.GELU("tanh"), 1, 0.5),
    "silu": (fn.silu, 1, 0.5),
    "swish 1.7": (lambda x: x * torch.sigmoid(1.7 * x), 1, 0.5),
    "mish": (fn.mish, 1, 0.6),
    "hardswish": (fn.hardswish, 1, 0.5),
    "hardtanh": (fn.hardtanh, 1, 1),
    "hardtanh, steep": (lambda x: fn.hardtanh(10 * x), 1, 10),
    "elu": (fn.elu, 1, 1),
    "celu": (fn.celu, 1, 1),
    "celu, alpha 2": (nn.CELU(2.0), 1, 1),
    "softsign": (fn.softsign, 1, 1),
    "logsigmoid": (fn.logsigmoid, 1, 0.5),
    "sin": (torch.sin, 1, 1),
    "snake": (lambda x: x + torch.sin(x) ** 2, 1, 1),
    "exp": (torch.exp, 1, 1),
    "linear": (lambda x: x, 1, 1),
    "identity": (nn.Identity(), 1, 1),
    "erf": (torch.erf, 1, 2 / math.sqrt(math.pi)),
    "atan": (torch.atan, 1, 1),
    "log1p": (torch.log1p, 1, 1),
    "bent identity": (lambda x: (torch.sqrt(x * x + 1) - 1) / 2 + x, 1, 1),
    "squareplus": (lambda x: (x + torch.sqrt(x * x + 4)) / 2, 1, 0.5),
    "prelu, slope 1": (nn.PReLU(init=1.0, dtype=torch.float64), 1, 1),
    "x tanh": (lambda x: x * torch.tanh(x), 2, 1),
    "1 - cos": (lambda x: 1 - torch.cos(x), 2, 0.5),
    "cosh - 1": (lambda x: torch.cosh(x) - 1, 2, 0.5),
    "sin(x²)": (lambda x: torch.sin(x**2), 2, 1),
    "gelu - x/2": (lambda x: fn.gelu(x) - x / 2, 2, 1 / math.sqrt(2 * math.pi)),
    "softplus - x/2": (lambda x: fn.softplus(x) - x / 2, 2, 0.125),
    "gauss": (lambda x: torch.exp(-x * x), 2, -1),
    "log cosh": (lambda x: torch.log(torch.cosh(x)), 2, 0.5),
    "x² tanh": (lambda x: x * x * torch.tanh(x), 3, 1),
    "x³": (lambda x: x**3, 3, 1),
    "tanhshrink": (fn.tanhshrink, 3, 1 / 3),
    "tanh - sin": (lambda x: torch.tanh(x) - torch.sin(x), 3, -1 / 6),
    "rounding at order 1": (lambda x: torch.tanh(1.1 * x) / 1.1 - x, 3, -(1.1**2) / 3),
    "x⁴ tanh": (lambda x: x**4 * torch.tanh(x), 5, 1),
    "sigmoid less its start": (lambda x: torch.sigmoid(x) - 0.5 - x / 4 + x**3 / 48, 5, 1 / 480),
    "x⁷ sin": (lambda x: x**7 * torch.sin(x), 8, 1),
    "steep": (lambda x: torch.tanh(1e6 * x), 1, 1e6),
    "steep, p = 2": (lambda x: x * torch.tanh(1000 * x), 2, 1000),
    "faint": (lambda x: 1e-8 * torch.tanh(x), 1, 1e-8),
    "faint slope": (lambda x: 1e-8 * x + x * x, 1, 1e-8),
    "on a pedestal": (lambda x: 1e6 + torch.tanh(x), 1, 1),
    "smooth to first order only": (lambda x: x + x.abs() ** 1.5, 1, 1),
}

FROM_VALUES = {
    "autograd's 1/6 is that of float32": (fn.hardsigmoid, 1, 1 / 6, 1e-12),
    "no second derivative in autograd": (torch.special.bessel_j0, 2, -0.25, 1e-8),
    "autograd gives NaN": (torch.sinc, 2, -(math.pi**2) / 6, 1e-8),
}

KINKS = {
    "relu": (fn.relu, 1, 0, 1),
    "relu module": (nn.ReLU(), 1, 0, 1),
    "relu6": (fn.relu6, 1, 0, 1),
    "leaky relu": (fn.leaky_relu, 1, 0.01, 1),
    "leaky relu 0.1": (nn.LeakyReLU(0.1), 1, 0.1, 1),
    "prelu": (nn.PReLU(), 1, 0.25, 1),
    "rrelu, evaluated": (nn.RReLU(), 1, (1 / 8 + 1 / 3) / 2, 1),
    "abs": (torch.abs, 1, -1, 1),
    "sqrt of the square": (lambda x: torch.sqrt(x * x), 1, -1, 1),
    "elu, alpha 2": (nn.ELU(2.0), 1, 2, 1),
    "selu": (fn.selu, 1, 1.0507009873554805 * 1.6732632423543772, 1.0507009873554805),
    "nearly smooth": (lambda x: torch.tanh(x) + 1e-9 * x.abs(), 1, 1 - 1e-9, 1 + 1e-9),
    "relu²": (lambda x: fn.relu(x) ** 2, 2, 0, 2),
    "relu · tanh": (lambda x: fn.relu(x) * torch.tanh(x), 2, 0, 2),
    "x|x|": (lambda x: x * x.abs(), 2, -2, 2),
    "|x|³": (lambda x: x.abs() ** 3, 3, -6, 6),
    "x²|x|": (lambda x: x * x * x.abs(), 3, -6, 6),
    "x⁵|x|": (lambda x: x**5 * x.abs(), 6, -720, 720),
}

SINGULAR = {
    "sqrt": (lambda x: x.abs().sqrt(), 1, -math.inf, math.inf),
    "cube root": (lambda x: x.sign() * x.abs() ** (1 / 3), 1, math.inf, math.inf),
    "x log": (lambda x: torch.special.xlogy(x, x.abs()), 1, -math.inf, -math.inf),
    "1.5": (lambda x: x.abs() ** 1.5, 2, math.inf, math.inf),
    "1.5 on a pedestal": (lambda x: 1 + x.abs() ** 1.5, 2, math.inf, math.inf),
    "x² log": (lambda x: torch.special.xlogy(x * x, x.abs()), 2, -math.inf, -math.inf),
    "2.5": (lambda x: x.abs() ** 2.5, 3, -math.inf, math.inf),
    "7.5": (lambda x: x.abs() ** 7.5, 8, math.inf, math.inf),
}

FLAT = {
    "zero": torch.zeros_like,
    "constant": lambda x: 3 + 0 * x,
    "hardshrink": fn.hardshrink,
    "softshrink": fn.softshrink,
    "exp(-1/x²)": lambda x: torch.where(x == 0, 0.0, torch.exp(-1 / x**2)),
    "exp(-1/|x|)": lambda x: torch.where(x == 0, 0.0, torch.exp(-1 / x.abs())),
    "x¹⁴": lambda x: x**14,
}


class StraightThrough(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return torch.sign(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class WrongBackward(torch.autograd.Function):
    """tanh with twice its gradient."""

    @staticmethod
    def forward(ctx, x):
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


@pytest.mark.parametrize("name", EXACT)
def test_functions_with_a_multiplicity(name):
    activation, order, coefficient = EXACT[name]
    found = multiplicity(activation)
    assert (found.order, found.kind, found.zero_to) == (order, "defined", order - 1)
    assert found.coefficient == pytest.approx(coefficient, rel=1e-13)
    assert str(found).startswith(f"multiplicity {order}: σ(x) ≈ ")


@pytest.mark.parametrize("name", FROM_VALUES)
def test_values_are_believed_where_autograd_fails_and_the_note_says_so(name):
    activation, order, coefficient, precision = FROM_VALUES[name]
    found = multiplicity(activation)
    assert (found.order, found.kind) == (order, "defined")
    assert found.coefficient == pytest.approx(coefficient, rel=precision)
    assert "from values" in found.note
    assert "autograd" in found.note


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_named_with_their_one_sided_derivatives(name):
    activation, order, left, right = KINKS[name]
    found = multiplicity(activation)
    assert (found.order, found.kind, found.breaks_at, found.zero_to) == (None, "kink", order, order - 1)
    assert (found.left, found.right) == pytest.approx((left, right), rel=1e-11, abs=1e-11)
    assert math.isnan(found.coefficient)
    assert f"the derivative of order {order} is" in found.note


@pytest.mark.parametrize("name", SINGULAR)
def test_infinite_derivatives_are_named(name):
    activation, order, left, right = SINGULAR[name]
    found = multiplicity(activation)
    assert (found.order, found.kind, found.breaks_at) == (None, "singular", order)
    assert (found.left, found.right) == (left, right)


@pytest.mark.parametrize("name", FLAT)
def test_functions_that_are_zero_to_the_highest_order_have_no_multiplicity(name):
    found = multiplicity(FLAT[name])
    assert (found.order, found.kind, found.zero_to) == (None, "flat", 12)
    assert "the derivatives up to order 12 vanish at 0" in found.note


def test_the_highest_order_is_the_callers():
    assert multiplicity(lambda x: x**14, highest_order=14).order == 14
    assert multiplicity(lambda x: x**3, highest_order=2).zero_to == 2
    for bad in (0, 21):
        with pytest.raises(InvalidInput, match="`highest_order` is from 1 to 20"):
            multiplicity(torch.tanh, highest_order=bad)


def test_high_orders_that_rounding_hides_are_told_by_autograd():
    found = multiplicity(
        lambda x: torch.cos(x) - sum((-1) ** k * x ** (2 * k) / math.factorial(2 * k) for k in range(6))
    )
    assert found.order == 12
    assert found.coefficient == pytest.approx(1 / math.factorial(12))
    assert "rounding hides this order in the values" in found.note


def test_what_nobody_can_tell_is_said_to_be_unknown():
    found = multiplicity(lambda x: 1 + torch.where(x == 0, 0.0, torch.exp(-1 / x**2)))
    assert (found.order, found.kind) == (None, "unknown")
    assert found.zero_to >= 3
    assert multiplicity(lambda x: torch.where(x == 0, 0.0, x * torch.sin(1 / x))).order is None


@pytest.mark.parametrize(
    ("activation", "left", "right"),
    [
        (torch.sign, -1, 1),
        (lambda x: torch.heaviside(x, torch.tensor(0.5, dtype=x.dtype)), 0, 1),
        (lambda x: torch.where(x == 0, 1.0, x), 0, 0),
        (StraightThrough.apply, -1, 1),
    ],
)
def test_jumps(activation, left, right):
    found = multiplicity(activation)
    assert (found.order, found.kind, found.breaks_at) == (None, "discontinuous", 0)
    assert (found.left, found.right) == pytest.approx((left, right), abs=1e-12)
    assert "σ(0) = " in found.note


def test_no_value_at_zero():
    found = multiplicity(lambda x: x * torch.log(x.abs()))
    assert (found.order, found.kind) == (None, "undefined")
    assert math.isnan(found.value_at_zero)


def test_a_wrong_backward_is_not_believed():
    found = multiplicity(WrongBackward.apply)
    assert (found.order, found.coefficient) == (1, 1.0)
    assert "autograd returns 2 at order 1" in found.note


@pytest.mark.parametrize(
    ("activation", "order", "left", "right"),
    [
        (fn.elu, 2, 1, 0),
        (nn.CELU(2.0), 2, 0.5, 0),
        (fn.softsign, 2, 2, -2),
        (lambda x: torch.tanh(x) + fn.relu(x) ** 3, 3, -2, 4),
        (torch.tanh, None, math.nan, math.nan),
        (fn.gelu, None, math.nan, math.nan),
    ],
)
def test_where_smoothness_ends_beyond_the_multiplicity(activation, order, left, right):
    found = multiplicity(activation)
    assert (found.order, found.breaks_at) == (1, order)
    assert (found.left, found.right) == pytest.approx((left, right), rel=1e-6, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("activation", "value"), [(torch.sigmoid, 0.5), (fn.softplus, math.log(2)), (torch.tanh, 0), (torch.cos, 1)]
)
def test_the_value_at_zero_is_reported_apart(activation, value):
    assert multiplicity(activation).value_at_zero == pytest.approx(value)


SMOOTH = st.sampled_from([name for name in EXACT if multiplicity(EXACT[name][0]).breaks_at is None])


@laws
@given(SMOOTH, st.floats(0.2, 3), st.floats(-5, 5).filter(lambda c: abs(c) > 0.1), st.floats(-1, 1))
def test_stretching_and_lifting(name, stretch, factor, lift):
    activation, order, coefficient = EXACT[name]
    found = multiplicity(lambda x: factor * activation(stretch * x) + lift)
    assert found.order == order
    assert found.coefficient == pytest.approx(factor * coefficient * stretch**order, rel=1e-6)


@laws
@given(SMOOTH, st.integers(1, 4))
def test_multiplying_by_powers_of_x_adds_to_the_order_of_what_vanishes_at_0(name, power):
    activation, order, coefficient = EXACT[name]
    at_zero = multiplicity(activation).value_at_zero
    found = multiplicity(lambda x: x**power * (activation(x) - at_zero))
    assert found.order == order + power
    assert found.coefficient == pytest.approx(coefficient, rel=1e-6)


@laws
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=6).filter(any), st.integers(0, 5))
def test_polynomials(coefficients, first):
    found = multiplicity(lambda x: sum(c * x ** (first + k + 1) for k, c in enumerate(coefficients)))
    leading = next(k for k, c in enumerate(coefficients) if c)
    assert (found.order, found.coefficient) == (first + leading + 1, coefficients[leading])


@laws
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_two_slopes(left, right):
    found = multiplicity(lambda x: torch.where(x > 0, right * x, left * x))
    if abs(left - right) > 1e-9:
        assert (found.kind, found.breaks_at) == ("kink", 1)
        assert (found.left, found.right) == pytest.approx((left, right), abs=1e-11)
    elif left == right and abs(left) > 1e-9:
        assert (found.order, found.coefficient) == (1, left)


def test_modules_are_left_alone():
    module = nn.Sequential(nn.PReLU(init=1.0), nn.Tanh()).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert multiplicity(module).order == 1
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(p.dtype == torch.float32 and p.requires_grad and p.grad is None for p in module.parameters())


def test_the_callers_modes_and_random_numbers_are_left_alone():
    state = torch.get_rng_state()
    with torch.no_grad():
        assert multiplicity(torch.tanh).order == 1
    with torch.inference_mode():
        assert multiplicity(torch.tanh) == multiplicity(torch.tanh)
    with pytest.raises(InvalidInput, match="not random"):
        multiplicity(lambda x: x + torch.rand_like(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_functions_of_numpy_and_those_that_compute_in_single_precision():
    assert multiplicity(lambda x: torch.from_numpy(x.detach().numpy() ** 2)).order == 2
    assert multiplicity(lambda x: torch.tanh(x.float()).double()).order == 1


@pytest.mark.parametrize(
    ("activation", "error", "message"),
    [
        (lambda x: x / x.sum(), InvalidInput, "acts on every entry by itself"),
        (nn.Softmax(0), InvalidInput, "acts on every entry by itself"),
        (nn.GLU(), Unsupported, "returns one real number for each|takes a float64 vector"),
        (nn.LayerNorm(3), Unsupported, "takes a float64 vector"),
        (lambda x: x[:2], Unsupported, "returns one real number for each"),
        (lambda x: x + 1j, Unsupported, "returns one real number for each"),
        (lambda x: {}, Unsupported, "takes a float64 vector"),
        (lambda x, y: x, Unsupported, "takes a float64 vector; got TypeError"),
        (lambda x: fn.dropout(x), InvalidInput, "is not random"),
    ],
)
def test_what_is_no_activation_is_refused(activation, error, message):
    with pytest.raises(error, match=message):
        multiplicity(activation)


def test_a_name_is_refused():
    with pytest.raises(InvalidInput, match="`activation` is callable"):
        unchecked("elementwise").elementwise("tanh")
