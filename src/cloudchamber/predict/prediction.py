"""What a prediction holds, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import xarray as xr
from torch import Tensor

from cloudchamber._core.finding import Findings
from cloudchamber.predict.reckoning import Reckoning
from cloudchamber.predict.regimes import NetworkPhase, NetworkRegime
from cloudchamber.predict.thresholds import LEAVES_ABOVE, STUCK_BELOW
from cloudchamber.predict.update_rule import UpdateRule
from cloudchamber.predict.verdict import LeavesPlateau, Verdict
from cloudchamber.theory import CondensedDirections, Multiplicity


@dataclass(frozen=True)
class LayerPrediction:
    """What is predicted of one layer, all of it at the initialization.

    Attributes:
        name: qualified name.
        layer_type: class of the module.
        width: neurons.
        activation: what follows it, "none" if nothing does.
        multiplicity: of the activation; None where it has none.
        gain: a = ‖W v‖, what the layer does to the direction v along which it will grow.
        growth_per_step: `η ‖∇W‖₂/((1 − μ) a)` minus decay: by which part of itself the gain grows in an update.
        growth_at_leaving: by which factor it has grown when the loss leaves its plateau.
        scale_exponent: d ln(spread of the outputs)/d ln(scale of W): 1 in a chain, 0 before a normalization.
        feature_cosine: mean cosine of the features of two samples.
        gradient_cosine: mean cosine of the features' gradients of two samples of a class.
        top_share: the part of the second moment of all samples' weight gradients along its leading direction.
        dead: fraction of neurons that are zero on the whole probe.
        direction: (d,), v, without the bias.
        condensed: directions on which its neurons condense while they are small; None where theory names none.
        condensed_basis: (d or d + 1, r): `condensed_basis @ u` is a direction u of `condensed` in the inputs' space.
        one_field: how far one direction field moves all of its neurons, from 0 to 1.
    """

    name: str
    layer_type: str
    width: int
    activation: str
    multiplicity: int | None
    gain: float
    growth_per_step: float
    growth_at_leaving: float
    scale_exponent: float
    feature_cosine: float
    gradient_cosine: float
    top_share: float
    dead: float
    direction: Tensor
    condensed: CondensedDirections | None
    condensed_basis: Tensor
    one_field: float


_COLUMNS: tuple[tuple[str, str], ...] = (
    ("name", "layer"),
    ("width", "width"),
    ("activation", "activation"),
    ("multiplicity", "p"),
    ("gain", "gain"),
    ("growth_per_step", "growth/step"),
    ("growth_at_leaving", "× at leaving"),
    ("feature_cosine", "feature cos"),
    ("gradient_cosine", "gradient cos"),
    ("top_share", "top share"),
    ("dead", "dead"),
)
_NUMBERS = (
    "gain",
    "growth_per_step",
    "growth_at_leaving",
    "scale_exponent",
    "feature_cosine",
    "gradient_cosine",
    "top_share",
    "dead",
    "one_field",
)


@dataclass(frozen=True)
class Prediction:
    """What training will do, told before it.

    Attributes:
        verdict: whether it leaves the plateau, how sure, and why.
        findings: worst first.
        layers: one per observed layer.
        activations: multiplicities by the activation's name.
        regime: where a network of two or three layers lies in the papers' diagram; else why in none.
        phase: what the layers do until the loss leaves.
        reckoning: the numbers behind the verdict.
        rule: what the optimizer does.
        stable_lr: the learning rate above which steps along the steepest curvature grow, at the initialization.
        stable_lr_later: the same at the end of the plateau; NaN where that cannot be measured.
        unobserved: layers that could not be observed, with the reason.
    """

    verdict: Verdict
    findings: Findings
    layers: tuple[LayerPrediction, ...]
    activations: Mapping[str, Multiplicity]
    regime: NetworkRegime | str
    phase: NetworkPhase
    reckoning: Reckoning
    rule: UpdateRule
    stable_lr: float
    stable_lr_later: float
    unobserved: Mapping[str, str]

    @property
    def leaves_plateau(self) -> LeavesPlateau:
        """Whether the loss falls below 85 % of the best constant output's and stays there, within the steps."""
        return self.verdict.name

    @property
    def score(self) -> float:
        """The planned steps over the predicted length of the plateau."""
        return self.reckoning.score

    @property
    def plateau_updates(self) -> tuple[float, float]:
        """The updates between which the loss is expected to leave, if it is not unstable."""
        return self.reckoning.updates(STUCK_BELOW), self.reckoning.updates(LEAVES_ABOVE)

    @property
    def dataset(self) -> xr.Dataset:
        """The numbers of the layers, labelled by their names."""
        names = [layer.name for layer in self.layers]
        arrays = {key: ("layer", [getattr(layer, key) for layer in self.layers]) for key in _NUMBERS}
        arrays["multiplicity"] = ("layer", [float(layer.multiplicity or math.nan) for layer in self.layers])
        coordinates = {
            "layer": names,
            "width": ("layer", [layer.width for layer in self.layers]),
            "layer_type": ("layer", [layer.layer_type for layer in self.layers]),
        }
        return xr.Dataset(arrays, coords=coordinates)

    def __str__(self) -> str:
        return f"{self._head()}\n\n{aligned(self._rows())}\n\n{self.findings}"

    def __repr__(self) -> str:
        return f"<Prediction: {self.leaves_plateau}, score {self.score:.3g}, {self.verdict.confidence} confidence>"

    def _repr_html_(self) -> str:
        header, *rows = self._rows()
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return (
            f"<h3>{escape(self._head())}</h3><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
            + self.findings._repr_html_()
        )

    def _head(self) -> str:
        return f"{self.leaves_plateau} ({self.verdict.confidence} confidence): {self.verdict.because}"

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            tuple(title for _, title in _COLUMNS),
            *(tuple(_shown(getattr(layer, key)) for key, _ in _COLUMNS) for layer in self.layers),
        ]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table of text, numbers to the right.

    >>> print(aligned([("a", "n"), ("bb", "10")]))
    a    n
    bb  10
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _shown(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
