"""Cells and chunks: every combination once, conditions, chunks of one shape that depend on the sweep alone."""

from itertools import product

import pytest

from cloudchamber import InvalidRecipe
from cloudchamber.training import parse_recipe
from cloudchamber.training.ensemble.recipes import shape_key
from cloudchamber.training.sweep import plan as planning
from cloudchamber.training.sweep.cells import cells_of, recipe_of
from cloudchamber.training.sweep.kept import results_of, watching
from cloudchamber.training.sweep.plan import MOST_CELLS, OPERATIONS, chunk_size, operations, plan
from cloudchamber.training.sweep.sweep_text import parse_sweep

SINES = {"data": {"name": "sines", "samples": 20}, "model": {"depth": 2, "width": 4}, "batch_size": None, "steps": 10}


def settings_of(axes):
    return [cell.settings for cell in cells_of(parse_sweep({"axes": axes}))]


def test_a_grid_has_every_combination_once_and_the_last_axis_changes_fastest():
    found = settings_of({"optimizer.lr": [0.1, 0.2], "seed": {"range": 3}})
    assert found == [{"optimizer.lr": lr, "seed": seed} for lr, seed in product([0.1, 0.2], range(3))]


def test_a_sweep_without_axes_is_one_cell():
    assert settings_of({}) == [{}]
    assert str(cells_of(parse_sweep({}))[0]) == "the recipe itself"


def test_an_axis_with_a_condition_is_there_where_it_is_met():
    momentum = {"values": [0.0, 0.9], "when": {"optimizer.name": "sgd"}}
    beta = {"field": "optimizer.beta1", "values": [0.5, 0.9], "when": {"optimizer.name": ["adam", "adamw"]}}
    axes = {"optimizer.name": ["sgd", "adam"], "optimizer.momentum": momentum, "beta": beta, "seed": [1, 2]}
    assert [str(cell) for cell in cells_of(parse_sweep({"axes": axes}))] == [
        "optimizer.name=sgd, optimizer.momentum=0.0, seed=1",
        "optimizer.name=sgd, optimizer.momentum=0.0, seed=2",
        "optimizer.name=sgd, optimizer.momentum=0.9, seed=1",
        "optimizer.name=sgd, optimizer.momentum=0.9, seed=2",
        "optimizer.name=adam, optimizer.beta1=0.5, seed=1",
        "optimizer.name=adam, optimizer.beta1=0.5, seed=2",
        "optimizer.name=adam, optimizer.beta1=0.9, seed=1",
        "optimizer.name=adam, optimizer.beta1=0.9, seed=2",
    ]


@pytest.mark.parametrize(
    ("when", "there"),
    [
        ({"model.depth": 9}, True),  # the recipe's default
        ({"model.depth": 3}, False),
        ({"steps": 7}, True),  # the sweep's own recipe
        ({"optimizer.momentum": 0.0, "steps": 7}, True),
        ({"optimizer.momentum": 0.0, "steps": 8}, False),
        ({"optimizer.beta1": 0.9}, False),  # no field of this kind of optimizer
        ({"observe.layers": None}, True),
        ({"batch_size": [None, 100]}, True),
    ],
)
def test_a_condition_on_what_no_axis_sets_is_one_on_the_recipe(when, there):
    sweep = parse_sweep({"recipe": {"steps": 7}, "axes": {"seed": {"range": 2, "when": when}}})
    assert len(cells_of(sweep)) == (2 if there else 1)


def test_recipes_of_cells_are_those_that_overrides_make():
    sweep = parse_sweep(
        {"recipe": SINES, "axes": {"optimizer": [{"name": "adam", "lr": 0.5}], "optimizer.beta1": [0.8]}}
    )
    (cell,) = cells_of(sweep)
    assert recipe_of(sweep, cell) == parse_recipe({**SINES, "optimizer": {"name": "adam", "lr": 0.5, "beta1": 0.8}})


def test_a_chunk_has_cells_of_one_shape_and_every_cell_is_in_one():
    axes = {"model.width": [4, 8], "optimizer.lr": [0.1, 0.2], "optimizer.name": ["sgd", "adam"], "seed": {"range": 5}}
    planned = plan(parse_sweep({"recipe": SINES, "axes": axes, "cells_per_chunk": 4}))
    assert sorted(number for piece in planned.pieces for number in piece.members) == list(range(40))
    for piece in planned.pieces:
        recipes = [planned.recipes[number] for number in piece.members]
        assert len({shape_key(watching(recipe, results_of(recipe, None))) for recipe in recipes}) == 1
        assert [planned.cells[number].settings for number in piece.members] == list(piece.chunk.cells)
        assert len(recipes) <= 4
        assert piece.chunk.cost == pytest.approx(sum(operations(recipe) for recipe in recipes))


def test_chunks_are_the_same_every_time_and_for_the_same_text():
    raw = {"recipe": SINES, "axes": {"seed": {"range": 300}, "optimizer.lr": [0.1, 0.2]}}
    keys = [piece.chunk.key for piece in plan(parse_sweep(raw)).pieces]
    assert keys == [piece.chunk.key for piece in plan(parse_sweep(raw)).pieces]
    assert len(set(keys)) == len(keys) == -(-600 // MOST_CELLS)
    other = plan(parse_sweep({**raw, "recipe": {**SINES, "steps": 11}}))
    assert not set(keys) & {piece.chunk.key for piece in other.pieces}


def test_chunks_shrink_as_networks_grow():
    small, large = (parse_recipe({"model": {"depth": 3, "width": width}, "steps": 10_000}) for width in (4, 2000))
    assert chunk_size(operations(small)) > chunk_size(operations(large)) == 1
    middle = parse_recipe({"model": {"depth": 3, "width": 100}, "steps": 1000})
    assert OPERATIONS / 2 < chunk_size(operations(middle)) * operations(middle) <= OPERATIONS


def test_operations_count_parameters_samples_and_steps():
    parameters = (5 * 4 + 4) + (4 + 1)
    recipe = parse_recipe({**SINES, "steps": 7})
    assert operations(recipe) == pytest.approx((6 * parameters * 20 + 2e5) * 7)


def test_a_recipe_whose_data_do_not_fit_fails_later_than_here(monkeypatch):
    def load_data(config, seed):
        raise InvalidRecipe("there are not as many samples")

    monkeypatch.setattr(planning, "load_data", load_data)
    assert plan(parse_sweep({"recipe": SINES})).pieces[0].chunk.cost == 1.0


def test_a_wrong_cell_is_named():
    with pytest.raises(InvalidRecipe, match=r"cell optimizer.lr=-1: optimizer.lr must be greater than 0; got -1"):
        plan(parse_sweep({"axes": {"optimizer.lr": [0.1, -1]}}))
