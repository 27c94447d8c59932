"""Which modules are attention with linear projections, and where the number of their heads is: found by trying."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from cloudchamber.anatomy.channels.tracing import Call
from cloudchamber.reduction.heads.attention import HeadwiseAttention
from cloudchamber.reduction.heads.blocks import Blocks, with_another
from cloudchamber.reduction.heads.retracing import followed, traces_of
from cloudchamber.reduction.heads.written import Order, WrittenHost


def written_hosts(
    model: nn.Module, calls: Mapping[str, Call], count: Mapping[str, int]
) -> tuple[list[WrittenHost], list[tuple[str, str]]]:
    """Return the attentions with linear projections whose heads can change, and those whose cannot, with the reasons.

    Args:
        model: in evaluation; not changed.
        calls: what each module was called with first, in the order of the calls.
        count: how often each was called.
    """
    hosts: list[WrittenHost] = []
    skipped: list[tuple[str, str]] = []
    inner_first = sorted(((name, module) for name, module in model.named_modules()), key=lambda item: -_depth(item[0]))
    for name, module in inner_first:
        within = any(_inside(other, name) for other in [host.module for host in hosts] + [each for each, _ in skipped])
        within |= isinstance(module, HeadwiseAttention | nn.Sequential)
        layers = [] if within or name not in calls else _linear_layers(name, module, calls, count)
        if layers:
            found = _host(name, module, calls[name], layers)
            if isinstance(found, WrittenHost):
                hosts.append(found)
            elif found:
                skipped.append((name, found))
    return hosts, skipped


def _depth(name: str) -> int:
    return len(name.split(".")) if name else 0


def _inside(name: str, outer: str) -> bool:
    return not outer or name.startswith(f"{outer}.")


def _linear_layers(name: str, module: nn.Module, calls: Mapping[str, Call], count: Mapping[str, int]) -> list[str]:
    """The module's linear layers, from it on, in the order of their calls, if they are two or four, called as it is."""
    start = len(name) + 1 if name else 0
    layers = [
        each[start:]
        for each in calls
        if each and _inside(each, name) and isinstance(module.get_submodule(each[start:]), nn.Linear)
    ]
    together = all(count[f"{name}.{each}" if name else each] == count[name] for each in layers)
    return layers if together and len(layers) in (2, 4) else []


def _host(name: str, module: nn.Module, call: Call, layers: list[str]) -> WrittenHost | str:
    """The module as a host, why it is none although it is attention, or "" if it is not."""
    if (known := followed(module)) is not None:
        return replace(known, module=name)
    if any(is_parametrized(each) for each in module.modules()):
        return ""  # as is said of its layers
    held, otherwise = copy.deepcopy(module), ""
    for host in _candidates(name, held, layers):
        if _is_attention(host, held, call):
            found = _changeable(host, held, call)
            if found is not None and _blind_to_shifted_keys(host, held, call):
                return found
            otherwise = otherwise or found or "its heads stay, as it does not run with other numbers of them"
    return otherwise


def _candidates(name: str, module: nn.Module, layers: list[str]) -> Iterator[WrittenHost]:
    """What the layers and the numbers among the attributes allow, the most heads first."""
    *projections, output = layers
    wide = _layer(module, output).in_features
    counts = {at: each for at, each in _numbers(module).items() if 1 < each <= wide and wide % each == 0}
    for heads in sorted(set(counts.values()), reverse=True):
        named = tuple((*at, 1) for at, each in counts.items() if each == heads)
        for (query, key, value), order in _orders(projections):
            made, values = _layer(module, query).out_features, _layer(module, value).out_features
            if not made % heads and values == wide * (1 if order == "apart" else 3):
                yield WrittenHost(name, query, key, value, output, order, named)


def _orders(projections: list[str]) -> list[tuple[tuple[str, str, str], Order]]:
    """Which layer may make queries, keys, values: in the order of their calls first."""
    if len(projections) == 3:
        return [((first, second, third), "apart") for first, second, third in permutations(projections)]
    (only,) = projections
    return [((only, only, only), "by kind"), ((only, only, only), "by head")]


def _layer(module: nn.Module, name: str) -> Any:
    return module.get_submodule(name)


