"""A plan: which neurons become one, before it is done. It is printed, applied, replayed and saved."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Any

from torch import Tensor, nn

from cloudchamber.anatomy import default_forward, undisturbed
from cloudchamber.anatomy.batch import copy_of, device_of
from cloudchamber.reduction.change import Change
from cloudchamber.reduction.folding import closed_sum, least_squares
from cloudchamber.reduction.grouping import Groups, Reading
from cloudchamber.reduction.heads import HeadChange
from cloudchamber.reduction.moments import Moments, moments_of
from cloudchamber.reduction.outputs import Difference
from cloudchamber.reduction.running import AnyChange, Forward, compare, count, evaluated, narrowed
from cloudchamber.reduction.weights import importance


@dataclass(frozen=True)
class LayerPlan:
    """What becomes of the neurons of one layer, or of several whose outputs are added.

    Attributes:
        name: the layer, or the layers.
        before: neurons now.
        after: neurons then.
        labels: for each neuron now, the one that it becomes; −1 for those that are zero or constant.
        merged: neurons that are merged into another.
        constant: neurons that are zero or constant and go into the next bias.
        copies: of the merged ones, those that are the same for every input, by their weights alone.
        distance: the most that was left of a merged neuron after its leader is taken from it, relative; 0.44 is a
            cosine of 0.9.
        how: "sum" or "least squares".
        bound: by how much what consumes the layer changes at most, relative to how much that varies over the examples
            held out; up to edges for convolutions.
        changed: by how much it does change there.
        bound_for_every_input: the same, not relative, for every input of the layer no longer than the longest example;
            NaN where nothing is known.
        change: what is done.
        unit: "neurons" or "heads"; of heads, what consumes them is not looked at by itself, so that bounds are NaN.
    """

    name: str
    before: int
    after: int
    labels: Tensor = field(repr=False)
    merged: int
    constant: int
    copies: int
    distance: float
    how: str
    bound: float
    changed: float
    bound_for_every_input: float
    change: AnyChange = field(repr=False)
    unit: str = "neurons"

    @property
    def gone(self) -> float:
        """Share of the neurons or heads that go."""
        return 1 - self.after / self.before

    @property
    def gone_in_words(self) -> str:
        """What goes: a share of the neurons or heads, or of what is in the heads."""
        layer = self.name.removesuffix(" (heads)")
        return f"{self.gone:.0%} of the {self.unit} of {layer}" if self.gone else f"dimensions in the heads of {layer}"

    def __str__(self) -> str:
        parts = [f"{self.merged} merged ({self.copies} of them copies for every input)" if self.merged else ""]
        parts.append(f"{self.constant} constant" if self.constant else "")
        what = ", ".join(part for part in parts if part)
        everywhere = "" if isnan(self.bound_for_every_input) else f", any input ≤ {self.bound_for_every_input:.1e}"
        said = [f"{self.before} → {self.after}{' heads' * (self.unit == 'heads')}", what, self.how]
        if not isnan(self.changed):
            said.append(f"next layer changes by {self.changed:.1e} ≤ {self.bound:.1e}{everywhere}")
        return f"  {self.name}: {'; '.join(part for part in said if part)}"


@dataclass(frozen=True)
class Plan:
    """Which neurons of a model become one.

    Attributes:
        layers: those that get narrower.
        kept: those that could but are not condensed, by name, with their widths (or numbers of heads).
        skipped: those whose neurons have to stay, by name, with the reason.
        tolerance: the largest relative change of the output that was allowed.
        expected: how far the narrow network is from the given one on examples that were held out.
        examples: on how many examples it was fitted, and how many were held out.
        parameters: of the model before and after.
    """

    layers: tuple[LayerPlan, ...]
    kept: tuple[tuple[str, int], ...]
    skipped: tuple[tuple[str, str], ...]
    tolerance: float
    expected: Difference
    examples: tuple[int, int]
    parameters: tuple[int, int]

    def __str__(self) -> str:
        rows = [str(layer) for layer in self.layers]
        if not rows:
            rows = ["  nothing: no layer is condensed within this tolerance, so the model is left as it is"]
        rows += [f"  {name}: {width}, not condensed" for name, width in self.kept]
        rows += [f"  {name}: left alone, {reason}" for name, reason in self.skipped]
        before, after = self.parameters
        held = f"{self.examples[1]} held out" if self.examples[1] else "none held out"
        return "\n".join(
            [
                f"merge within {self.tolerance:g} ({self.examples[0]} examples fitted, {held})",
                *rows,
                f"  output changes by {self.expected.relative:.2e}, parameters {before} → {after}",
            ]
        )

    def apply(
        self, model: nn.Module, example_inputs: Any = None, *, forward: Forward = default_forward
    ) -> tuple[nn.Module, Summary]:
        """Return a narrower copy of a model, and what it came to.

        Args:
            model: the one that the plan was made for, or another checkpoint of it; not changed.
            example_inputs: samples on which the outgoing weights are found anew, for another checkpoint, and the
                change of the output is measured; without them the plan's own weights are used, which are right for the
                model that it was made for.
            forward: how the model is called.

        Raises:
            InvalidInput: if the model has other layers or widths than the plan.
        """
        for layer in self.layers:
            layer.change.require_fit(model)
        if example_inputs is None:
            small = narrowed(model, [layer.change for layer in self.layers])
            return small, Summary(self, self.expected, (count(model), count(small)))
        with undisturbed(device_of(example_inputs)), evaluated(copy.deepcopy(model)) as held:
            changes = _refitted(self, held, example_inputs, forward)
            small = narrowed(model, changes)
            measured = compare(small, held, example_inputs, forward)
        plan = replace(
            self,
            layers=tuple(replace(a, change=b) for a, b in zip(self.layers, changes, strict=True)),
            expected=measured,
        )
        return small, Summary(plan, measured, (count(model), count(small)))


@dataclass(frozen=True)
class Summary:
    """What merging came to.

    Attributes:
        plan: what was done.
        error: how far the narrow network is from the given one, measured.
        parameters: before and after.
        fine_tuned: updates of the narrow network after merging.
    """

    plan: Plan
    error: Difference
    parameters: tuple[int, int]
    fine_tuned: int = 0

    @property
    def condensed(self) -> bool:
        """Whether anything was merged."""
        return bool(self.plan.layers)

    def __str__(self) -> str:
        share = 1 - self.parameters[1] / self.parameters[0] if self.parameters[0] else 0.0
        agreement = (
            "" if isnan(self.error.agreement) else f", {self.error.agreement:.1%} of the samples get the same class"
        )
        rows = [
            f"{each.gone_in_words} act as copies ({f'{each.before} → {each.after}' if each.gone else each.how})"
            for each in self.plan.layers
        ]
        if not rows:
            return "The network is not condensed within the tolerance: nothing was merged, the copy equals the model."
        tuned = f" after {self.fine_tuned} updates" if self.fine_tuned else ""
        rows.append(
            f"merging keeps the output within {self.error.relative:.1e}{tuned} (largest change {self.error.largest:.1e}"
            f"{agreement}); {share:.0%} fewer parameters ({self.parameters[0]} → {self.parameters[1]})"
        )
        return "\n".join(rows)


def _refitted(plan: Plan, model: nn.Module, inputs: Any, forward: Forward) -> list[AnyChange]:
    """The plan's changes with outgoing weights for a model, of the plan's groups and ways."""
    of_neurons = [layer.change for layer in plan.layers if isinstance(layer.change, Change)]
    for change in of_neurons:
        change.prepare(model)
    spaces = [change.space for change in of_neurons]
    moments, _ = moments_of(model, copy_of(inputs), forward, spaces)
    return [_refitted_layer(layer, layer.change, model, moments) for layer in plan.layers]


def _refitted_layer(layer: LayerPlan, change: AnyChange, model: nn.Module, moments: Mapping[str, Moments]) -> AnyChange:
    if isinstance(change, HeadChange):  # needs nothing but the weights
        return change
    groups, folds = Groups(layer.labels, change.origin), {}
    for key, reader in change.space.readers.items():
        reading = Reading(moments[key], moments[key], importance(model, reader), bool(reader.bias))
        fit = least_squares if change.folds[key].how == "least squares" else closed_sum
        folds[key] = fit(reading, groups)
    return replace(change, folds=folds)
