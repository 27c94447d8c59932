"""Which layers of a model are observed: by name, by pattern, or by type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from cloudchamber._core.errors import require
from cloudchamber.anatomy.composites import CompositeType
from cloudchamber.anatomy.layer_types import LAYER_TYPES, layer_type_names, layer_type_of
from cloudchamber.anatomy.replay import COMPOSITE_TYPES, composite_type_of
from cloudchamber.anatomy.view import ROOT, LayerView

Selection = str | type[nn.Module]


@dataclass(frozen=True)
class ChosenModule:
    """A module to observe.

    Attributes:
        name: its qualified name.
        module: the module.
        views: those of its layers that are wanted: one, or some of the parts of a composite module.
        composite: how to compute its calls again, None for a module with one layer.
    """

    name: str
    module: nn.Module
    views: tuple[LayerView, ...]
    composite: CompositeType | None = None


def weighted_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules that hold parameters of their own, or are of a known type, with their qualified names."""
    return [(name or ROOT, module) for name, module in model.named_modules() if _holds_weights(module)]


def known_modules(model: nn.Module) -> dict[str, ChosenModule]:
    """Return every module that can be observed with all its layers, by qualified name.

    Modules inside of a composite module (`out_proj` of an attention) are part of it.
    """
    known: dict[str, ChosenModule] = {}
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        found = None if module in inside else _known(name or ROOT, module)
        if found is not None:
            known[found.name] = found
            inside.update(module.modules() if found.composite is not None else ())
    return known


def choose_views(model: nn.Module, layers: Selection | Sequence[Selection] | None) -> dict[str, ChosenModule]:
    """Return the modules to observe, by qualified name, each with those of its layers that are wanted.

    Args:
        model: the user's model.
        layers: names or shell patterns of modules ("blocks.*.fc1") or of the layers inside them ("lstm.l0.*"); classes
            (`nn.Conv2d`) or their names ("Conv2d"), which stand for all modules of the class; several of these. None =
            every layer that can be observed.

    Raises:
        InvalidInput: if an entry matches no layer that can be observed, or the model has none.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LSTM(4, 5))
    >>> {name: len(chosen.views) for name, chosen in choose_views(model, ["Linear", "2.*.*_gate"]).items()}
    {'0': 1, '2': 4}
    """
    require(
        not any(is_lazy(parameter) for parameter in model.parameters()),
        "a model that is observed has parameters of known shape",
        "lazy ones",
        "run one batch through the model first",
    )
    known = known_modules(model)
    require(
        bool(known),
        f"a model has at least one layer among {[*layer_type_names(), *(entry.name for entry in COMPOSITE_TYPES)]}",
        f"{type(model).__name__} without any",
        "observe a model that contains such layers, or register the types of its own",
    )
    if layers is None:
        return known
    wanted = _entries(layers)
    for entry in wanted:
        _require_a_match(entry, known)
    some = {name: _narrowed(chosen, wanted) for name, chosen in known.items()}
    return {name: chosen for name, chosen in some.items() if chosen.views}


def _holds_weights(module: nn.Module) -> bool:
    if isinstance(module, ParametrizationList):
        return False
    own = is_parametrized(module) or any(True for _ in module.parameters(recurse=False))
    return own or layer_type_of(module) is not None or composite_type_of(module) is not None


def _known(name: str, module: nn.Module) -> ChosenModule | None:
    single, composite = layer_type_of(module), composite_type_of(module)
    if single is not None and (composite is None or issubclass(single.module_type, composite.module_type)):
        view = single.view(name, module)
        if single not in LAYER_TYPES:
            _check(name, module, view)
        return ChosenModule(name, module, (view,))
    return None if composite is None else ChosenModule(name, module, composite.views(name, module), composite)


def _check(name: str, module: nn.Module, view: object) -> None:
    """Check the view of a type that a user registered."""
    a_view = isinstance(view, LayerView)
    shape = tuple(view.neurons().shape) if a_view else None
    require(
        isinstance(view, LayerView) and view.name == name and shape == (view.width, view.fan_in + view.bias),
        f"the view of {type(module).__name__} {name!r} is a LayerView of that name whose `neurons()` are of shape "
        "(width, fan_in + bias)",
        f"{view.name!r} with width {view.width}, fan_in {view.fan_in}, bias {view.bias} and neurons of shape {shape}"
        if isinstance(view, LayerView)
        else type(view).__name__,
        "mend what was given to `register_layer_type`",
    )


def _entries(layers: Selection | Sequence[Selection]) -> list[Selection]:
    wanted = [layers] if isinstance(layers, str | type) else list(layers)
    require(
        bool(wanted) and all(_is_entry(entry) for entry in wanted),
        "`layers` is None or holds names, patterns and classes of modules",
        repr(layers),
        "leave it out to observe every layer",
    )
    return wanted


def _is_entry(entry: object) -> bool:
    return isinstance(entry, str) or (isinstance(entry, type) and issubclass(entry, nn.Module))


def _require_a_match(entry: Selection, known: dict[str, ChosenModule]) -> None:
    names = [name for chosen in known.values() for name in _names(chosen)]
    classes = sorted({type(chosen.module).__name__ for chosen in known.values()})
    require(
        any(_narrowed(chosen, [entry]).views for chosen in known.values()),
        f"each entry of `layers` matches a layer among {names}, or a type among {classes}",
        repr(entry),
        "use one of these names or types, or a pattern such as 'blocks.*'",
    )


def _names(chosen: ChosenModule) -> Iterator[str]:
    yield chosen.name
    if chosen.composite is not None:
        yield from (view.name for view in chosen.views)


def _narrowed(chosen: ChosenModule, wanted: Sequence[Selection]) -> ChosenModule:
    """Return the module with those of its layers that an entry names."""
    if any(_matches_module(entry, chosen) for entry in wanted):
        return chosen
    patterns = [entry for entry in wanted if isinstance(entry, str)]
    views = (view for view in chosen.views if any(fnmatchcase(view.name, pattern) for pattern in patterns))
    return replace(chosen, views=tuple(views))


def _matches_module(entry: Selection, chosen: ChosenModule) -> bool:
    if isinstance(entry, type):
        return isinstance(chosen.module, entry)
    classes = (cls.__name__ for cls in type(chosen.module).__mro__ if cls not in (nn.Module, object))
    return fnmatchcase(chosen.name, entry) or entry in classes
