"""The second pass beside a loop that materialises every change; what it checks, writes and leaves as it was."""

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
import xarray as xr
from second_pass_twin import agreement, directions, materialised, of_group, strengths, theorem1
from small_runs import SINES, checkpoint, files, journal, small

from cloudchamber._core.errors import FileAccess, InvalidInput
from cloudchamber._core.storage import RECORD_NAME, open_record, save_record
from cloudchamber.training import recipe_yaml, run
from cloudchamber.training.second_pass import moments
from cloudchamber.training.second_pass.layers import SeenLayer
from cloudchamber.training.second_pass.moments import Group, Moments
from cloudchamber.training.second_pass.passes import FIRST_PHASE_NAME, second_pass
from cloudchamber.training.second_pass.rerun import SeenBatch
from cloudchamber.training.second_pass.source import Past
from cloudchamber.training.second_pass.strengths import Strengths

STOP, RATE = 12, 0.05
TINY = ["model.width=12", f"optimizer.lr={RATE}", "batch_size=30", "steps=16"]
GROUPS = {"all": None, "3": 3, "5": 5}


def tiny(*overrides):
    return small(*TINY, *overrides)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny(), folder)
    return folder


@pytest.fixture(scope="module")
def found():
    return second_pass(tiny(), STOP, classes=[3, 5], directions=3, close_steps=4)


@pytest.fixture(scope="module")
def twin():
    return materialised(tiny(), STOP)


def close(a, b, tolerance=1e-9):
    a, b = (torch.as_tensor(value, dtype=torch.float64) for value in (a, b))
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("number", range(3))
def test_directions_and_strengths_are_those_of_all_changes_materialised(found, twin, group, number):
    part = found.parts[group, f"linear{number + 1}"]
    C, single, means = directions(of_group(twin[0], GROUPS[group]), number, RATE, 3)
    signs = (part.common_direction * C).sum(1).sign()
    close(part.common_direction, signs[:, None] * C, 1e-8)
    close(part.strength, strengths(means, part.common_direction))
    close(part.strength, strengths(means, C), 1e-8)
    whole = means.square().sum()
    parts = torch.einsum("kh,thd->tkd", part.common_direction, means).square().sum((0, 2))
    close(part.direction_share, parts / whole)
    close(part.mean_fit_error, (1 - parts.sum() / whole).sqrt(), 1e-7)
    beside = single - torch.einsum("h,k,nkd->nhd", part.common_direction[0], part.common_direction[0], single)
    close(part.sample_fit_error, beside.norm() / single.norm(), 1e-7)
    assert part.samples == len(single)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("number", range(2))
def test_components_of_theorem_1_are_those_of_the_paper(found, twin, group, number):
    part, above = (found.parts[group, f"linear{i + 1}"] for i in (number, number + 1))
    steps = of_group(twin[0], GROUPS[group])
    pairs = [
        theorem1(steps[step][0][number], steps[step][0][number + 1], above.common_direction[0], RATE)
        for step in found.close
        if step in steps
    ]
    primary, noise = torch.cat([p for p, _ in pairs]), torch.cat([n for _, n in pairs])
    close(part.theorem1.primary.mean, primary.mean())
    close(part.theorem1.primary.std, primary.std(correction=0))
    close(part.theorem1.noise.mean, noise.mean(0), 1e-8)
    close(part.theorem1.noise.std, noise.std(0, correction=0), 1e-8)
    close(part.theorem1.ratio, primary.mean() / noise.mean(0).max(), 1e-8)
    assert part.theorem1_error < 1e-6


@pytest.mark.parametrize("group", GROUPS)
def test_agreement_is_that_of_all_pairs(found, twin, group):
    part = found.parts[group, "linear2"]
    steps = of_group(twin[0], GROUPS[group]).values()
    rates = [agreement(layers[1], targets, part.common_direction[0]) for layers, targets in steps]
    close(part.sign_agreement, np.mean([rate for rate in rates if rate is not None]))
    assert -1 <= part.alignment.mean <= 1
    assert 0 <= part.alignment.null_rate <= 1


def test_weights_beside_the_direction(found, twin):
    C = found.parts["all", "linear2"].common_direction[0]
    parts = [twin[0][step][0][1].W for step in found.close]
    shares = [(W - torch.outer(C, C @ W)).norm() ** 2 / W.norm() ** 2 for W in parts]
    close(found.parts["all", "linear2"].weight_fit_error, torch.stack(shares).mean().sqrt())


def test_strengths_are_how_far_the_weights_moved(found, twin):
    """Of plain SGD the mean changes of all samples are the actual ones; the weights are in float32."""
    for number, moved in enumerate(twin[1], start=1):
        part = found.parts["all", f"linear{number}"]
        close(part.strength, (part.common_direction @ moved).norm(dim=1) / STOP, 1e-3)


