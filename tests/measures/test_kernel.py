"""Neural tangent kernels: Jacobians by plain autograd as twin of both ways of computing them; laws, edges."""

import math
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from layer_cases import LAYERS, NETS, grad
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked
from torch import nn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import contracted_kernel, functional_kernel, kernel, kernel_diagonal, tangent_kernel

every_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
either_way = pytest.mark.parametrize("by_pairs", [True, False])
ONE = {"once": (6, 1, 4, 3, 5), "positions": (5, 4, 3, 6, 2), "one output": (4, 3, 2, 5, 1)}


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.abs().max())))


def slow_kernel(outputs, weights):
    """From the Jacobian (n·k, all weights), one output of one sample after the other."""
    rows = [torch.cat([part.flatten() for part in grad(value, weights)]) for value in outputs.flatten()]
    jacobian = torch.stack(rows).view(*outputs.shape, -1)
    return torch.einsum("xop,yqp->xyoq", jacobian, jacobian)


def of_net(net):
    weights = {name: value.clone().requires_grad_() for name, value in net.weights.items()}
    return slow_kernel(net.outputs(weights, net.samples), list(weights.values()))


def parts(net):
    layers = net.layers().values()
    return [layer.inputs for layer in layers], [layer.output_gradients for layer in layers]


def one_layer(n, P, d, h, k, seed=0):
    return gaussian(n * P, d, seed).view(n, P, d), gaussian(n * k * P, h, seed + 1).view(n, k, P, h)


def slow_layer(X, G, bias):
    ones = torch.cat([X, X.new_ones(*X.shape[:2], 1)], 2) if bias else X
    jacobian = torch.einsum("xkph,xpd->xkhd", G, ones).flatten(2)
    return torch.einsum("xop,yqp->xyoq", jacobian, jacobian)


@every_net
def test_the_kernel_of_a_net_is_that_of_its_jacobian(net):
    inputs, gradients = parts(net())
    expected = of_net(net())
    found = tangent_kernel(inputs, gradients)
    close(found, expected)
    close(contracted_kernel(inputs, gradients), torch.einsum("xyoo->xy", expected))
    close(kernel_diagonal(inputs, gradients), torch.einsum("xxoo->xo", expected))
    close(kernel_diagonal(inputs, gradients).sum(), found.transpose(1, 2).flatten(2).flatten(0, 1).trace())


@every_net
@pytest.mark.parametrize("chunk_size", [None, 1, 2, 100])
def test_the_general_path_gives_the_same(net, chunk_size):
    net = net()
    close(functional_kernel(net.outputs, net.weights, net.samples, chunk_size=chunk_size), of_net(net))


@every_layer
@either_way
def test_both_ways_give_the_kernel_of_the_materialised_gradients(layer, by_pairs):
    """Of the loss as the one output."""
    with patch.object(kernel, "_positions_are_few", lambda *_: by_pairs):
        found = tangent_kernel([layer.inputs], [layer.loss_gradients[:, None]])
    rows = layer.gradients.flatten(1)
    close(found[:, :, 0, 0], rows @ rows.T)


@pytest.mark.parametrize("size", ONE.values(), ids=ONE.keys())
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 40, 2**22])
@either_way
def test_blocks_chunks_and_biases(size, bias, chunk, by_pairs):
    X, G = one_layer(*size)
    blocks = {"_BLOCKS": 3, "_FEWEST_ROWS": 1, "CHUNK": chunk, "_positions_are_few": lambda *_: by_pairs}
    expected = slow_layer(X, G, bias)
    with patch.multiple(kernel, **blocks):
        close(tangent_kernel([X], [G], biases=bias), expected)
        close(contracted_kernel([X], [G], biases=[bias]), torch.einsum("xyoo->xy", expected))
    close(kernel_diagonal([X], [G], biases=bias), torch.einsum("xxoo->xo", expected))


def test_biases_of_single_layers_and_a_column_of_ones_for_them():
    first, last = one_layer(4, 3, 2, 5, 2), one_layer(4, 1, 5, 6, 2, 3)
    close(
        tangent_kernel([first[0], last[0]], [first[1], last[1]], biases=[True, False]),
        slow_layer(*first, True) + slow_layer(*last, False),
    )
    X, G = first
    ones = torch.cat([X, X.new_ones(4, 3, 1)], 2)
    close(tangent_kernel([ones], [G]), tangent_kernel([X], [G], biases=True))


@laws
@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), seeds)
def test_it_is_symmetric_and_positive_and_turns_with_the_samples(n, P, d, h, k, seed):
    X, G = one_layer(n, P, d, h, k, seed)
    found, order = tangent_kernel([X], [G]), shuffle(n, seed)
    assert torch.equal(found, found.permute(1, 0, 3, 2))
    assert torch.linalg.eigvalsh(found.transpose(1, 2).reshape(n * k, n * k))[0] > -1e-9 * found.abs().max()
    close(tangent_kernel([X[order]], [G[order]]), found[order][:, order])
    close(tangent_kernel([X @ rotation(d, seed)], [G @ rotation(h, seed)]), found)
    close(tangent_kernel([2 * X], [3 * G]), 36 * found)


def test_one_position_is_the_layer_applied_once():
    X, G = one_layer(6, 1, 4, 3, 5)
    assert torch.equal(tangent_kernel([X], [G]), tangent_kernel([X[:, 0]], [G[:, :, 0]]))


