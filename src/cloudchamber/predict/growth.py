"""How long a plateau lasts: layers that pass one signal on, each growing as the others let it, until the loss leaves.

A balanced chain of L linear layers with gains a_l has the signal `s = Π a_l`, and gradient descent gives
`ȧ_l/a_l = r Π_{k≠l} A_k / A_l` with `A = a/a(0)`: all grow alike, `Ȧ = r A^{L−1}`, and blow up at
`t* = 1/((L−2) r)`. The same is integrated here for unequal layers, decay, frozen layers, and layers on whose scale the
signal depends less (or not at all, before a normalization).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

_LARGEST = 200.0
_LOST = -60.0
_SMALLEST = 1e-250
_FURTHEST = 1e4
"""How far layers (in logarithms) and loss (in drops) are followed together."""
_STANDSTILL = 1e-9
"""What is so much slower than it began, never gets there."""


@dataclass(frozen=True)
class Layers:
    """What a network's layers are like before training; arrays of one entry per layer.

    Attributes:
        gains: a_l = ‖W_l v‖ with v the leading right singular vector of the layer's gradient.
        gradients: ‖∇W_l‖₂, of the centred residual (see `Prediction`), spectral.
        lengths: ‖∇W_l‖_F of the same.
        exponents: c_l = d ln signal / d ln(scale of W_l): 1 in a chain of positively homogeneous layers, 0 before a
            normalization.
        rates: learning rate of the layer once its velocity has built up, `η(1 − dampening)/(1 − μ)`; 0 if frozen.
        decays: by which part the weights shrink per step.
        sizes: root mean square of the entries of a gradient, by which the optimizer divides it (Adam); None = it does
            not divide.
    """

    gains: np.ndarray
    gradients: np.ndarray
    lengths: np.ndarray
    exponents: np.ndarray
    rates: np.ndarray
    decays: np.ndarray
    sizes: np.ndarray | None = None

    def steps(self, scale: np.ndarray) -> np.ndarray:
        """Return each layer's step per gradient when gradients have grown by `scale`."""
        if self.sizes is None:
            return self.rates
        return self.rates / np.maximum(self.sizes * scale, _SMALLEST)


@dataclass(frozen=True)
class Plateau:
    """When the loss leaves, and how the layers have grown by then.

    Attributes:
        steps: t*, in updates at full velocity; infinite if it never leaves.
        growth: A_l at that time, or when the integration ended.
    """

    steps: float
    growth: np.ndarray


def plateau(layers: Layers, drop: float) -> Plateau:
    """Return when a loss has fallen by `drop`, and how the layers have grown.

    Followed along the length of the path instead of time, in which growth is explosive.

    `d ln A_l/dt = η_l ‖∇W_l‖₂ s_l/(a_l A_l) − decay_l` and `dD/dt = Σ_l η_l ‖∇W_l‖_F² s_l²`, with D the drop of the
    loss and `s_l = A_l^{−1} Π_k A_k^{c_k}` what the gradient of layer l has grown by. The second is exact at the start.

    Args:
        layers: the network at its initialization.
        drop: how far the loss has to fall, in its own units.

    Source: derived in docs/prediction.md.

    >>> one = np.ones(4)
    >>> chain = Layers(one, one, one * 1e-9, one, one * 0.01, one * 0)
    >>> round(plateau(chain, 1.0).steps, 2)  # 1/((L − 2) r) with r = 0.01 · 1/1
    50.0
    """
    begin = np.zeros(len(layers.gains) + 2)
    speed = _speed(layers, begin[:-2], drop)
    if not (math.isfinite(speed) and speed > 0):
        return Plateau(math.inf, np.ones(len(layers.gains)))

    def along(_: float, state: np.ndarray) -> np.ndarray:
        found = _slope(layers, state[:-2])
        found[-1] /= drop
        pace = max(float(np.linalg.norm(found)), _STANDSTILL * speed)
        return np.append(found, speed) / pace

    events = (_left, _lost)
    found = solve_ivp(along, (0.0, _FURTHEST), begin, method="LSODA", events=events, rtol=1e-6, atol=1e-9)
    growth = np.exp(np.clip(found.y[:-2, -1], -_LARGEST, _LARGEST))
    return Plateau(float(found.y[-1, -1]) / speed if len(found.t_events[0]) else math.inf, growth)


def _speed(layers: Layers, logs: np.ndarray, drop: float) -> float:
    """How fast the layers and the loss change together, in relative terms per step."""
    slope = _slope(layers, logs)
    slope[-1] /= drop
    return float(np.linalg.norm(slope))


def _slope(layers: Layers, logs: np.ndarray) -> np.ndarray:
    """The relative growth of every layer per step and, last, the fall of the loss."""
    signal = float(layers.exponents @ logs)
    scale = np.exp(np.clip(signal - logs, -_LARGEST, _LARGEST))
    steps = layers.steps(scale)
    relative = np.divide(layers.gradients, layers.gains, out=np.zeros_like(scale), where=layers.gains > 0)
    growing = steps * relative * scale * np.exp(np.clip(-logs, -_LARGEST, _LARGEST))
    falling = steps @ (layers.lengths * scale) ** 2
    return np.append(growing - layers.decays, falling)


def _left(_: float, state: np.ndarray) -> float:
    return float(state[-2]) - 1.0


def _lost(_: float, state: np.ndarray) -> float:
    return float(state[:-2].sum()) - _LOST


_left.terminal = _lost.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
