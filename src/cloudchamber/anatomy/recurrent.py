"""Recurrent modules: a layer per gate, of `nn.LSTM`, `nn.GRU`, `nn.RNN` and their cells.

A neuron of a gate is its row of (W_ih, W_hh), on (x_t, h_{t−1}), with b_ih + b_hh as its bias. In a GRU the reset gate
stands between the two halves of the candidate, n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn)), which therefore are two
layers with one feature.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.view import LayerView, part_name, position_rows, read_weight, weight_rows

CELLS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)


class Gate(NamedTuple):
    """A part of a recurrent module.

    Attributes:
        name: its name, "" if the module has no other.
        block: which rows of the weights are its neurons, in units of the hidden size.
        sources: which of "x" and "h" it works on; or "m", the hidden units before an LSTM's projection.
        activation: name of its activation.
    """

    name: str
    block: int
    sources: str
    activation: str


_KIND_OF_SOURCE = {"x": "ih", "h": "hh", "m": "hr"}
LSTM_GATES = (
    Gate("input_gate", 0, "xh", "sigmoid"),
    Gate("forget_gate", 1, "xh", "sigmoid"),
    Gate("cell_gate", 2, "xh", "tanh"),
    Gate("output_gate", 3, "xh", "sigmoid"),
)
PROJECTION = Gate("projection", 0, "m", "none")
GRU_GATES = (
    Gate("reset_gate", 0, "xh", "sigmoid"),
    Gate("update_gate", 1, "xh", "sigmoid"),
    Gate("candidate_input", 2, "x", "tanh"),
    Gate("candidate_hidden", 2, "h", "tanh"),
)


class Place(NamedTuple):
    """One layer and direction of a recurrent module.

    Attributes:
        name: how its parts' names begin ("l0_reverse"); "" in a cell.
        layer: its number.
        reverse: whether it goes from the end to the start.
    """

    name: str
    layer: int
    reverse: bool

    @property
    def suffix(self) -> str:
        """The end of its weights' names."""
        return f"_{self.name}" if self.name else ""

    def part(self, gate: Gate) -> str:
        """Return the name of a gate within the module ("l0.input_gate")."""
        return ".".join(name for name in (self.name, gate.name) if name)


def gates_of(module: Any) -> tuple[Gate, ...]:
    """Return the parts of every layer and direction of a module."""
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return (*LSTM_GATES, PROJECTION) if projected(module) else LSTM_GATES
    if isinstance(module, nn.GRU | nn.GRUCell):
        return GRU_GATES
    return (Gate("", 0, "xh", module.nonlinearity),)


def places_of(module: Any) -> list[Place]:
    """Return the layers and directions of a module in the order of its weights and states.

    >>> [place.name for place in places_of(nn.GRU(3, 4, num_layers=2, bidirectional=True))]
    ['l0', 'l0_reverse', 'l1', 'l1_reverse']
    """
    if isinstance(module, CELLS):
        return [Place("", 0, False)]
    directions = (False, True) if module.bidirectional else (False,)
    return [
        Place(f"l{layer}{'_reverse' if reverse else ''}", layer, reverse)
        for layer in range(module.num_layers)
        for reverse in directions
    ]


def projected(module: Any) -> int:
    """Return the size of an LSTM's projection; 0 if it has none."""
    return getattr(module, "proj_size", 0)


def recurrent_views(name: str, module: Any) -> tuple[LayerView, ...]:
    """Return a view per layer, direction and gate.

    >>> [view.name for view in recurrent_views("lstm", nn.LSTM(3, 4))][:2]
    ['lstm.l0.input_gate', 'lstm.l0.forget_gate']
    """
    return tuple(_view(name, module, place, gate) for place in places_of(module) for gate in gates_of(module))


def _view(name: str, module: Any, place: Place, gate: Gate) -> LayerView:
    part = place.part(gate)
    return LayerView(
        part_name(name, part),
        module=name,
        layer_type=f"{type(module).__name__} {gate.name}".rstrip(),
        width=projected(module) if gate.sources == "m" else module.hidden_size,
        fan_in=sum(_size(module, place, source) for source in gate.sources),
        bias=module.bias and gate.sources != "m",
        neurons=partial(_neurons, module, place, gate),
        input_rows=position_rows,
        output_rows=position_rows,
        positions_axis=None if isinstance(module, CELLS) else 1,
        part=part,
        activation=gate.activation,
    )


def _size(module: Any, place: Place, source: str) -> int:
    if source == "m":
        return module.hidden_size
    state = projected(module) or module.hidden_size
    if source == "h":
        return state
    return module.input_size if place.layer == 0 else state * (2 if module.bidirectional else 1)


def _neurons(module: Any, place: Place, gate: Gate) -> Tensor:
    rows = slice(gate.block * module.hidden_size, (gate.block + 1) * module.hidden_size)
    kinds = [_KIND_OF_SOURCE[source] for source in gate.sources]
    weight = torch.cat([read_weight(module, f"weight_{kind}{place.suffix}")[rows] for kind in kinds], dim=1)
    if not module.bias or gate.sources == "m":
        return weight
    biases = [read_weight(module, f"bias_{kind}{place.suffix}")[rows] for kind in kinds]
    return weight_rows(weight, torch.stack(biases).sum(0))
