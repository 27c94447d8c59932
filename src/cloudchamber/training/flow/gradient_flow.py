"""Gradient flow: training with an infinitesimal learning rate, in physical time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.training.flow.driver import Wanted, integrate
from cloudchamber.training.flow.explicit import DormandPrince
from cloudchamber.training.flow.module import LossFunction, ModuleField
from cloudchamber.training.flow.result import GradientFlow, assemble
from cloudchamber.training.flow.state import Method
from cloudchamber.training.flow.stops import Stop, all_stops
from cloudchamber.training.flow.two_layer import TwoLayerField, TwoLayerNets

_ELEMENTS = 2**18


def gradient_flow(
    model: nn.Module | Sequence[nn.Module] | TwoLayerNets,
    data: tuple[Tensor, Tensor],
    *,
    until: Stop | Sequence[Stop],
    loss: Literal["mse", "half_mse"] | LossFunction = "mse",
    rates: Mapping[str, float | Tensor] | None = None,
    times: Sequence[float] | Tensor = (),
    loss_ratios: Sequence[float] | Tensor = (),
    method: Method | None = None,
    most_steps: int = 100_000,
    chunk: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> GradientFlow:
    """Return the gradient flow `θ̇_p = −η_p ∂R/∂θ_p` of a model, or of a stack of models of one architecture.

    Every member has its own time and step, and leaves the stack when it is done; a member of a stack is, up to
    rounding, that model alone. Nothing of the models is changed; they are called with their buffers and in their mode
    as given. Parameters that need no gradient stay. Computed on the CPU.

    Args:
        model: a module, several, or `TwoLayerNets` (arrays; in closed form and much faster).
        data: samples (n, ...) and targets, the same for all members. For a squared loss, targets have the shape of the
            outputs.
        until: when to stop, whichever rule comes first: `LossRatio`, `LossBelow`, `Time`, `Steps`.
        loss: R: "mse", the mean of (f − y)² over samples and outputs; "half_mse", half of it; or a function of outputs
            and targets.
        rates: η by name of a parameter, or of a module for all of its parameters; one number, or one per member. 1 by
            default. (η_u, η_w of xu2024; 1/κ' for a and κ' for w of overview2025.)
        times: at which to keep the parameters, rising; steps land on them exactly.
        loss_ratios: keep the parameters after the first step at which the loss is this part of the first loss.
        method: `DormandPrince` (default), `Exponential` (squared losses; for late and stiff phases) or `KernelEuler`.
        most_steps: a limit on accepted steps; reason "steps".
        chunk: how many members are integrated at a time; all, or what fits the cache for `TwoLayerNets`, by default.
        dtype: of parameters and samples.

    Returns:
        The flow; members whose loss or gradient is not finite stop with the reason "not_finite".

    Raises:
        InvalidInput: if models, data, rates or options do not fit each other.
        Unsupported: if `torch.func` cannot call the model, as with dropout in training mode.

    Source: overview2025, Section 5; xu2024, Section 2.

    >>> from cloudchamber.training.flow.stops import Time
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(model.weight)
    >>> flow = gradient_flow(model, (torch.ones(1, 1), torch.zeros(1, 1)), loss="half_mse", until=Time(1.0))
    >>> abs(flow.parameters["weight"].item() - torch.tensor(-1.0).exp().item()) < 1e-6
    True
    """
    _check(data, loss, dtype)
    field = _field(model, data, loss, rates or {}, dtype)
    wanted = Wanted(_rising(times), torch.as_tensor(loss_ratios, dtype=torch.float64).reshape(-1))
    stops = all_stops(until, most_steps)
    count = len(field.start)
    size = chunk or (_fitting(data, field) if isinstance(field, TwoLayerField) else count)
    require(size >= 1, "`chunk` is at least 1", size, "use None")
    parts = [
        integrate(field, field.start[members], members, method or DormandPrince(), stops, wanted)
        for members in torch.arange(count).split(size)
    ]
    result = assemble(parts, field.start, field.names, field.segments, field.shapes)
    return result if isinstance(field, ModuleField) else _as_usual(result)


def _check(data: tuple[Tensor, Tensor], loss: str | LossFunction, dtype: torch.dtype) -> None:
    known = callable(loss) or loss in ("mse", "half_mse")
    require(known, "`loss` is 'mse', 'half_mse' or a function of outputs and targets", loss, "pass one of them")
    require(dtype.is_floating_point, "`dtype` is a floating-point type", dtype, "use torch.float64")
    sizes = [len(part) for part in data]
    require(len(sizes) == 2 and sizes[0] == sizes[1] > 0, "there are as many targets as samples", sizes, "pass (x, y)")


def _field(
    model: nn.Module | Sequence[nn.Module] | TwoLayerNets,
    data: tuple[Tensor, Tensor],
    loss: str | LossFunction,
    rates: Mapping[str, float | Tensor],
    dtype: torch.dtype,
) -> ModuleField | TwoLayerField:
    if isinstance(model, TwoLayerNets):
        return TwoLayerField(model, data, loss, rates, dtype)
    stack = [model] if isinstance(model, nn.Module) else list(model)
    return ModuleField(stack, data, loss, rates, dtype)


def _rising(times: Sequence[float] | Tensor) -> Tensor:
    values = torch.as_tensor(times, dtype=torch.float64).reshape(-1)
    rising = bool((values[1:] > values[:-1]).all()) and bool((values >= 0).all()) and bool(values.isfinite().all())
    require(rising, "`times` rise, from 0 or later, and are finite", values.tolist(), "sort them")
    return values


def _fitting(data: tuple[Tensor, Tensor], field: TwoLayerField) -> int:
    """How many two-layer nets keep the arrays of a step in the cache; a function of the stack alone."""
    return max(1, _ELEMENTS // (len(data[0]) * field.shapes[0].numel()))


def _as_usual(result: GradientFlow) -> GradientFlow:
    """W with a row per neuron."""
    for held in (result.parameters, result.snapshots):
        held["w"] = held["w"].mT
    return result