def _numbers(module: nn.Module) -> dict[tuple[str, str], int]:
    """The whole numbers among the attributes of modules that are not torch's own."""
    own = [(name, each) for name, each in module.named_modules() if not type(each).__module__.startswith("torch.")]
    return {
        (name, attribute): value
        for name, each in own
        for attribute, value in vars(each).items()
        if type(value) is int and not attribute.startswith("_")
    }


def _is_attention(host: WrittenHost, module: nn.Module, call: Call) -> bool:
    """Whether the first head's part of what the output layer receives, and no other, depends on that head's weights.

    It is zero for values that are, and another for other queries. All weights are random, as the module's may be zero.
    """
    local = replace(host, module="")
    drawn, again = (_drawn(local.read(module), seed) for seed in (0, 1))
    queries = replace(drawn, q=torch.cat([again.q[:1], drawn.q[1:]]))
    silent = replace(drawn, v=torch.cat([torch.zeros_like(drawn.v[:1]), drawn.v[1:]]))
    mixed = [_received(local, module, call, each) for each in (drawn, queries, silent)]
    by_head = [each.unflatten(-1, (len(drawn.q), -1)) for each in mixed if each is not None]
    if len(by_head) < len(mixed):
        return False
    firsts, rests = [each[..., 0, :] for each in by_head], [each[..., 1:, :] for each in by_head]
    alone = all(_close(rests[0], each) for each in rests)
    return alone and not _close(firsts[0], firsts[1]) and not bool(firsts[2].any())


def _blind_to_shifted_keys(host: WrittenHost, module: nn.Module, call: Call) -> bool:
    """Whether the same number may be added to all keys, as the softmax does not see it: queries are no keys."""
    local = replace(host, module="")
    drawn = _drawn(local.read(module), seed=0)
    shifted = drawn.k.clone()
    shifted[..., -1] += 1.0
    before, after = (_received(local, module, call, each) for each in (drawn, replace(drawn, k=shifted)))
    return before is not None and after is not None and _close(before, after)


def _drawn(blocks: Blocks, seed: int) -> Blocks:
    """Random heads of the same number and widths."""
    random = torch.Generator().manual_seed(seed)
    q, k, v, o = (
        torch.randn(each.shape, generator=random, dtype=each.dtype) for each in (blocks.q, blocks.k, blocks.v, blocks.o)
    )
    return Blocks(q, k, v, o)


def _close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-4, atol=1e-6)


def _received(host: WrittenHost, module: nn.Module, call: Call, blocks: Blocks) -> Tensor | None:
    """What the output layer receives in a call of a module with other heads; None if that does not run."""
    trial, seen = copy.deepcopy(module), list[Tensor]()
    try:
        host.write(trial, blocks)
        trial.get_submodule(host.output).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
        with torch.no_grad():
            trial(*call.args, **call.kwargs)
    except Exception:  # the user's code, with other numbers or traced, can raise anything
        return None
    return seen[0] if seen else None


def _changeable(host: WrittenHost, module: nn.Module, call: Call) -> WrittenHost | None:
    """The host with what has to change beside the layers for a head more to be one head more; None if nothing helps."""
    local = replace(host, module="")
    blocks = local.read(module)
    before = _received(local, module, call, blocks)
    assert before is not None
    wanted = torch.cat([before, before[..., : blocks.v.shape[1]]], -1)
    for each in _ways(local, module, call):
        after = _received(each, module, call, with_another(blocks))
        if after is not None and _close(after, wanted):
            return replace(each, module=host.module)
    return None


def _ways(host: WrittenHost, module: nn.Module, call: Call) -> Iterator[WrittenHost]:
    """Which attributes may count heads, then the trace of the forward."""
    heads = host.heads(module)
    wide = _layer(module, host.output).in_features
    widths = tuple((*at, wide // heads) for at, each in _numbers(module).items() if each == wide)
    named = [count for count in host.counts if "head" in count[1] and "dim" not in count[1]] or list(host.counts)
    choices = [tuple(named), *((each,) for each in named)] if len(named) > 1 else [tuple(named)]
    for counts in dict.fromkeys(choices):
        yield replace(host, counts=counts)
        if widths:
            yield replace(host, counts=counts + widths)
    try:
        traces = traces_of(module, call, heads, (wide, 3 * wide))
    except Exception:  # what is traced is the user's code
        return
    yield replace(host, counts=choices[0][:1], traces=traces)
