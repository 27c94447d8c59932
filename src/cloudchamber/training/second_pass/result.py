"""What a second pass found, and its table: one array per quantity, over groups of samples and layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.registry import Quantity
from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber.measures.accumulators.strengths import Alignment, Theorem1Strengths

COMPONENTS = 3
CHANGES = "-lr * gradient of each sample's loss; what momentum, weight decay and Adam's scaling add is left out"

_POSITIVE = (0.0, math.inf)
_PART = (0.0, 1.0)
_COSINE = (-1.0, 1.0)


def _described(
    name: str, long_name: str, symbol: str, section: str, *dims: str, bounds: tuple[float, float] = _POSITIVE
) -> Quantity:
    return Quantity(name, long_name, symbol, ("group", "layer", *dims), bounds=bounds, paper="mlp2024", section=section)


QUANTITIES = (
    _described(
        "common_direction", "common directions", "C_i", "Lemma 1, Appendix F", "direction", "neuron", bounds=_COSINE
    ),
    _described("direction_share", "part of mean changes", "‖ΔV̄_i‖²/‖ΔW̄‖²", "Appendix F", "direction", bounds=_PART),
    _described("strength", "strength of common directions", "s_i", "Figure 3, Appendix F", "direction"),
    _described("primary_strength", "strength of the primary component", "S_primary", "Table 1"),
    _described("primary_strength_std", "its deviation over samples and steps", "σ(S_primary)", "Table 1"),
    _described("noise_strength", "strength of noise components", "S_k", "Table 1", "component"),
    _described("noise_strength_std", "its deviation over samples and steps", "σ(S_k)", "Table 1", "component"),
    _described("largest_noise_strength", "largest strength of a noise component", "max S_k", "Table 1"),
    _described("mean_noise_strength", "mean strength of all noise components", "mean S_k", "Table 1"),
    _described("primary_ratio", "primary over largest noise strength", "S_primary/max S_k", "Table 1"),
    _described("sign_agreement", "pairs that push alike along C", "P(Cᵀg·Cᵀg′ > 0)", "Theorem 2", bounds=_PART),
    _described("step_alignment", "cosine of steps with features", "cos(αΔV, F)", "Figure 4", bounds=_COSINE),
    _described("step_alignment_rate", "how often it is positive", "P(cos(αΔV, F) > 0)", "Theorem 2", bounds=_PART),
    _described("step_alignment_null", "cosine of shuffled steps", "cos(αΔV, F)₀", "Figure 4", bounds=_COSINE),
    _described("step_alignment_rate_null", "how often that is", "P(cos(αΔV, F)₀ > 0)", "Theorem 2", bounds=_PART),
    _described("sample_fit_error", "samples' changes beside C", "‖Δε‖/‖ΔW‖", "Lemma 1", bounds=_PART),
    _described("mean_fit_error", "mean changes beside all directions", "‖Δε̄_k‖/‖ΔW̄‖", "Appendix F", bounds=_PART),
    _described("weight_fit_error", "weights beside C", "‖ε‖/‖W‖", "Lemma 2", bounds=_PART),
    _described("theorem1_error", "changes that the components miss", "‖ΔW − ΣΔW_i‖/‖ΔW‖", "Theorem 1"),
    _described("samples", "samples over all visited steps", "n·t", ""),
)
"""What each array means; it is kept with the array."""


@dataclass(frozen=True)
class LayerPhase:
    """What was found for the changes of one layer by one group of samples.

    Errors are roots of ratios of sums of squares, over samples and steps.

    Attributes:
        common_direction: (k, h), C_1, the common direction of single samples' changes, and C_2 … C_k, those of what
            it leaves of the mean changes of batches; unit length.
        direction_share: (k,), the part of the squares of mean changes that lies along each.
        strength: (k,), s_i.
        theorem1: S_primary and S_1, S_2, …; None where no observed layer receives exactly this layer's features.
        sign_agreement: how often two samples of a class push along C_1 the same way.
        alignment: of steps along C_1 with features, beside its null.
        sample_fit_error: how much of single samples' changes lies beside C_1.
        mean_fit_error: how much of mean changes lies beside C_1 … C_k.
        weight_fit_error: how much of the weights lies beside C_1.
        theorem1_error: what the components of Theorem 1 miss; rounding alone where it applies.
        samples: how many samples the directions are made of, over all visited steps.
    """

    common_direction: Float[Tensor, "k h"]
    direction_share: Float[Tensor, " k"]
    strength: Float[Tensor, " k"]
    theorem1: Theorem1Strengths | None
    sign_agreement: float
    alignment: Alignment
    sample_fit_error: float
    mean_fit_error: float
    weight_fit_error: float
    theorem1_error: float
    samples: int

    def values(self) -> dict[str, np.ndarray]:
        """Return every quantity as an array, by name; those of Theorem 1 only where it applies."""
        own = ("common_direction", "direction_share", "strength", "sign_agreement", "samples")
        errors = ("sample_fit_error", "mean_fit_error", "weight_fit_error", "theorem1_error")
        alignment = {
            "step_alignment": self.alignment.mean,
            "step_alignment_rate": self.alignment.rate,
            "step_alignment_null": self.alignment.null_mean,
            "step_alignment_rate_null": self.alignment.null_rate,
        }
        found = {name: getattr(self, name) for name in (*own, *errors)} | alignment | _of_theorem1(self.theorem1)
        return {name: np.asarray(value.cpu() if isinstance(value, Tensor) else value) for name, value in found.items()}


def _of_theorem1(found: Theorem1Strengths | None) -> dict[str, Tensor]:
    if found is None:
        return {}
    return {
        "primary_strength": found.primary.mean,
        "primary_strength_std": found.primary.std,
        "noise_strength": found.noise.mean[:COMPONENTS],
        "noise_strength_std": found.noise.std[:COMPONENTS],
        "largest_noise_strength": found.largest,
        "mean_noise_strength": found.average,
        "primary_ratio": found.ratio,
    }


@dataclass(frozen=True)
class FirstPhase:
    """What two passes over a phase found.

    Attributes:
        recipe: the recipe, as YAML.
        start: updates applied when the phase began; its first update is the next one.
        stop: number of its last update.
        steps: the updates whose batches were looked at.
        close: those of them at which Theorem 1, the alignment and the weights were looked at.
        verified: at how many steps the loss was compared with the record's, and was the same.
        learning_rate: η.
        parts: what was found, by group ("all", or a class) and layer.
    """

    recipe: str
    start: int
    stop: int
    steps: range
    close: tuple[int, ...]
    verified: int
    learning_rate: float
    parts: Mapping[tuple[str, str], LayerPhase]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of samples."""
        return tuple(dict.fromkeys(group for group, _ in self.parts))

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in the order of the forward pass."""
        return tuple(dict.fromkeys(layer for _, layer in self.parts))

    def to_dataset(self) -> xr.Dataset:
        """Return the labelled arrays; NaN where a quantity does not apply. Their size is that of the directions."""
        found = {key: part.values() for key, part in self.parts.items()}
        variables = {item.name: self._variable(item, found) for item in QUANTITIES}
        coordinates = {
            "group": np.array(self.groups, dtype=object),
            "layer": np.array(self.layers, dtype=object),
            "direction": np.arange(1, variables["strength"].shape[-1] + 1),
            "component": np.arange(1, COMPONENTS + 1),
        }
        return xr.Dataset(variables, coords=coordinates, attrs=self._attributes())

    def _variable(self, item: Quantity, found: Mapping[tuple[str, str], dict[str, np.ndarray]]) -> xr.Variable:
        sizes = {"component": COMPONENTS, "direction": 0, "neuron": 0}
        for values in found.values():
            count, width = values["common_direction"].shape
            sizes |= {"direction": max(count, sizes["direction"]), "neuron": max(width, sizes["neuron"])}
        size = [sizes[dim] for dim in item.dims[2:]]
        data = np.full((len(self.groups), len(self.layers), *size), np.nan)
        for (group, layer), values in found.items():
            value = values.get(item.name, np.full(size, np.nan))
            data[(self.groups.index(group), self.layers.index(layer), *map(slice, value.shape))] = value
        attributes = {"long_name": item.long_name, "symbol": item.symbol, "units": item.unit, "source": item.source}
        return xr.Variable(item.dims, data, {**attributes, "range": list(item.bounds)})

    def _attributes(self) -> dict[str, object]:
        return {
            "schema_version": SCHEMA_VERSION,
            "recipe": self.recipe,
            "citations": "mlp2024",
            "start_step": self.start,
            "end_step": self.stop,
            "every": self.steps.step,
            "visited_steps": len(self.steps),
            "close_steps": list(self.close),
            "verified_steps": self.verified,
            "learning_rate": self.learning_rate,
            "changes": CHANGES,
        }
