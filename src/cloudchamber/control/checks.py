"""Whether what is to be rescued belongs together: model, optimizer and record."""

from __future__ import annotations

from typing import Any

import torch
import xarray as xr
from torch import nn

from cloudchamber._core.errors import require
from cloudchamber.anatomy import choose_views
from cloudchamber.interventions import NormedLayer
from cloudchamber.monitor.losses import REDUCTIONS


def require_arguments(model: object, optimizer: object, record: object, loss: object, reduction: object) -> None:
    """Check the arguments of `rescue`.

    Raises:
        InvalidInput: if one breaks its rule.
    """
    require(isinstance(model, nn.Module), "`model` is an nn.Module", type(model).__name__, "pass the model itself")
    held = isinstance(optimizer, torch.optim.Optimizer)
    require(held, "`optimizer` is a torch optimizer", type(optimizer).__name__, "pass the one of the training")
    require(isinstance(record, xr.Dataset), "`record` is a record", type(record).__name__, "pass `monitor.record`")
    require(callable(loss), "`loss` can be called", type(loss).__name__, "pass a function of outputs and targets")
    known = reduction is None or reduction in REDUCTIONS
    require(
        known, f"`reduction` is None or one of {list(REDUCTIONS)}", repr(reduction), "leave it out to have it found"
    )
    _require_optimizer_of(model, optimizer)
    _require_record_of(model, record)


def _require_optimizer_of(model: Any, optimizer: Any) -> None:
    own = {id(parameter) for parameter in model.parameters()}
    updated = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    require(
        any(id(parameter) in own for parameter in updated),
        "the optimizer holds parameters of the model",
        f"{len(updated)} parameters, none of them the model's",
        "pass the optimizer that trains this model",
    )


def _require_record_of(model: Any, record: Any) -> None:
    known = layer_sizes(model)
    names = [str(name) for name in record["layer"].values] if "layer" in record.coords else []
    sizes = zip(*(record[name].values if name in record.coords else [] for name in ("width", "fan_in")), strict=True)
    measured = dict(zip(names, ((int(width), int(fan_in)) for width, fan_in in sizes), strict=False))
    for name in names:
        layer = name.partition("#")[0]
        same = layer in known and measured.get(name, known[layer]) == known[layer]
        require(
            same,
            f"the record is of this model, whose layers are {_told(known)}",
            f"one with {_told({name: measured[name]}) if name in measured else name}",
            "pass the record of this model's run",
        )


def layer_sizes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return neurons and inputs of every layer by its name, of one with a norm around it by the name it had.

    Raises:
        InvalidInput: if no layer of the model is known.

    >>> layer_sizes(nn.Sequential(nn.Linear(3, 8)))
    {'0': (8, 3)}
    """
    around = {name for name, module in model.named_modules() if isinstance(module, NormedLayer)}
    sizes = {}
    for chosen in choose_views(model, None).values():
        owner = chosen.name.removesuffix(".layer")
        for view in chosen.views:
            name = view.name.replace(chosen.name, owner, 1) if owner in around else view.name
            sizes[name] = (view.width, view.fan_in)
    return sizes


def _told(sizes: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{name} ({width} neurons, {fan_in} inputs)" for name, (width, fan_in) in sizes.items())
