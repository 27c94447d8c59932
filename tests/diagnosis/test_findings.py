"""Findings of made-up runs whose answer is known."""

import numpy as np
import pytest
from diagnosis_curves import LEVEL, leaving_loss, noisy, peaking_cosine
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import made_up_record

from cloudchamber.diagnosis import diagnose

STEPS = np.arange(0, 1010, 10)
FLAT = np.full(101, LEVEL)
RECIPE = """
model: {name: mlp, depth: 9, width: 512}
initialization: {name: xavier_normal, variance_scale: 0.3}
optimizer: {name: sgd, lr: 0.1, momentum: 0.0, weight_decay: 0.001}
"""


def record_of(loss, **more):
    return made_up_record(STEPS, loss, **{"skipped": (), **more})


def finding_of(record, code):
    found = [finding for finding in diagnose(record) if finding.code == code]
    assert len(found) == 1, f"{code} is not in {diagnose(record).codes}"
    return found[0]


def per_layer(*curves):
    """One (steps, layers) array from a curve, or a number, per layer."""
    return np.stack([np.broadcast_to(curve, STEPS.shape) for curve in curves], axis=1).astype(float)


def advice_of(record, code="stuck"):
    return " ".join(finding_of(record, code).advice)


LEAVING = {"feature_cosine": peaking_cosine(STEPS, 600), "gradient_cosine": peaking_cosine(STEPS, 500)}


def test_first_phase_over():
    finding = finding_of(record_of(leaving_loss(STEPS, 500), **LEAVING), "first_phase_over")
    assert (finding.severity, finding.confidence, finding.steps) == ("good", "high", (0, 600))
    loss, feature, gradient = finding.evidence
    assert (loss.quantity, loss.reference) == ("probe_loss", pytest.approx(LEVEL))
    assert (feature.quantity, feature.reference) == ("feature_cosine of linear2", 0.6)
    assert gradient.quantity == "gradient_cosine of linear2"
    assert finding.source == "mlp2024, Section 2"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "holds no feature cosine of linear2"),
        ({"feature_cosine": np.linspace(0.9, 0.6, 101)}, "does not peak there"),
        ({"layers": ("only",)}, "no hidden layer"),
    ],
)
def test_by_the_loss_alone_the_end_is_less_sure(more, reason):
    finding = finding_of(record_of(leaving_loss(STEPS, 500), **more), "first_phase_over")
    assert finding.confidence == "medium"
    assert reason in finding.because


def test_markers_that_disagree_make_it_less_sure():
    steps = np.arange(0, 4000, 10)
    record = made_up_record(steps, leaving_loss(steps, 500), feature_cosine=peaking_cosine(steps, 2000))
    finding = finding_of(record, "first_phase_over")
    assert finding.confidence == "medium"
    assert "the features peak at step 2000" in finding.because


def test_an_end_just_seen_is_least_sure():
    record = record_of(leaving_loss(STEPS, 500), **LEAVING).sel(step=slice(0, 500))
    finding = finding_of(record, "first_phase_over")
    assert finding.confidence == "low"
    assert "observations ago" in finding.because


def test_in_first_phase():
    record = record_of(leaving_loss(STEPS, 500), **LEAVING).sel(step=slice(0, 300))
    finding = finding_of(record, "in_first_phase")
    assert (finding.severity, finding.steps) == ("notice", (0, 300))
    assert "become alike" in finding.because
    assert "stuck" in finding.because


def test_a_long_slow_first_phase_is_offered_momentum():
    record = record_of(LEVEL * (1 - 0.008 * STEPS / 1000), recipe=RECIPE)
    assert "--set optimizer.momentum=0.9" in advice_of(record, "in_first_phase")


def test_stuck_without_a_cause_in_the_record():
    finding = finding_of(record_of(noisy(FLAT, 1e-4)), "stuck")
    assert (finding.severity, finding.confidence, finding.steps) == ("problem", "high", (0, 1000))
    assert "no cause" in finding.title
    assert "1000 steps" in finding.title
    assert finding.evidence[0].reference == pytest.approx(LEVEL)


def test_stuck_for_a_short_time_is_less_sure():
    assert finding_of(record_of(FLAT).sel(step=slice(0, 600)), "stuck").confidence == "medium"


def test_stuck_and_leaving_is_less_sure():
    finding = finding_of(record_of(LEVEL - 1e-5 * 2 ** (STEPS / 200)), "stuck")
    assert finding.confidence == "medium"
    assert "twice as far every 200 steps" in finding.because


