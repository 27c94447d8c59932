"""The schema of a record: its static frame, and the quantities that every run has.

A record is an `xarray.Dataset`. Coordinates: `step` (updates applied), sparse `image_step`, `layer` (qualified
name, `#call` where called more than once) with `layer_type`, `width`, `fan_in` and `activation`, `class`,
`sample` with `sample_class`, `neuron` with `neuron_id` per layer (-1 = padding), `direction`, `component` and
`eigenvalue` counted from 1 where a quantity has them, and `module` with `coverage`: one row for every module that
holds weights. NaN = not measured; `valid` tells a true NaN apart: whether anything of a layer, or of the network, was
measured at a step.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.registry import Quantity, register

SCHEMA_VERSION = 1
MAX_IMAGE_SAMPLES = 500
MAX_IMAGE_NEURONS = 128

train_loss = register(Quantity("train_loss", "training loss of the step's batch", "L", ("step",)))
probe_loss = register(Quantity("probe_loss", "loss per probe sample", "L", ("step",)))
epoch = register(Quantity("epoch", "passes over the training data", "e", ("step",), bounds=(0.0, float("inf"))))
constant_predictor_loss = register(
    Quantity("constant_predictor_loss", "loss of the best constant output on the probe", "L_const", ())
)


@dataclass(frozen=True)
class LayerInfo:
    """One observed layer; `fan_in` counts the inputs of one neuron, without the bias."""

    name: str
    layer_type: str
    width: int
    fan_in: int
    activation: str


@dataclass(frozen=True)
class CoverageRow:
    """One module that holds weights: "measured", "measured in part, without ...", or "skipped, because ..."."""

    module: str
    module_type: str
    coverage: str

    @property
    def measured(self) -> bool:
        """Whether the module is observed."""
        return self.coverage.startswith("measured")


@dataclass(frozen=True)
class Frame:
    """What stays the same for a whole run: fixed before the first observation.

    Attributes:
        layers: the observed layers in the order in which the forward pass calls them.
        coverage: a row per module that holds weights, observed or not.
        classes: number of classes; 0 for targets that are not class labels.
        quantities: what may be in the record: a record describes itself, whoever opens it.
        sample_classes: class of each sample of the cosine images (-1 without classes).
        neuron_ids: per layer, the neurons of the cosine images.
        constants: per-run and per-layer quantities that do not change, by name.
        recipe: YAML text of the recipe, or a note that the loop was the user's own.
        environment: versions, device and threads (nothing that differs between identical runs).
    """

    layers: tuple[LayerInfo, ...]
    coverage: tuple[CoverageRow, ...]
    classes: int
    quantities: tuple[Quantity, ...]
    sample_classes: tuple[int, ...]
    neuron_ids: tuple[tuple[int, ...], ...]
    constants: dict[str, float | list[float]] = field(default_factory=dict)
    recipe: str = ""
    environment: dict[str, Any] = field(default_factory=dict)

    def quantity(self, name: str) -> Quantity:
        """Return the quantity of this name.

        Raises:
            InvalidInput: if this record was not made for it.
        """
        for item in self.quantities:
            if item.name == name:
                return item
        raise InvalidInput(f"this record holds {self.quantities}; got {name}. Remedy: register the quantity first.")

    def to_json(self) -> str:
        """Serialise; `from_json` is the inverse."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Frame:
        """Rebuild a frame from `to_json`."""
        raw = json.loads(text)
        raw["layers"] = tuple(LayerInfo(**row) for row in raw["layers"])
        raw["coverage"] = tuple(CoverageRow(**row) for row in raw["coverage"])
        raw["quantities"] = tuple(_quantity(row) for row in raw["quantities"])
        raw["sample_classes"] = tuple(raw["sample_classes"])
        raw["neuron_ids"] = tuple(tuple(ids) for ids in raw["neuron_ids"])
        return cls(**raw)


def _quantity(row: dict[str, Any]) -> Quantity:
    return Quantity(**{**row, "dims": tuple(row["dims"]), "bounds": tuple(row["bounds"])})
