"""The dense path gives the losses and gradients of the general one."""

import hypothesis.strategies as st
import pytest
import torch
from dense_cases import assert_same, both, laws, net, normal, parameters, samples
from hypothesis import given
from torch import nn

from cloudchamber import InvalidInput
from cloudchamber.models import MLP, ScaledOutput
from cloudchamber.training.ensemble.dense.activations import FUNCTIONS, MODULES
from cloudchamber.training.ensemble.dense.chain import dense_chain
from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.layout import Layout


def absolute(outputs, targets):
    return (outputs - targets).abs().mean()


LOSSES = ["mse", "cross_entropy", absolute]
ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "xtanh", "x2tanh", "identity"]


@laws
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=6),
    st.sampled_from(ACTIVATIONS),
    st.booleans(),
    st.sampled_from(LOSSES),
    st.booleans(),
    st.integers(1, 5),
    st.integers(1, 8),
)
def test_equal_to_the_general_path(sizes, act, bias, loss, per_member, members, n):
    module = net(*sizes, act=act, bias=bias).double()
    _, flat = parameters(module, members)
    lead = (members, n) if per_member else (n,)
    inputs, targets = samples(module, loss, lead)
    assert_same(both(module, flat, inputs, targets, loss, per_member))


EVERY_ACTIVATION = [
    *(kind for kind in MODULES if kind is not nn.Softplus),
    lambda: nn.Softplus(2.0, 0.5),
    lambda: nn.LeakyReLU(0.3),
    lambda: nn.Hardtanh(-0.2, 0.4),
    lambda: nn.GELU("tanh"),
    lambda: nn.ELU(0.4),
]


@pytest.mark.parametrize("make", EVERY_ACTIVATION)
def test_every_activation_also_at_its_kinks_and_where_nothing_is_finite(make):
    module = nn.Sequential(make(), nn.Linear(1, 1, bias=False), make()).double()
    flat = torch.ones(1, 1, dtype=torch.float64)
    edges = [0.0, -0.0, 1.0, -1.0, 0.25, 0.4, -0.2, 1e-9, -1e-9, 6.0, 30.0, -30.0]
    for edge in (*edges, torch.inf, -torch.inf, torch.nan):
        inputs = torch.tensor([[edge]], dtype=torch.float64)
        assert_same(both(module, flat, inputs, torch.ones_like(inputs), "mse"))


class Functional(nn.Module):
    def __init__(self, name, options):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        self.function = getattr(nn.functional, name, None) or getattr(torch, name)
        self.options = options

    def forward(self, x):
        return self.b(self.function(self.a(x), **self.options))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function(name):
    options = {"leaky_relu": {"negative_slope": 0.3}, "gelu": {"approximate": "tanh"}, "elu": {"alpha": 0.4}}
    module = Functional(name, options.get(name, {})).double()
    _, flat = parameters(module, 3)
    assert_same(both(module, flat, *samples(module, "mse", (5,)), "mse"))


def test_float32_agrees_within_its_rounding():
    module = net(5, 50, 1)
    _, flat = parameters(module, 20, dtype=torch.float32)
    found = both(module, flat, *samples(module, "mse", (80,), dtype=torch.float32), "mse")
    assert_same(found, tolerance=2e-5)


def test_labels_that_are_to_be_ignored_are():
    module = net(3, 4, 5).double()
    _, flat = parameters(module, 4)
    inputs, targets = samples(module, "cross_entropy", (6,))
    targets[:2] = -100
    assert_same(both(module, flat, inputs, targets, "cross_entropy"))
    targets[:] = -100
    losses, _ = both(module, flat, inputs, targets, "cross_entropy")[0]
    assert losses.isnan().all()


@pytest.mark.parametrize("per_member", [False, True])
def test_targets_may_be_probabilities(per_member):
    module = net(3, 4, 5).double()
    _, flat = parameters(module, 4)
    lead = (4, 6) if per_member else (6,)
    inputs, targets = normal(*lead, 3), normal(*lead, 5, seed=1).exp()
    assert_same(both(module, flat, inputs, targets, "cross_entropy", per_member))