def test_stuck_above_the_constant():
    assert "above that of a constant" in finding_of(record_of(noisy(1.5 * FLAT, 1e-3)), "stuck").title


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"feature_cosine": per_layer(0.7, 0.8, np.nan, 0.5)}, "the features of linear3 are zero"),
        ({"relative_distance": per_layer(1e-4, 1e-4, 2e-3, 0.1)}, "the weights hardly move"),
        ({"feature_cosine": per_layer(0.7, 0.9, 0.99, 0.5)}, "alike to linear3 from the first observation on"),
        (
            {"feature_cosine": per_layer(0.7, 0.8, 0.99 - 0.1 * np.exp(-STEPS / 50), 0.5)},
            "all samples look alike to linear3",
        ),
        ({"gradient_cosine": per_layer(0.3, 0.95 - 0.4 * np.exp(-STEPS / 50), 0.9, 0.9)}, "push linear2 the same way"),
        ({"recipe": RECIPE}, "the initial weights are small"),
    ],
)
def test_the_cause_of_being_stuck(more, cause):
    finding = finding_of(record_of(FLAT, **more), "stuck")
    assert cause in finding.title
    assert finding.advice


def test_advice_follows_the_recipe():
    advice = finding_of(record_of(FLAT, recipe=RECIPE), "stuck").advice
    wanted = [
        "cloudchamber rescue RUN`",
        "weight_decay=0`",
        "momentum=0.9`",
        "variance_scale=1`",
        "batch normalization",
        "model.depth=6`",
    ]
    assert len(advice) == len(wanted)
    for line, word in zip(advice, wanted, strict=True):
        assert word in line


@pytest.mark.parametrize(
    ("replaced", "by", "absent"),
    [
        ("weight_decay: 0.001", "weight_decay: 0", "weight_decay=0"),
        ("momentum: 0.0", "momentum: 0.9", "momentum=0.9"),
        ("name: sgd", "name: adam", "momentum=0.9"),
        ("depth: 9", "depth: 3", "fewer layers"),
        ("variance_scale: 0.3", "variance_scale: 1", "variance_scale=1`"),
    ],
)
def test_what_the_recipe_has_is_not_advised(replaced, by, absent):
    assert absent not in advice_of(record_of(FLAT, recipe=RECIPE.replace(replaced, by)))


def test_normalization_is_not_advised_where_there_is_one():
    norm = ("norm", "BatchNorm1d", "skipped, because it is a normalization")
    assert "batch normalization" not in advice_of(record_of(FLAT, skipped=(norm,)))
    without_weights = RECIPE + "\nnorms: {name: phase_norm}\n"
    assert "batch normalization" not in advice_of(record_of(FLAT, recipe=without_weights))


@pytest.mark.parametrize("text", ["# the loop was the user's own", "", "just words", "[1, 2]", "a: ["])
def test_a_recipe_that_is_none_means_an_own_loop(text):
    assert advice_of(record_of(FLAT, recipe=text)) == advice_of(record_of(FLAT))


@pytest.mark.parametrize("text", ["optimizer: sgd", "optimizer: {name: sgd, lr: fast, momentum: true}", "model: [9]"])
def test_a_recipe_of_another_shape_is_no_trouble(text):
    assert "larger weights" in advice_of(record_of(FLAT, recipe=text))


def test_own_loops_are_told_no_flags():
    assert "--set optimizer" not in advice_of(record_of(FLAT))


@pytest.mark.parametrize("end", [np.nan, np.inf])
def test_diverged(end):
    loss = leaving_loss(STEPS, 500)
    loss[90:] = end
    finding = diagnose(record_of(loss, recipe=RECIPE))[0]
    assert (finding.code, finding.severity, finding.steps) == ("diverged", "problem", (890, 1000))
    assert "--set optimizer.lr=0.01" in finding.advice[0]
    assert np.array_equal(finding.evidence[-1].value, end, equal_nan=True)


def test_diverged_from_the_first_observation_on():
    assert diagnose(record_of(np.full(101, np.nan))).codes == ("diverged",)


def test_exploded():
    finding = finding_of(record_of(LEVEL * 1.1 ** (STEPS / 10)), "diverged")
    assert "exploded" in finding.title


def test_the_features_of_a_diverged_run_are_not_dead():
    loss = leaving_loss(STEPS, 500)
    loss[90:] = np.nan
    features = peaking_cosine(STEPS, 600)
    features[90:] = np.nan
    assert "dead_features" not in diagnose(record_of(loss, feature_cosine=features)).codes


def test_dead_features():
    features = np.where(STEPS < 800, 0.7, np.nan)
    record = record_of(leaving_loss(STEPS, 500), feature_cosine=per_layer(0.6, features, 0.8, np.nan))
    finding = finding_of(record, "dead_features")
    assert (finding.layers, finding.confidence, finding.severity) == (("linear2",), "high", "problem")


def test_features_that_were_zero_from_the_start_may_be_meant_to_be():
    record = record_of(leaving_loss(STEPS, 500), feature_cosine=per_layer(0.6, np.nan, 0.8, 0.1))
    assert finding_of(record, "dead_features").confidence == "medium"


