"""A member of an ensemble of recipes is the run of its recipe."""

import math

import numpy as np
import pytest
import torch
from ensemble_cases import TOLERANCE, Draws
from small_runs import SINES, checkpoint, small

from cloudchamber._core.errors import InvalidInput, InvalidRecipe
from cloudchamber._core.members import one_member
from cloudchamber.training import load_recipe, run, run_ensemble, shape_key
from cloudchamber.training import session as sessions
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

DIGITS = "data={name: digits}"
OPTIMIZERS = {
    "sgd": ["optimizer={name: sgd, momentum: 0.5, weight_decay: 0.01}"],
    "adam": ["optimizer={name: adam, weight_decay: 0.1, beta1: 0.8}"],
    "adamw": ["optimizer={name: adamw, weight_decay: 0.1}"],
}


def recipes(*overrides, members=3):
    """Return recipes that differ in all in which members may differ."""
    own = [
        [f"seed={k}", f"optimizer.lr={0.02 * (k + 1)}", f"initialization={{name: normal, std: {0.1 + 0.1 * k}}}"]
        for k in range(members)
    ]
    return [small("dtype=float64", *overrides, *words) for words in own]


def trained_alone(recipe):
    """Train a recipe's session to its end; return its weights and its last loss."""
    with own_settings(recipe, recipe.threads):
        session = Session.of(recipe)
        session.seed_training()
        losses = [session.update(step) for step in range(1, recipe.steps + 1)]
        return session.model.state_dict(), losses


def assert_member(ensemble, k, recipe, tolerance=TOLERANCE):
    weights, losses = trained_alone(recipe)
    torch.testing.assert_close(ensemble.member(k).state_dict(), weights, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ensemble.losses[k], losses, tolerance, tolerance)


