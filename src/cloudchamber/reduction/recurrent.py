"""Recurrent modules of several layers, taken apart so that each layer can have a width of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from cloudchamber.reduction.outputs import difference, failure, numbers_of

KINDS = (nn.LSTM, nn.GRU, nn.RNN)
SAME = 1e-4
"""Relative change of the output that is rounding."""


class StackedRecurrent(nn.Module):
    """`nn.LSTM`, `nn.GRU` or `nn.RNN` of several layers, each a module of its own, of any width.

    It is called as these are, and returns the same but for the last states, which are a tuple of one (n, width) tensor
    per layer. Its state dict is that of its `layers`.

    Args:
        layers: of one layer each.
        dropout: of what each layer but the last returns.

    >>> stack = StackedRecurrent([nn.GRU(3, 5), nn.GRU(5, 4)])
    >>> output, states = stack(torch.zeros(7, 2, 3))
    >>> output.shape, [tuple(state.shape) for state in states]
    (torch.Size([7, 2, 4]), [(2, 5), (2, 4)])
    """

    def __init__(self, layers: Sequence[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        self.layers, self.dropout = nn.ModuleList(layers), dropout

    def forward(self, x: Any, hx: Any = None) -> tuple[Any, Any]:
        """Return the last layer's output and the last states; arguments are those of the module that it was."""
        cells, states = isinstance(self.layers[0], nn.LSTM), []
        for number, layer in enumerate(self.layers):
            x = fn.dropout(x, self.dropout, self.training) if number else x
            x, state = layer(x) if hx is None else layer(x, _of_layer(hx, number, cells))
            states.append(state)
        if not cells:
            return x, tuple(state[0] for state in states)
        pairs = [(hidden, cell) for hidden, cell in states]
        return x, (tuple(hidden[0] for hidden, _ in pairs), tuple(cell[0] for _, cell in pairs))


def _of_layer(given: Any, number: int, cells: bool) -> Any:
    """First states of one layer, from a tensor for all layers or a tuple of them."""
    return tuple(each[number][None] for each in given) if cells else given[number][None]


def taken_apart(module: Any) -> StackedRecurrent:
    """Return a recurrent module of several layers as a stack of single ones."""
    layers = [_layer(module, number) for number in range(module.num_layers)]
    return StackedRecurrent(layers, module.dropout).train(module.training)


def _layer(module: Any, number: int) -> nn.Module:
    inputs = module.hidden_size if number else module.input_size
    more = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    with torch.random.fork_rng(devices=[]):
        layer = type(module)(inputs, module.hidden_size, bias=module.bias, batch_first=module.batch_first, **more)
    for name, _ in list(layer.named_parameters()):
        old = getattr(module, name.replace("_l0", f"_l{number}"))
        setattr(layer, name, nn.Parameter(old.detach().clone(), requires_grad=old.requires_grad))
    return layer.train(module.training)


def can_be_taken_apart(module: nn.Module) -> bool:
    """Say whether a module is recurrent, of several layers and of one direction, with nothing projected."""
    if type(module) not in KINDS:
        return False
    recurrent: Any = module
    return recurrent.num_layers > 1 and not recurrent.bidirectional and not recurrent.proj_size


def take_apart_where_it_runs(model: nn.Module, inputs: Any, forward: Any) -> nn.Module:
    """Return a model whose recurrent modules of several layers are taken apart, those where it computes the same.

    Args:
        model: in evaluation; not changed.
        inputs: of one call.
        forward: how it is called.
    """
    for name, module in list(model.named_modules()):
        if name and can_be_taken_apart(module):
            trial = copy.deepcopy(model)
            trial.set_submodule(name, taken_apart(module))
            model = trial if _same(trial, model, inputs, forward) else model
    return model


def _same(trial: nn.Module, model: nn.Module, inputs: Any, forward: Any) -> bool:
    changes: list[float] = []

    def compare() -> None:
        with torch.no_grad():
            outputs = [numbers_of(forward(each, copy.deepcopy(inputs))) for each in (trial, model)]
        changes.append(difference(*outputs).relative)

    return not failure(compare) and changes[0] <= SAME


def take_apart(model: nn.Module, layers: Iterable[str]) -> None:
    """Take the recurrent modules apart that some of these layers are in, in place."""
    for layer in layers:
        name, within, _ = layer.rpartition(".layers.")
        if within and name in dict(model.named_modules()) and can_be_taken_apart(model.get_submodule(name)):
            model.set_submodule(name, taken_apart(model.get_submodule(name)))


def tensor_in(model: nn.Module, layer: str, tensor: str) -> Tensor | None:
    """Return a tensor of a layer, also of one in a recurrent module that is not taken apart; None if there is none."""
    modules = dict(model.named_modules())
    name, _, number = layer.rpartition(".layers.")
    if layer in modules:
        held = getattr(modules[layer], tensor, None)
    elif name in modules and can_be_taken_apart(modules[name]):
        held = getattr(modules[name], tensor.replace("_l0", f"_l{number}"), None)
    else:
        held = None
    return held if isinstance(held, Tensor) else None
