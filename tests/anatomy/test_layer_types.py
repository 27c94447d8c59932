"""The rows of every layer type give the weight's gradient exactly, Σ_x G_xᵀ X_x, in float64."""

import warnings

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn.utils import parametrizations
from view_cases import close, from_factors, gaussian, laws, seeds, with_gradients_as_weights

from cloudchamber._core.errors import InvalidInput
from cloudchamber.anatomy import convolutions, layer_types
from cloudchamber.anatomy.layer_types import dense_view, layer_type_of, register_layer_type
from cloudchamber.anatomy.view import LayerView

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def view_of(module):
    return layer_type_of(module).view("layer", module)


def check(module, inputs, seed=0):
    """The view's sizes fit its weight, and its factors give what autograd gives."""
    view, outputs = view_of(module), module(inputs)
    gradients = gaussian(*outputs.shape, seed=seed)
    module.zero_grad()
    outputs.backward(gradients)
    assert view.neurons().shape == (view.width, view.fan_in + view.bias)
    assert not view.neurons().requires_grad
    close(from_factors(view, inputs, gradients), view_of(with_gradients_as_weights(module)).neurons())
    if view.neuron_axis is not None:
        assert outputs.shape[view.neuron_axis] == view.width
    return view, gradients


@laws
@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
    seeds,
)
def test_linear(positions, n, fan_in, width, bias, seed):
    module = nn.Linear(fan_in, width, bias=bias, dtype=torch.float64)
    view, _ = check(module, gaussian(n, *positions, fan_in, seed=seed), seed + 1)
    assert view.bias == bias


@st.composite
def convolution_cases(draw):
    """A convolution of any options that fits a small input, and the input."""
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    dilation = [draw(st.integers(1, 2)) for _ in range(axes)]
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = draw(st.sampled_from(["same", "valid", "numbers"]))
    stride = [1] * axes if padding == "same" else [draw(st.integers(1, 3)) for _ in range(axes)]
    if padding == "numbers":
        padding = tuple(draw(st.integers(0, 2)) for _ in range(axes))
    module = CONVOLUTIONS[axes - 1](
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        kernel_size=tuple(kernel),
        stride=tuple(stride),
        dilation=tuple(dilation),
        padding=padding,
        padding_mode=mode,
        groups=groups,
        bias=draw(st.booleans()),
        dtype=torch.float64,
    )
    sizes = [size + draw(st.integers(0, 2)) for size in reach]
    # Reflection takes padding from the input, of which there must be more.
    sizes = [max(size, 5) for size in sizes] if mode != "zeros" else sizes
    return module, gaussian(draw(st.integers(1, 3)), module.in_channels, *sizes, seed=draw(seeds))


@laws
@given(convolution_cases(), seeds)
def test_convolutions(case, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that "same" with even kernels copies the input
        view, _ = check(*case, seed)
    assert view.neuron_axis == 1
    assert view.positions_axis == (2 if isinstance(case[0], nn.Conv1d) else None)


@st.composite
def transposed_cases(draw):
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
    stride, dilation = ([draw(st.integers(1, 3)) for _ in range(axes)] for _ in range(2))
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    padding = [draw(st.integers(0, 2)) for _ in range(axes)]
    module = TRANSPOSED[axes - 1](
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        kernel_size=tuple(kernel),
        stride=tuple(stride),
        dilation=tuple(dilation),
        padding=tuple(padding),
        output_padding=tuple(extra),
        groups=groups,
        bias=draw(st.booleans()),
        dtype=torch.float64,
    )
    # Large enough that the padding, which is cut off, leaves something.
    return module, gaussian(draw(st.integers(1, 2)), module.in_channels, *[5] * axes, seed=draw(seeds))


@laws
@given(transposed_cases(), seeds)
def test_transposed_convolutions(case, seed):
    check(*case, seed)


@laws
@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 4),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_embeddings_exchange_inputs_and_gradients(positions, n, tokens, padded, renormalized, seed):
    options = {"padding_idx": -1} if padded else {}
    options |= {"max_norm": 0.5} if renormalized else {}
    module = nn.Embedding(tokens, 3, dtype=torch.float64, **options)
    drawn = torch.randint(tokens, (n, *positions), generator=torch.Generator().manual_seed(seed))
    view, _ = check(module, drawn, seed)
    assert view.exchanged
    assert (view.width, view.fan_in) == (tokens, 3)