@pytest.mark.parametrize("data", [DIGITS, SINES], ids=["digits", "sines"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", ["batch_size=20", "batch_size=null"])
def test_a_member_ends_at_the_weights_of_its_run(data, optimizer, batch):
    batch = "batch_size=50" if batch == "batch_size=null" and data == DIGITS else batch
    chosen = recipes(data, *OPTIMIZERS[optimizer], batch, "steps=12")
    trained = run_ensemble(chosen, observe=False, chunk=2)
    assert trained.record is None
    for k, recipe in enumerate(chosen):
        assert_member(trained, k, recipe)


def assert_same_record(ours, theirs, tolerance=TOLERANCE):
    assert dict(ours.sizes) == dict(theirs.sizes)
    for name, values in theirs.data_vars.items():
        np.testing.assert_allclose(ours[name].values, values.values, tolerance, tolerance, err_msg=name)
    for name in ("step", "image_step", "layer", "sample_class"):
        assert ours[name].values.tolist() == theirs[name].values.tolist()


@pytest.mark.parametrize("data", [DIGITS, SINES], ids=["digits", "sines"])
def test_a_member_has_the_record_of_its_run(tmp_path, data):
    chosen = recipes(data, members=2)
    record = run_ensemble(chosen).record
    assert record.sizes["member"] == 2
    for k, recipe in enumerate(chosen):
        assert_same_record(one_member(record, k), run(recipe, tmp_path / str(k)).record)


def test_in_float32_a_member_is_its_run_to_rounding():
    chosen = recipes("dtype=float32", "steps=12")
    trained = run_ensemble(chosen, observe=False)
    assert trained.parameters["linear1.weight"].dtype == torch.float32
    for k, recipe in enumerate(chosen):
        assert_member(trained, k, recipe, tolerance=1e-4)


def test_both_precisions_start_from_the_same_numbers(tmp_path):
    single, double = (
        run(small(SINES, f"dtype={name}", "steps=0"), tmp_path / name).folder for name in ("float32", "float64")
    )
    ours, theirs = (checkpoint(folder)["model"] for folder in (single, double))
    for name, value in theirs.items():
        assert value.dtype == torch.float64
        assert torch.equal(value.float(), ours[name])


def test_members_draw_the_random_numbers_of_their_runs(monkeypatch):
    monkeypatch.setattr(sessions, "build_model", lambda *_: Draws(64, 10))
    chosen = [small("dtype=float64", "steps=12", f"seed={seed}") for seed in (3, 0, 3)]
    trained = run_ensemble(chosen, observe=False)
    for k, recipe in enumerate(chosen):
        assert_member(trained, k, recipe)
    assert torch.equal(trained.losses[0], trained.losses[2])
    assert not torch.equal(trained.losses[0], trained.losses[1])


def test_a_run_that_diverges_is_a_member_that_does(tmp_path):
    words = [["optimizer.lr=0.1"], ["optimizer.lr=1e100"], ["optimizer.lr=0.1", "seed=4"]]
    chosen = [small("dtype=float64", *own) for own in words]
    trained = run_ensemble(chosen)
    result = run(chosen[1], tmp_path / "run")
    assert result.status == "diverged"
    assert trained.reasons == ("steps", "not_finite", "steps")
    assert int(trained.stopped_at[1]) == result.step
    assert not math.isfinite(trained.loss[1])
    assert one_member(trained.record, 1).step.values.tolist() == result.record.step.values.tolist()
    for k in (0, 2):
        assert_member(trained, k, chosen[k])


def test_the_same_recipes_give_the_same_bits():
    one, other = (run_ensemble(recipes("steps=8")) for _ in range(2))
    assert torch.equal(one.losses, other.losses)
    assert one.record.identical(other.record)


def test_neither_depends_on_the_caller_nor_changes_his_settings():
    expected = run_ensemble(recipes("steps=4"), observe=False)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    state = torch.get_rng_state()
    with torch.no_grad():
        got = run_ensemble(recipes("steps=4"), observe=False)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float64
    assert torch.equal(got.losses, expected.losses)


FREE = ["seed=3", "optimizer.lr=0.3", "optimizer.momentum=0.5", "initialization.name=normal", "checkpoint_every=5"]
BOUND = [
    "model.width=17",
    "model.activation=tanh",
    "steps=31",
    "batch_size=21",
    "optimizer.name=adam",
    SINES,
    "dtype=float64",
    "threads=2",
    "observe.every=8",
]


@pytest.mark.parametrize("override", FREE)
def test_numbers_and_seeds_share_a_key(override):
    assert shape_key(small(override)) == shape_key(small())


@pytest.mark.parametrize("override", ["data.amplitude=1.0", "data.high=3.0"])
def test_so_do_the_numbers_of_synthetic_data(override):
    assert shape_key(small(SINES, override)) == shape_key(small(SINES))


@pytest.mark.parametrize("override", [*BOUND, "data={name: sines, samples: 61, dimension: 3}"])
def test_what_gives_shapes_and_what_is_computed_has_a_key_of_its_own(override):
    assert shape_key(small(override)) != shape_key(small())


def test_members_of_one_key_can_run_together():
    chosen = [small("steps=2", "threads=1", word) for word in FREE]
    assert len(run_ensemble(chosen, observe=False)) == len(FREE)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.width=17", "model"),
        ("norms.name=batch_norm", "norms"),
        ("optimizer.name=adam", "optimizer"),
        (SINES, "data"),
        ("steps=5", "steps"),
    ],
)
def test_recipes_of_other_shapes_are_refused(override, named):
    with pytest.raises(InvalidRecipe, match=rf"got another {named} in recipe 1\. Remedy: run it apart"):
        run_ensemble([small(), small(override)])


def test_no_recipes_are_refused():
    with pytest.raises(InvalidInput, match="there is a recipe; got none"):
        run_ensemble([])


def test_a_recipe_whose_parts_do_not_fit_is_refused():
    with pytest.raises(InvalidRecipe, match="loss must fit the targets"):
        run_ensemble([small("loss=mse")])


def test_data_that_turn_out_to_have_other_shapes_are_refused(monkeypatch):
    real = sessions.load_data

    def uneven(config, seed):
        dataset = real(config, seed)
        return dataset.of(torch.arange(len(dataset) - seed))

    monkeypatch.setattr(sessions, "load_data", uneven)
    with pytest.raises(InvalidRecipe, match="the data of an ensemble have one shape"):
        run_ensemble([small(SINES, f"seed={seed}") for seed in (0, 1)])


def test_the_default_precision_is_what_it_was():
    assert load_recipe().dtype == "float32"
    with pytest.raises(InvalidRecipe, match="dtype must be 'float32' or 'float64'"):
        load_recipe(overrides=["dtype=float16"])


def test_members_are_observed_as_in_evaluation_only():
    with pytest.raises(InvalidRecipe, match=r"got observe.mode=train\. Remedy: --set observe.mode=eval"):
        run_ensemble([small("observe.mode=train")])
