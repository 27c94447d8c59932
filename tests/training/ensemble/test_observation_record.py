"""The record of an ensemble: steps of each member, chunks, files, and what reads records of one model."""

import functools

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from observation_cases import Twins, assert_same_record, data, mlp, scattered
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber._core.members import join_members, one_member
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.observation import EnsembleObserver
from cloudchamber.training.ensemble.watch import Watch

RECIPES = tuple(f"optimizer: {{name: sgd, lr: {rate}}}\nsteps: 30\n" for rate in (0.1, 0.2, 0.3))


def twins(**options):
    return Twins(scattered(mlp, 3), data(), fn.cross_entropy, **options)


@functools.cache
def trained():
    """Members of which the second stops early, and the third at a step of its own."""
    made = Twins(scattered(mlp, 3), data(), fn.cross_entropy, every=2, images_every=4, measures=["default"])
    made.step(2)
    made.step(4)
    made.step(5, [2], force=True)
    made.step(6, [0, 1])
    made.step(8, [0])
    return made


def test_dimensions_and_coordinates():
    record = trained().observer.finish([9, 6, 5])
    assert record.probe_loss.dims == ("member", "step")
    assert record.feature_cosine.dims == ("member", "step", "layer")
    assert record.sample_cosine.dims == ("member", "image_step", "layer", "sample", "sample_other")
    assert record.constant_predictor_loss.dims == ("member",)
    assert record.effective_width_null.dims == ("member", "layer")
    assert record.valid.dims == ("member", "quantity", "step", "layer")
    assert record.step.values.tolist() == [0, 2, 4, 5, 6, 8]
    assert record.image_step.values.tolist() == [0, 4, 5, 8]
    assert record.images_taken.values.astype(int).tolist() == [[1, 1, 0, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert record.member.values.tolist() == [0, 1, 2]
    assert record.stopped_at.values.tolist() == [9, 6, 5]
    assert trained().observer.record.stopped_at.values.tolist() == [8, 6, 5]


def test_what_comes_after_the_end_is_not_measured():
    record = trained().observer.record
    assert np.isnan(record.probe_loss.values).tolist() == [
        [False, False, False, True, False, False],
        [False, False, False, True, False, True],
        [False, False, False, False, True, True],
    ]
    measured = record.valid.any(("quantity", "layer")).values
    np.testing.assert_array_equal(measured, ~np.isnan(record.probe_loss.values))


def test_each_member_is_as_its_monitor_says():
    trained().assert_same()


def test_a_file_and_back(tmp_path):
    record = trained().observer.record
    cc.save_record(record, tmp_path / "record.nc")
    assert cc.open_record(tmp_path / "record.nc").identical(record)
    assert one_member(cc.open_record(tmp_path), 2).identical(one_member(record, 2))


def axes():
    return Figure().add_subplot()


@pytest.mark.parametrize("select", ["sel", "isel"])
def test_what_reads_a_record_reads_a_member(select):
    record = trained().observer.record
    for k, monitor in enumerate(trained().monitors):
        one, alone = getattr(record, select)(member=k), monitor.record
        assert cc.find_phases(one) == cc.find_phases(alone)
        assert [str(finding) for finding in cc.diagnose(one)] == [str(finding) for finding in cc.diagnose(alone)]
        for draw in (cc.plot.loss, cc.plot.accuracy, cc.plot.similarity):
            for mine, theirs in zip(draw(one, ax=axes()).lines, draw(alone, ax=axes()).lines, strict=True):
                np.testing.assert_allclose(mine.get_xydata(), theirs.get_xydata(), atol=1e-9)
        images = [cc.plot.heatmap(each, layer="0", step=4, ax=axes()).images[0].get_array() for each in (one, alone)]
        np.testing.assert_allclose(*images, atol=1e-6)


def test_members_are_compared():
    record = trained().observer.record
    alone = cc.compare({str(k): monitor.record for k, monitor in enumerate(trained().monitors)})
    exact = cc.compare({str(k): one_member(record, k) for k in range(3)})
    assert str(exact) == str(alone)
    seen = cc.compare({str(k): record.isel(member=k) for k in range(3)}).table
    for name in seen.data_vars:
        one, other = seen[name].values.tolist(), alone.table[name].values.tolist()
        assert one == other or np.allclose(one, other, rtol=1e-9, equal_nan=True), name


def test_recipes_of_their_own():
    made = twins(observer={"recipes": RECIPES})
    record = made.observer.record
    assert record.attrs["recipe"] == "optimizer:\n  name: sgd\nsteps: 30\n"
    assert record.member_recipe.values.tolist() == list(RECIPES)
    assert one_member(record, 1).attrs["recipe"] == RECIPES[1]


def test_chunk_after_chunk_is_one_record():
    models, together = scattered(mlp, 4), Twins(scattered(mlp, 4), data(), fn.cross_entropy)
    layout = Layout.of(models[0])
    flat = layout.flat(models)
    apart = EnsembleObserver(
        models[0], layout, Watch(probe=data(), every=1, images_every=2), fn.cross_entropy, members=4
    )
    for number in (1, 2):
        together.observe(number)
    for members in ([0, 2], [3], [1]):
        for number in (0, 1, 2):
            assert apart.observe(number, flat[members], {}, members)
    for k in range(4):
        assert_same_record(one_member(apart.record, k), one_member(together.observer.record, k))


def test_records_of_parts_are_put_together():
    models, whole = scattered(mlp, 3), Twins(scattered(mlp, 3), data(), fn.cross_entropy, observer={"recipes": RECIPES})
    whole.observe(1)
    whole.observe(3, [2], force=True)
    parts = []
    for members, steps in (([0, 1], (0, 1)), ([2], (0, 1, 3))):
        layout, some = Layout.of(models[0]), [models[k] for k in members]
        own = EnsembleObserver(
            models[0],
            layout,
            Watch(probe=data(), every=1, images_every=2),
            fn.cross_entropy,
            len(some),
            recipes=[RECIPES[k] for k in members],
        )
        for number in steps:
            own.observe(number, layout.flat(some), {}, range(len(some)), force=number == 3)
        parts.append(own.record)
    joined, record = join_members(parts), whole.observer.record
    assert joined.attrs == record.attrs
    assert set(joined.variables) == set(record.variables)
    for name in record.variables:
        assert (joined[name].dims, joined[name].dtype) == (record[name].dims, record[name].dtype), name
    for k in range(3):
        assert_same_record(one_member(joined, k), one_member(record, k))


def test_losses_and_epochs_of_the_training_loop():
    made = twins()
    made.observe(1, train_loss=torch.tensor([1.0, torch.nan, 3.0]), epoch=0.5)
    made.observe(2, [1], train_loss=[4.0], epoch=np.array([1.0]))
    record = made.observer.record
    np.testing.assert_array_equal(record.train_loss, [[np.nan, 1, np.nan], [np.nan, np.nan, 4], [np.nan, 3, np.nan]])
    np.testing.assert_array_equal(record.epoch.isel(member=1), [np.nan, 0.5, 1.0])
    valid = record.valid.sel(quantity="train_loss").any("layer").values
    assert valid.tolist() == [[False, True, False], [False, True, True], [False, True, False]]


def test_the_schedule_is_asked():
    made = twins(every=3, images_every=6)
    assert [made.observe(number) for number in (1, 2, 3)] == [False, False, True]
    assert [made.observer.observes(number) for number in (3, 4)] == [True, False]
    assert made.observe(4, force=True)
    assert made.observer.record.step.values.tolist() == [0, 3, 4]
    assert made.observer.record.image_step.values.tolist() == [0, 4]


def test_what_is_rare_is_taken_as_often_as_by_a_monitor():
    for beside in ("gradient_norm", "feature_cosine"):
        measures = ["layer_alignment", beside]
        made = Twins(scattered(mlp, 2), data(), fn.cross_entropy, every=1, images_every=1, measures=measures)
        for number in range(1, 20):
            made.step(number)
        taken = made.assert_same().valid.sel(quantity="layer_alignment").any("layer")
        assert taken.sum("step").values.tolist() == [13] * 2


def test_a_member_whose_first_observation_is_late():
    made = Twins(scattered(mlp, 2), data(), fn.cross_entropy, every=2)
    late = EnsembleObserver(
        made.models[0], made.layout, Watch(probe=data(), every=2, images_every=4), fn.cross_entropy, members=2
    )
    flat = made.layout.flat(made.models)
    late.observe(0, flat[:1], {}, [0])
    assert late.observe(3, flat, {}, [0, 1])  # for the second only
    assert late.record.probe_loss.notnull().values.tolist() == [[True, False], [False, True]]
    assert late.record.images_taken.values.tolist() == [[True, False], [False, True]]


def test_a_light_record_holds_no_images():
    made = twins(measures=["light"])
    assert made.observer.record.sizes["image_step"] == 0
    assert isinstance(made.observer.record, xr.Dataset)
    assert {row.coverage for row in made.observer.coverage} == {"measured"}
