"""Runs: what a folder holds, the same bits for the same recipe, and a caller who notices nothing."""

import signal
import threading

import numpy as np
import pytest
import torch
from small_runs import FILES, SINES, Do, assert_same, checkpoint, files, record_bits, small
from torch import nn

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput, InvalidRecipe
from cloudchamber._core.storage import open_record
from cloudchamber.training import load_recipe, recipe_yaml, resume, run
from cloudchamber.training import session as sessions


class Told:
    def __init__(self):
        self.events = []

    def started(self, recipe, step):
        self.events.append(("started", step))

    def updated(self, step, loss):
        self.events.append(("updated", step, loss))

    def observed(self, buffer):
        self.events.append(("observed", buffer.last_step))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(small(), tmp_path_factory.mktemp("finished") / "run")


def test_a_run_ends_finished_with_its_record_and_files(finished):
    assert (finished.status, finished.step) == ("finished", 30)
    assert files(finished.folder) == FILES
    assert finished.record.step.values.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 30]
    assert finished.record.image_step.values.tolist() == [0, 8, 16, 24, 30]
    assert open_record(finished.folder).identical(finished.record)
    assert load_recipe(finished.folder / "recipe.yaml") == small()
    assert finished.record.attrs["recipe"] == recipe_yaml(small())
    assert checkpoint(finished.folder)["step"] == 30


def test_the_epoch_counts_passes_over_the_data(finished):
    np.testing.assert_allclose(finished.record.epoch[1:], finished.record.step[1:] / (1797 // 20))
    assert np.isnan(finished.record.epoch[0])


def test_callbacks_are_told_everything_in_order(tmp_path):
    told = Told()
    result = run(small("steps=5", SINES), tmp_path / "run", callbacks=[told])
    kinds = [event[:2] for event in told.events]
    updates = [("updated", step) for step in range(1, 6)]
    assert kinds == [("started", 0), ("observed", 0), *updates[:4], ("observed", 4), updates[4], ("observed", 5)]
    assert told.events[-2][2] == float(result.record.train_loss[-1])


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path, finished):
    result = run(small(), tmp_path / "run")
    told = Told()
    again = resume(tmp_path / "run", callbacks=[told])
    assert (again.status, again.step) == ("finished", 30)
    assert told.events == [("started", 30), ("observed", 30)]
    assert again.record.identical(result.record)
    assert_same(tmp_path / "run", finished.folder)


@pytest.mark.parametrize("overrides", [[SINES], ["batch_size=null", "optimizer.name=adam", "steps=10"]])
def test_the_same_recipe_gives_the_same_bits_and_another_seed_others(tmp_path, overrides):
    first = run(small(*overrides), tmp_path / "first")
    run(small(*overrides), tmp_path / "second")
    other = run(small(*overrides, "seed=1"), tmp_path / "other")
    assert_same(tmp_path / "first", tmp_path / "second")
    assert not np.array_equal(first.record.probe_loss, other.record.probe_loss)
    for name, weight in checkpoint(tmp_path / "first")["model"].items():
        assert name.endswith("bias") or not torch.equal(weight, checkpoint(tmp_path / "other")["model"][name])


def test_what_is_observed_changes_nothing_of_the_training(tmp_path, finished):
    run(small("observe={every: 1000, probe_samples: 40, measures: [feature_cosine]}"), tmp_path / "run")
    seldom, often = checkpoint(tmp_path / "run"), checkpoint(finished.folder)
    assert all(torch.equal(seldom["model"][name], often["model"][name]) for name in often["model"])


def test_no_steps_are_a_record_of_the_initialization(tmp_path):
    result = run(small("steps=0", SINES), tmp_path / "run")
    assert (result.status, result.step, result.record.step.values.tolist()) == ("finished", 0, [0])
    assert resume(tmp_path / "run").record.identical(result.record)


def caller_state():
    # The type checker of the tests draws from `random`; killer.py, which runs without it, looks at that as well.
    return (
        np.random.get_state()[1].tobytes(),
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
    )


@pytest.fixture
def unusual_settings():
    """A caller with settings, random states and handlers of his own."""
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.manual_seed(5)
    np.random.seed(5)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, handler)
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