def test_unmeasured_features_are_not_dead():
    record = record_of(leaving_loss(STEPS, 500), feature_cosine=per_layer(0.6, np.nan, 0.8, 0.1))
    record["valid"].loc[{"quantity": "feature_cosine", "layer": "linear2"}] = False
    assert "dead_features" not in diagnose(record).codes


def test_condensed_features_have_risen():
    risen = 0.97 - 0.2 * np.exp(-STEPS / 100)
    record = record_of(leaving_loss(STEPS, 500), feature_cosine=per_layer(0.99, risen, 0.9, 0.99))
    finding = finding_of(record, "condensed_features")
    assert finding.layers == ("linear2",)
    assert finding.evidence[0].reference == pytest.approx(0.77)
    assert not finding.advice


def test_condensed_layers():
    widths = per_layer(64, 20, 40, 10)
    record = record_of(leaving_loss(STEPS, 500), effective_width=widths, width=64)
    finding = finding_of(record, "condensed_layers")
    assert finding.layers == ("linear2",)
    assert "linear2: 64 neurons act like 20" in finding.title
    assert (finding.evidence[0].value, finding.evidence[0].reference) == (20, 64)


def test_few_groups_that_random_neurons_have_too_are_not_condensed():
    record = record_of(leaving_loss(STEPS, 500), effective_width=np.full(101, 20.0), width=64)
    record["effective_width_null"][:] = 24.0
    assert "condensed_layers" not in diagnose(record).codes


@pytest.mark.parametrize(
    ("accuracy", "classes"),
    [
        ([0.9] + [0.1] * 9, (0,)),
        ([0.0, 0.95, 0.0, 0.6, 0.2, 0.1, 0.0, 0.0, 0.25, 0.0], (1, 3)),
        ([1.0] + [0.0] * 9, ()),
        ([0.9, 0.9, 0.9] + [0.0] * 7, ()),
        ([0.9, 0.5] + [0.3] * 8, ()),
        ([0.9] * 10, ()),
        ([np.nan, 0.9, 0.8] + [0.0] * 7, (1, 2)),
        ([np.nan] * 10, ()),
    ],
)
def test_one_class_first(accuracy, classes):
    record = record_of(leaving_loss(STEPS, 500), class_accuracy=np.tile(accuracy, (101, 1)), **LEAVING)
    found = [finding for finding in diagnose(record) if finding.code == "one_class_first"]
    assert bool(found) == bool(classes)
    for finding, name in zip(found, classes[:1], strict=True):
        assert f"class {name}" in finding.title
        assert [e.quantity for e in finding.evidence[:-1]] == [f"class_accuracy of {c}" for c in classes]


def test_classes_are_read_at_the_end_of_the_first_phase():
    accuracy = np.where(STEPS[:, None] <= 620, [0.9] + [0.1] * 9, 0.95)
    record = record_of(leaving_loss(STEPS, 500), class_accuracy=accuracy, **LEAVING)
    assert "At the end of the first phase, only class 0" in finding_of(record, "one_class_first").title


def test_a_loss_that_came_back():
    steps = np.arange(0, 3000, 10)
    loss = np.where(steps < 2000, leaving_loss(steps, 500), LEVEL)
    record = made_up_record(steps, loss)
    assert set(diagnose(record).codes) == {"stuck", "loss_returned", "first_phase_over"}
    finding = finding_of(record, "loss_returned")
    assert finding.evidence[0].value == pytest.approx(0.1, abs=0.01)
    assert "smaller" in finding.advice[0]


def test_nothing_to_report():
    (finding,) = diagnose(record_of(LEVEL * np.exp(-STEPS / 300)))
    assert (finding.code, finding.severity) == ("nothing_to_report", "good")
    assert finding.because


@pytest.mark.parametrize(
    ("record", "advice"),
    [
        (record_of(FLAT).drop_vars("probe_loss"), "loss=loss_fn"),
        (record_of(FLAT, constant_loss=np.nan), "best constant output"),
        (record_of(FLAT).isel(step=[0]), "Observe more often"),
        (record_of(LEVEL * (5 - STEPS / 1000)), "train longer"),
    ],
)
def test_cannot_tell(record, advice):
    finding = finding_of(record, "cannot_tell")
    assert finding.severity == "unknown"
    assert advice in finding.advice[0]


@given(st.integers(0, 101), st.integers(0, 1500), st.booleans(), st.sampled_from([np.nan, np.inf, 0.5, 30.0]))
@settings(max_examples=40, deadline=None)
def test_every_record_has_findings_worst_first(count, leaves, similarities, last):
    loss = leaving_loss(STEPS, leaves)
    loss[-1:] = last
    record = record_of(loss, **(LEAVING if similarities else {})).isel(step=slice(101 - count, None))
    findings = diagnose(record)
    ranks = [("problem", "unknown", "notice", "good").index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks)
    assert len(ranks) >= 1
    for finding in findings:
        assert finding.title
        assert finding.because
        assert str(finding)
        assert finding._repr_html_()
