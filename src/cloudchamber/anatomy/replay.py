"""Replays of composite modules: which there are, and the check that a replay computed what the module did."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import Unsupported
from cloudchamber._core.seeding import preserved_random_state
from cloudchamber.anatomy.attention import attention_views, replay_attention
from cloudchamber.anatomy.composites import CompositeType, PartTensors, Replay
from cloudchamber.anatomy.recurrence import replay_cell, replay_recurrent
from cloudchamber.anatomy.recurrent import recurrent_views

# Relative to the largest entry. Another mask of dropout or attention is wrong by tenths; on a GPU, cuDNN rounds float32
# to TF32, which the replay does not.
_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_TF32_TOLERANCE = 5e-3


def _never(_: nn.Module) -> bool:
    return False


def _drops_between_layers(module: Any) -> bool:
    return module.training and module.dropout > 0 and module.num_layers > 1


def _drops(module: Any) -> bool:
    return module.training and module.dropout > 0


COMPOSITE_TYPES: tuple[CompositeType, ...] = (
    CompositeType(nn.LSTM, recurrent_views, replay_recurrent, _drops_between_layers),
    CompositeType(nn.GRU, recurrent_views, replay_recurrent, _drops_between_layers),
    CompositeType(nn.RNN, recurrent_views, replay_recurrent, _drops_between_layers),
    CompositeType(nn.LSTMCell, recurrent_views, replay_cell, _never),
    CompositeType(nn.GRUCell, recurrent_views, replay_cell, _never),
    CompositeType(nn.RNNCell, recurrent_views, replay_cell, _never),
    CompositeType(nn.MultiheadAttention, attention_views, replay_attention, _drops),
)


def composite_type_of(module: nn.Module) -> CompositeType | None:
    """Return the entry for a module, or None if it fuses no layers that are known."""
    return next((entry for entry in COMPOSITE_TYPES if isinstance(module, entry.module_type)), None)


class RandomState(NamedTuple):
    """State of torch's random numbers before a call: the CPU's, and that of the module's device if it has its own."""

    cpu: Tensor
    device: torch.device
    own: Tensor | None


def current_random_state(device: torch.device) -> RandomState:
    """Return the state of the random numbers now."""
    own = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return RandomState(torch.get_rng_state(), device, own)


def random_state_needed(module: nn.Module) -> bool:
    """Return whether a replay of the module's next call needs the random state before it.

    >>> random_state_needed(nn.MultiheadAttention(8, 2, dropout=0.1)), random_state_needed(nn.LSTM(3, 4))
    (True, False)
    """
    entry = composite_type_of(module)
    return entry is not None and entry.draws(module)


def output_tensors(outputs: Any) -> tuple[Tensor, ...]:
    """Return the tensors of what a module returned, one after the other; of packed sequences their data.

    >>> [tuple(tensor.shape) for tensor in output_tensors(nn.LSTM(3, 4)(torch.zeros(2, 5, 3)))]
    [(2, 5, 4), (1, 5, 4), (1, 5, 4)]
    """
    leaves = pytree.tree_leaves(outputs, is_leaf=lambda value: isinstance(value, PackedSequence))
    data = [leaf.data if isinstance(leaf, PackedSequence) else leaf for leaf in leaves]
    return tuple(value for value in data if isinstance(value, Tensor))


def replay(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    outputs: Any,
    random_state: RandomState | None = None,
) -> Replay:
    """Compute a call of a composite module again, and check that it gives the same outputs.

    Random states, buffers and gradients stay as they are.

    Args:
        module: the module, in the mode and with the weights of the call.
        args: positional arguments of the call.
        kwargs: its keyword arguments.
        outputs: what the module returned.
        random_state: the random state before the call, where `random_state_needed`.

    Returns:
        The replay, whose `reason` says why it has no parts if it has none.

    Raises:
        Unsupported: if the module is not of a composite type.

    >>> lstm, x = nn.LSTM(3, 4), torch.ones(2, 5, 3)
    >>> replay(lstm, (x,), {}, lstm(x)).tensors()["l0.input_gate"].features.shape  # samples first
    torch.Size([5, 2, 4])
    """
    entry = composite_type_of(module)
    if entry is None:
        names = [each.name for each in COMPOSITE_TYPES]
        raise Unsupported(f"a replay is of one of {names}; got {type(module).__name__}. Remedy: look at its layers.")
    if entry.draws(module) and random_state is None:
        return Replay.impossible("it drew random numbers, and their state before is not known")
    tensors = output_tensors(outputs)
    with _own_settings(tensors), _random_numbers_of(random_state):
        found = _computed(entry, module, _arguments(entry, module, args, kwargs))
    reason = found.reason or _difference(found.outputs, tensors, drew=entry.draws(module))
    return Replay.impossible(reason) if reason else found