def test_every_third_update_is_looked_at_after_a_start():
    got = second_pass(tiny(), STOP, start_step=2, every=3, directions=2, close_steps=2)
    steps, _ = materialised(tiny(), STOP)
    chosen = {step: steps[step] for step in (3, 6, 9, 12)}
    assert list(got.steps) == list(chosen)
    assert got.close == (3, 12)
    means = directions(chosen, 1, RATE, 2)[2]
    part = got.parts["all", "linear2"]
    close(part.strength, strengths(means, part.common_direction))


def test_the_losses_of_the_record_are_repeated_and_the_table_is_kept(folder):
    before = files(folder), str(checkpoint(folder)), journal(folder), open_record(folder)
    got = second_pass(folder, STOP, directions=2)
    assert got.verified == 3  # steps 4, 8, 12
    table = open_record(folder / FIRST_PHASE_NAME)
    assert table.identical(got.to_dataset())
    assert files(folder) == before[0] | {FIRST_PHASE_NAME}
    assert (str(checkpoint(folder)), journal(folder)) == before[1:3]
    assert open_record(folder).identical(before[3])
    assert second_pass(folder, STOP, directions=2).to_dataset().identical(table)
    (folder / FIRST_PHASE_NAME).unlink()


def test_the_two_classes_with_the_highest_accuracy_are_looked_at_apart(folder):
    got = second_pass(folder, STOP, directions=1, close_steps=1)
    accuracy = open_record(folder).class_accuracy.sel(step=STOP).values
    least = min(accuracy[int(group)] for group in got.groups[1:])
    assert len(got.groups) == 3
    assert (accuracy > least).sum() <= 1
    (folder / FIRST_PHASE_NAME).unlink()


def test_another_run_is_told_from_the_recorded_one(folder, tmp_path):
    copy = tmp_path / "copy"
    run(tiny(), copy)
    record = open_record(copy)
    record.train_loss[{"step": 2}] = np.nextafter(float(record.train_loss[2]), 9)
    save_record(record, copy / RECORD_NAME)
    with pytest.raises(InvalidInput, match=r"bit for bit; got the loss .* at step 8, where the run had"):
        second_pass(copy, STOP)
    (copy / "recipe.yaml").write_text(recipe_yaml(tiny("seed=1")))
    with pytest.raises(InvalidInput, match="at step 4, where the run had"):
        second_pass(copy, STOP)
    assert FIRST_PHASE_NAME not in files(copy)


def test_a_pass_that_is_interrupted_leaves_nothing(folder):
    def interrupt(done, total):
        assert total == 2 * STOP
        if done == STOP + 3:
            raise KeyboardInterrupt

    before, threads, state = files(folder), torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)
    with pytest.raises(KeyboardInterrupt):
        second_pass(folder, STOP, progress=interrupt)
    assert files(folder) == before
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float64
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_run_that_was_killed_has_only_its_journal(folder, tmp_path):
    copy = tmp_path / "copy"
    run(tiny(), copy)
    (copy / RECORD_NAME).unlink()
    assert second_pass(copy, 8, directions=1, close_steps=1).verified == 2


def test_progress_is_told_of_both_passes():
    told = []
    second_pass(tiny(), 3, progress=lambda *counts: told.append(counts))
    assert told == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("optimizer", ["{name: adam, lr: 0.01}", "{lr: 0.1, momentum: 0.9, weight_decay: 0.01}"])
def test_other_optimizers_and_networks(optimizer):
    got = second_pass(tiny(f"optimizer={optimizer}", "model.activation=tanh", "model.bias=false"), 4, directions=2)
    table = got.to_dataset()
    assert np.isfinite(table.strength).all()
    assert (table.theorem1_error[:, :-1] < 1e-6).all()
    assert "momentum" in table.attrs["changes"]


def test_values_have_no_classes():
    got = second_pass(tiny(SINES), 4, directions=5, close_steps=2)
    assert got.groups == ("all",)
    table = got.to_dataset()
    assert np.isfinite(table.strength.sel(layer="linear2")).all()
    assert np.isfinite(table.strength.sel(layer="linear3")).sum() == 1  # one output has one direction
    with pytest.raises(InvalidInput, match="has samples in the visited batches; got class 0 without any"):
        second_pass(tiny(SINES), 4, classes=[0])


def test_a_single_layer_has_no_layer_above():
    table = second_pass(tiny("model.depth=1"), 3, close_steps=1).to_dataset()
    assert table.primary_ratio.isnull().all()
    assert table.theorem1_error.isnull().all()
    assert np.isfinite(table.strength).all()


