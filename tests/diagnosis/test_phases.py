"""Phases of made-up runs whose answer is known."""

import numpy as np
import pytest
import xarray as xr
from diagnosis_curves import LEVEL, leaving_loss, noisy, peaking_cosine
from made_up import made_up_record

from cloudchamber.diagnosis import PhaseRule, current_phase, find_phases

STEPS = np.arange(0, 1010, 10)


def leaving_record(steps=STEPS, leaves=500, peak=600, **more):
    return made_up_record(
        steps,
        leaving_loss(steps, leaves),
        feature_cosine=peaking_cosine(steps, peak),
        gradient_cosine=peaking_cosine(steps, leaves),
        **more,
    )


def unmeasured(record, quantity, steps):
    """The record as if a quantity had not been measured at some steps."""
    record = record.copy(deep=True)
    record[quantity].loc[{"step": steps}] = np.nan
    record["valid"].loc[{"quantity": quantity, "step": steps}] = False
    return record


def test_a_run_that_leaves_its_plateau():
    phases = find_phases(leaving_record())
    (first,) = phases
    assert (first.name, first.start, first.ended_by, phases.status) == ("first phase", 0, "features", "second phase")
    assert first.stop == first.until == phases.feature_peak == pytest.approx(600, abs=20)
    assert phases.loss_marker == pytest.approx(470, abs=10)
    assert phases.gradient_peak == pytest.approx(500, abs=20)
    assert phases.layer == "linear2"


def test_without_similarities_the_loss_decides():
    phases = find_phases(made_up_record(STEPS, leaving_loss(STEPS, 500)))
    (first,) = phases
    assert first.stop == phases.loss_marker == pytest.approx(470, abs=10)
    assert (first.ended_by, phases.feature_peak, phases.gradient_peak) == ("loss", None, None)


def test_a_feature_peak_long_after_the_loss_is_another_event():
    steps = np.arange(0, 4000, 10)
    phases = find_phases(leaving_record(steps, leaves=500, peak=2000))
    assert phases.feature_peak == pytest.approx(2000, abs=20)
    assert phases.named("first phase").stop == phases.loss_marker


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("deviation", [0.001, 0.01, 0.05])
def test_noise_moves_the_end_little(deviation, seed):
    record = made_up_record(
        STEPS,
        noisy(leaving_loss(STEPS, 500), deviation, seed),
        feature_cosine=noisy(peaking_cosine(STEPS, 600), deviation / 10, seed),
    )
    assert find_phases(record).named("first phase").stop == pytest.approx(600, abs=60)


@pytest.mark.parametrize("spikes", [[20], [20, 21], [5, 30, 60], [100]])
@pytest.mark.parametrize("height", [0.0, 50.0])
def test_spikes_change_nothing(spikes, height):
    record = leaving_record()
    spiky = record.copy(deep=True)
    spiky["probe_loss"][spikes] = height
    assert find_phases(spiky).named("first phase") == find_phases(record).named("first phase")


def test_irregular_steps():
    steps = np.unique(np.random.default_rng(0).integers(0, 1000, 150))
    first = find_phases(leaving_record(steps)).named("first phase")
    assert first.start == steps[0]
    assert first.stop in steps
    assert first.stop == pytest.approx(600, abs=40)


def test_thin_sampling_still_finds_a_long_plateau():
    steps = np.arange(0, 1200, 100)
    assert find_phases(leaving_record(steps)).named("first phase").stop in (500, 600)


def test_a_plateau_of_two_observations_is_none():
    steps = np.arange(0, 2000, 300)
    phases = find_phases(leaving_record(steps, leaves=300))
    assert (phases.status, len(phases)) == ("no plateau", 0)


@pytest.mark.parametrize(
    "loss",
    [
        LEVEL * np.exp(-STEPS / 300),
        LEVEL * (1 - STEPS / 1100),
        3 * LEVEL * np.exp(-STEPS / 200),
        np.where(STEPS == 0, LEVEL, 0.1),
        np.full(101, 0.3),
    ],
    ids=["decay", "line", "decay from above", "at once", "below from the start"],
)
def test_no_plateau(loss):
    phases = find_phases(made_up_record(STEPS, loss))
    assert (phases.status, len(phases)) == ("no plateau", 0)
    assert phases.reason


