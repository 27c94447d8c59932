"""Findings about layers: activations, directions, agreeing gradients, dead neurons, regime and phase."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cloudchamber._core.finding import Evidence, Finding
from cloudchamber.predict.activations import Activations
from cloudchamber.predict.prediction import LayerPrediction
from cloudchamber.predict.regimes import KERNEL_GROWTH, NetworkPhase, NetworkRegime
from cloudchamber.theory import ThreeLayerPoint

DEAD = 0.5
AGREE = 0.9
_NAMED = 4
_FEW_LINES = "its directions at initial training are few and known"


def multiplicity_finding(activations: Activations) -> Finding | None:
    """Say the multiplicity of each activation."""
    if not (activations.found or activations.unknown):
        return None
    words = "; ".join(f"{name}: {found.note}" for name, found in activations.found.items())
    missing = "; ".join(f"{name} was not found ({reason})" for name, reason in activations.unknown.items())
    orders = [(name, found.order) for name, found in activations.found.items()]
    return Finding(
        code="multiplicity",
        title="Multiplicity of the activations: "
        + ", ".join([f"{name} {order if order else 'none'}" for name, order in orders] + sorted(activations.unknown))
        + ".",
        severity="notice",
        confidence="high" if activations.found else "low",
        because=missing,
        explanation="With multiplicity p the neurons of a small layer condense on at most p directions, each with its "
        f"opposite, in the plane; without one (ReLU) theory does not name them. {words}",
        evidence=tuple(Evidence(f"multiplicity of {name}", float(order)) for name, order in orders if order),
        source="zhou2022, Definition 1 and Section 5",
    )


def directions_finding(layers: Sequence[LayerPrediction], phase: NetworkPhase) -> Finding | None:
    """Say on which directions neurons condense."""
    with_lines = [layer for layer in layers if layer.condensed is not None]
    if not with_lines:
        return None
    words = ", ".join(f"{layer.name} {_lines(layer)}" for layer in with_lines[:_NAMED])
    more = f", and {len(with_lines) - _NAMED} more layers" if len(with_lines) > _NAMED else ""
    turning = phase.name == "learning"
    return Finding(
        code="condensed_directions",
        title=f"Lines on which small neurons condense: {words}{more}.",
        severity="notice",
        confidence="medium" if turning else "low",
        because="the theory is one of small weights"
        + ("" if turning else "; here the layers hardly grow, so that neurons need not turn"),
        explanation="While weights are small, the leading order of the activation turns each neuron towards one of "
        "these lines. Where one field does not move all neurons of a layer (several outputs), they are those of its "
        "leading part.",
        layers=tuple(layer.name for layer in with_lines),
        evidence=tuple(
            Evidence(f"gradients of {layer.name} that one field explains", layer.one_field, 1.0) for layer in with_lines
        ),
        source="zhou2022, Section 5",
    )


def _lines(layer: LayerPrediction) -> str:
    found = layer.condensed
    if found is None or found.constant:
        return "any"
    return f"{found.attracting_lines()}" + ("" if found.completeness.exhaustive else " or more")


def agreement_finding(layers: Sequence[LayerPrediction]) -> Finding | None:
    """Say in which layers the samples of a class pull the same way."""
    known = [layer for layer in layers if not math.isnan(layer.gradient_cosine)]
    alike = [layer for layer in known[:-1] if layer.gradient_cosine >= AGREE]
    if not alike:
        return None
    return Finding(
        code="gradients_agree",
        title=f"The samples of a class pull {len(alike)} of {len(known) - 1} hidden layers the same way.",
        severity="notice",
        confidence="high",
        because="measured; what follows from it is what the papers saw",
        explanation="Where the gradients of different samples agree, all of them strengthen one common direction: "
        "features become more alike before they part.",
        layers=tuple(layer.name for layer in alike),
        evidence=tuple(
            Evidence(f"gradient cosine of {layer.name}", layer.gradient_cosine, AGREE) for layer in alike[:_NAMED]
        )
        + tuple(
            Evidence(f"share of the second moment of {layer.name} along its leading direction", layer.top_share)
            for layer in alike[:_NAMED]
        ),
        source="mlp2024, Section 3 and Lemma 1",
    )


def dead_finding(layers: Sequence[LayerPrediction]) -> Finding | None:
    """Say in which layers neurons are zero on the whole probe."""
    dead = [layer for layer in layers if layer.dead > 0]
    if not dead:
        return None
    worst = max(dead, key=lambda layer: layer.dead)
    return Finding(
        code="dead_units",
        title=f"{sum(round(layer.dead * layer.width) for layer in dead)} neurons are zero on the whole probe, "
        f"{worst.dead:.0%} of {worst.name}.",
        severity="problem" if worst.dead >= DEAD else "notice",
        confidence="high" if worst.dead == 1.0 else "medium",
        because="samples outside of the probe may still wake them",
        explanation="A ReLU neuron that is zero for all samples has no gradient and stays as it is.",
        layers=tuple(layer.name for layer in dead),
        evidence=tuple(Evidence(f"dead fraction of {layer.name}", layer.dead) for layer in dead[:_NAMED]),
        advice=("Draw the weights anew, with zero biases, or use leaky ReLU.",) if worst.dead >= DEAD else (),
        source="overview2025, Section 3",
    )


def regime_finding(regime: NetworkRegime | str) -> Finding:
    """Say where the network lies in the diagram of linear and condensed regimes."""
    source = "overview2025, Section 5"
    if isinstance(regime, str):
        return Finding(
            code="regime_unknown",
            title="Its regime is not known: theory has no diagram for it.",
            severity="unknown",
            confidence="high",
            because=regime,
            source=source,
        )
    names = ("γ", "γ'₁", "γ'₂") if isinstance(regime.point, ThreeLayerPoint) else ("γ", "γ'")
    each = ("first", "second", "output") if len(regime.layers) == 3 else ("input",)
    margins = [(f"margin of the {name} layer", layer) for name, layer in zip(each, regime.layers, strict=True)]
    return Finding(
        code="regime",
        title=f"It lies in the {regime.name} regime"
        + (
            f" ({', '.join(f'{name} layer {layer.name}' for name, layer in zip(each, regime.layers, strict=True))})."
            if len(regime.layers) == 3
            else "."
        ),
        severity="notice",
        confidence="medium" if regime.name != "critical" else "low",
        because=f"read at one width: a factor of 2 shifts γ by {regime.tolerance:.2g}; within that it is critical",
        explanation="Linear: weights hardly move, the network acts as its kernel. Condensed: they move by far more "
        "than their start, and neurons condense. The coordinates are those of networks of all widths that have these "
        "standard deviations at this one; the length of the inputs and the size of the targets are taken out.",
        evidence=(
            *(Evidence(name, float(value)) for name, value in zip(names, regime.point, strict=True)),
            *(Evidence(name, float(layer.margin), 0.0, layer.name) for name, layer in margins),
        ),
        source=source if len(regime.layers) == 1 else f"{source}; docs/three-layer-regime.md",
    )


def phase_finding(phase: NetworkPhase) -> Finding:
    """Say whether features or only the kernel are learned."""
    titles = {
        "learning": f"Features will be learned: hidden layers grow {phase.growth:.3g} times until the loss leaves.",
        "kernel": "The loss will leave by the network's kernel, before its features have changed much.",
        "frozen": "Nothing will be learned within the steps.",
        "unstable": "Steps are too long for any phase to last.",
        "cannot tell": "Its phase depends on whether it leaves the plateau, which is open.",
    }
    terms = () if phase.terms is None else (Evidence("16 s²y² per step²", phase.terms[0], phase.terms[1], "64 s⁴PQ"),)
    return Finding(
        code=f"phase_{phase.name.replace(' ', '_')}",
        title=titles[phase.name],
        severity="unknown" if phase.name == "cannot tell" else "notice",
        confidence="medium" if phase.terms is not None else "low",
        because="phases are limits; here 'of order one' means within the planned steps and longer than one step"
        + ("" if phase.terms is not None else "; xu2024 has them for two layers, beyond that the growth decides"),
        explanation="In the kernel phase weights hardly change and the start decides everything; in the learning phase "
        "layers align and grow. For two layers the larger of the two terms of 1/t_c² says which drives the loss.",
        evidence=(Evidence("growth of the hidden layer that grows most", phase.growth, KERNEL_GROWTH), *terms),
        source="xu2024, Eq. (28) and Section 3",
    )
