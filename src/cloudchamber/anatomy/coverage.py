"""The coverage table: a row for every module that holds weights, "measured", in part, or "skipped, because ..."."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from cloudchamber._core.schema import CoverageRow
from cloudchamber.anatomy.choice import ChosenModule, known_modules, weighted_modules
from cloudchamber.anatomy.layer_types import LAYER_TYPES
from cloudchamber.anatomy.view import LayerView

_NOT_LAYERS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    (
        (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
        "it is a normalization: it has no neurons of its own",
    ),
    ((nn.PReLU,), "it is an activation: it has no neurons of its own"),
    ((nn.Bilinear,), "its neurons are matrices between two inputs, not rows that one input is multiplied by"),
    ((nn.EmbeddingBag,), "it adds the vectors of its tokens up before it returns them"),
    ((nn.ParameterList, nn.ParameterDict), "it only holds weights that other modules use"),
)
# Parameters that the views of the project's own entries are made of; the other ones of such a module are named.
_IN_VIEWS = ("weight", "bias_ih", "bias_hh", "in_proj_", "q_proj_", "k_proj_", "v_proj_")


@dataclass(frozen=True)
class _Observed:
    """What there was to observe, and what came of it."""

    known: Mapping[str, ChosenModule]
    chosen: Mapping[str, ChosenModule]
    measured: Collection[str]
    reasons: Mapping[str, str]
    without_rows: Collection[str]
    sharing: Mapping[str, list[str]] = field(default_factory=dict)


def coverage_table(
    model: nn.Module,
    measured: Collection[str],
    chosen: Mapping[str, ChosenModule],
    reasons: Mapping[str, str],
    without_rows: Collection[str] = (),
) -> tuple[CoverageRow, ...]:
    """Return the coverage table of a model.

    Args:
        model: the user's model.
        measured: names of the views that were observed.
        chosen: what `layers` asked for, as `choose_views` returned it.
        reasons: for modules and views of which a call could not be observed, why.
        without_rows: names of the measured views whose weight gradients of single samples are not known.

    >>> from cloudchamber.anatomy.choice import choose_views
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    >>> [row.coverage for row in coverage_table(model, ["0"], choose_views(model, None), {})]
    ['measured', 'skipped, because it is a normalization: it has no neurons of its own']
    """
    known = known_modules(model)
    observed = _Observed(known, chosen, measured, reasons, without_rows, _sharing(model))
    return tuple(
        CoverageRow(name, type(module).__name__, _coverage(name, module, observed))
        for name, module in weighted_modules(model)
    )


def _coverage(name: str, module: nn.Module, observed: _Observed) -> str:
    holders = [(owner, view) for owner in observed.known.values() for view in owner.views if view.module == name]
    if not holders:
        return f"skipped, because {_why_no_layer(module)}"
    owner = holders[0][0]
    views = [view for _, view in holders]
    if not any(view.name in observed.measured for view in views):
        return f"skipped, because {_why_not(owner, views[0], observed)}"
    gaps = [f"without {what}, because {why}" for what, why in _gaps(name, module, owner, views, observed)]
    return f"measured in part, {'; '.join(gaps)}" if gaps else "measured"


def _why_no_layer(module: nn.Module) -> str:
    named = next((why for types, why in _NOT_LAYERS if isinstance(module, types)), "")
    if named:
        return named
    own = ", ".join(name for name, _ in module.named_parameters(recurse=False))
    return (
        f"{type(module).__name__} is not among the layer types that can be observed: it uses its own weights "
        f"({own or 'parametrized'}); `register_layer_type` can say how"
    )


def _why_not(owner: ChosenModule, view: LayerView, observed: _Observed) -> str:
    """Return why a view was not observed."""
    for name in (view.name, owner.name):
        if name in observed.reasons:
            return observed.reasons[name]
    chosen = observed.chosen.get(owner.name)
    if chosen is None or view.name not in {each.name for each in chosen.views}:
        return "`layers` does not name it"
    return "the forward pass did not call it as a module"


def _gaps(
    name: str, module: nn.Module, owner: ChosenModule, views: list[LayerView], observed: _Observed
) -> Iterator[tuple[str, str]]:
    """Yield what of a module is not observed, and why."""
    missing: dict[str, list[str]] = {}
    for view in views:
        if view.name not in observed.measured:
            missing.setdefault(_why_not(owner, view, observed), []).append(view.part)
    for why, parts in missing.items():
        yield ", ".join(parts), why
    seen = [view for view in views if view.name in observed.measured]
    calls = {observed.reasons[key] for key in (owner.name, *(view.name for view in seen)) if key in observed.reasons}
    for why in sorted(calls - missing.keys()):
        yield "some of its calls", why
    for why in sorted({view.why_no_rows for view in seen if view.name in observed.without_rows}):
        yield "the gradients of its weight for single samples", why or "they are not known"
    yield from _other_weights(name, module, owner, observed)


def _other_weights(name: str, module: nn.Module, owner: ChosenModule, observed: _Observed) -> Iterator[tuple[str, str]]:
    own_entry = owner.composite is not None or any(isinstance(module, entry.module_type) for entry in LAYER_TYPES)
    own = [parameter for parameter, _ in module.named_parameters(recurse=False)]
    others = [parameter for parameter in own if parameter != "bias" and not parameter.startswith(_IN_VIEWS)]
    if others and own_entry:
        yield ", ".join(others), "no neurons are made of that"
    for other in observed.sharing.get(name, []):
        yield f"what {other} adds to the gradient of its weight", "both hold the same weight"


def _sharing(model: nn.Module) -> dict[str, list[str]]:
    """Return the modules that hold a weight of another module as well, with the names of those."""
    holders: dict[int, list[str]] = {}
    for name, module in weighted_modules(model):
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), []).append(name)
    sharing: dict[str, list[str]] = {}
    for names in holders.values():
        for name in names:
            sharing.setdefault(name, []).extend(other for other in names if other != name)
    return {name: sorted(set(others)) for name, others in sharing.items()}
