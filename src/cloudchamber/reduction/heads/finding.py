"""Find the attentions of a model whose heads can change: those that then run, which is tried."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import nn

from cloudchamber.anatomy.channels.finding import Calls, plain_transformers
from cloudchamber.reduction.heads.blocks import with_another
from cloudchamber.reduction.heads.hosts import Host, MultiheadHost, multihead_hosts
from cloudchamber.reduction.heads.retracing import Trace
from cloudchamber.reduction.heads.trying import written_hosts
from cloudchamber.reduction.heads.written import WrittenHost
from cloudchamber.reduction.outputs import failure

Skipped = list[tuple[str, str]]

KINDS: dict[str, type] = {kind.__name__: kind for kind in (MultiheadHost, WrittenHost)}
"""The kinds of hosts, by the names that they have in files."""


def host_to_json(host: Host) -> dict[str, Any]:
    """Return what a file says of a host."""
    return {"kind": type(host).__name__, **asdict(cast(Any, host))}


def host_from_json(held: dict[str, Any]) -> Host:
    """Undo `host_to_json`."""
    said = {name: value for name, value in held.items() if name != "kind"}
    if "traces" in said:
        said["traces"] = tuple(Trace(**{**each, "edits": tuple(map(tuple, each["edits"]))}) for each in said["traces"])
        said["counts"] = tuple(tuple(each) for each in said["counts"])
    return KINDS[held["kind"]](**said)


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
    multihead, skipped = multihead_hosts(model, seen.count)
    written, skipped_too = written_hosts(model, seen.first, seen.count)
    skipped += skipped_too
    place = {name: at for at, (name, _) in enumerate(model.named_modules())}
    hosts: list[Host] = []
    for host in sorted([*multihead, *written], key=lambda each: place[each.module]):
        with torch.no_grad():
            reason = _why_not(model, host, inputs, forward)
        if reason:
            skipped.append((host.module, reason))
        else:
            hosts.append(host)
    return hosts, skipped


def _why_not(model: nn.Module, host: Host, inputs: Any, forward: Any) -> str:
    """Why the heads have to stay, or a model does not run with one more, or ""."""
    owners = Counter(id(each) for module in model.modules() for each in module.parameters(recurse=False))
    if any(owners[id(each)] > 1 for each in model.get_submodule(host.module).parameters()):
        return "its heads stay, as it shares weights"
    trial = copy.deepcopy(model)
    raised = failure(lambda: host.write(trial, with_another(host.read(trial))) or forward(trial, inputs))
    return f"the model does not run with other heads ({raised})" if raised else ""
