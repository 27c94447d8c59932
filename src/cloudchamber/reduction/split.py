"""The reverse of merging: a wider network that computes the same, by the embedding principle."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import generator
from cloudchamber.anatomy import default_forward, undisturbed
from cloudchamber.anatomy.batch import device_of
from cloudchamber.anatomy.channels import Space, find_channels
from cloudchamber.reduction.change import Change, Fold, replace_tensor
from cloudchamber.reduction.heads import Host, find_hosts, split_heads
from cloudchamber.reduction.outputs import few
from cloudchamber.reduction.recurrent import take_apart_where_it_runs
from cloudchamber.reduction.running import Forward, evaluated

Tie = Literal["equal", "shares", "outputs", "inputs"]
Numbers = int | Sequence[int]


def split_neurons(
    model: nn.Module,
    example_inputs: Any,
    copies: Mapping[str, Numbers],
    *,
    tie: Tie = "equal",
    noise: float = 0.1,
    seed: int = 0,
    forward: Forward = default_forward,
) -> nn.Module:
    """Return a wider copy of a model that computes the same: neurons split into copies that share outgoing weights.

    `w_j = w`, `a_j = β_j a`, `Σ_j β_j = 1` for the copies j of a neuron (w, a). A critical point of the loss stays one,
    and equal copies stay equal in training, unless the tie is broken:

    - "equal": β_j = 1/m; the copies never part.
    - "shares": β_j random. The output is the same, and so is a critical point; elsewhere the copies part.
    - "outputs": `a_j = a/m + v_j`, random v_j that sum to 0, of the size `noise·‖a/m‖`. The output is the same, but a
      critical point of the loss stays one only for one output.
    - "inputs": `w_j = w + u_j`, random u_j that sum to 0, of the size `noise·‖w‖`: the output changes by O(noise²).

    Args:
        model: any module that `merge_neurons` takes; not changed.
        example_inputs: a few samples as the model takes them; only how it is called matters.
        copies: for layers by name, how many copies of every neuron, or of each one; for attentions, of heads, which are
            split by "equal" or "shares".
        tie: how the copies differ.
        noise: relative size of what is added, for "outputs" and "inputs".
        seed: of what is random.
        forward: how the model is called.

    Raises:
        InvalidInput: if a layer is not there or its neurons have to stay as they are, or a neuron gets no copy.

    Source: overview2025, Section 6.2; Zhang et al., Embedding principle (2021).

    >>> model, x = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1)), torch.randn(5, 2)
    >>> wide = split_neurons(model, x, {"0": 2}, tie="shares")
    >>> wide[0].out_features, torch.allclose(wide(x), model(x), atol=1e-5)
    (6, True)
    """
    require(tie in get_args(Tie), f"`tie` is one of {get_args(Tie)}", tie, "use 'shares' to let copies part")
    wide = copy.deepcopy(model)
    with undisturbed(device_of(example_inputs)), evaluated(copy.deepcopy(model)) as held:
        held = take_apart_where_it_runs(held, few(example_inputs), forward)
        spaces = find_channels(held, few(example_inputs), forward).spaces
        hosts = {host.module: host for host in find_hosts(held, few(example_inputs), forward)[0]}
    random = generator(seed, "split")
    for layer, numbers in copies.items():
        if layer in hosts:
            _split_heads(wide, hosts[layer], numbers, tie, random)
        else:
            _split_neurons(wide, _space_of(spaces, layer, hosts), numbers, tie, noise, random)
    return wide


def _split_neurons(
    model: nn.Module, space: Space, numbers: Numbers, tie: Tie, noise: float, random: torch.Generator
) -> None:
    origin = _origin(space.size, space.name, numbers)
    share = _shares(origin, tie, random)
    matrix = torch.zeros(space.size, len(origin), dtype=torch.float64)
    matrix[origin, torch.arange(len(origin))] = share
    none = torch.zeros(space.size, dtype=torch.float64)
    Change(space, origin, {key: Fold(matrix, none) for key in space.readers}).apply(model)
    if tie in ("outputs", "inputs"):
        _part(model, space, origin, "column" if tie == "outputs" else "row", noise, random)


def _split_heads(model: nn.Module, host: Host, numbers: Numbers, tie: Tie, random: torch.Generator) -> None:
    require(
        tie in ("equal", "shares"), "`tie` of heads is 'equal' or 'shares'", tie, "split other layers by themselves"
    )
    origin = _origin(host.read(model).size[0], host.module, numbers, "heads")
    split_heads(model, host, origin, _shares(origin, tie, random))


def _space_of(spaces: Sequence[Space], layer: str, hosts: Iterable[str]) -> Space:
    found = next((space for space in spaces if layer in space.makers), None)
    can = [name for space in spaces if not space.pinned and space.readers for name in space.makers]
    can += hosts
    require(found is not None, f"`copies` names layers that can be split: {', '.join(can)}", layer, "choose among them")
    assert found is not None
    reason = found.pinned or ("" if found.readers else "nobody consumes it")
    require(not reason, f"the neurons of {layer} can be split", reason, f"choose among {', '.join(can)}")
    return found


def _origin(size: int, layer: str, numbers: Numbers, unit: str = "neurons") -> Tensor:
    each = [numbers] * size if isinstance(numbers, int) else list(numbers)
    fits = len(each) == size and all(isinstance(number, int) and number >= 1 for number in each)
    require(fits, f"every one of the {size} {unit} of {layer} has 1 copy or more", numbers, "use 2 to double it")
    return torch.arange(size).repeat_interleave(torch.tensor(each))


def _shares(origin: Tensor, tie: Tie, random: torch.Generator) -> Tensor:
    """β, summing to 1 over the copies of each neuron."""
    weight = torch.ones(len(origin), dtype=torch.float64)
    if tie == "shares":
        weight = 0.2 + torch.rand(len(origin), generator=random, dtype=torch.float64)
    total = torch.zeros(int(origin.max()) + 1, dtype=torch.float64).index_add_(0, origin, weight)
    return weight / total[origin]


def _part(model: nn.Module, space: Space, origin: Tensor, kind: str, noise: float, random: torch.Generator) -> None:
    """Add random numbers that sum to zero over the copies of each neuron to its rows or columns."""
    tensors = [(part.module, each) for part in space.parts.values() for each in part.tensors if each.kind == kind]
    for name, each in dict.fromkeys(tensors):
        module = model.get_submodule(name)
        parts = each.axis.split(getattr(module, each.name).detach()).double()
        drawn = torch.randn(parts.shape, generator=random, dtype=torch.float64).to(parts.device)
        sums = torch.zeros(*parts.shape[:-1], space.size, dtype=torch.float64, device=parts.device)
        each_has = torch.bincount(origin, minlength=space.size).to(parts.device)
        mean = sums.index_add_(-1, origin.to(parts.device), drawn) / each_has
        size = parts.square().mean(tuple(range(parts.ndim - 1))).sqrt()
        replace_tensor(module, each.name, each.axis.join(parts + noise * size * (drawn - mean[..., origin])))