def test_it_is_that_of_a_pytorch_module():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).double()
    samples = gaussian(3, 72).view(3, 2, 6, 6)

    def function(parameters, x):
        return torch.func.functional_call(model, parameters, (x,))

    parameters = dict(model.named_parameters())
    expected = slow_kernel(model(samples), list(parameters.values()))
    close(functional_kernel(function, parameters, samples), expected)
    close(functional_kernel(function, parameters, samples, chunk_size=2), expected)

    patches = nn.functional.unfold(samples, 3).mT
    middle = model[0](samples)
    outputs = model[1:](middle)
    G = torch.stack([grad(outputs[:, o].sum(), [middle])[0].flatten(2).mT for o in range(4)], 1)
    features = model[1:3](middle)
    last = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    close(tangent_kernel([patches, features], [G, last], biases=True), expected)


def test_the_general_path_takes_some_parameters_and_other_samples():
    weights = {"a": gaussian(3, 2), "b": gaussian(4, 2, 1)}

    def function(given, index):
        return weights["a"][index] * given["b"].sum(0)

    found = functional_kernel(function, {"b": weights["b"]}, torch.tensor([0, 2]))
    expected = torch.einsum("xo,yo->xyo", weights["a"][[0, 2]], weights["a"][[0, 2]]) * 4
    close(found, torch.diag_embed(expected))


def test_no_samples_one_sample_and_zero_gradients():
    assert tangent_kernel([torch.ones(0, 2)], [torch.ones(0, 3, 4)]).shape == (0, 0, 3, 3)
    X, G = one_layer(1, 2, 3, 4, 2)
    close(tangent_kernel([X], [G], biases=True), slow_layer(X, G, True))
    assert torch.equal(tangent_kernel([X], [0 * G]), torch.zeros(1, 1, 2, 2, dtype=torch.float64))


@either_way
def test_unknown_values_stay_with_their_sample(by_pairs):
    X, G = one_layer(3, 2, 3, 4, 2)
    G[1, 0, 0, 0] = math.nan
    with patch.object(kernel, "_positions_are_few", lambda *_: by_pairs):
        unknown = tangent_kernel([X], [G]).isnan().any(3).any(2)
    assert unknown.tolist() == [[False, True, False], [True, True, True], [False, True, False]]
    assert kernel_diagonal([X], [G]).isnan().any(1).tolist() == [False, True, False]


def test_precisions_and_gradients():
    X, G = one_layer(3, 2, 3, 4, 2)
    narrow = tangent_kernel([X.half()], [G.float().requires_grad_()])
    assert narrow.dtype == torch.float32
    assert not narrow.requires_grad
    torch.testing.assert_close(narrow, tangent_kernel([X], [G]).float(), rtol=1e-2, atol=1e-1)
    assert tangent_kernel([X.float(), X], [G.float(), G.float()]).dtype == torch.float64
    assert kernel_diagonal([X.float()], [G.float()]).dtype == torch.float32
    weights = {"w": gaussian(2, 3).float().requires_grad_()}
    found = functional_kernel(lambda p, x: x @ p["w"].T, weights, gaussian(4, 3).float())
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_autocast_does_not_narrow_the_kernel():
    X, G = (part.float() for part in one_layer(3, 2, 3, 4, 2))
    expected = tangent_kernel([X], [G])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(tangent_kernel([X], [G]), expected)


@pytest.mark.parametrize("name", ["tangent_kernel", "contracted_kernel", "kernel_diagonal"])
@pytest.mark.parametrize(
    ("inputs", "gradients", "biases", "message"),
    [
        ([], [], False, "one or more layers"),
        ([(3, 2)], [(3, 1, 2), (3, 1, 2)], False, "one or more layers"),
        ([(3, 2)], [(3, 1, 2)], [True, True], "one or more layers"),
        ([(3, 2)], [(3, 2)], False, r"`output_gradients` has the shape \(n, k, h\) or \(n, k, P, h\); got \(3, 2\)"),
        ([(3, 2)], [(3, 0, 2)], False, "`output_gradients`"),
        ([(3, 2)], [(4, 1, 2)], False, "hold the same samples"),
        ([(3, 5, 2)], [(3, 1, 4, 2)], False, "the same positions"),
        ([(3, 5, 2)], [(3, 1, 4)], False, "the same positions"),
        ([(3, 2), (3, 2)], [(3, 1, 2), (3, 2, 2)], False, "all layers have the same n samples and k outputs"),
    ],
)
def test_bad_layers_are_refused(name, inputs, gradients, biases, message):
    X, G = [torch.ones(shape) for shape in inputs], [torch.ones(shape) for shape in gradients]
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("kernel"), name)(X, G, biases=biases)


@pytest.mark.parametrize(
    ("parameters", "samples", "options", "message"),
    [
        ({}, torch.ones(2, 3), {}, "there are parameters and samples; got 0 and 2"),
        ({"w": torch.ones(3)}, torch.ones(0, 3), {}, "there are parameters and samples; got 1 and 0"),
        ({"w": torch.ones(3)}, torch.ones(2, 3), {"chunk_size": 0}, "`chunk_size` is at least 1"),
        ({"w": torch.ones(3)}, torch.ones(2, 3), {}, r"`function` returns \(m, k\) for m samples; got \(1,\) for 1"),
    ],
)
def test_bad_functions_are_refused(parameters, samples, options, message):
    with pytest.raises(InvalidInput, match=message):
        unchecked("jacobian_kernel").functional_kernel(lambda p, x: x @ p["w"], parameters, samples, **options)


def test_a_function_that_cannot_be_transformed_has_the_same_kernel():
    function = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    parameters = dict(function.named_parameters())
    samples = gaussian(5, 3)

    def call(given, x):
        return torch.func.functional_call(function, given, (x,))

    expected = functional_kernel(call, parameters, samples)
    torch.testing.assert_close(functional_kernel(call, parameters, samples, chunk_size=2, batched=False), expected)
