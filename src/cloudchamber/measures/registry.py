"""What a measure is: its function, what it takes, and how often it is worth its cost; and which ones there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from cloudchamber._core.nulls import SHUFFLED
from cloudchamber._core.registry import Quantity, register

Field = Literal[
    "weight",
    "initial_weight",
    "initial_norm",
    "matrix",
    "planar_weight",
    "reading_matrix",
    "features",
    "feature_gradients",
    "feature_rows",
    "output_rows",
    "input_rows",
    "received_rows",
    "output_gradient_rows",
    "row_labels",
    "single_inputs",
    "single_output_gradients",
    "input_changes",
    "labels",
    "mean_gradient",
    "directions",
    "direction",
    "weight_parts",
    "lemma3_terms",
    "primary_strengths",
    "noise_strengths",
    "network_outputs",
    "kernel",
    "kernel_drift",
    "kernel_targets",
]
"""What a measure may take, as `monitor.derived` makes it.

X (n, P, d) and G (n, P, h) are `input_rows` and `output_gradient_rows`, `single_…` the same for P = 1, `received_rows`
is X where that is what the layer received (not of an embedding), W is `matrix`, C_1 `direction`.
"""

Scope = Literal["layer", "network"]
Group = Literal["default", "light", "mlp2024", "theorem1", "kernel", "neurons"]

RARE = 20
"""At how many steps of a run what takes many times a pass over the probe is measured at most."""


@dataclass(frozen=True)
class Measure:
    """A measure as the monitor sees it.

    Attributes:
        quantity: what its array is called and means.
        function: a pure function of tensors.
        takes: for each argument of `function`, what is passed.
        groups: the groups that it belongs to, beside `all`.
        scope: "layer" = once per observed layer; "network" = once for the whole network.
        subset: "samples" or "neurons" if the function sees only those chosen for the cosine images.
        sparse: whether it costs too much for every observation; it is then taken where cosine images are.
        at_most: at how many steps of a run it is taken at most; None = no limit.
        null: whether it says something about samples that is to be read beside its value for shuffled inputs.
        shuffled: whether it is that value: the same measure, on a probe whose inputs are shuffled.
        partials: the part of it that must be computed where its first tensor is, of many tensors of the same samples at
            once: takes a list of those whose samples are all alike, a list of those whose samples have classes (of
            measures that take labels), the class of each sample and the number of classes, to a tuple of small tensors
            for each, which add up over parts of a batch.
        shorten: what the rest needs of complete partials: takes a list of them to another, of fewer numbers.
        finish: the rest, which can wait: takes one of these, stacked along new leading dimensions or not.
        at_once: the same as all three in a row, where one call can do it: takes what `partials` takes, of a whole
            batch, to a number for each tensor, or to None. Of a measure of the network it is a faster `function`, which
            returns None for what it cannot do.
    """

    quantity: Quantity
    function: Callable[..., Tensor]
    takes: Mapping[str, Field]
    groups: tuple[Group, ...] = ()
    scope: Scope = "layer"
    subset: Literal["", "samples", "neurons"] = ""
    sparse: bool = False
    at_most: int | None = None
    null: bool = False
    shuffled: bool = False
    partials: Callable[..., list[tuple[Tensor, ...]]] | None = None
    shorten: Callable[[list[tuple[Tensor, ...]]], list[tuple[Tensor, ...]]] | None = None
    finish: Callable[..., Tensor] | None = None
    at_once: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """The name of its array in the record."""
        return self.quantity.name

    @property
    def needs(self) -> frozenset[Field]:
        """What it takes."""
        return frozenset(self.takes.values())

    @property
    def summed(self) -> Field:
        """What `partials` sums up: the first of what it takes."""
        return next(iter(self.takes.values()))

    @property
    def at_image_steps(self) -> bool:
        """Whether it is not taken at every observation."""
        return self.sparse or self.at_most is not None or self.quantity.dims[0] == "image_step"

    @property
    def needs_classes(self) -> bool:
        """Whether it has a value for each class, so that there must be classes."""
        return "class" in self.quantity.dims

    @property
    def frequency(self) -> str:
        """How often it is taken, in words."""
        if self.at_most is not None:
            return f"at most {self.at_most} steps"
        return "image steps" if self.at_image_steps else "every observation"

    def due(self, *, images: bool, rare: bool) -> bool:
        """Whether it is taken at an observation.

        Args:
            images: whether cosine images are taken there.
            rare: whether what is limited to a few steps of a run is taken there.
        """
        return rare if self.at_most is not None else images or not self.at_image_steps


_MEASURES: dict[str, Measure] = {}


def add(measure: Measure) -> Measure:
    """Register a measure under its quantity's name, and its value for shuffled inputs where it has such a null."""
    register(measure.quantity)
    _MEASURES[measure.name] = measure
    if measure.null:
        add(_for_shuffled_inputs(measure))
    return measure


def all_measures() -> Mapping[str, Measure]:
    """Return every measure, by name."""
    return _MEASURES


def _for_shuffled_inputs(measure: Measure) -> Measure:
    given = measure.quantity
    quantity = replace(
        given,
        name=given.name + SHUFFLED,
        long_name=f"{given.long_name}, for shuffled inputs",
        symbol=f"{given.symbol} (shuffled)",
        dims=("image_step", *given.dims[1:]),
    )
    groups = tuple(group for group in measure.groups if group != "light")
    return replace(measure, quantity=quantity, groups=groups, sparse=True, null=False, shuffled=True)
