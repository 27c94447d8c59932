"""The replay of recurrent modules: step by step, in plain operations, with every gate as part of the graph.

Inside, time comes first and a packed batch keeps its order by length, as in torch, so that dropout between the layers
draws the same random numbers. Steps beyond the end of a sequence leave its state as it is, and are zero in what is
delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from cloudchamber.anatomy.composites import Nodes, Part, Replay, computed_in
from cloudchamber.anatomy.recurrent import Gate, Place, gates_of, places_of, projected
from cloudchamber.anatomy.view import ONE_SAMPLE, read_weight

State = tuple[Tensor, ...]

_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda features: features * (1 - features),
    "tanh": lambda features: 1 - features**2,
    "relu": lambda features: (features > 0).to(features),
    "none": torch.ones_like,
}


class Weights(NamedTuple):
    """The weights of one layer and direction."""

    input: Tensor
    state: Tensor
    input_bias: Tensor | None
    state_bias: Tensor | None
    projection: Tensor | None

    @classmethod
    def of(cls, module: Any, place: Place, dtype: torch.dtype) -> Weights:
        """Copy the weights of a layer and direction: the optimizer may change them before gradients are asked for."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        there = (True, True, module.bias, module.bias, projected(module) > 0)
        read = [
            read_weight(module, f"{name}{place.suffix}").to(dtype, copy=True) if wanted else None
            for name, wanted in zip(names, there, strict=True)
        ]
        return cls(*read)  # pyright: ignore


class Step(NamedTuple):
    """One time step: the new state, and (z, f) of every part by the name of its gate."""

    state: State
    parts: dict[str, tuple[Tensor, Tensor]]
    units: Tensor  # the hidden units before a projection


def _lstm_step(weights: Weights, from_input: Tensor, state: State) -> Step:
    h, c = state
    i, f, g, o = (from_input + fn.linear(h, weights.state, weights.state_bias)).chunk(4, 1)
    fi, ff, fg, fo = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = ff * c + fi * fg
    units = fo * c.tanh()
    parts = {"input_gate": (i, fi), "forget_gate": (f, ff), "cell_gate": (g, fg), "output_gate": (o, fo)}
    if weights.projection is None:
        return Step((units, c), parts, units)
    h = fn.linear(units, weights.projection)
    return Step((h, c), {**parts, "projection": (h, h)}, units)


def _gru_step(weights: Weights, from_input: Tensor, state: State) -> Step:
    (h,) = state
    x_reset, x_update, x_candidate = from_input.chunk(3, 1)
    h_reset, h_update, h_candidate = fn.linear(h, weights.state, weights.state_bias).chunk(3, 1)
    reset, update = x_reset + h_reset, x_update + h_update
    r, u = reset.sigmoid(), update.sigmoid()
    n = (x_candidate + r * h_candidate).tanh()
    parts = {
        "reset_gate": (reset, r),
        "update_gate": (update, u),
        "candidate_input": (x_candidate, n),
        "candidate_hidden": (h_candidate, n),
    }
    new = (1 - u) * n + u * h
    return Step((new,), parts, new)


def _rnn_step(activation: Callable[[Tensor], Tensor], weights: Weights, from_input: Tensor, state: State) -> Step:
    z = from_input + fn.linear(state[0], weights.state, weights.state_bias)
    h = activation(z)
    return Step((h,), {"": (z, h)}, h)


def _step_of(module: Any) -> Callable[[Weights, Tensor, State], Step]:
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return _lstm_step
    if isinstance(module, nn.GRU | nn.GRUCell):
        return _gru_step
    activation = torch.tanh if module.nonlinearity == "tanh" else torch.relu
    return lambda weights, from_input, state: _rnn_step(activation, weights, from_input, state)


