"""Sweeps into folders: the dataset is that of the single runs, failures and divergence are data, reruns go on."""

import shutil

import numpy as np
import pytest
import xarray as xr
import yaml
from sweep_cases import Watching

import cloudchamber as cc
from cloudchamber import DamagedFile, FileAccess, InvalidInput
from cloudchamber.training import load_recipe, parse_sweep
from cloudchamber.training.sweep import estimate as estimating
from cloudchamber.training.sweep import work
from cloudchamber.training.sweep.estimate import estimate
from cloudchamber.training.sweep.plan import plan

RECIPE = {
    "data": {"name": "sines", "samples": 20, "dimension": 2},
    "model": {"depth": 2, "width": 4},
    "batch_size": None,
    "steps": 12,
    "dtype": "float64",
    "observe": {"every": 5, "probe_samples": 10, "image_samples": 10},
}
GRID = {"optimizer.lr": [0.1, 0.01], "seed": {"range": 3}}
MIXED = {
    "optimizer.name": ["sgd", "adam"],
    "optimizer.momentum": {"values": [0.0, 0.9], "when": {"optimizer.name": "sgd"}},
    "model.depth": [2, 3],
}


def sweep_of(axes, **more):
    return {"recipe": RECIPE, "axes": axes, "cells_per_chunk": 4, **more}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return cc.sweep(sweep_of(GRID), tmp_path_factory.mktemp("sweep") / "out")


@pytest.fixture
def folder(done, tmp_path):
    return shutil.copytree(done.folder, tmp_path / "out")


def alone(tmp_path, **settings):
    """Return the record of one run."""
    words = [f"{name}={value}" for name, value in settings.items()]
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(RECIPE))
    recipe = load_recipe(tmp_path / "base.yaml", words)
    return cc.run(recipe, tmp_path / "-".join(words)).record


def test_every_cell_is_the_single_run(done, tmp_path):
    dataset = done.dataset
    assert dataset.probe_loss.dims == ("optimizer.lr", "seed")
    assert dataset.feature_cosine.dims == ("optimizer.lr", "seed", "layer")
    for lr, seed in ((0.1, 0), (0.1, 2), (0.01, 1)):
        record = alone(tmp_path, **{"optimizer.lr": lr, "seed": seed})
        cell = dataset.sel({"optimizer.lr": lr, "seed": seed})
        for name in ("train_loss", "probe_loss", "feature_cosine", "weight_norm", "relative_distance"):
            np.testing.assert_allclose(cell[name], record[name].isel(step=-1), rtol=1e-9, atol=1e-12)
    assert (dataset.status == "finished").all()
    assert (dataset.updates == 12).all()


def test_the_dataset_describes_itself(done):
    dataset = done.dataset
    assert dataset.feature_cosine.attrs["long_name"]
    assert dataset["optimizer.lr"].values.tolist() == [0.1, 0.01]
    assert dataset.layer.values.tolist() == ["linear1", "linear2"]
    assert "optimizer.lr:" in dataset.attrs["sweep"]
    assert '"threads": 1' in dataset.attrs["environments"]


def test_the_folder_holds_all_of_it(done):
    assert {path.name for path in done.folder.iterdir()} == {
        "sweep.yaml",
        "ledger.sqlite",
        "ledger.sqlite.lock",
        "sweep.nc",
    }
    with xr.open_dataset(done.folder / "sweep.nc", engine="h5netcdf") as kept:
        assert kept.load().equals(done.dataset)
    opened = cc.open_sweep(done.folder)
    assert opened.dataset.identical(done.dataset)
    assert opened.failures == ()


def test_the_same_again_computes_nothing(folder, done):
    watching = Watching()
    again = cc.sweep(folder / "sweep.yaml", folder, callbacks=[watching])
    assert watching.began == [(2, 2)]
    assert watching.ended == []
    assert again.dataset.identical(done.dataset)
    assert (folder / "sweep.nc").read_bytes() == (done.folder / "sweep.nc").read_bytes()


def test_what_was_interrupted_is_missing_and_goes_on_to_the_same_bits(tmp_path, done):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cc.sweep(sweep_of(GRID), tmp_path / "out", callbacks=[Watching(1, stop)])
    half = cc.open_sweep(tmp_path / "out").dataset
    assert sorted(np.unique(half.status, return_counts=True)[1]) == [3, 3]
    assert np.isnan(half.probe_loss.values[(half.status == "missing").values]).all()
    resumed = cc.sweep(sweep_of(GRID), tmp_path / "out")
    assert resumed.dataset.identical(done.dataset)
    assert (tmp_path / "out/sweep.nc").read_bytes() == (done.folder / "sweep.nc").read_bytes()


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, done):
    monkeypatch.chdir(tmp_path)
    result = cc.sweep(sweep_of(GRID))
    assert result.folder is None
    assert result.dataset.identical(done.dataset)
    assert list(tmp_path.iterdir()) == []


