"""Compute one chunk, whole or, if that fails, cell by cell. Runs in whatever process a place has chosen."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import preserved_random_state
from cloudchamber.monitor.environment import environment
from cloudchamber.training.sweep.chunks import Arrays, Chunk, Outcome, Work

logger = logging.getLogger("cloudchamber")

_KINDS = "fiubcU"
"""Kinds of arrays that a ledger keeps: numbers, truth values, text."""


def compute(work: Work, chunk: Chunk, threads: int) -> Outcome:
    """Compute a chunk; what a cell raises is data.

    Args:
        work: what to do.
        chunk: for which cells.
        threads: CPU threads of torch meanwhile.
    """
    start = time.perf_counter()
    with _settings(threads):
        arrays, errors = _results(work, chunk)
        return Outcome(arrays, errors, _here(), time.perf_counter() - start)


@contextmanager
def _settings(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    with preserved_random_state():
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _here() -> dict[str, Any]:
    # Products of matrices differ in their last bits between processors of different instruction sets.
    return {**environment(torch.device("cpu")), "instructions": torch.backends.cpu.get_cpu_capability()}


def _results(work: Work, chunk: Chunk) -> tuple[Arrays, tuple[str | None, ...]]:
    _seed_global_generators(chunk)
    try:
        return _checked(work(chunk.task, chunk.cells), len(chunk.cells)), (None,) * len(chunk.cells)
    except Exception as error:  # whatever a cell raises must not stop the others
        if len(chunk.cells) == 1:
            logger.debug("a cell failed: %s", dict(chunk.cells[0]), exc_info=True)
            return {}, (_in_words(error),)
    return joined([_results(work, part) for part in chunk.parts()])


def _seed_global_generators(chunk: Chunk) -> None:
    """A work that draws from global generators against its contract is still the same when it is done again."""
    seed = int(chunk.key[:8], 16)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _checked(arrays: Any, cells: int) -> dict[str, np.ndarray]:
    require(isinstance(arrays, Mapping), "work returns arrays by name", repr(arrays), "return a dict")
    return {name: _array(name, array, cells) for name, array in arrays.items()}


def _array(name: str, values: Any, cells: int) -> np.ndarray:
    array = np.asarray(values)
    require(
        array.ndim > 0 and len(array) == cells and array.dtype.kind in _KINDS,
        f"work returns arrays of numbers or text with a row for each of the {cells} cells",
        f"{name} of shape {array.shape} and type {array.dtype}",
        "stack what belongs to a cell along the first dimension",
    )
    return array


def joined(parts: Sequence[tuple[Arrays, Sequence[str | None]]]) -> tuple[Arrays, tuple[str | None, ...]]:
    """Put the cells of several results, in their order, into one; what failed has NaN, or empty text."""
    template = next((arrays for arrays, _ in parts if arrays), {})
    fitted = [_fitted(arrays, errors, template) for arrays, errors in parts]
    rows = {
        name: np.concatenate([arrays[name] if arrays else _nothing(like, len(errors)) for arrays, errors in fitted])
        for name, like in template.items()
    }
    return rows, tuple(error for _, errors in fitted for error in errors)


def _fitted(arrays: Arrays, errors: Sequence[str | None], template: Arrays) -> tuple[Arrays, tuple[str | None, ...]]:
    shapes = {name: array.shape[1:] for name, array in arrays.items()}
    wanted = {name: array.shape[1:] for name, array in template.items()}
    if not arrays or shapes == wanted:
        return arrays, tuple(errors)
    rule = f"the cells of a chunk have arrays of one shape, {wanted}; got {shapes}"
    return {}, tuple(error or f"InvalidInput: {rule}. Remedy: pad them." for error in errors)


def _nothing(like: np.ndarray, rows: int) -> np.ndarray:
    shape = (rows, *like.shape[1:])
    if like.dtype.kind == "U":
        return np.full(shape, "")
    return np.full(shape, np.nan, like.dtype if like.dtype.kind in "fc" else np.float64)


def gathered(outcomes: Sequence[Outcome]) -> Outcome:
    """Put the outcomes of a chunk's parts, in their order, into one."""
    arrays, errors = joined([(outcome.arrays, outcome.errors) for outcome in outcomes])
    environment = next((outcome.environment for outcome in outcomes if outcome.environment), {})
    return Outcome(arrays, errors, environment, sum(outcome.seconds for outcome in outcomes))
