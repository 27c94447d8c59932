"""Condensed groups of convolutions: of their kernels, and of what their channels give out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from cloudchamber.measures.activity import neuron_rows
from cloudchamber.measures.orientation import OrientationGroups, orientation_groups
from cloudchamber.measures.vectors import flatten_samples


def kernel_groups(weight: Float[Tensor, "h ..."], *, threshold: float = 0.9, signed: bool = False) -> OrientationGroups:
    """Group the kernels of a convolution by orientation, each flattened over its input channels and positions.

    As `orientation_groups` of the rows that they become.

    Args:
        weight: (h, channels, ...), one kernel per output channel, as torch keeps it.
        threshold: in [0, 1); cosines above it are close.
        signed: False counts lines (w and −w are together), True counts directions (they are apart).

    Returns:
        The groups. Kernels that are zero or hold NaN or infinity are left out.

    Raises:
        InvalidInput: as `orientation_groups`.

    Source: overview2025, Sections 4.2 and 4.3.

    >>> import torch
    >>> kernels = torch.ones(2, 1, 3, 3)
    >>> kernel_groups(torch.cat([kernels, -kernels]), signed=True).sizes
    tensor([2, 2])
    """
    return orientation_groups(flatten_samples(weight), threshold=threshold, signed=signed)


def channel_groups(
    outputs: Float[Tensor, "n ..."], *, neurons: int = 1, threshold: float = 0.9, signed: bool = False
) -> OrientationGroups:
    """Group the channels of a layer by what they give out for all samples and positions.

    Channel c is the vector of its outputs over samples and positions; channels along one line form a group. For a
    layer that is no convolution these are its neurons, compared by their outputs in place of their weights.

    Args:
        outputs: (n, h, ...), outputs or features, as a convolution returns them, or (n, P, h) with `neurons=-1`.
        neurons: the dimension of the channels.
        threshold: in [0, 1); cosines above it are close.
        signed: False counts lines (a channel and its negative are together), True counts directions.

    Returns:
        The groups. Channels that are zero for all samples or hold NaN or infinity are left out.

    Raises:
        InvalidInput: if `outputs` is not floating-point or has no such dimension, and as `orientation_groups`.

    Source: overview2025, Section 4.2, Figure 3(c, f).

    >>> import torch
    >>> channel_groups(torch.tensor([[1.0, -2.0, 0.0], [0.0, 0.0, 5.0]])).labels
    tensor([1, 1, 0])
    """
    rows = neuron_rows(outputs, "outputs", neurons)
    return orientation_groups(rows, threshold=threshold, signed=signed)