@dataclass(frozen=True)
class Batch:
    """The sequences of a call: how long they are, and in which order they are delivered.

    Attributes:
        lengths: of each sequence, in the order of the computation, on the CPU; None if all are equally long.
        mask: (T, n, 1), where a sequence has not ended; None likewise.
        order: the place of each delivered sample in the order of the computation; None if they are the same.
        squeezed: whether there is one step, and time is no dimension of what is delivered.
    """

    lengths: Tensor | None = None
    mask: Tensor | None = None
    order: Tensor | None = None
    squeezed: bool = False

    def deliver(self, steps: Sequence[Tensor] | Tensor) -> Tensor:
        """Return (n, T, ...) of a tensor (n, ...) per step, zero beyond the end of a sequence."""
        stacked = torch.stack(tuple(steps))
        if self.mask is not None:
            stacked = torch.where(self.mask, stacked, 0)
        by_sample = stacked.transpose(0, 1)
        if self.order is not None:
            by_sample = by_sample.index_select(0, self.order)
        return by_sample.squeeze(1) if self.squeezed else by_sample

    def kept(self, time: int, new: State, old: State) -> State:
        """Return the new state of the sequences that have not ended."""
        if self.mask is None:
            return new
        return tuple(torch.where(self.mask[time], after, before) for after, before in zip(new, old, strict=True))

    def packed(self, steps: Tensor) -> Tensor:
        """Return what torch keeps of (T, n, ...): all of it, or the data of the packed sequences."""
        return steps if self.lengths is None else pack_padded_sequence(steps, self.lengths).data

    def dropped(self, steps: Tensor, probability: float) -> Tensor:
        """Return (T, n, ...) after dropout."""
        if self.lengths is None:
            return fn.dropout(steps, probability)
        packed = pack_padded_sequence(steps, self.lengths)
        return pad_packed_sequence(packed._replace(data=fn.dropout(packed.data, probability)))[0]


@dataclass(frozen=True)
class _Track:
    """What one layer and direction did: per time step, in the order of time."""

    x: Tensor
    before: list[Tensor]  # h_{t−1}
    steps: list[Step]
    final: State


def replay_recurrent(module: Any, arguments: Mapping[str, Any]) -> Replay:
    """Compute a call of `nn.LSTM`, `nn.GRU` or `nn.RNN` again."""
    given = arguments["input"]
    if isinstance(given, Tensor) and given.ndim != 3:
        return Replay.impossible(ONE_SAMPLE)
    x, batch = _opened(module, given)
    dtype = read_weight(module, f"weight_ih{places_of(module)[0].suffix}").dtype
    x = x.to(computed_in(dtype))
    states = _states(module, arguments.get("hx"), x, getattr(given, "sorted_indices", None))
    x, tracks = _through_layers(module, x, states, batch)
    parts = {name: part for place, track in tracks.items() for name, part in _parts(module, place, track, batch)}
    finals = [torch.stack(states) for states in zip(*(track.final for track in tracks.values()), strict=True)]
    if batch.order is not None:
        finals = [final.index_select(1, batch.order) for final in finals]
    batched_first = module.batch_first and batch.lengths is None
    return Replay((batch.packed(x.transpose(0, 1) if batched_first else x), *finals), parts, dtype)


def replay_cell(module: Any, arguments: Mapping[str, Any]) -> Replay:
    """Compute a call of `nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell` again."""
    given = arguments["input"]
    if given.ndim != 2:
        return Replay.impossible(ONE_SAMPLE)
    dtype = read_weight(module, "weight_ih").dtype
    x, batch = given.to(computed_in(dtype))[None], Batch(squeezed=True)
    (place,) = places_of(module)
    hx = arguments.get("hx")
    states = None if hx is None else tuple(state[None] for state in _as_tuple(hx))
    track = _recurrence(module, place, x, tuple(state[0] for state in _states(module, states, x, None)), batch)
    return Replay(track.final, dict(_parts(module, place, track, batch)), dtype)