def test_a_scale_of_each_members_own():
    module = nn.Sequential(ScaledOutput(net(3, 4, 4), 1.0), ScaledOutput(nn.Linear(4, 2), 1.0)).double()
    _, flat = parameters(module, 4)
    fixed = {"0.scale": normal(4, seed=3), "1.scale": normal(4, seed=4)}
    inputs, targets = samples(module, "mse", (6,))
    dense, general = both(module, flat, inputs, targets, "mse", fixed=fixed)
    assert_same((dense, general))
    gradients = DenseGradients(dense_chain(module), Layout.of(module), "mse", False, fixed=fixed)
    rows = torch.tensor([3, 1])
    gradients.keep(rows)
    out = torch.empty_like(flat[rows])
    assert_same(((gradients(flat[rows], inputs, targets, out), out), (general[0][rows], general[1][rows])))
    with pytest.raises(InvalidInput, match=r"none for \['0.scale', '1.scale'\]"):
        DenseGradients(dense_chain(module), Layout.of(module), "mse", False)


def test_a_member_that_is_not_finite_disturbs_no_other():
    module = net(3, 6, 2).double()
    _, flat = parameters(module, 4)
    inputs, targets = samples(module, "mse", (5,))
    (losses, gradients), _ = both(module, flat, inputs, targets, "mse")
    flat[1] = torch.inf
    (broken, others), _ = both(module, flat, inputs, targets, "mse")
    rest = [0, 2, 3]
    assert torch.equal(broken[rest], losses[rest])
    assert torch.equal(others[rest], gradients[rest])
    assert not broken[1].isfinite()


def test_parameters_and_data_stay_as_they_are():
    module = nn.Sequential(nn.ReLU(inplace=True), net(3, 6, 2)).double()
    _, flat = parameters(module, 4)
    inputs, targets = samples(module, "mse", (5,))
    copies = [part.clone() for part in (flat, inputs, targets)]
    gradients_of(module)(flat, inputs, targets, torch.empty_like(flat))
    assert all(torch.equal(part, before) for part, before in zip((flat, inputs, targets), copies, strict=True))


def gradients_of(module, loss="mse", per_member=False):
    return DenseGradients(dense_chain(module), Layout.of(module), loss, per_member)


@pytest.mark.parametrize(
    ("loss", "inputs", "targets", "words"),
    [
        ("mse", (5, 3), (5, 2), None),
        ("mse", (5, 4), (5, 2), "the 3 entries that the first layer takes; got 4"),
        ("mse", (5, 1, 3), (5, 1, 2), "vectors"),
        ("mse", (5,), (5, 2), "vectors"),
        ("mse", (5, 3), (5,), "shape (5, 2); got (5,)"),
        ("mse", (5, 3), (2,), "shape (5, 2)"),
        ("cross_entropy", (5, 3), (5, 2), None),
        ("cross_entropy", (5, 3), (5,), "shape (5, 2)"),
        (absolute, (5, 3), (7,), None),
    ],
)
def test_samples_that_do_not_fit_are_named(loss, inputs, targets, words):
    found = gradients_of(net(3, 4, 2), loss).misfit(torch.zeros(inputs), torch.zeros(targets))
    assert found is words is None or words in found


def test_samples_that_do_not_fit_are_named_for_labels_members_and_flattening():
    labels = torch.zeros(5, dtype=torch.long)
    assert gradients_of(net(3, 4, 2), "cross_entropy").misfit(torch.zeros(5, 3), labels) is None
    assert "(4,)" in gradients_of(net(3, 4, 2), "cross_entropy").misfit(torch.zeros(4, 3), labels)
    assert gradients_of(net(3, 4, 2), "mse", True).misfit(torch.zeros(7, 5, 3), torch.zeros(7, 5, 2)) is None
    assert "vectors" in gradients_of(net(3, 4, 2), "mse", True).misfit(torch.zeros(5, 3), torch.zeros(5, 2))
    assert gradients_of(MLP(4, 2, depth=2, width=3)).misfit(torch.zeros(5, 2, 2), torch.zeros(5, 2)) is None
