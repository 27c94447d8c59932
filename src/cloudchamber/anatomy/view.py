"""A view: how to see one weight of a model as neurons, and its inputs and outputs as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

# Rows that are mostly zeros (one-hot tokens, the groups of a convolution) are made up to this size, 256 MiB in float32.
MAX_ROW_NUMBERS = 2**26

ROOT = "(the model itself)"
ONE_SAMPLE = "it was called with one sample, without a dimension of samples"


@dataclass(frozen=True)
class LayerView:
    """One observed layer: a weight whose rows are neurons, applied P times to each sample.

    A module like `nn.Linear` has one view; a recurrent or attention module has one per gate or projection.

    The rows are such that `Σ_x G_xᵀ X_x` is the gradient of the weight, exactly. They are made sample by sample: rows
    of some samples are some of the rows, so that whoever needs them can bound the memory.

    Attributes:
        name: qualified name, as the record shows it ("blocks.0.fc1", "lstm.l0.input_gate").
        module: qualified name of the module that holds the weight.
        layer_type: class name of the module, or of the part ("LSTM input_gate").
        width: h, number of neurons.
        fan_in: d, number of inputs of one neuron, without the bias.
        bias: whether the neurons have a bias, the last column of `neurons()`.
        neurons: returns the weight now, (h, d) or (h, d + 1) with the bias, detached.
        input_rows: turns what the layer received, (n, ...), into X (n, P, d); None where that is not possible.
        output_rows: turns what it computed, or the gradient of that, (n, ...), into (n, P, h); None likewise.
        why_no_rows: the reason where rows are None, else "".
        neuron_axis: the dimension of what the layer computed that counts its neurons; None if none does.
        positions_axis: the dimension of what it computed that counts the positions of a sequence, where what it
            computed has more than two dimensions; None if none does.
        part: name of the part in a module of several ("l0.input_gate"); "" for a module with one view.
        activation: the part's own activation; "" where it is not part of the module.
        exchanged: whether inputs and output gradients exchange their roles: a neuron of an embedding is what its
            token puts out, so that X is made of the gradients, and G of the tokens.
    """

    name: str
    module: str
    layer_type: str
    width: int
    fan_in: int
    bias: bool
    neurons: Callable[[], Tensor]
    input_rows: Callable[[Tensor], Tensor | None]
    output_rows: Callable[[Tensor], Tensor | None]
    why_no_rows: str = ""
    neuron_axis: int | None = -1
    positions_axis: int | None = None
    part: str = ""
    activation: str = ""
    exchanged: bool = False

    def factors(self, inputs: Tensor, output_gradients: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return (X, G), (n, P, d) and (n, P, h), with `Σ_x G_xᵀ X_x` the gradient of the weight; None where not known.

        Args:
            inputs: what the layer received, (n, ...).
            output_gradients: the gradient of what it computed, (n, ...).
        """
        received, sent = self.input_rows(inputs), self.output_rows(output_gradients)
        if received is None or sent is None or received.shape[:2] != sent.shape[:2]:
            return None
        return (sent, received) if self.exchanged else (received, sent)


def part_name(module: str, part: str) -> str:
    """Return the qualified name of a part of a module.

    >>> part_name("lstm", "l0.input_gate"), part_name(ROOT, "l0.input_gate"), part_name("cell", "")
    ('lstm.l0.input_gate', 'l0.input_gate', 'cell')
    """
    return ".".join(name for name in ("" if module == ROOT else module, part) if name) or ROOT


def position_rows(tensor: Tensor) -> Tensor | None:
    """Return (n, P, d) of a tensor (n, ..., d) whose last dimension a layer works on; None without samples.

    >>> import torch
    >>> position_rows(torch.zeros(5, 3)).shape, position_rows(torch.zeros(5, 2, 4, 3)).shape
    (torch.Size([5, 1, 3]), torch.Size([5, 8, 3]))
    """
    if tensor.ndim < 2:
        return None
    return tensor[:, None] if tensor.ndim == 2 else tensor.flatten(1, -2)


def read_weight(module: nn.Module, name: str) -> Tensor:
    """Return a weight as it is now, detached; reading one that is computed (`parametrize`) changes no buffer.

    >>> read_weight(nn.Linear(3, 2), "weight").requires_grad
    False
    """
    with torch.no_grad(), _parametrizations_at_rest(module, name):
        return getattr(module, name).detach()


@contextmanager
def _parametrizations_at_rest(module: nn.Module, name: str) -> Iterator[None]:
    # In training, spectral_norm takes a step of its power iteration whenever the weight is read.
    computed = is_parametrized(module, name)
    parts = list(getattr(module.parametrizations, name).modules()) if computed else []  # pyright: ignore
    flags = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, flag in zip(parts, flags, strict=True):
            part.training = flag


def weight_rows(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return (h, d) or, with a bias, (h, d + 1): one row per neuron of a weight (h, ...)."""
    rows = weight.flatten(1)
    return rows if bias is None else torch.cat([rows, bias[:, None]], dim=1)
