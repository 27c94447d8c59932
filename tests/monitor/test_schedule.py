"""Schedules: which steps a monitor observes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unchecked import refused

from cloudchamber.monitor.schedule import Every, Logarithmic, OnRequest, as_schedule, logarithmic, sparser

laws = settings(derandomize=True, max_examples=50, deadline=None, database=None)


@laws
@given(st.integers(1, 40))
def test_logarithmic_steps_are_the_rounded_powers(per_decade):
    schedule = logarithmic(per_decade)
    wanted = {0} | {round(10 ** (i / per_decade)) for i in range(4 * per_decade + 1)}
    assert {step for step in range(10_001) if schedule(step)} == wanted


@laws
@given(st.integers(1, 60))
def test_images_are_taken_at_observed_steps(per_decade):
    schedule = logarithmic(per_decade)
    images = sparser(schedule)
    assert all(schedule(step) for step in range(5000) if images(step))
    assert images(0)
    assert images(10)


def test_what_an_argument_stands_for():
    assert as_schedule("every", 7) == Every(7)
    assert as_schedule("every", None) == OnRequest()
    assert as_schedule("every", logarithmic(5)) == Logarithmic(5)
    own = as_schedule("every", lambda step: step in (3, 4))
    assert [step for step in range(6) if own(step)] == [3, 4]
    assert sparser(Every(7)) == Every(70)
    assert [step for step in range(100) if sparser(own)(step)] == [0]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
def test_what_is_no_schedule(value):
    with refused("`every`"):
        as_schedule("every", value)
    with refused("`per_decade`"):
        logarithmic(value)
