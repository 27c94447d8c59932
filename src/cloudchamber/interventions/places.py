"""Where in a model a norm stands: beside its layer where children run in their order, else around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, Unsupported

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class NormedLayer(nn.Module):
    """A layer with the norm of what it computed, where the layer alone was before.

    Attributes that it does not have are those of the layer (`weight`, `in_features`), so that code which reads them
    goes on.

    Args:
        layer: the layer.
        norm: what its output is sent through.

    >>> normed = NormedLayer(nn.Linear(3, 2), nn.Identity())
    >>> normed.in_features, list(normed.state_dict())
    (3, ['layer.weight', 'layer.bias'])
    """

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the layer, and normalize."""
        return self.norm(self.layer(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("layer", "norm", "parametrizations"):  # the last one is torch's mark of a computed weight
                raise
            return getattr(super().__getattr__("layer"), name)


@dataclass(frozen=True)
class Place:
    """A layer's place in a model.

    Attributes:
        parent: the module that holds it.
        own: its name there.
        beside: whether the parent runs its children in their order, so that a norm is one more child.
    """

    parent: nn.Module
    own: str
    beside: bool

    @property
    def norm_name(self) -> str:
        """The name that a norm beside the layer has in the parent."""
        return f"{self.own}_norm"

    def put(self, norm: nn.Module) -> None:
        """Let a norm stand after the layer."""
        if not self.beside:
            self.parent._modules[self.own] = NormedLayer(self.parent._modules[self.own], norm)  # pyright: ignore
            return
        children = list(self.parent._modules.items())
        self.parent._modules.clear()
        for name, child in children:
            self.parent._modules[name] = child
            if name == self.own:
                self.parent._modules[self.norm_name] = norm

    def take(self) -> nn.Module:
        """Take the norm away and return it."""
        if self.beside:
            return self.parent._modules.pop(self.norm_name)  # pyright: ignore
        normed: Any = self.parent._modules[self.own]
        self.parent._modules[self.own] = normed.layer
        return normed.norm


def place_of(model: nn.Module, name: str) -> Place:
    """Return where a layer stands, if a norm can stand after it.

    Raises:
        InvalidInput: if it has a norm already.
        Unsupported: if no norm can stand there.
    """
    path, _, own = name.rpartition(".")
    held = own in dict(model.get_submodule(path).named_children())
    parent = model.get_submodule(path) if held else None
    if parent is None or _reads_weights_itself(parent):
        raise Unsupported(
            f"a norm is put into a module that calls its layers; got {name} in {type(parent or model).__name__}, which "
            "is the layer itself or computes with its weights. Remedy: leave it out of `after`, or call a BatchNorm or "
            "PhaseNorm in the model's forward."
        )
    holders = [place for place in model.modules() for child in place.children() if child is getattr(parent, own)]
    if len(holders) > 1:
        raise Unsupported(
            f"a norm stands after a layer that stands in one place; got {name}, which stands in {len(holders)}. "
            "Remedy: leave it out of `after`."
        )
    place = Place(parent, own, isinstance(parent, nn.Sequential))
    if isinstance(parent, NormedLayer) or place.norm_name in parent._modules:
        raise InvalidInput(f"a layer gets one norm; got {name}, which has one. Remedy: leave it out of `after`.")
    return place


def _reads_weights_itself(parent: nn.Module) -> bool:
    """Whether it is one of torch's own modules with layers inside: in evaluation a transformer's skips calling them."""
    return type(parent).__module__.startswith("torch.nn") and not isinstance(parent, _CONTAINERS)


def places_of_norms(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[tuple[str, Place]]:
    """Yield the layers after which `put` put a norm of some kind, by their names without it."""
    for path, parent in model.named_modules():
        for own, child in list(parent.named_children()):
            name = f"{path}.{own}" if path else own
            if isinstance(child, NormedLayer) and isinstance(child.norm, kinds):
                yield name, Place(parent, own, beside=False)
            norm = parent._modules.get(f"{own}_norm")
            if isinstance(parent, nn.Sequential) and isinstance(norm, kinds):
                yield name, Place(parent, own, beside=True)
