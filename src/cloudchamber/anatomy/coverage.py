"""The coverage table: a row for every module that holds weights, "measured" or "skipped, because ..."."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from cloudchamber._core.errors import require
from cloudchamber._core.schema import CoverageRow
from cloudchamber.anatomy.layer_types import LAYER_TYPES, layer_type_of

ROOT = "(the model itself)"
_NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def weighted_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules that hold parameters of their own, or are of a known type, with their qualified names."""
    return [
        (name or ROOT, module)
        for name, module in model.named_modules()
        if layer_type_of(module) is not None
        or (any(True for _ in module.parameters(recurse=False)) and not isinstance(module, ParametrizationList))
    ]


def choose_layers(model: nn.Module, patterns: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """Return the modules to observe, by qualified name.

    Args:
        model: the user's model.
        patterns: names or shell patterns ("blocks.*.fc1"); None = every layer that can be observed.

    Raises:
        InvalidInput: if a pattern matches no layer that can be observed, or the model has none.
    """
    require(
        not any(is_lazy(parameter) for parameter in model.parameters()),
        "a model that is observed has parameters of known shape",
        "lazy ones",
        "run one batch through the model first",
    )
    known = {name: module for name, module in weighted_modules(model) if layer_type_of(module) is not None}
    require(
        bool(known),
        f"a model has at least one layer among {[entry.name for entry in LAYER_TYPES]}",
        f"{type(model).__name__} without any",
        "observe a model that contains such layers",
    )
    wanted = _patterns(patterns)
    for pattern in wanted:
        require(
            any(fnmatchcase(name, pattern) for name in known),
            f"each entry of `layers` matches a layer among {list(known)}",
            repr(pattern),
            "use one of these names or a pattern such as 'blocks.*'",
        )
    return {name: module for name, module in known.items() if any(fnmatchcase(name, pattern) for pattern in wanted)}


def _patterns(patterns: str | Sequence[str] | None) -> list[str]:
    wanted = ["*"] if patterns is None else [patterns] if isinstance(patterns, str) else list(patterns)
    require(
        bool(wanted) and all(isinstance(pattern, str) for pattern in wanted),
        "`layers` is None or holds names and patterns",
        repr(patterns),
        "leave it out to observe every layer",
    )
    return wanted


def coverage(
    model: nn.Module, measured: Collection[str], chosen: Collection[str], unusable: dict[str, str]
) -> tuple[CoverageRow, ...]:
    """Return the coverage table of a model.

    Args:
        model: the user's model.
        measured: qualified names of the modules that were observed.
        chosen: qualified names of the modules that `layers` asked for.
        unusable: for modules that were called but could not be observed, the reason.
    """
    return tuple(
        CoverageRow(
            name,
            type(module).__name__,
            "measured" if name in measured else f"skipped, because {_reason(name, module, chosen, unusable)}",
        )
        for name, module in weighted_modules(model)
    )


def _reason(name: str, module: nn.Module, chosen: Collection[str], unusable: dict[str, str]) -> str:
    if name in unusable:
        return unusable[name]
    if isinstance(module, _NORMALIZATIONS):
        return "it is a normalization: it has no neurons of its own"
    if isinstance(module, nn.PReLU):
        return "it is an activation: it has no neurons of its own"
    if layer_type_of(module) is None:
        known = " and ".join(entry.name for entry in LAYER_TYPES)
        return f"{type(module).__name__} is not among the layer types that can be observed ({known})"
    if name not in chosen:
        return "`layers` does not name it"
    return "the forward pass on the probe did not call it as a module"