def test_another_sweep_in_the_folder_is_refused(folder):
    with pytest.raises(InvalidInput, match=r"a folder holds one sweep; got another .* Remedy: choose a new folder"):
        cc.sweep(sweep_of({"seed": {"range": 3}}), folder)


def test_conditions_give_cells_and_layers_are_put_beside_each_other(tmp_path):
    dataset = cc.sweep(sweep_of(MIXED, results=["probe_loss", "feature_cosine"]), tmp_path / "out").dataset
    assert dataset.probe_loss.dims == ("cell",)
    assert dataset["optimizer.name"].values.tolist() == ["sgd"] * 4 + ["adam"] * 2
    np.testing.assert_array_equal(dataset["optimizer.momentum"], [0.0, 0.0, 0.9, 0.9, np.nan, np.nan])
    assert dataset["model.depth"].values.tolist() == [2, 3] * 3
    assert dataset.layer.values.tolist() == ["linear1", "linear2", "linear3"]
    shallow = dataset.where(dataset["model.depth"] == 2, drop=True)
    assert np.isnan(shallow.feature_cosine.sel(layer="linear3")).all()
    assert np.isfinite(shallow.feature_cosine.sel(layer=["linear1", "linear2"])).all()
    assert set(dataset.data_vars) == {"status", "updates", "probe_loss", "feature_cosine"}
    record = alone(tmp_path, **{"optimizer.name": "adam", "model.depth": 3})
    last = dataset.isel(cell=5)
    np.testing.assert_allclose(last.probe_loss, record.probe_loss[-1], rtol=1e-9)
    np.testing.assert_allclose(last.feature_cosine, record.feature_cosine[-1], rtol=1e-9)
    with xr.open_dataset(tmp_path / "out/sweep.nc", engine="h5netcdf") as kept:
        assert kept.load().equals(dataset)


def test_what_is_kept_of_the_steps(tmp_path):
    results = {"train_loss": "all", "probe_loss": "min", "weight_norm": "max", "feature_cosine": "final"}
    dataset = cc.sweep(sweep_of({"seed": {"range": 2}}, results=results)).dataset
    record = alone(tmp_path, seed=1)
    cell = dataset.sel(seed=1)
    assert cell.step.values.tolist() == record.step.values.tolist() == [0, 5, 10, 12]
    np.testing.assert_allclose(cell.train_loss, record.train_loss, rtol=1e-9)
    np.testing.assert_allclose(cell.probe_loss, record.probe_loss.min(), rtol=1e-9)
    np.testing.assert_allclose(cell.weight_norm, record.weight_norm.max("step"), rtol=1e-9)
    np.testing.assert_allclose(cell.feature_cosine, record.feature_cosine[-1], rtol=1e-9)


def test_costly_measures_and_images_are_kept_when_they_are_named(tmp_path):
    results = ["effective_width", "sample_cosine"]
    dataset = cc.sweep(sweep_of({"seed": {"range": 2}}, results=results)).dataset
    record = alone(tmp_path, seed=1, **{"observe.measures": "[effective_width, sample_cosine]"})
    assert dataset.sample_cosine.dims == ("seed", "layer", "sample", "sample_other")
    np.testing.assert_allclose(dataset.sample_cosine[1], record.sample_cosine[-1], atol=1e-6)
    np.testing.assert_allclose(
        dataset.effective_width[1], record.effective_width.isel({record.effective_width.dims[0]: -1})
    )


def test_zipped_and_labelled_axes_keep_their_values():
    axes = {
        "scaling": {"zip": {"model.width": [2, 3], "initialization.variance_scale": [0.1, 0.2]}},
        "optimizer": {"values": [{"name": "sgd"}, {"name": "adam"}], "labels": ["descent", "Adam"]},
        "model.bias": [True, False],
    }
    dataset = cc.sweep(sweep_of(axes, results=["probe_loss"])).dataset
    assert dataset.probe_loss.dims == ("scaling", "optimizer", "model.bias")
    assert dataset["model.width"].dims == ("scaling",)
    assert dataset["initialization.variance_scale"].values.tolist() == [0.1, 0.2]
    assert dataset.optimizer.values.tolist() == ["descent", "Adam"]
    assert dataset["model.bias"].values.tolist() == [True, False]


