"""Phases and findings of real runs (see diagnosis_runs)."""

import pytest
from diagnosis_runs import DIGITS, real_record

from cloudchamber.diagnosis import current_phase, diagnose, find_phases


@pytest.mark.parametrize("name", DIGITS)
def test_the_default_run_ends_its_first_phase(name):
    phases = find_phases(real_record(name))
    first = phases.named("first phase")
    assert (first.start, first.ended_by, phases.status) == (0, "features", "second phase")
    assert 400 <= phases.loss_marker <= 480
    assert 400 <= phases.gradient_peak <= 580
    assert 540 <= first.stop <= 660


@pytest.mark.parametrize("name", DIGITS)
def test_the_default_run_reads_well_at_every_length(name):
    labels = [current_phase(real_record(name, until)).split(" (")[0] for until in range(0, 1001, 20)]
    assert sorted(labels, key=["cannot tell", "first phase", "second phase"].index) == labels
    assert labels[10] == "first phase"


@pytest.mark.parametrize("name", DIGITS)
def test_two_hundred_steps_are_in_the_first_phase_and_not_stuck(name):
    findings = diagnose(real_record(name, 200))
    assert findings.codes == ("in_first_phase",)
    assert findings[0].confidence == "medium"


@pytest.mark.parametrize("name", ["stuck", "rate1"])
def test_stuck_runs_are_stuck(name):
    assert current_phase(real_record(name)) == "stuck (step 0–)"


def test_three_hundred_steps_of_a_stuck_run_are_too_few():
    codes = diagnose(real_record("stuck", 300)).codes
    assert "in_first_phase" in codes
    assert "stuck" not in codes


def test_a_stuck_run_that_leaves_later_is_said_to_be_leaving():
    finding = diagnose(real_record("stuck"))[0]
    assert (finding.code, finding.confidence) == ("stuck", "medium")
    assert "twice as far every" in finding.because
    phases = find_phases(real_record("escapes"))
    assert (phases.status, phases.named("stuck")) == ("second phase", None)
    assert phases.named("first phase").stop == phases.loss_marker == 1440


def test_a_stuck_run_that_does_not_leave_is_surer():
    finding = diagnose(real_record("rate1"))[0]
    assert (finding.code, finding.confidence) == ("stuck", "high")


def test_a_small_learning_rate_is_slow_and_not_stuck():
    labels = {current_phase(real_record("slow_rate", until)) for until in range(300, 4400, 100)}
    assert labels == {"first phase (step 0–)"}
    assert find_phases(real_record("slow_rate")).loss_marker == 4500


def test_three_layers_have_no_first_phase():
    assert diagnose(real_record("three_layers")).codes == ("nothing_to_report",)


def test_cifar_ends_with_two_classes():
    findings = diagnose(real_record("cifar"))
    first = find_phases(real_record("cifar")).named("first phase")
    assert first.ended_by == "features"
    assert 1000 <= first.stop <= 1300
    assert findings.codes == ("one_class_first", "first_phase_over")