def every_type():
    """A module of every type that is known from the start, with an input of four samples."""
    return {
        "Linear": (nn.Linear(3, 4), (4, 3)),
        **{cls.__name__: (cls(2, 4, 3, groups=2), (4, 2, *[4] * (i + 1))) for i, cls in enumerate(CONVOLUTIONS)},
        **{cls.__name__: (cls(2, 4, 3, groups=2), (4, 2, *[4] * (i + 1))) for i, cls in enumerate(TRANSPOSED)},
        "Embedding": (nn.Embedding(6, 3), (4, 5)),
    }


@pytest.mark.parametrize("name", every_type())
def test_every_type_is_tested_and_rows_are_made_sample_by_sample(name):
    assert [entry.name for entry in layer_types.LAYER_TYPES] == list(every_type())
    module, shape = every_type()[name]
    module = module.double()
    inputs = torch.arange(20).view(4, 5) % 6 if name == "Embedding" else gaussian(*shape)
    view, gradients = check(module, inputs)
    for X, rows in zip(view.factors(inputs, gradients), view.factors(inputs[1:3], gradients[1:3]), strict=True):
        close(rows, X[1:3], 0)


def test_nan_of_one_group_and_sample_stays_there():
    module = nn.Conv1d(4, 4, 1, groups=2, dtype=torch.float64)
    gradients = gaussian(2, 4, 3)
    gradients[0, 0, 1] = torch.nan
    _, G = view_of(module).factors(gaussian(2, 4, 3), gradients)
    assert G.isnan().sum() == 1


def test_rows_of_groups_are_made_up_to_a_size(monkeypatch):
    module, inputs = nn.Conv1d(6, 6, 3, groups=3), torch.zeros(2, 6, 10)
    view, gradients = view_of(module), torch.zeros(2, 6, 8)
    needed = 2 * 8 * 3 * 6
    monkeypatch.setattr(convolutions, "MAX_ROW_NUMBERS", needed)
    assert view.factors(inputs, gradients) is not None
    monkeypatch.setattr(convolutions, "MAX_ROW_NUMBERS", needed - 1)
    assert view.factors(inputs, gradients) is None
    assert view.input_rows(inputs) is None
    assert view.output_rows(gradients) is None
    assert view.factors(inputs[:1], gradients[:1]) is not None
    assert "(3 groups)" in view.why_no_rows
    whole = nn.Conv1d(6, 6, 3)
    assert view_of(whole).factors(inputs, gradients) is not None


def test_one_hot_tokens_are_made_up_to_a_size(monkeypatch):
    view, tokens = view_of(nn.Embedding(7, 2)), torch.zeros(2, 3, dtype=torch.long)
    monkeypatch.setattr(layer_types, "MAX_ROW_NUMBERS", 42)
    assert view.factors(tokens, torch.zeros(2, 3, 2)) is not None
    monkeypatch.setattr(layer_types, "MAX_ROW_NUMBERS", 41)
    assert view.factors(tokens, torch.zeros(2, 3, 2)) is None
    assert "one-hot" in view.why_no_rows


def test_what_has_no_rows_says_why():
    scaled = view_of(nn.Embedding(7, 2, scale_grad_by_freq=True))
    assert scaled.factors(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, 2)) is None
    assert "scale_grad_by_freq" in scaled.why_no_rows
    one = view_of(nn.Conv2d(2, 3, 1))
    assert one.factors(torch.zeros(2, 4, 4), torch.zeros(3, 4, 4)) is None
    assert "without a dimension of samples" in one.why_no_rows
    single = view_of(nn.Linear(2, 3))
    assert single.factors(torch.zeros(2), torch.zeros(3)) is None
    assert "without a dimension of samples" in single.why_no_rows