def test_a_regression_loss():
    variance = 0.037
    record = made_up_record(STEPS, leaving_loss(STEPS, 500, level=variance, floor=1e-4), constant_loss=variance)
    assert find_phases(record).named("first phase").stop == pytest.approx(470, abs=10)


def test_a_plateau_reached_from_above_starts_where_it_is_reached():
    loss = leaving_loss(STEPS, 700) + 8 * np.exp(-STEPS / 20)
    first = find_phases(made_up_record(STEPS, loss)).named("first phase")
    assert first.start == pytest.approx(85, abs=10)
    assert first.stop == pytest.approx(670, abs=10)


def test_not_over_yet():
    phases = find_phases(leaving_record().isel(step=slice(0, 30)))
    (first,) = phases
    assert (phases.status, first.stop, first.until, first.ended_by) == ("first phase", None, 290, "")


def test_stuck():
    phases = find_phases(made_up_record(STEPS, noisy(np.full(101, LEVEL), 1e-4), feature_cosine=np.full(101, 0.9)))
    assert phases.status == "stuck"
    assert [str(phase) for phase in phases] == ["first phase (step 0–)", "stuck (step 0–)"]


@pytest.mark.parametrize(("steps", "status"), [(490, "first phase"), (500, "stuck")])
def test_stuck_takes_five_hundred_steps(steps, status):
    steps = np.arange(0, steps + 1, 10)
    assert find_phases(made_up_record(steps, np.full(len(steps), LEVEL))).status == status


def test_stuck_takes_ten_observations():
    steps = np.arange(0, 900, 100)
    assert find_phases(made_up_record(steps, np.full(9, LEVEL))).status == "first phase"
    steps = np.arange(0, 1000, 100)
    assert find_phases(made_up_record(steps, np.full(10, LEVEL))).status == "stuck"


def test_a_slow_but_steady_fall_is_not_stuck():
    assert find_phases(made_up_record(STEPS, LEVEL * (1 - 0.008 * STEPS / 1000))).status == "first phase"


@pytest.mark.parametrize("height", [1.02, 1.3, 5.0])
def test_flat_above_the_constant_is_stuck(height):
    assert find_phases(made_up_record(STEPS, noisy(np.full(101, height * LEVEL), 1e-3))).status == "stuck"


def test_falling_above_the_constant_cannot_tell():
    phases = find_phases(made_up_record(STEPS, LEVEL * (5 - STEPS / 1000)))
    assert phases.status == "cannot tell"
    assert "above" in phases.reason


def test_a_plateau_that_was_left_is_not_stuck():
    steps = np.arange(0, 3000, 10)
    assert find_phases(leaving_record(steps, leaves=2000, peak=2100)).status == "second phase"


def test_a_loss_that_returns_to_its_plateau_is_stuck_since_then():
    steps = np.arange(0, 3000, 10)
    loss = np.where(steps < 2000, leaving_loss(steps, 500), LEVEL)
    first, stuck = find_phases(made_up_record(steps, loss))
    assert first.stop == pytest.approx(470, abs=10)
    assert (stuck.start, stuck.stop, stuck.until) == (2000, None, 2990)


def test_a_short_excursion_below_the_plateau_is_no_end():
    loss = np.full(101, LEVEL)
    loss[20:27] = 1.0
    phases = find_phases(made_up_record(STEPS, loss))
    assert phases.loss_marker is None
    assert phases.named("first phase").stop is None


@pytest.mark.parametrize("end", [np.nan, np.inf])
def test_a_loss_that_ends_in_no_number_has_diverged(end):
    loss = leaving_loss(STEPS, 500)
    loss[-3:] = end
    phases = find_phases(made_up_record(STEPS, loss))
    assert (phases.status, len(phases)) == ("diverged", 1)
    assert "980" in phases.reason


