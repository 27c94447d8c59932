"""On which directions the neurons of each layer will condense, as far as theory says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cloudchamber._core.errors import CloudchamberError
from cloudchamber.anatomy import LayerSnapshot
from cloudchamber.predict.layer_start import LayerStart
from cloudchamber.theory import CondensedDirections, Multiplicity, condensed_directions, effective_residuals

_SEARCHED = 12
"""Beyond p = 2 directions are searched for; among the leading ones of the inputs only, which takes seconds."""
_STARTS = 60


def directions_of(
    layer: LayerStart, snapshots: Sequence[LayerSnapshot], found: Multiplicity | None
) -> tuple[CondensedDirections | None, Tensor, float]:
    """Return a layer's condensed directions in a subspace, that subspace, and how far one field moves all neurons.

    Only for layers that are applied once per sample and whose activation has a multiplicity; else None. Directions u
    of the subspace stand for `basis @ u`; the basis (d, r) spans the inputs, biases as a last entry 1.
    """
    empty = torch.zeros(0, 0, dtype=torch.float64)
    snapshot = snapshots[0]
    if found is None or found.order is None or len(snapshots) > 1:
        return None, empty, float("nan")
    inputs, gradients = _once(snapshot, snapshot.input_rows), _once(snapshot, snapshot.feature_gradient_rows)
    if inputs is None or gradients is None:
        return None, empty, float("nan")
    points = torch.cat([inputs, inputs.new_ones(len(inputs), int(layer.view.bias))], 1).double()
    try:
        field = effective_residuals(gradients.double())
        basis = _basis(points, found.order)
        return condensed_directions(points @ basis, field.residuals, found, starts=_STARTS), basis, field.share
    except CloudchamberError:  # NaN or infinity in what the layer received
        return None, empty, float("nan")


def _once(snapshot: LayerSnapshot, rows: Tensor | None) -> Tensor | None:
    if rows is None or snapshot.view.exchanged or rows.shape[1] != 1:
        return None
    return rows[:, 0]


def _basis(points: Tensor, order: int) -> Tensor:
    _, strengths, axes = torch.linalg.svd(points, full_matrices=False)
    rank = max(int((strengths > 1e-10 * strengths[0]).sum()), 1)
    return axes[: rank if order <= 2 else min(rank, _SEARCHED)].T
