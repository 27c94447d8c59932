"""The record buffer: what is in the dataset, and NaN apart from "not measured"."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.record import Later, Observation, RecordBuffer
from cloudchamber._core.registry import Quantity
from cloudchamber._core.schema import SCHEMA_VERSION, CoverageRow, Frame, LayerInfo
from cloudchamber._core.storage import Journal, open_record, save_record

LOSS = Quantity("loss", "loss in words", "L", ("step",))
COSINE = Quantity(
    "cosine", "cosine in words", "cos", ("step", "layer"), bounds=(-1.0, 1.0), paper="mlp2024", section="2"
)
PER_CLASS = Quantity("per_class", "per class", "a_c", ("step", "class"))
SAMPLES = Quantity("samples", "of samples", "S", ("image_step", "layer", "sample", "sample_other"), paper="zhou2022")
NEURONS = Quantity("neurons", "of neurons", "N", ("image_step", "layer", "neuron", "neuron_other"))
LEVEL = Quantity("level", "a number of the run", "l", ())
NULL = Quantity("null", "a number per layer", "m", ("layer",), paper="roy2007")
STRENGTH = Quantity("strength", "strengths", "s_i", ("step", "layer", "direction"))
SPECTRUM = Quantity("spectrum", "eigenvalues", "λ_i", ("step", "eigenvalue"))
PER_NEURON = Quantity("per_neuron", "of neurons", "n_j", ("image_step", "layer", "neuron"))
SHUFFLED = Quantity("cosine_shuffled", "for shuffled inputs", "cos", ("image_step", "layer"))
UNUSED = Quantity("unused", "never measured", "u", ("step",), paper="xu2024")


def frame(classes=2, **changes):
    fields = {
        "layers": (LayerInfo("a", "Linear", 3, 5, "relu"), LayerInfo("b#1", "Conv2d", 2, 27, "none")),
        "coverage": (CoverageRow("a", "Linear", "measured"), CoverageRow("n", "LayerNorm", "skipped, because …")),
        "classes": classes,
        "quantities": (
            *(LOSS, COSINE, PER_CLASS, SAMPLES, NEURONS, LEVEL, NULL, UNUSED),
            *(STRENGTH, SPECTRUM, PER_NEURON, SHUFFLED),
        ),
        "sample_classes": (0, 0, 1) if classes else (-1, -1, -1),
        "neuron_ids": ((0, 2, 5), (1, 4)),
        "constants": {"level": 2.5, "null": [3.0, 2.0]},
        "recipe": "seed: 0\n",
        "environment": {"torch": "2", "threads": 1},
    }
    return Frame(**fields | changes)


def measured(*values, dtype=np.float64, mask=False):
    return np.ma.MaskedArray(np.array(values[0] if len(values) == 1 else values, dtype=dtype), mask=mask)


def buffer(*observations, **changes):
    made = RecordBuffer(frame(**changes))
    for step, values in observations:
        made.append(Observation(step, values))
    return made


def test_the_schema():
    record = buffer(
        (0, {"loss": measured(2.0), "cosine": measured(0.1, 0.2), "per_class": measured(0.5, 1.0)}),
        (5, {"loss": measured(1.0), "samples": measured(np.ones((2, 3, 3)), dtype=np.float32)}),
    ).dataset()
    assert {name: record[name].dims for name in record.coords} == {
        "step": ("step",),
        "image_step": ("image_step",),
        "layer": ("layer",),
        "layer_type": ("layer",),
        "width": ("layer",),
        "fan_in": ("layer",),
        "activation": ("layer",),
        "module": ("module",),
        "module_type": ("module",),
        "coverage": ("module",),
        "class": ("class",),
        "sample": ("sample",),
        "sample_other": ("sample_other",),
        "sample_class": ("sample",),
        "neuron": ("neuron",),
        "neuron_other": ("neuron_other",),
        "neuron_id": ("layer", "neuron"),
        "quantity": ("quantity",),
    }
    assert set(record.data_vars) == {"loss", "cosine", "per_class", "samples", "level", "null", "valid"}
    assert record.step.values.tolist() == [0, 5]
    assert record.image_step.values.tolist() == [5]
    assert record.layer.values.tolist() == ["a", "b#1"]
    assert record.activation.values.tolist() == ["relu", "none"]
    assert record.fan_in.values.tolist() == [5, 27]
    assert record.coverage.values.tolist() == ["measured", "skipped, because …"]
    assert record.sample_class.values.tolist() == [0, 0, 1]
    assert record.neuron_id.values.tolist() == [[0, 2, 5], [1, 4, -1]]
    assert record["quantity"].values.tolist() == ["cosine", "loss", "per_class"]
    assert record.cosine.dims == ("step", "layer")
    assert record.samples.dims == ("image_step", "layer", "sample", "sample_other")
    assert (record.loss.dtype, record.samples.dtype, record.valid.dtype) == (np.float64, np.float32, bool)
    assert record.level.item() == 2.5
    assert record["null"].values.tolist() == [3.0, 2.0]


def test_variables_and_record_describe_themselves():
    record = buffer((0, {"cosine": measured(0.1, 0.2)})).dataset()
    assert record.cosine.attrs == {
        "long_name": "cosine in words",
        "symbol": "cos",
        "units": "1",
        "range": [-1.0, 1.0],
        "source": "mlp2024, 2",
    }
    assert record.attrs["schema_version"] == SCHEMA_VERSION
    assert record.attrs["recipe"] == "seed: 0\n"
    assert json.loads(record.attrs["environment"]) == {"threads": 1, "torch": "2"}
    assert record.attrs["citations"] == "mlp2024 roy2007"  # of what is in it, not of what could be


def test_nan_is_told_from_not_measured():
    record = buffer(
        (0, {"loss": measured(np.nan), "cosine": measured(np.nan, 0.5)}),
        (1, {"cosine": measured(0.1, 0.2, mask=[True, False])}),
        (2, {"loss": measured(1.0), "per_class": measured(np.nan, 0.5, mask=[False, False])}),
    ).dataset()
    valid = record.valid.sel(quantity="cosine")
    assert np.isnan(record.cosine.values).tolist() == [[True, False], [True, False], [True, True]]
    assert valid.values.tolist() == [[True, True], [False, True], [False, False]]
    assert record.valid.sel(quantity="loss").values.tolist() == [[True] * 2, [False] * 2, [True] * 2]
    assert record.valid.sel(quantity="per_class").values.tolist() == [[False] * 2, [False] * 2, [True] * 2]
    assert np.isnan(record.loss.values).tolist() == [True, True, False]


def test_image_steps_are_those_where_any_image_was_taken():
    samples = measured(np.ones((2, 3, 3)), dtype=np.float32)
    neurons = measured(np.ones((2, 3, 3)), dtype=np.float32)
    record = buffer((0, {"samples": samples}), (1, {"loss": measured(1.0)}), (2, {"neurons": neurons})).dataset()
    assert record.image_step.values.tolist() == [0, 2]
    assert record.samples.notnull().all(("layer", "sample", "sample_other")).values.tolist() == [True, False]
    assert record.neurons.isnull().all(("layer", "neuron", "neuron_other")).values.tolist() == [True, False]


def test_dimensions_that_only_the_data_know():
    some = measured([[3.0, 2.0, 1.0], [4.0, 0.0, 0.0]], mask=[[False] * 3, [False, True, True]])
    none = np.ma.masked_all((2, 3))
    record = buffer(
        (0, {"strength": some, "spectrum": measured(9.0, 5.0)}),
        (1, {"loss": measured(1.0)}),
        (2, {"strength": none, "spectrum": measured(8.0, np.nan)}),
    ).dataset()
    assert record.strength.dims == ("step", "layer", "direction")
    assert record.direction.values.tolist() == [1, 2, 3]
    assert record.eigenvalue.values.tolist() == [1, 2]
    assert "component" not in record.coords
    np.testing.assert_array_equal(record.strength[0], [[3, 2, 1], [4, np.nan, np.nan]])
    np.testing.assert_array_equal(record.spectrum, [[9, 5], [np.nan, np.nan], [8, np.nan]])
    assert record.valid.sel(quantity="strength").values.tolist() == [[True, True], [False, False], [False, False]]
    assert record.valid.sel(quantity="spectrum").values.tolist() == [[True] * 2, [False] * 2, [True] * 2]


def test_one_layer_that_was_measured_does_not_make_the_other_valid():
    strength = measured([[np.nan, np.nan], [0.0, 0.0]], mask=[[False, True], [True, True]])
    record = buffer((0, {"strength": strength})).dataset()
    assert record.valid.sel(quantity="strength").values.tolist() == [[True, False]]


def test_only_pairs_are_images_in_single_precision():
    third = 1 / 3
    record = buffer(
        (0, {"cosine_shuffled": measured(third, third), "per_neuron": measured(np.full((2, 3), third))}),
    ).dataset()
    assert record.image_step.values.tolist() == [0]
    assert record.cosine_shuffled.values.tolist() == [[third, third]]
    assert record.per_neuron.dims == ("image_step", "layer", "neuron")
    assert (record.per_neuron.values == third).all()
    assert record["quantity"].size == 0  # `valid` speaks of what has a step


def test_a_record_with_every_dimension_survives_the_disk(tmp_path):
    made = buffer(
        (0, {"strength": measured(np.ones((2, 3))), "spectrum": measured(1.0, 2.0), "loss": measured(1.0)}),
        (4, {"per_neuron": measured(np.ones((2, 3))), "cosine_shuffled": measured(0.5, 0.5)}),
    )
    save_record(made.dataset(), tmp_path / "record.nc")
    assert open_record(tmp_path / "record.nc").identical(made.dataset())
    journal = Journal(tmp_path / "journal.sqlite")
    journal.start(made.frame)
    for observation in made.observations:
        journal.append(observation)
    assert open_record(journal.path).identical(made.dataset())


FIRST_FRAME = """{"layers": [{"name": "0", "layer_type": "Linear", "width": 5, "fan_in": 4, "activation": "relu"}],
"coverage": [{"module": "0", "module_type": "Linear", "coverage": "measured"}], "classes": 2, "quantities": [
{"name": "class_accuracy", "long_name": "fraction of a class's samples that are right", "symbol": "acc_c",
"dims": ["step", "class"], "unit": "1", "bounds": [0.0, 1.0], "paper": "mlp2024", "section": "Appendix J"},
{"name": "effective_width_null", "long_name": "orientation groups", "symbol": "m_iso", "dims": ["layer"], "unit": "1",
"bounds": [0.0, Infinity], "paper": "", "section": ""},
{"name": "sample_cosine", "long_name": "cosine of the features of two samples", "symbol": "cos",
"dims": ["image_step", "layer", "sample", "sample_other"], "unit": "1", "bounds": [-1.0, 1.0], "paper": "mlp2024",
"section": "Appendix B"}], "sample_classes": [0, 1], "neuron_ids": [[0, 1, 2, 3, 4]],
"constants": {"effective_width_null": [5.0]}, "recipe": "seed: 0", "environment": {"torch": "2.4"}}"""


def test_a_journal_of_the_first_version_still_opens(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.start(Frame.from_json(FIRST_FRAME))
    journal.append(Observation(0, {"class_accuracy": measured(0.5, np.nan)}))
    journal.append(Observation(3, {"sample_cosine": measured(np.ones((1, 2, 2)), dtype=np.float32)}))
    record = open_record(tmp_path)
    assert record.attrs["schema_version"] == 1
    assert record.class_accuracy.values[0].tolist()[0] == 0.5
    assert record.valid.values.tolist() == [[[True], [False]]]
    assert record.image_step.values.tolist() == [3]
    assert record.effective_width_null.values.tolist() == [5.0]


def test_a_light_record_has_no_images():
    full = buffer((0, {"loss": measured(1.0), "samples": measured(np.ones((2, 3, 3)), dtype=np.float32)}))
    light = full.dataset(images=False)
    assert "samples" not in light
    assert "loss" in light
    assert light.step.equals(full.dataset().step)


def test_without_classes_and_without_images():
    record = buffer((0, {"loss": measured(1.0)}), classes=0).dataset()
    assert record.sizes["class"] == 0
    assert record.sizes["image_step"] == 0
    assert set(record.sample_class.values) == {-1}


def test_an_empty_buffer_has_a_record():
    record = buffer().dataset()
    assert record.sizes["step"] == 0
    assert record.valid.shape == (0, 0, 2)
    assert buffer().last_step == -1


@pytest.mark.parametrize("step", [3, 2, 0, -1])
def test_steps_grow(step):
    made = buffer((3, {}))
    with pytest.raises(InvalidInput, match="observed steps grow"):
        made.append(Observation(step, {}))


def test_an_unknown_quantity_is_refused():
    with pytest.raises(InvalidInput, match="nothing"):
        buffer((0, {"nothing": measured(1.0)})).dataset()


def test_building_a_record_changes_nothing_in_the_buffer():
    made = buffer((0, {"cosine": measured(0.1, 0.2, mask=[True, False])}))
    assert made.dataset().identical(made.dataset())


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NUMBER = st.floats(allow_nan=False)


@settings(deadline=None, max_examples=50)
@given(
    layers=st.lists(st.builds(LayerInfo, TEXT, TEXT, st.integers(1), st.integers(1), TEXT), max_size=3),
    rows=st.lists(st.builds(CoverageRow, TEXT, TEXT, TEXT), max_size=3),
    samples=st.lists(st.integers(-1, 5), max_size=4),
    neurons=st.lists(st.lists(st.integers(0, 500), max_size=3), max_size=3),
    constants=st.dictionaries(TEXT, NUMBER | st.lists(NUMBER, max_size=3), max_size=3),
    recipe=TEXT,
)
def test_a_frame_survives_json(layers, rows, samples, neurons, constants, recipe):
    made = frame(
        layers=tuple(layers),
        coverage=tuple(rows),
        sample_classes=tuple(samples),
        neuron_ids=tuple(tuple(ids) for ids in neurons),
        constants=constants,
        recipe=recipe,
    )
    assert Frame.from_json(made.to_json()) == made


def test_infinite_bounds_and_nan_constants_survive_json():
    made = frame(constants={"level": float("nan"), "null": [float("inf")] * 2})
    again = Frame.from_json(made.to_json())
    assert again.quantities == made.quantities
    assert np.isnan(again.constants["level"])
    assert again.constants["null"] == [float("inf")] * 2


def test_what_is_put_in_order_later_is_put_in_order_once():
    made = []

    def make():
        made.append(1)
        return {"a": np.ma.MaskedArray([1.0])}

    values = Later(make)
    assert not made
    assert list(values) == ["a"]
    assert len(values) == 1
    assert values["a"] == values.get("a")
    assert made == [1]