def test_a_transposed_convolution_called_with_another_size_has_no_rows():
    module, inputs = nn.ConvTranspose1d(2, 3, 3, stride=2), torch.zeros(4, 2, 5)
    view = view_of(module)
    assert view.factors(inputs, module(inputs)) is not None
    assert view.factors(inputs, module(inputs, output_size=(12,))) is None
    assert "output_size" in view.why_no_rows


@pytest.mark.parametrize("training", [False, True])
def test_parametrized_weights_are_read_as_they_were_used_and_without_a_trace(training):
    torch.manual_seed(0)
    module = parametrizations.spectral_norm(nn.Conv2d(2, 3, 3, bias=False)).train(training)
    used = []
    module.register_forward_hook(lambda *_: None)
    outputs = module(torch.eye(9).view(9, 1, 3, 3).expand(-1, 2, -1, -1)[:, :, :, :])
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rows = view_of(module).neurons()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [part.training for part in module.modules()] == [training] * len(list(module.modules()))
    used = outputs.flatten(1).T  # each input picks one entry of the kernel in both channels
    close(rows.view(3, 2, 9).sum(1), used.detach(), 1e-5)


class Transposed(nn.Module):
    """Computes x W, with W (d, h)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 5, dtype=torch.float64))

    def forward(self, x):
        return x @ self.weight


def transposed_view(name, module):
    return dense_view(name, module, neurons=lambda: module.weight.detach().T)


def test_an_own_type_is_one_entry():
    class Own(Transposed):
        pass

    assert layer_type_of(Own()) is None
    entry = register_layer_type(Own, transposed_view)
    assert layer_type_of(Own()) is entry
    assert entry.name == "Own"
    assert layer_type_of(Transposed()) is None
    view, _ = check(Own(), gaussian(4, 2, 3))
    assert (view.width, view.fan_in, view.bias, view.layer_type) == (5, 3, False, "Own")


def test_the_nearest_class_wins_and_a_second_entry_replaces_the_first():
    class Special(nn.Linear):
        pass

    class Further(Special):
        pass

    assert layer_type_of(Further(2, 3)).name == "Linear"
    register_layer_type(Special, lambda name, module: view_of(nn.Linear(2, 3)))
    assert layer_type_of(Further(2, 3)).name == "Special"
    again = register_layer_type(Special, transposed_view)
    assert layer_type_of(Further(2, 3)) is again
    assert layer_type_of(nn.Linear(2, 3)).name == "Linear"


@pytest.mark.parametrize("module_type", [nn.Linear(2, 3), "Linear", int, None])
def test_what_is_no_class_of_modules_is_refused(module_type):
    with pytest.raises((InvalidInput, TypeError)):  # TypeError: beartype, in the tests
        register_layer_type(module_type, transposed_view)


def test_the_linear_layer_of_gpt2_is_known_without_importing_its_library():
    def forward(self, x):
        return torch.addmm(self.bias, x.flatten(0, -2), self.weight).unflatten(0, x.shape[:-1])

    cls = type("Conv1D", (nn.Module,), {"__module__": "transformers.pytorch_utils", "forward": forward})
    module = cls()
    module.weight, module.bias = nn.Parameter(gaussian(3, 6)), nn.Parameter(gaussian(6, seed=1))
    view, _ = check(module, gaussian(4, 5, 3, seed=2))
    assert (view.layer_type, view.width, view.fan_in, view.bias) == ("Conv1D", 6, 3, True)
    lookalike = type("Conv1D", (nn.Module,), {"__module__": "elsewhere"})()
    assert layer_type_of(lookalike) is None


def test_a_view_is_what_the_contract_says():
    module = nn.Linear(3, 4)
    view = view_of(module)
    assert isinstance(view, LayerView)
    assert view.neurons().shape == (4, 4)
    with torch.no_grad():
        module.weight.fill_(2.0)
    assert (view.neurons()[:, :3] == 2).all()  # the weight of now
