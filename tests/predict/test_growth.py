"""The clock against what can be worked out by hand, and against plain Euler steps."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from predict.predict_cases import laws as few

from cloudchamber.predict.growth import Layers, plateau

laws = settings(few, max_examples=25)
TINY = 1e-12


def layers(gains, gradients, *, lengths=None, exponents=None, rate=1.0, decay=0.0, sizes=None):
    gains, gradients = np.asarray(gains, float), np.asarray(gradients, float)
    one = np.ones_like(gains)
    return Layers(
        gains,
        gradients,
        gradients if lengths is None else np.asarray(lengths, float),
        one if exponents is None else np.asarray(exponents, float),
        one * rate,
        one * decay,
        sizes,
    )


@laws
@given(depth=st.integers(3, 12), rate=st.floats(0.001, 10.0), gain=st.floats(0.1, 10.0))
def test_a_balanced_chain_blows_up_at_its_known_time(depth, rate, gain):
    """Ȧ = r A^(L−1) blows up at 1/((L − 2) r); a loss that needs a large signal leaves just then."""
    chain = layers([gain] * depth, [1.0] * depth, lengths=[TINY] * depth, rate=rate)
    assert plateau(chain, 1.0).steps == pytest.approx(gain / ((depth - 2) * rate), rel=0.01)


@laws
@given(rate=st.floats(0.001, 10.0), drop=st.floats(0.01, 3.0), depth=st.integers(1, 9))
def test_gradients_that_do_not_grow_take_drop_over_speed(rate, drop, depth):
    """With gains so large that nothing grows, D = t Σ η ‖∇W‖²."""
    chain = layers([1e9] * depth, [0.5] * depth, rate=rate)
    assert plateau(chain, drop).steps == pytest.approx(drop / (depth * rate * 0.25), rel=1e-3)


def euler(chain, drop, step):
    logs, fallen, time = np.zeros(len(chain.gains)), 0.0, 0.0
    while fallen < drop:
        scale = np.exp(chain.exponents @ logs - logs)
        eta = chain.steps(scale)
        fallen += step * float(eta @ (chain.lengths * scale) ** 2)
        logs = logs + step * (eta * chain.gradients * scale / (chain.gains * np.exp(logs)) - chain.decays)
        time += step
    return time


@laws
@given(seed=st.integers(0, 1000), depth=st.integers(1, 7), divided=st.booleans())
def test_against_plain_euler_steps(seed, depth, divided):
    random = np.random.default_rng(seed)
    exponents = random.choice([0.0, 1.0, 1.5], depth)
    sizes = random.uniform(0.5, 2, depth) if divided else None
    drawn = (random.uniform(0.5, 2, depth), random.uniform(0.1, 1, depth))
    chain = layers(*drawn, exponents=exponents, decay=random.uniform(0, 0.02), sizes=sizes)
    found = plateau(chain, 0.3).steps
    assert found == pytest.approx(euler(chain, 0.3, found / 4_000), rel=5e-3)


@laws
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100.0))
def test_time_scales_with_one_over_the_rates(seed, factor):
    random = np.random.default_rng(seed)
    gains, gradients = random.uniform(0.5, 2, 5), random.uniform(0.1, 1, 5)
    slow, fast = (plateau(layers(gains, gradients, rate=rate), 0.3).steps for rate in (1.0, factor))
    assert fast == pytest.approx(slow / factor, rel=1e-4)


def test_decay_that_is_faster_than_growth_never_lets_the_loss_leave():
    assert plateau(layers([1] * 4, [0.01] * 4, decay=0.02), 1.0).steps == math.inf
    assert plateau(layers([1] * 4, [0.01] * 4, decay=0.0), 1.0).steps < math.inf


@pytest.mark.parametrize("gradients", [[0.0] * 4, [math.nan] * 4, []])
def test_without_gradients_nothing_leaves(gradients):
    assert plateau(layers([1.0] * len(gradients), gradients), 1.0).steps == math.inf


def test_a_rule_that_divides_is_blind_to_the_size_of_gradients():
    sizes = np.array([0.1, 0.2, 0.3])
    found = [
        plateau(layers([1] * 3, [0.1 * f, 0.1 * f, 0.1 * f], lengths=[1e-9] * 3, sizes=sizes * f), 1e-20).growth
        for f in (1.0, 1e-6)
    ]
    assert found[0] == pytest.approx(found[1], rel=0.2)
