"""Users' activation functions, called in float64 and checked to act on every entry by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, Unsupported, require

Activation = Callable[[Tensor], Any]
Elementwise = Callable[[Tensor], Tensor]

_PROBES = 16


def elementwise(activation: Activation) -> Elementwise:
    """Return the activation as a checked function of float64 tensors.

    A module is copied, put into float64 and into evaluation mode; the original is left alone.

    Raises:
        Unsupported: if it cannot be called with a float64 vector, or does not return as many numbers.
        InvalidInput: if it is random, or an entry of what it returns depends on other entries.

    >>> float(elementwise(nn.PReLU())(torch.tensor([-1.0], dtype=torch.float64)))
    -0.25
    """
    require(callable(activation), "`activation` is callable", type(activation), "pass a function of tensors")
    called = _frozen(activation) if isinstance(activation, nn.Module) else activation

    def evaluate(points: Tensor) -> Tensor:
        return _returned(called, points)

    _require_elementwise(evaluate)
    return evaluate


def derivative(evaluate: Elementwise, points: Tensor) -> Tensor:
    """Return σ' at every point, by autograd.

    Raises:
        Unsupported: if autograd cannot differentiate the function.
    """
    return _differentiated(evaluate, points, 1)


def autograd_derivative_at_zero(evaluate: Elementwise, order: int) -> float:
    """Return what nested reverse-mode autograd says of σ^(order)(0): a convention at a kink, NaN where it fails.

    Forward mode is not used: at a kink the two modes may disagree, and fewer functions have it.
    """
    try:
        return float(_differentiated(evaluate, torch.zeros(1, dtype=torch.float64), order))
    except Unsupported:
        return torch.nan


def _frozen(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).double().eval().requires_grad_(False)


def _returned(called: Activation, points: Tensor) -> Tensor:
    try:
        result = torch.as_tensor(called(points))
    except Exception as error:  # it is the user's: whatever it raises says that it cannot be called so
        remedy = "pass a function that takes a float64 tensor of any shape and acts on each entry"
        raise Unsupported(f"`activation` takes a float64 vector; got {error!r}. Remedy: {remedy}.") from error
    if result.shape != points.shape or result.is_complex():
        received = f"{result.dtype} of shape {tuple(result.shape)} for shape {tuple(points.shape)}"
        raise Unsupported(
            f"`activation` returns one real number for each; got {received}. Remedy: pass one that acts on each entry."
        )
    return result.to(torch.float64)


def _require_elementwise(evaluate: Elementwise) -> None:
    probes = torch.linspace(-1.3, 0.9, _PROBES, dtype=torch.float64)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        together, again = evaluate(probes), evaluate(probes)
        alone = torch.cat([evaluate(probe) for probe in probes.split(1)])
    if not torch.equal(together.nan_to_num(), again.nan_to_num()):
        raise InvalidInput("`activation` is not random; got two results for one input. Remedy: call its `eval()`.")
    same = torch.isclose(together, alone, rtol=1e-12, atol=0, equal_nan=True).all()
    require(bool(same), "`activation` acts on every entry by itself", "one that mixes entries", "pass one that does")


def _differentiated(evaluate: Elementwise, points: Tensor, order: int) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        places = points.detach().clone().requires_grad_()
        values = _gradient(evaluate(places), places, create_graph=order > 1)
        for left in range(order - 2, -1, -1):
            if not values.requires_grad:  # the derivative is a constant
                return torch.zeros_like(points)
            values = _gradient(values, places, create_graph=left > 0)
    return values.detach()


def _gradient(values: Tensor, places: Tensor, create_graph: bool) -> Tensor:
    try:
        return torch.autograd.grad(values.sum(), places, create_graph=create_graph, materialize_grads=True)[0]
    except RuntimeError as error:
        remedy = "pass one written in differentiable tensor operations"
        raise Unsupported(f"`activation` is differentiable by autograd; got: {error}. Remedy: {remedy}.") from error
