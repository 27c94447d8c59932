"""The phase diagrams by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cloudchamber.training.diagrams import exponents, three_layer, two_layer
from cloudchamber.training.diagrams.diagram import Diagram

TWO_LAYER_REGIME = Diagram(
    name="two-layer-regime",
    title="Regimes of two-layer ReLU networks",
    options=two_layer.TwoLayerOptions,
    scales={
        "smoke": {"gamma": [0.6, 1.4], "gamma_prime": [-0.4, 0.4], "widths": [100, 400], "seeds": 2},
        "laptop": {},
        "paper": {"seeds": 30},
    },
    plan=two_layer.plan,
    work=two_layer.work,
    read=two_layer.read,
    compare=two_layer.compare,
)

THREE_LAYER_REGIME = Diagram(
    name="three-layer-regime",
    title="Regimes of three-layer ReLU networks",
    options=three_layer.ThreeLayerOptions,
    scales={
        "smoke": {"gamma": [1.0, 2.5], "gamma_prime_1": [0.0, 0.5], "widths": [20, 40], "seeds": 2},
        "laptop": {},
        "paper": {"gamma_prime_2": [-0.5, 0.0, 0.5], "widths": [100, 200, 400, 800, 1600], "seeds": 10},
    },
    plan=three_layer.plan,
    work=three_layer.work,
    read=three_layer.read,
    compare=three_layer.compare,
)

EXPONENTS = Diagram(
    name="exponents",
    title="Phases of two-layer linear networks",
    options=exponents.ExponentsOptions,
    scales={
        "smoke": {"c_gamma": [-1.25, -0.5], "c_eta": [0.0, 1.25], "kappa": [30, 300], "seeds": 4},
        "laptop": {},
        "paper": {"kappa": [100, 316, 1000, 3162, 10000, 31623, 100000], "seeds": 50},
    },
    plan=exponents.plan,
    work=exponents.work,
    read=exponents.read,
    compare=exponents.compare,
)

DIAGRAMS: Mapping[str, Diagram[Any]] = MappingProxyType(
    {diagram.name: diagram for diagram in (TWO_LAYER_REGIME, THREE_LAYER_REGIME, EXPONENTS)}
)
"""What `cloudchamber sweep NAME` computes."""