def test_chosen_layers_alone():
    got = second_pass(tiny(), 4, layers=["linear1", "linear3"], close_steps=1)
    assert got.layers == ("linear1", "linear3")
    assert got.to_dataset().primary_ratio.isnull().all()  # the layer above the first was not chosen


def test_the_table_describes_itself_and_does_not_grow(found):
    table = found.to_dataset()
    assert table.sizes == {"group": 3, "layer": 3, "direction": 3, "neuron": 12, "component": 3}
    assert all({"long_name", "symbol", "units", "range"} <= table[name].attrs.keys() for name in table)
    for name in table:
        low, high = table[name].attrs["range"]
        values = table[name].values[~np.isnan(table[name].values)]
        assert ((values >= low) & (values <= high)).all(), name
    assert table.attrs["close_steps"] == [1, 5, 8, 12]
    assert second_pass(tiny(), 3, classes=[3, 5], directions=3, close_steps=1).to_dataset().nbytes == table.nbytes


def test_wide_layers_are_sketched(found):
    with patch.object(moments, "WIDEST", 11), patch.object(moments, "RANK", 10):
        got = second_pass(tiny(), STOP, directions=1, close_steps=1)
    part, exact = (some.parts["all", "linear2"] for some in (got, found))
    assert abs(float(part.common_direction[0] @ exact.common_direction[0])) > 0.999
    assert part.sample_fit_error == pytest.approx(exact.sample_fit_error, rel=0.05)


def test_the_phase_is_found_in_the_record():
    step = np.arange(0, 400, 10)
    loss = 2.3 / (1 + np.exp((step - 250) / 20))
    record = xr.Dataset(
        {"probe_loss": ("step", loss), "constant_predictor_loss": 2.3}, coords={"step": step, "layer": []}
    )
    past = Past(tiny("steps=400"), record=record)
    assert past.phase(None, None) == (0, 220)
    assert past.phase(40, None) == (40, 220)
    assert past.phase(None, 100) == (0, 100)
    assert past.best_classes(100) == []
    with pytest.raises(InvalidInput, match="given; got a phase that is not over"):
        Past(tiny("steps=400"), record=record.isel(step=slice(0, 15))).phase(None, None)


def test_a_record_without_a_phase_and_no_record_need_an_end(folder):
    with pytest.raises(InvalidInput, match="got a phase that is not over"):
        second_pass(folder)
    with pytest.raises(InvalidInput, match=r"got a record with the status 'cannot tell'.*pass end_step="):
        Past(tiny(), record=xr.Dataset(coords={"step": np.arange(3), "layer": []})).phase(None, None)
    with pytest.raises(InvalidInput, match="got a recipe without a record"):
        second_pass(tiny())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"end_step": 17}, "lies within the 16 steps of the recipe; got steps 0 to 17"),
        ({"end_step": 4, "start_step": 4}, "got steps 4 to 4"),
        ({"end_step": 4, "start_step": -1}, "got steps -1 to 4"),
        ({"end_step": 4, "every": 0}, "`every` is at least 1; got 0"),
        ({"end_step": 4, "directions": 0}, "`directions` is at least 1"),
        ({"end_step": 4, "close_steps": 0}, "`close_steps` is at least 1"),
        ({"end_step": 4, "classes": [17]}, "got class 17 without any"),
        ({"end_step": 4, "layers": "conv*"}, "matches a layer"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        second_pass(tiny(), **arguments)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileAccess, match=r"holds recipe\.yaml"):
        second_pass(tmp_path, 4)


def test_layers_that_are_applied_several_times_have_directions_but_no_theorem_1():
    X, G = torch.randn(6, 3, 4, dtype=torch.float64), torch.randn(6, 3, 5, dtype=torch.float64)
    seen = {"conv": SeenLayer(torch.ones(5, 4, dtype=torch.float64), X, G, None, "")}
    batch, groups = SeenBatch(1, seen, None), (Group("all"),)
    moments = Moments(groups)
    moments.visit(batch)
    strengths_found = Strengths(groups, moments.result(2), RATE, {1})
    strengths_found.visit(batch)
    part = strengths_found.result()["all", "conv"]
    changes = -RATE * torch.einsum("nph,npd->nhd", G, X)
    C = torch.linalg.svd(changes.transpose(0, 1).flatten(1))[0][:, 0]
    close(abs(part.common_direction[0] @ C), 1.0)
    close(part.strength, strengths(changes.mean(0)[None], part.common_direction))
    assert part.theorem1 is None
    assert math.isnan(part.sign_agreement)
    assert -1 <= part.alignment.mean <= 1
