"""Gradients of dense chains by native code: member after member, each in the cache from its inputs to its gradients."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as fn

from cloudchamber._core.native import library
from cloudchamber.training.ensemble.dense.activations import Elementwise
from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.dense.program import Program
from cloudchamber.training.ensemble.dense.stages import Affine, MemberScale
from cloudchamber.training.ensemble.layout import Flat
from cloudchamber.training.ensemble.optimizers import Adam, Optimizer, State
from cloudchamber.training.ensemble.step import PlainStep

_SOURCE = Path(__file__).with_name("native.cpp")
_VECTOR = 64
_WIDEST = 128
"""Above so many neurons in a layer the products of torch are faster."""
_FUNCTIONS = {"identity": 0, "tanh": 1, "relu": 2}


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("fan_in", "fan_out", "weight", "bias", "function")]


class _Problem(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("members", "parameters", "samples", "padded", "layers")),
        *((name, ctypes.c_void_p) for name in ("chain", "flat", "inputs")),
        ("inputs_each", ctypes.c_int64),
        ("targets", ctypes.c_void_p),
        ("targets_each", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("scales", "gradients", "losses", "adam", "means", "squares")),
    ]


class _Adam(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_double) for name in ("rate", "weight1", "beta2", "weight2", "root", "eps", "decay", "shrink")
    ]

    @classmethod
    def of(cls, adam: Adam, step: float) -> _Adam:
        """The numbers of an update of an optimizer whose members are all alike."""
        lr, decay, beta1, beta2, eps = adam.lr, adam.weight_decay, adam.beta1, adam.beta2, adam.eps
        assert isinstance(lr, float | int) and isinstance(decay, float | int)  # noqa: PT018 - `is_alike`
        assert isinstance(beta1, float | int) and isinstance(beta2, float | int)  # noqa: PT018
        assert isinstance(eps, float | int)
        rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
        added, shrink = (0.0, 1 - lr * decay) if adam.decoupled else (decay, 1.0)
        return cls(rate, 1 - beta1, beta2, 1 - beta2, root, eps, added, shrink)


@cache
def _functions() -> dict[torch.dtype, Callable[..., None]]:
    native = library(_SOURCE)
    if native is None:
        return {}
    return {torch.float32: native.dense_gradients_float32, torch.float64: native.dense_gradients_float64}


@dataclass(frozen=True)
class _Chain:
    """A dense chain as native code takes it.

    Attributes:
        layers: of the chain.
        scale: the name of the numbers by which each member's outputs are multiplied, or None.
    """

    layers: tuple[tuple[Affine, int], ...]
    scale: str | None


def _native_chain(program: Program) -> _Chain | None:
    """Return the chain if native code takes it: layers with functions that it knows, perhaps scaled at the end."""
    layers: list[tuple[Affine, int]] = []
    stages = [each for each in program.chain.stages if not (isinstance(each, Elementwise) and each.name == "identity")]
    last = stages[-1]
    stages, scale = (stages[:-1], last.name) if isinstance(last, MemberScale) else (stages, None)
    for before, stage in zip([None, *stages], stages, strict=False):
        if isinstance(stage, Affine):
            layers.append((stage, 0))
        elif isinstance(before, Affine) and isinstance(stage, Elementwise) and stage.name in _FUNCTIONS:
            layers[-1] = (before, _FUNCTIONS[stage.name])
        else:
            return None
    return _Chain(tuple(layers), scale)


def native_gradients(plain: DenseGradients) -> NativeGradients | None:
    """Return the same gradients by native code; None where there is none, or it does not take the chain or the loss.

    It takes narrow layers with tanh (the rational one), ReLU or nothing, the mean squared error, and a scale of each
    member's outputs.
    """
    program, chain = plain.program, _native_chain(plain.program)
    if chain is None or program.loss != "mse":
        return None
    if program.tanh != "rational" and any(function == _FUNCTIONS["tanh"] for _, function in chain.layers):
        return None
    if max(max(layer.fan_in, layer.fan_out) for layer, _ in chain.layers) > _WIDEST or not _functions():
        return None
    return NativeGradients(plain, chain)


class NativeGradients:
    """Gradients of a dense chain by native code; those of torch where tensors are not such as it takes."""

    def __init__(self, plain: DenseGradients, chain: _Chain) -> None:
        self.per_member = plain.per_member
        self._plain, self._chain = plain, chain
        slices = plain.program.layout.slices
        self._layers = (_Layer * len(chain.layers))(
            *(
                _Layer(
                    layer.fan_in,
                    layer.fan_out,
                    slices[layer.weight].start,
                    -1 if layer.bias is None else slices[layer.bias].start,
                    function,
                )
                for layer, function in chain.layers
            )
        )
        self._prepared: tuple[tuple[Tensor, Tensor], tuple[int, int], tuple[Tensor, Tensor]] | None = None

    @property
    def fixed(self) -> Mapping[str, Tensor]:
        """What is not trained, by name."""
        return self._plain.fixed

    def __call__(self, flat: Flat, inputs: Tensor, targets: Tensor, out: Flat) -> Float[Tensor, " k"]:
        """Write the gradients into `out` and return the losses."""
        if not (self.takes(flat) and self.takes(out)):
            return self._plain(flat, inputs, targets, out)
        return self._run(flat, inputs, targets, gradients=out.data_ptr())

    def update(
        self, flat: Flat, inputs: Tensor, targets: Tensor, adam: Adam, state: State, step: float
    ) -> Float[Tensor, " k"]:
        """Apply an update of Adam to all members, each right after its gradient, and return the losses before it."""
        numbers, means, squares = _Adam.of(adam, step), state["mean"], state["square"]
        pointers = {"means": means.data_ptr(), "squares": squares.data_ptr()}
        return self._run(flat, inputs, targets, adam=ctypes.addressof(numbers), **pointers)

    def takes(self, *tensors: Tensor) -> bool:
        """Whether native code takes tensors such as these parameters."""
        return all(each.dtype in _functions() and each.is_cpu and each.is_contiguous() for each in tensors)

    def _run(self, flat: Flat, inputs: Tensor, targets: Tensor, **pointers: int) -> Float[Tensor, " k"]:
        losses = flat.new_empty(len(flat))
        x, y = self._columns(inputs, targets, flat.dtype)
        scale = None if self._chain.scale is None else self.fixed[self._chain.scale].to(flat).contiguous()
        problem = _Problem(
            members=len(flat),
            parameters=flat.shape[1],
            samples=targets.shape[-2],
            padded=x.shape[-1],
            layers=len(self._layers),
            chain=ctypes.addressof(self._layers),
            flat=flat.data_ptr(),
            inputs=x.data_ptr(),
            inputs_each=x[0].numel() if self.per_member else 0,
            targets=y.data_ptr(),
            targets_each=y[0].numel() if self.per_member else 0,
            scales=None if scale is None else scale.data_ptr(),
            losses=losses.data_ptr(),
            **pointers,
        )
        _functions()[flat.dtype](ctypes.byref(problem))
        return losses

    def _columns(self, inputs: Tensor, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return inputs and targets with samples as columns, as many as fill whole vectors; the same ones only once."""
        versions = inputs._version, targets._version
        kept = self._prepared
        if kept is None or kept[0][0] is not inputs or kept[0][1] is not targets or kept[1] != versions:
            flattened = inputs.flatten(1 + self.per_member) if self._plain.program.chain.flattens else inputs
            columns = _padded(flattened.to(dtype)), _padded(targets.to(dtype))
            kept = self._prepared = (inputs, targets), versions, columns
        return kept[2]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self._plain.keep(rows)


class NativeStep(PlainStep):
    """A step whose gradients, and whose Adam where all members have the same numbers, are native code."""

    def __init__(self, gradients: NativeGradients, optimizer: Optimizer) -> None:
        super().__init__(gradients, optimizer)
        self._native = gradients

    def __call__(
        self, flat: Flat, state: State, inputs: Tensor, targets: Tensor, number: Float[Tensor, ""]
    ) -> Float[Tensor, " k"]:
        """Update all members."""
        adam = self.optimizer
        moments = [state[name] for name in ("mean", "square") if name in state]
        if isinstance(adam, Adam) and adam.is_alike and self._native.takes(flat, *moments):
            return self._native.update(flat, inputs, targets, adam, state, number.item())
        return super().__call__(flat, state, inputs, targets, number)


def _padded(rows: Tensor) -> Tensor:
    """Return (..., n, d) as (..., d, n), n padded with zeros to whole vectors."""
    lanes = _VECTOR // rows.element_size()
    return fn.pad(rows.mT, (0, -rows.shape[-2] % lanes)).contiguous()