def test_neither_the_run_depends_on_the_caller_nor_the_caller_on_the_run(tmp_path, finished, unusual_settings):
    before = caller_state()
    with torch.no_grad():
        run(small(), tmp_path / "run")
    assert caller_state() == before
    assert_same(tmp_path / "run", finished.folder)
    resume(tmp_path / "run")
    assert caller_state() == before


class Unexpected(Exception):
    pass


def fail():
    raise Unexpected


def test_after_an_exception_the_caller_has_his_own_settings_and_the_run_can_go_on(tmp_path, finished, unusual_settings):
    before = caller_state()
    with pytest.raises(Unexpected):
        run(small(), tmp_path / "run", callbacks=[Do(17, fail)])
    with pytest.raises(Unexpected):
        resume(tmp_path / "run", callbacks=[Do(25, fail)])
    with pytest.raises(InvalidRecipe):
        run(small("loss=mse"), tmp_path / "other")
    assert caller_state() == before
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", finished.folder)


def test_a_run_works_outside_the_main_thread(tmp_path, finished):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(small(), tmp_path / "run")))
    thread.start()
    thread.join()
    assert results[0].status == "finished"
    assert_same(tmp_path / "run", finished.folder)


def test_a_resumed_run_takes_the_threads_that_it_had(tmp_path):
    threads = torch.get_num_threads()
    seen = []
    torch.set_num_threads(2)
    try:
        with pytest.raises(Unexpected):
            run(small("threads=null", SINES), tmp_path / "run", callbacks=[Do(9, fail)])
        torch.set_num_threads(1)
        resume(tmp_path / "run", callbacks=[Do(20, lambda: seen.append(torch.get_num_threads()))])
    finally:
        torch.set_num_threads(threads)
    assert seen == [2]


def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_is(tmp_path, finished):
    before = {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInput, match=r"a new run needs a folder without one; got .* Remedy: .*--resume"):
        run(small("seed=3"), finished.folder)
    assert {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()} == before


def test_a_folder_with_the_rest_of_a_run_is_refused(tmp_path):
    run(small(SINES), tmp_path / "run")
    (tmp_path / "run/recipe.yaml").unlink()
    with pytest.raises(InvalidInput, match=r"which holds journal.sqlite, checkpoint/state.pt"):
        run(small(SINES), tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=mse"], "loss must fit the targets of digits, which are class labels; got mse. Remedy: --set loss=c"),
        ([SINES, "loss=cross_entropy"], "loss must fit the targets of sines, which are values; got cross_entropy. R"),
        (["batch_size=1798"], "batch_size must be at most the 1797 samples of digits; got 1798. Remedy: choose a sm"),
        (["data={name: sines, samples: 1}", "batch_size=1"], "a probe has at least 2 samples; got 1. Remedy: "),
        (["observe.measures=[cosine]"], "cosine"),
        (["observe.layers=[conv*]"], "conv*"),
        (["device=cuda"], "device must name a device of this machine; got 'cuda' ("),
        (["device=cuda:7"], "device must name a device of this machine; got 'cuda:7' ("),
        (["device=cpux"], "device must name a device of this machine; got 'cpux' ("),
        (["device=meta"], "device must name a device of this machine; got 'meta' ("),
        (["device=''"], "device must name a device of this machine; got '' ("),
    ],
)
def test_a_recipe_whose_parts_do_not_fit_is_refused_before_anything_is_written(tmp_path, overrides, message):
    if any("cuda" in override for override in overrides) and torch.cuda.is_available():
        pytest.skip("this machine has an accelerator")
    with pytest.raises(InvalidInput) as caught:
        run(small(*overrides), tmp_path / "run")
    assert message in str(caught.value)
    assert "Remedy: " in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_nothing_to_resume_is_an_access_error(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileAccess, match=r"a run folder holds recipe.yaml; got .* without one. Remedy: "):
            resume(folder)


