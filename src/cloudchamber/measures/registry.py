"""Which measures there are, what each takes from a snapshot, and how often it is worth its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.registry import Quantity, register

Field = Literal[
    "inputs",
    "outputs",
    "features",
    "feature_gradients",
    "output_gradients",
    "weight",
    "initial_weight",
    "labels",
]
Scope = Literal["layer", "network"]


@dataclass(frozen=True)
class Measure:
    """A measure as the monitor sees it.

    Attributes:
        quantity: what its array is called and means.
        function: a pure function of tensors.
        takes: for each argument of `function`, the field of the snapshot that is passed.
        scope: "layer" = once per observed layer; "network" = once, on the outputs of the whole network.
        subset: "samples" or "neurons" if the function sees only those chosen for the cosine images.
        sparse: whether it costs too much for every observation; it is then taken where cosine images are.
    """

    quantity: Quantity
    function: Callable[..., Tensor]
    takes: Mapping[str, Field]
    scope: Scope = "layer"
    subset: Literal["", "samples", "neurons"] = ""
    sparse: bool = False

    @property
    def name(self) -> str:
        """The name of its array in the record."""
        return self.quantity.name

    @property
    def needs(self) -> frozenset[Field]:
        """The fields of the snapshot that it takes."""
        return frozenset(self.takes.values())

    @property
    def at_image_steps(self) -> bool:
        """Whether it is taken only where cosine images are."""
        return self.sparse or self.quantity.dims[0] == "image_step"


_MEASURES: dict[str, Measure] = {}


def add(measure: Measure) -> Measure:
    """Register a measure under its quantity's name."""
    register(measure.quantity)
    _MEASURES[measure.name] = measure
    return measure


def select(names: Iterable[str] | None = None) -> tuple[Measure, ...]:
    """Return the measures of these names, or all of them.

    Raises:
        InvalidInput: if a name is unknown.
    """
    if names is None:
        return tuple(_MEASURES.values())
    chosen = list(names)
    for name in chosen:
        require(name in _MEASURES, f"a measure is one of {sorted(_MEASURES)}", name, "check the spelling")
    return tuple(_MEASURES[name] for name in chosen)
