"""Find the attentions of a model whose heads can change: those that then run, which is tried."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import nn

from cloudchamber.anatomy.channels.finding import Calls, plain_transformers
from cloudchamber.reduction.heads.blocks import Blocks
from cloudchamber.reduction.heads.hosts import Host, MultiheadHost, multihead_hosts

Skipped = list[tuple[str, str]]

KINDS: dict[str, type] = {"MultiheadHost": MultiheadHost}
"""The kinds of hosts, by the names that they have in files."""


def host_to_json(host: Host) -> dict[str, Any]:
    """Return what a file says of a host."""
    return {"kind": type(host).__name__, **asdict(cast(Any, host))}


def host_from_json(held: dict[str, Any]) -> Host:
    """Undo `host_to_json`."""
    return KINDS[held["kind"]](**{name: value for name, value in held.items() if name != "kind"})


def find_hosts(model: nn.Module, inputs: Any, forward: Any) -> tuple[list[Host], Skipped]:
    """Return the attentions whose heads can change, in the order of the model, and those whose cannot, with reasons.

    Args:
        model: in evaluation; not changed.
        inputs: of one call.
        forward: how the model is called.
    """
    seen = Calls(model)
    with torch.no_grad(), plain_transformers(), seen.hooked():
        forward(model, inputs)
    candidates, skipped = multihead_hosts(model, seen.count)
    hosts: list[Host] = []
    for host in candidates:
        reason = _why_not(model, host, inputs, forward)
        if reason:
            skipped.append((host.module, reason))
        else:
            hosts.append(host)
    return hosts, skipped


def _why_not(model: nn.Module, host: Host, inputs: Any, forward: Any) -> str:
    """Why a model does not run with a head more, or ""."""
    trial = copy.deepcopy(model)
    blocks = host.read(trial)
    try:
        host.write(trial, _with_another(blocks))
        with torch.no_grad():
            forward(trial, inputs)
    except Exception as error:  # the user's code can raise anything
        return f"the model does not run with other heads ({type(error).__name__}: {error})".split("\n")[0]
    return ""


def _with_another(blocks: Blocks) -> Blocks:
    """The same heads and the first once more."""
    return Blocks(*(torch.cat([each, each[:1]]) for each in (blocks.q, blocks.k, blocks.v, blocks.o)))