def replay_gradients(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    outputs: Any,
    output_gradients: Sequence[Tensor | None],
    random_state: RandomState | None = None,
) -> tuple[dict[str, PartTensors], str]:
    """Return X, Z, F and their gradients for every part of a composite module, and "" or why there are none.

    Args:
        module: as for `replay`.
        args: as for `replay`.
        kwargs: as for `replay`.
        outputs: what the module returned.
        output_gradients: the gradient of each of `output_tensors(outputs)`, None where there is none.
        random_state: as for `replay`.

    Raises:
        Unsupported: if the module is not of a composite type.

    >>> gru, x = nn.GRU(3, 4), torch.ones(2, 5, 3)
    >>> parts, reason = replay_gradients(gru, (x,), {}, gru(x), [torch.ones(2, 5, 4), None])
    >>> parts["l0.reset_gate"].output_gradients.shape, reason
    (torch.Size([5, 2, 4]), '')
    """
    found = replay(module, args, kwargs, outputs, random_state)
    return found.tensors(output_gradients), found.reason


def _computed(entry: CompositeType, module: nn.Module, arguments: Mapping[str, Any] | None) -> Replay:
    if arguments is None:
        return Replay.impossible(f"it was called with other arguments than {entry.name} takes")
    try:
        return entry.replay(module, arguments)
    except RuntimeError as error:  # the forward of a subclass may take what that of its class does not
        return Replay.impossible(f"it could not be computed again: {error}")


def _arguments(
    entry: CompositeType, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments by name, or None if they do not fit; real tensors are copies that start a graph."""
    try:
        bound = inspect.signature(entry.module_type.forward).bind(module, *args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    arguments = {name: value for name, value in bound.arguments.items() if value is not module}
    return pytree.tree_map_only((Tensor, PackedSequence), _leaf, arguments, is_leaf=_is_packed)


def _is_packed(value: object) -> bool:
    return isinstance(value, PackedSequence)


def _leaf(value: Any) -> Any:
    if isinstance(value, PackedSequence):
        return value._replace(data=_leaf(value.data))
    # Copied: the model may go on in place before gradients are asked for.
    return value.detach().clone().requires_grad_() if value.is_floating_point() else value


@contextmanager
def _own_settings(tensors: tuple[Tensor, ...]) -> Iterator[None]:
    """Build a graph in full precision, whatever the caller has set."""
    device = tensors[0].device.type if tensors else "cpu"
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


@contextmanager
def _random_numbers_of(random_state: RandomState | None) -> Iterator[None]:
    if random_state is None:
        yield
        return
    with preserved_random_state([random_state.device]):
        torch.set_rng_state(random_state.cpu)
        if random_state.own is not None:
            torch.cuda.set_rng_state(random_state.own, random_state.device)
        yield


def _difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], *, drew: bool) -> str:
    """Return why the replay is not what the module computed, or ""."""
    pairs = list(zip(found, expected, strict=False))
    if len(found) == len(expected) and all(each.shape == other.shape and _same(each, other) for each, other in pairs):
        return ""
    if drew:
        return "its dropout drew other random numbers when it was computed again"
    return "computed again from its inputs and weights, its outputs are others"


def _same(found: Tensor, expected: Tensor) -> bool:
    found, expected = found.detach().to(expected), expected.detach()
    if not expected.numel():
        return True
    tolerance = _TOLERANCES.get(expected.dtype, 0.0)
    if expected.is_cuda:
        tolerance = max(tolerance, _TF32_TOLERANCE if expected.dtype == torch.float32 else 0.0)
    largest = expected.nan_to_num(0.0, 0.0, 0.0).abs().max()
    return torch.allclose(found, expected, rtol=0.0, atol=float(tolerance * largest), equal_nan=True)