def _opened(module: Any, given: Tensor | PackedSequence) -> tuple[Tensor, Batch]:
    """Return the input with time first."""
    if isinstance(given, Tensor):
        return (given.transpose(0, 1) if module.batch_first else given), Batch()
    by_length = PackedSequence(given.data, given.batch_sizes)
    x, lengths = pad_packed_sequence(by_length)
    times = torch.arange(len(x), device=x.device)
    mask = (times[:, None] < lengths.to(x.device))[..., None]
    return x, Batch(lengths, mask, given.unsorted_indices)


def _as_tuple(state: Tensor | State) -> State:
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _states(module: Any, hx: Any, x: Tensor, permutation: Tensor | None) -> State:
    """Return the initial states, (layers · directions, n, ...), in the order of the computation."""
    if hx is not None:
        states = tuple(state.to(x) for state in _as_tuple(hx))
        return states if permutation is None else tuple(state.index_select(1, permutation) for state in states)
    places, hidden = len(places_of(module)), module.hidden_size
    sizes = [projected(module) or hidden, hidden] if isinstance(module, nn.LSTM | nn.LSTMCell) else [hidden]
    # In the graph, as all is that a part of the first step computes from them.
    return tuple(x.new_zeros(places, x.shape[1], size).requires_grad_() for size in sizes)


def _through_layers(module: Any, x: Tensor, states: State, batch: Batch) -> tuple[Tensor, dict[Place, _Track]]:
    """Return what the last layer gives out, (T, n, ...), and what every layer and direction did."""
    tracks: dict[Place, _Track] = {}
    for layer in range(module.num_layers):
        if layer and module.training and module.dropout:
            x = batch.dropped(x, module.dropout)
        here = [(number, place) for number, place in enumerate(places_of(module)) if place.layer == layer]
        for number, place in here:
            start = tuple(state[number] for state in states)
            tracks[place] = _recurrence(module, place, x, start, batch)
        x = torch.cat([torch.stack([step.state[0] for step in tracks[place].steps]) for _, place in here], dim=2)
    return x, tracks


def _recurrence(module: Any, place: Place, x: Tensor, state: State, batch: Batch) -> _Track:
    weights, step = Weights.of(module, place, x.dtype), _step_of(module)
    from_input = fn.linear(x, weights.input, weights.input_bias)
    before: list[Tensor] = [state[0]] * len(x)
    steps: dict[int, Step] = {}
    for time in reversed(range(len(x))) if place.reverse else range(len(x)):
        before[time] = state[0]
        steps[time] = step(weights, from_input[time], state)
        state = batch.kept(time, steps[time].state, state)
    return _Track(x, before, [steps[time] for time in range(len(x))], state)


def _parts(module: Any, place: Place, track: _Track, batch: Batch) -> list[tuple[str, Part]]:
    gates = gates_of(module)
    inputs = {sources: _inputs(sources, track, batch) for sources in {gate.sources for gate in gates}}
    return [(place.part(gate), _part(gate, track, batch, inputs[gate.sources])) for gate in gates]


def _inputs(sources: str, track: _Track, batch: Batch) -> Tensor:
    """Return X of the parts that work on these sources."""
    steps = {"x": track.x, "h": track.before, "m": [step.units for step in track.steps]}
    return torch.cat([batch.deliver([each.detach() for each in steps[source]]) for source in sources], dim=-1)


def _part(gate: Gate, track: _Track, batch: Batch, inputs: Tensor) -> Part:
    pairs = [step.parts[gate.name] for step in track.steps]
    outputs, features = (Nodes(tuple(tensors), batch.deliver) for tensors in zip(*pairs, strict=True))
    return Part(inputs, outputs, features, _slope(gate, track, batch))


def _slope(gate: Gate, track: _Track, batch: Batch) -> Callable[[Tensor], Tensor]:
    def slope(features: Tensor) -> Tensor:
        entries = _SLOPES[gate.activation](features)
        if gate.name == "candidate_hidden":  # what it computes is multiplied by the reset gate
            entries = entries * batch.deliver([step.parts["reset_gate"][1].detach() for step in track.steps])
        return entries if batch.mask is None else torch.where(batch.deliver(batch.mask) != 0, entries, 0)

    return slope
