"""Cosine images survive their encoding, and fit into their budget whatever the network's size."""

import base64

import numpy as np
import pytest
from made_up import made_up_record

from cloudchamber.reporting.images import encoded, payload, planned

from .conftest import full_record


def decoded(text):
    """Undo the encoding, slowly: what the page's script does."""
    codes = list(base64.b64decode(text))
    side = int((np.sqrt(8 * len(codes) + 1) - 1) / 2)
    matrix = np.full((side, side), np.nan)
    for i in range(side):
        for j in range(i, side):
            code = codes.pop(0)
            matrix[i, j] = matrix[j, i] = (code - 1) / 127 - 1 if code else np.nan
    return matrix


@pytest.mark.parametrize("side", [1, 2, 7])
def test_the_encoding_is_undone_to_within_its_resolution(side):
    random = np.random.default_rng(side)
    matrix = random.uniform(-1, 1, (side, side))
    matrix = (matrix + matrix.T) / 2
    matrix[0, 0], matrix[-1, -1] = 1.0, np.nan
    np.testing.assert_allclose(decoded(encoded(matrix)), matrix, atol=0.5 / 127)


@pytest.mark.parametrize(("value", "code"), [(-1.0, 1), (0.0, 128), (1.0, 255), (np.nan, 0), (np.inf, 0), (-np.inf, 0)])
def test_the_ends_and_the_broken_have_codes_of_their_own(value, code):
    assert list(base64.b64decode(encoded(np.array([[value]])))) == [code]


def test_images_are_those_of_the_record(record):
    images = payload(record)
    assert images["steps"] == [0, 200, 400]
    kind = images["kinds"]["sample_cosine"]
    np.testing.assert_allclose(decoded(kind["data"][1][2]), record["sample_cosine"].values[2, 1], atol=0.5 / 127)
    assert kind["labels"][1][3] == "sample 3 (class 1)"
    assert kind["edges"] == list(range(2, 20, 2))
    assert kind["groups"] == [str(name) for name in range(10)]


def test_neurons_carry_an_order_for_each_step_and_no_padding(record):
    padded = record.copy(deep=True)
    padded["neuron_id"].values[1, 5:] = -1
    kind = payload(padded)["kinds"]["neuron_cosine"]
    assert len(kind["labels"][1]) == 5
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in kind["orders"][1])
    assert kind["of"] == [16, 5, 16, 16]


@pytest.mark.parametrize("layers", [1, 9, 60, 3000])
@pytest.mark.parametrize("steps", [1, 20, 500])
def test_any_network_fits_into_the_budget(layers, steps):
    plan = planned(layers, steps, budget=2_000_000)
    size = 4 * (plan.side * (plan.side + 1) // 2) // 3
    assert size * len(plan.layers) * len(plan.steps) <= 2_000_000
    assert (plan.steps[0], plan.steps[-1]) == (0, steps - 1)
    assert len(plan.steps) >= min(steps, 2)


def test_classes_are_thinned_alike(record):
    record = full_record(classes=100, class_accuracy=None)
    kind = payload(record)["kinds"]["sample_cosine"]
    assert len(kind["labels"][0]) == 128
    assert kind["of"][0] == 200
    counts = np.unique([label.split("class")[1] for label in kind["labels"][0]], return_counts=True)[1]
    assert len(counts) == 100
    assert not kind["groups"]


def test_a_record_without_images_has_none():
    assert payload(made_up_record([0], [2.3])) is None
