"""A case: a record with the phases that were found in it. Every finding is made from one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
import yaml

from cloudchamber._core.finding import Evidence
from cloudchamber.diagnosis.curves import Curve, constant, curve, hidden_layers
from cloudchamber.diagnosis.phase import Phases
from cloudchamber.diagnosis.phases import find_phases
from cloudchamber.diagnosis.rule import PhaseRule
from cloudchamber.diagnosis.smoothing import noise_level, smooth


@dataclass(frozen=True)
class Case:
    """A record, the rule, and the phases found by it."""

    record: xr.Dataset
    phases: Phases
    rule: PhaseRule

    @classmethod
    def open(cls, record: xr.Dataset, layer: str | None, rule: PhaseRule) -> Case:
        """Find the phases of a record."""
        return cls(record, find_phases(record, layer=layer, rule=rule), rule)

    @cached_property
    def loss(self) -> Curve:
        """The smoothed probe loss, without what is not finite."""
        finite = curve(self.record, "probe_loss").finite
        return Curve(finite.steps, smooth(finite.values, self.rule.window))

    @cached_property
    def level(self) -> float:
        """The loss of the best constant output."""
        return constant(self.record, "constant_predictor_loss")

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """The hidden layers."""
        return hidden_layers(self.record)

    @property
    def last_step(self) -> int:
        """The last step at which the probe loss was measured, −1 if it never was."""
        measured = curve(self.record, "probe_loss")
        return int(measured.steps[-1]) if len(measured) else -1

    def curve(self, name: str, layer: str = "") -> Curve:
        """Return the curve of a quantity, as measured."""
        return curve(self.record, name, layer)

    def rise(self, name: str, layer: str) -> float:
        """Return how far a cosine has risen since its first value, 0 if that is no more than noise."""
        finite = self.curve(name, layer).finite
        if len(finite) < 2:
            return 0.0
        smoothed = smooth(finite.values, self.rule.window)
        risen = float(smoothed[-1] - smoothed[0])
        return risen if risen >= max(self.rule.rise, self.rule.noise_factor * noise_level(finite.values)) else 0.0

    def grown_alike(self, layer: str, least: float) -> bool:
        """Tell whether the features of a layer have risen to a mean cosine of at least `least`."""
        finite = self.curve("feature_cosine", layer).finite
        return len(finite) > 1 and finite.last >= least and self.rise("feature_cosine", layer) > 0

    def is_dead(self, layer: str) -> bool:
        """Tell whether a layer's feature cosine is undefined at the end, though the loss is finite."""
        measured = self.curve("feature_cosine", layer)
        return len(measured) > 0 and math.isnan(measured.last) and self.phases.status != "diverged"

    def beside_start(self, name: str, layer: str, step: int | None = None) -> tuple[Evidence, ...]:
        """Return a layer's value at `step`, or the last one, beside its first value; nothing if it was not measured."""
        finite = self.curve(name, layer).finite
        shown = finite if step is None else finite.until(step)
        if not len(shown):
            return ()
        start = "at initialization" if finite.steps[0] == 0 else f"at step {finite.steps[0]}"
        meaning = f"at step {shown.steps[-1]}, against its value {start}"
        return (Evidence(f"{name} of {layer}", shown.last, finite.first, meaning),)

    def beside_constant(self, step: int) -> tuple[Evidence, ...]:
        """Return the probe loss at `step` beside that of the best constant output."""
        shown = self.curve("probe_loss").finite.until(step)
        if not len(shown) or math.isnan(self.level):
            return ()
        meaning = f"at step {shown.steps[-1]}, against the best constant output"
        return (Evidence("probe_loss", shown.last, self.level, meaning),)

    @cached_property
    def recipe(self) -> Mapping[str, object]:
        """The recipe of the run; empty if the loop was the user's own."""
        try:
            content = yaml.safe_load(str(self.record.attrs.get("recipe", "")))
        except yaml.YAMLError:
            return {}
        return content if isinstance(content, dict) else {}

    def setting(self, field: str) -> object:
        """Return a field of the recipe by its dotted name, None if it has none."""
        value: object = self.recipe
        for part in field.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def number(self, field: str) -> float:
        """Return a field of the recipe that is a finite number, NaN if it is none."""
        value = self.setting(field)
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
        return float(value) if usable and isinstance(value, (int, float)) else math.nan