def test_a_changed_recipe_is_not_resumed(tmp_path):
    run(small(SINES), tmp_path / "run")
    (tmp_path / "run/recipe.yaml").write_text(recipe_yaml(small(SINES, "optimizer.lr=1")))
    with pytest.raises(InvalidInput, match="a continued record is of the same recipe"):
        resume(tmp_path / "run")


class Noisy(nn.Module):
    """Draws random numbers and keeps statistics while it trains."""

    def __init__(self):
        super().__init__()
        self.hidden, self.norm, self.out = nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Linear(12, 10)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.out(self.dropout(torch.relu(self.norm(self.hidden(x)))))


def test_random_numbers_and_buffers_of_training_go_on_where_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "build_model", lambda *_: Noisy())
    run(small(), tmp_path / "whole")
    with pytest.raises(Unexpected):
        run(small(), tmp_path / "part", callbacks=[Do(18, fail)])
    torch.manual_seed(99)
    resume(tmp_path / "part")
    assert_same(tmp_path / "whole", tmp_path / "part")
    assert checkpoint(tmp_path / "whole")["model"]["norm.num_batches_tracked"] == 30


def losses_of(tmp_path, value):
    """A run whose loss becomes `value` at step 11."""
    seen = []

    def broken(outputs, targets):
        loss = nn.functional.cross_entropy(outputs, targets)
        if len(targets) == 16:  # a batch, not the probe
            seen.append(loss)
        return loss * value if len(seen) == 11 and len(targets) == 16 else loss

    return broken


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_ends_the_run_with_its_record(tmp_path, monkeypatch, value):
    monkeypatch.setitem(sessions.LOSSES, "cross_entropy", losses_of(tmp_path, value))
    result = run(small("batch_size=16"), tmp_path / "run")
    assert (result.status, result.step) == ("diverged", 11)
    assert result.record.step.values.tolist() == [0, 4, 8, 11]
    np.testing.assert_equal(float(result.record.train_loss[-1]), value)
    assert np.isfinite(result.record.train_loss[1:-1]).all()
    assert checkpoint(tmp_path / "run")["step"] == 7
    assert files(tmp_path / "run") == FILES


@pytest.mark.parametrize("optimizer", ["optimizer.lr=1e12", "optimizer={name: adam, lr: 1e30}"])
def test_a_rate_that_is_far_too_large_diverges_and_a_resumed_run_does_so_again(tmp_path, optimizer):
    recipe = small(optimizer, "checkpoint_every=2", "observe.every=1", "observe.images_every=2")
    result = run(recipe, tmp_path / "run")
    assert result.status == "diverged"
    assert not np.isfinite(result.record.train_loss[-1])
    assert np.isnan(result.record.probe_loss[-1])
    assert checkpoint(tmp_path / "run")["step"] < result.step
    again = resume(tmp_path / "run")
    assert (again.status, again.step) == ("diverged", result.step)
    assert record_bits(again.record) == record_bits(result.record)
    run(recipe, tmp_path / "other")
    assert_same(tmp_path / "run", tmp_path / "other")


def test_a_record_full_of_nan_is_resumed_to_the_same_bits(tmp_path):
    recipe = small("initialization={name: normal, std: 0}")
    run(recipe, tmp_path / "whole")
    with pytest.raises(Unexpected):
        run(recipe, tmp_path / "part", callbacks=[Do(12, fail)])
    record = resume(tmp_path / "part").record
    assert np.isnan(record.feature_cosine).any()
    assert_same(tmp_path / "whole", tmp_path / "part")


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(small(SINES), tmp_path / "run")
    run(small(SINES, "model.width=8"), tmp_path / "other")
    (tmp_path / "run/checkpoint/state.pt").write_bytes((tmp_path / "other/checkpoint/state.pt").read_bytes())
    with pytest.raises(DamagedFile, match=r"must be a whole checkpoint of this run; got: .* Remedy: delete it"):
        resume(tmp_path / "run")