def test_a_loss_that_explodes_has_diverged():
    assert find_phases(made_up_record(STEPS, LEVEL * 1.1 ** (STEPS / 10))).status == "diverged"


def test_a_stuck_run_that_diverges_is_no_longer_stuck():
    loss = np.append(np.full(100, LEVEL), np.nan)
    assert find_phases(made_up_record(STEPS, loss)).status == "diverged"


def test_no_number_on_the_way_is_left_out():
    record = leaving_record()
    holed = record.copy(deep=True)
    holed["probe_loss"][[10, 11, 12]] = np.nan
    assert find_phases(holed).named("first phase") == find_phases(record).named("first phase")


def test_unmeasured_is_not_diverged():
    record = unmeasured(leaving_record(), "probe_loss", STEPS[STEPS > 900])
    assert find_phases(record).status == "second phase"


def test_unmeasured_similarities_are_left_out():
    record = leaving_record()
    thinned = unmeasured(record, "feature_cosine", STEPS[STEPS % 30 != 0])
    assert find_phases(thinned).feature_peak == pytest.approx(600, abs=60)


def test_an_unmeasured_layer_has_no_peak():
    record = unmeasured(leaving_record(), "feature_cosine", STEPS)
    assert find_phases(record).feature_peak is None


def test_zero_features_have_no_peak():
    record = leaving_record()
    record["feature_cosine"][:] = np.nan
    assert find_phases(record).named("first phase").ended_by == "loss"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_observations_cannot_tell(count):
    record = leaving_record().isel(step=slice(0, count))
    assert find_phases(record).status == current_phase(record) == "cannot tell"


@pytest.mark.parametrize(
    ("level", "reason"), [(np.nan, "no loss of the best"), (0.0, "mean nothing"), (-2.0, "mean nothing")]
)
def test_a_constant_loss_that_is_no_reference_cannot_tell(level, reason):
    phases = find_phases(made_up_record(STEPS, leaving_loss(STEPS, 500), constant_loss=level))
    assert phases.status == "cannot tell"
    assert reason in phases.reason


@pytest.mark.parametrize("missing", ["probe_loss", "constant_predictor_loss"])
def test_a_record_without_the_losses_cannot_tell(missing):
    assert find_phases(leaving_record().drop_vars(missing)).status == "cannot tell"


def test_an_empty_dataset_cannot_tell():
    assert find_phases(xr.Dataset()).status == "cannot tell"


def test_a_single_layer_is_not_hidden():
    phases = find_phases(leaving_record(layers=("linear1",)))
    assert (phases.layer, phases.feature_peak) == ("", None)


def test_the_middle_hidden_layer_of_eight_is_the_fifth():
    layers = tuple(f"linear{number}" for number in range(1, 10))
    assert find_phases(leaving_record(layers=layers)).layer == "linear5"


def test_another_layer_can_be_chosen():
    curves = np.stack([peaking_cosine(STEPS, peak) for peak in (550, 600, 650, 700)], axis=1)
    record = made_up_record(STEPS, leaving_loss(STEPS, 500), feature_cosine=curves)
    assert find_phases(record, layer="linear1").feature_peak == pytest.approx(550, abs=20)
    with pytest.raises(ValueError, match="linear4; got 'linear9'"):
        find_phases(record, layer="linear9")


def test_thresholds_can_be_changed():
    record = made_up_record(STEPS, np.full(101, LEVEL))
    assert find_phases(record, rule=PhaseRule(stuck_steps=2000)).status == "first phase"


@pytest.mark.parametrize(
    ("until", "label"),
    [(15, "cannot tell"), (200, "first phase (step 0–)"), (1000, "second phase (step 600–)")],
)
def test_current_phase(until, label):
    record = leaving_record().sel(step=slice(0, until))
    assert current_phase(record) == label


def test_current_phase_of_a_stuck_run():
    assert current_phase(made_up_record(STEPS, np.full(101, LEVEL))) == "stuck (step 0–)"
