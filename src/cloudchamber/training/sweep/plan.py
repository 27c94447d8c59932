"""How a sweep is cut into chunks: cells of one shape, as many together as take a minute or so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cloudchamber._core.errors import InvalidInput
from cloudchamber.data import load_data
from cloudchamber.models import build_model
from cloudchamber.training.ensemble.recipes import shape_key
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.sweep.cells import Cell, cells_of, recipe_of
from cloudchamber.training.sweep.chunks import Chunk
from cloudchamber.training.sweep.kept import results_of, watching
from cloudchamber.training.sweep.sweep import Sweep

MOST_CELLS = 128
"""cells of a chunk at most: small networks then stay in a processor's cache, and there is little to lose to a kill"""
OPERATIONS = 2e12
"""operations of a chunk at most, unless a single cell has more: a minute or so on one core"""
_OVERHEAD = 2e5


@dataclass(frozen=True)
class Piece:
    """A chunk of a sweep.

    Attributes:
        chunk: what is computed.
        members: the numbers of its cells.
        shape: the number of their shape: the chunks of one shape take equally long per cell.
    """

    chunk: Chunk
    members: tuple[int, ...]
    shape: int


@dataclass(frozen=True)
class Plan:
    """A sweep, cut into chunks.

    Attributes:
        sweep: the sweep.
        cells: all of its cells.
        recipes: those of the cells.
        pieces: what is computed together.
    """

    sweep: Sweep
    cells: tuple[Cell, ...]
    recipes: tuple[Recipe, ...]
    pieces: tuple[Piece, ...]


def plan(sweep: Sweep) -> Plan:
    """Cut a sweep into chunks. That is a function of the sweep alone, and so, to the last bit, is what comes of it.

    Raises:
        InvalidRecipe: if a cell is no recipe; the cell is named.
        FileAccess: if a data set is nowhere.
    """
    cells = tuple(cells_of(sweep))
    recipes = tuple(recipe_of(sweep, cell) for cell in cells)
    task = {"recipe": sweep.recipe, "results": sweep.results}
    pieces = []
    for shape, group in enumerate(_of_one_shape(sweep, recipes)):
        cost = operations(recipes[group[0]])
        for members in _cut(group, sweep.cells_per_chunk or chunk_size(cost)):
            chunk = Chunk(task, tuple(cells[number].settings for number in members), cost * len(members))
            pieces.append(Piece(chunk, members, shape))
    return Plan(sweep, cells, recipes, tuple(pieces))


def _of_one_shape(sweep: Sweep, recipes: Sequence[Recipe]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for number, recipe in enumerate(recipes):
        key = shape_key(watching(recipe, results_of(recipe, sweep.results)))
        groups.setdefault(key, []).append(number)
    return list(groups.values())


def _cut(group: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    for piece in np.array_split(np.array(group), -(-len(group) // size)):
        yield tuple(piece.tolist())


def chunk_size(cost: float) -> int:
    """Return how many cells of so many operations each make a chunk.

    >>> chunk_size(1.0), chunk_size(1e11), chunk_size(1e15)
    (128, 20, 1)
    """
    return int(np.clip(OPERATIONS / cost, 1, MOST_CELLS))


def operations(recipe: Recipe) -> float:
    """Return about how many floating-point operations training takes: (6 · parameters · samples + 2·10⁵) · steps.

    The first term is what the matrix products of dense layers take, forward and backward; layers that share weights
    take more. The second stands for what an update of any network costs beside them. A recipe that cannot be run counts
    1, and fails when it is run.
    """
    try:
        dataset = load_data(recipe.data, recipe.seed)
        with torch.device("meta"):
            model = build_model(recipe.model, dataset.sample_shape, dataset.output_size, len(dataset.vocabulary))
    except InvalidInput:
        return 1.0
    parameters = sum(parameter.numel() for parameter in model.parameters())
    samples = recipe.batch_size or len(dataset)
    return max((6.0 * parameters * samples + _OVERHEAD) * recipe.steps, 1.0)
