"""Findings about layers: neurons that act as few, features that are alike, features that are zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloudchamber._core.finding import Evidence, Finding
from cloudchamber.diagnosis.advice import smaller_steps
from cloudchamber.diagnosis.case import Case
from cloudchamber.diagnosis.curves import constant, width
from cloudchamber.diagnosis.stuck import ALIKE

FEW = 0.5
NAMED = 3
_APART = "Batch normalization before the activation of these layers keeps the features apart (mlp2024, Section 3.3)."


@dataclass(frozen=True)
class _Width:
    """A layer's neurons, and as how many they act."""

    layer: str
    neurons: int
    acting: float
    null: float

    @property
    def condensed(self) -> bool:
        return self.acting <= FEW * self.null and self.acting < self.neurons


def condensed_layers(case: Case) -> Finding | None:
    """Hidden layers whose neurons form at most half as many orientation groups as random neurons would."""
    found = [acting for layer in case.hidden if (acting := _acting_width(case, layer)).condensed]
    if not found:
        return None
    each = ", ".join(f"{w.layer}: {w.neurons} neurons act like {w.acting:.0f}" for w in found[:NAMED])
    more = f", and {len(found) - NAMED} more layers" if len(found) > NAMED else ""
    return Finding(
        code="condensed_layers",
        title=f"Neurons have condensed ({each}{more}).",
        severity="notice",
        confidence="medium",
        because="neurons are counted as one within a threshold of |cos|, and weak ones count as much as strong ones",
        explanation="Input weights of many neurons point along the same few lines, so that these neurons compute the "
        "same up to a factor: the layer can do no more than a much narrower one, until they part.",
        layers=tuple(w.layer for w in found),
        evidence=tuple(item for w in found for item in _width_evidence(case, w)),
        advice=(
            "Nothing has to change. If the run is otherwise fine, a narrower network does as well: "
            "`cloudchamber merge RUN` (or `cc.merge_neurons`) makes it from the trained one and measures how close it "
            "is.",
        ),
        source="zhou2022, Section 4; overview2025, Section 7.3",
    )


def _acting_width(case: Case, layer: str) -> _Width:
    acting = case.curve("effective_width", layer).finite.last
    return _Width(layer, width(case.record, layer), acting, constant(case.record, "effective_width_null", layer))


def _width_evidence(case: Case, found: _Width) -> tuple[Evidence, ...]:
    null = Evidence(f"effective_width of {found.layer}", found.acting, found.null, "against random neurons")
    return (null, *case.beside_start("effective_width", found.layer))


def condensed_features(case: Case) -> Finding | None:
    """Hidden layers to which samples look alike at the end, and more so than at first."""
    layers = tuple(layer for layer in case.hidden if case.grown_alike(layer, ALIKE))
    if not layers:
        return None
    settled = case.phases.status in ("second phase", "no plateau")
    return Finding(
        code="condensed_features",
        title=f"Samples look alike to {', '.join(layers)}: their features differ little in direction.",
        severity="notice",
        confidence="high",
        because="they have risen to it: ReLU features alone have a high cosine from the start",
        explanation="To these layers all samples are nearly one and the same, up to a factor: what follows them can "
        "hardly tell classes apart.",
        layers=layers,
        evidence=tuple(item for layer in layers for item in case.beside_start("feature_cosine", layer)),
        advice=() if settled else (_APART,),
        source="mlp2024, Section 2",
    )


def dead_features(case: Case) -> Finding | None:
    """Hidden layers whose features are zero, though the loss is finite."""
    layers = tuple(layer for layer in case.hidden if case.is_dead(layer))
    if not layers:
        return None
    always = [layer for layer in layers if not len(case.curve("feature_cosine", layer).finite)]
    return Finding(
        code="dead_features",
        title=f"The features of {', '.join(layers)} are zero on the probe: no gradient passes there.",
        severity="problem",
        confidence="medium" if always else "high",
        because="they have been zero since the first observation, as some initializations intend"
        if always
        else "the cosine was defined before and is undefined now",
        layers=layers,
        evidence=tuple(Evidence(f"feature_cosine of {layer}", math.nan, None, "undefined") for layer in layers),
        advice=(
            smaller_steps(case, 3),
            "Start again: ReLU units that are zero on all samples do not come back. Leaky ReLU cannot die so "
            "(`--set model.activation=leaky_relu`).",
        ),
    )
