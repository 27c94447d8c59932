"""A merged network on disk: its weights, and the plan that rebuilds it from the original class. No code is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput
from cloudchamber._core.files import atomic_path, make_folder, write_text
from cloudchamber.reduction.plan import Plan, Summary
from cloudchamber.reduction.plan_text import folds_of, from_json, to_json

WEIGHTS, FOLDS, PLAN = "weights.safetensors", "plan.safetensors", "plan.json"


def save_merged(model: nn.Module, summary: Summary, folder: Path | str) -> Path:
    """Write a merged network into a folder: its weights and its plan, as safetensors and JSON.

    Args:
        model: the narrow network of `merge_neurons`, perhaps trained further.
        summary: the summary that came with it.
        folder: is made if it is not there; files of the same names are replaced, each whole.

    Returns:
        The folder.

    Raises:
        FileAccess: if it cannot be written.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from cloudchamber.reduction import merge_neurons
    >>> small, summary = merge_neurons(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.randn(50, 2))
    >>> with TemporaryDirectory() as folder:
    ...     sorted(path.name for path in save_merged(small, summary, folder).iterdir())
    ['plan.json', 'plan.safetensors', 'weights.safetensors']
    """
    place = make_folder(folder)
    with atomic_path(place / WEIGHTS) as temporary:
        save_model(model, str(temporary))
    with atomic_path(place / FOLDS) as temporary:
        save_file(folds_of(summary.plan), temporary)
    write_text(place / PLAN, json.dumps(to_json(summary), indent=1) + "\n")
    return place


def load_plan(folder: Path | str) -> Plan:
    """Read the plan of a folder, to print it or to replay it.

    Raises:
        FileAccess: if there is none.
        DamagedFile: if it cannot be understood.
    """
    return load_summary(folder).plan


def load_summary(folder: Path | str) -> Summary:
    """Read what merging came to.

    Raises:
        FileAccess: if there is none.
        DamagedFile: if it cannot be understood.
    """
    place = Path(folder)
    for name in (PLAN, FOLDS):
        if not (place / name).is_file():
            raise FileAccess(f"a merged network's folder holds {name}; got {place} without it. Remedy: check the path.")
    try:
        return from_json(json.loads((place / PLAN).read_text(encoding="utf-8")), load_file(place / FOLDS))
    except Exception as error:  # the bytes of a damaged file can make the readers raise anything
        raise _damage(place / PLAN, error) from error


def load_merged(folder: Path | str, make: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Rebuild a merged network from its folder and the class (or function) that made the original.

    Args:
        folder: where `save_merged` wrote it.
        make: makes a network of the original's widths; its weights do not matter.
        args: for `make`.
        kwargs: for `make`.

    Raises:
        FileAccess: if the folder holds no merged network.
        DamagedFile: if its files cannot be understood.
        InvalidInput: if what `make` makes is not the original's architecture.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from cloudchamber.reduction import merge_neurons
    >>> def make(width): return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))
    >>> small, summary = merge_neurons(make(3), torch.randn(50, 2))
    >>> with TemporaryDirectory() as folder:
    ...     _ = save_merged(small, summary, folder)
    ...     torch.equal(load_merged(folder, make, width=3)[0].weight, small[0].weight)
    True
    """
    plan = load_plan(folder)
    model = make(*args, **kwargs)
    for layer in plan.layers:
        layer.change.apply(model)
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FileAccess(f"a merged network's folder holds {WEIGHTS}; got {folder} without it. Remedy: check the path.")
    try:
        load_model(model, path)
    except RuntimeError as error:  # keys or shapes that do not fit
        raise InvalidInput(
            f"`make` makes the network that was merged; got another: {' '.join(str(error).split())[:300]}. "
            "Remedy: pass the original class and its arguments."
        ) from error
    except Exception as error:
        raise _damage(path, error) from error
    return model


def _damage(path: Path, error: Exception) -> DamagedFile:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DamagedFile(f"{path} must be a merged network's; got: {reason}. Remedy: merge and save it again.")
