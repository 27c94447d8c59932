"""The outcomes of a sweep's chunks, put together cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from cloudchamber.training.sweep.chunks import Arrays, Outcome
from cloudchamber.training.sweep.plan import Plan

FAILED, MISSING = "failed", "missing"


class Table:
    """A row per cell of a plan."""

    def __init__(self, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
        self._cells = len(plan.cells)
        self._found = [
            (np.array(piece.members), outcomes[piece.chunk.key]) for piece in plan.pieces if piece.chunk.key in outcomes
        ]

    def status(self) -> np.ndarray:
        """Return (cells,): how each ended."""
        status = np.full(self._cells, MISSING, dtype=object)
        for members, outcome in self._found:
            for row, number in enumerate(members):
                failed = outcome.errors[row] is not None
                status[number] = FAILED if failed else str(outcome.arrays["status"][row])
        return status

    def holds(self, name: str) -> bool:
        """Whether any cell has values of a quantity."""
        return any(name in outcome.arrays for _, outcome in self._found)

    def labels(self, dim: str) -> np.ndarray:
        """Return what is along a dimension in any cell: numbers in their order, names as they come."""
        found = [labels[dim] for _, _, labels in self._computed() if dim in labels]
        if all(labels.dtype.kind in "fiu" for labels in found):
            return np.unique(np.concatenate(found))
        return np.array(list(dict.fromkeys(label for labels in found for label in labels.tolist())), dtype=object)

    def values(self, name: str, labels: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (cells, ...): a quantity where these labels are along its dimensions, NaN where there is none."""
        kinds = [arrays[name].dtype for _, arrays, _ in self._computed() if name in arrays]
        dtype = np.result_type(np.float32, *kinds) if kinds else np.float64
        table = np.full((self._cells, *map(len, labels.values())), np.nan, dtype)
        places = {dim: {label: place for place, label in enumerate(all_.tolist())} for dim, all_ in labels.items()}
        for members, arrays, own in self._computed():
            if name in arrays:
                along = [[places[dim][label] for label in own[dim].tolist()] for dim in labels]
                table[np.ix_(members, *map(np.array, along))] = arrays[name]
        return table

    def _computed(self) -> Iterator[tuple[np.ndarray, Arrays, Arrays]]:
        """Yield, for each chunk: the numbers of the cells that did not fail, their arrays, and those of one of them."""
        for members, outcome in self._found:
            rows = np.flatnonzero([error is None for error in outcome.errors])
            if len(rows):
                arrays = {name: array[rows] for name, array in outcome.arrays.items()}
                yield members[rows], arrays, {name: array[0] for name, array in arrays.items()}
