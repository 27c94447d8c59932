"""What must hold for every record."""

from dataclasses import replace

import numpy as np
from diagnosis_curves import LEVEL, leaving_loss, noisy, peaking_cosine
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import made_up_record

from cloudchamber.diagnosis import PhaseRule, find_phases

RULE = PhaseRule()


@st.composite
def runs(draw):
    """Steps, loss and a cosine of a run of any kind."""
    count = draw(st.integers(1, 60))
    gaps = draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    steps = np.cumsum(gaps) - gaps[0]
    leaves, peak = draw(st.integers(0, 1500)), draw(st.integers(1, 1500))
    seed, deviation = draw(st.integers(0, 9)), draw(st.sampled_from([0.0, 1e-4, 1e-2, 0.3]))
    loss = noisy(leaving_loss(steps, leaves), deviation, seed)
    return steps, loss, noisy(peaking_cosine(steps, peak), deviation / 10, seed + 1)


def record_of(steps, loss, cosine, level=LEVEL):
    return made_up_record(steps, loss, feature_cosine=cosine, gradient_cosine=cosine, constant_loss=level)


@given(runs(), st.integers(-30, 30))
@settings(max_examples=40, deadline=None)
def test_scaling_the_loss_and_its_constant_changes_nothing(run, power):
    steps, loss, cosine = run
    scaled = find_phases(record_of(steps, loss * 2.0**power, cosine, LEVEL * 2.0**power))
    unscaled = find_phases(record_of(steps, loss, cosine))
    assert replace(scaled, reason="") == replace(unscaled, reason="")


@given(runs(), st.integers(2, 1000))
@settings(max_examples=40, deadline=None)
def test_counting_steps_in_other_units_scales_the_markers(run, factor):
    steps, loss, cosine = run
    found = find_phases(record_of(steps, loss, cosine))
    scaled = find_phases(record_of(steps * factor, loss, cosine), rule=replace(RULE, stuck_steps=500 * factor))
    for marker in ("loss_marker", "feature_peak", "gradient_peak"):
        before = getattr(found, marker)
        assert getattr(scaled, marker) == (None if before is None else factor * before)
    assert scaled.status == found.status
    assert [phase.start for phase in scaled] == [factor * phase.start for phase in found]


@given(runs())
@settings(max_examples=40, deadline=None)
def test_phases_lie_within_the_record(run):
    found = find_phases(record_of(*run))
    for phase in found:
        assert run[0][0] <= phase.start <= phase.until <= run[0][-1]
        assert phase.stop in (None, phase.until)
        assert (phase.stop is None) == (phase.ended_by == "")
    assert sorted(found, key=lambda phase: phase.start) == list(found)


@given(runs(), st.integers(13, 60))
@settings(max_examples=40, deadline=None)
def test_an_end_that_held_stays_while_the_record_grows(run, count):
    steps, loss, cosine = run
    early = find_phases(record_of(steps[:count], loss[:count], cosine[:count])).loss_marker
    held = early is not None and (steps[:count] > early).sum() > RULE.hold + RULE.window
    if held:
        assert find_phases(record_of(*run)).loss_marker == early


@given(runs())
@settings(max_examples=40, deadline=None)
def test_a_lower_threshold_is_passed_no_earlier(run):
    record = record_of(*run)
    markers = [find_phases(record, rule=PhaseRule(drop=drop)).loss_marker for drop in (0.05, 0.15, 0.4)]
    reached = [np.inf if marker is None else marker for marker in markers]
    assert reached == sorted(reached)