def test_a_diverging_cell_is_data_and_disturbs_no_other(done):
    axes = {"optimizer.lr": [0.1, 1e6, 0.01], "seed": {"range": 3}}
    dataset = cc.sweep({**sweep_of(axes), "cells_per_chunk": 9}).dataset
    assert (dataset.status.sel({"optimizer.lr": 1e6}) == "diverged").all()
    assert (dataset.updates.sel({"optimizer.lr": 1e6}) < 12).all()
    assert not np.isfinite(dataset.train_loss.sel({"optimizer.lr": 1e6})).any()
    kept = dataset.sel({"optimizer.lr": [0.1, 0.01]})
    assert (kept.status == "finished").all()
    for name in ("probe_loss", "feature_cosine"):
        np.testing.assert_allclose(kept[name], done.dataset[name], rtol=1e-9)


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path):
    axes = {"batch_size": [10, 21, None], "seed": {"range": 2}}
    result = cc.sweep(sweep_of(axes), tmp_path / "out")
    assert (result.dataset.status.sel(batch_size="21") == "failed").all()
    assert (result.dataset.status.sel(batch_size=["10", "null"]) == "finished").all()
    assert np.isnan(result.dataset.probe_loss.sel(batch_size="21")).all()
    assert [failure.settings for failure in result.failures] == [
        {"batch_size": 21, "seed": 0},
        {"batch_size": 21, "seed": 1},
    ]
    assert "batch_size must be at most the 20 samples of sines; got 21" in result.failures[0].error
    assert cc.open_sweep(tmp_path / "out").failures == result.failures


def test_one_failing_cell_of_a_chunk_leaves_the_others(monkeypatch, done):
    trained = work.run_ensemble

    def fragile(recipes, **options):
        if any(recipe.seed == 1 for recipe in recipes):
            raise RuntimeError("not seed 1")
        return trained(recipes, **options)

    monkeypatch.setattr(work, "run_ensemble", fragile)
    dataset = cc.sweep(sweep_of(GRID)).dataset
    assert dataset.status.values.tolist() == [["finished", "failed", "finished"]] * 2
    kept = dataset.sel(seed=[0, 2])
    np.testing.assert_allclose(kept.probe_loss, done.dataset.probe_loss.sel(seed=[0, 2]), rtol=1e-9)


def test_a_sweep_of_which_everything_fails_still_has_a_dataset(tmp_path):
    result = cc.sweep(sweep_of({"batch_size": [21, 22]}), tmp_path / "out")
    assert (result.dataset.status == "failed").all()
    assert len(result.failures) == 2
    assert set(result.dataset.data_vars) == {"status", "updates"}


def test_another_process_on_the_folder_is_refused(folder):
    def another():
        with pytest.raises(FileAccess, match=r"one process writes a ledger at a time; got .*ledger.sqlite"):
            cc.sweep(folder / "sweep.yaml", folder)

    (folder / "ledger.sqlite").unlink()
    cc.sweep(folder / "sweep.yaml", folder, callbacks=[Watching(1, another)])


def test_damage_is_named(folder, tmp_path):
    (folder / "ledger.sqlite").write_bytes(b"garbage" * 100)
    for act in (lambda: cc.open_sweep(folder), lambda: cc.sweep(folder / "sweep.yaml", folder)):
        with pytest.raises(DamagedFile, match=r"ledger.sqlite must be the whole ledger of a sweep"):
            act()
    with pytest.raises(FileAccess, match=r"a sweep's folder holds sweep.yaml; got .* Remedy: check the path"):
        cc.open_sweep(tmp_path / "nowhere")


def test_an_estimate_times_every_shape_and_tells_what_will_fail():
    axes = {"model.width": [4, 8], "batch_size": [None, 21], "seed": {"range": 5}}
    rows = estimate(plan(parse_sweep(sweep_of(axes))))
    assert len(rows) == 4
    assert sum(row.cells for row in rows) == 20
    assert all(row.timed and row.chunks == 2 for row in rows)
    failing = [row for row in rows if row.error]
    assert len(failing) == 2
    assert all("batch_size must be at most" in row.error and row.seconds == 0 for row in failing)
    assert all(0 < row.seconds < 60 for row in rows if not row.error)


def test_an_estimate_counts_what_it_does_not_time(monkeypatch):
    monkeypatch.setattr(estimating, "MOST_SHAPES", 1)
    rows = estimate(plan(parse_sweep(sweep_of({"model.width": [4, 200], "seed": {"range": 4}}))))
    assert [row.timed for row in rows] == [True, False]
    assert "model.width=200" in rows[0].example
    assert 0 < rows[1].seconds < rows[0].seconds
