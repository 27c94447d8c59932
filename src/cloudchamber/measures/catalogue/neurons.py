"""Neurons: along how many lines they point, which of them do anything, and how far each has moved."""

from __future__ import annotations

import math

from torch import Tensor

from cloudchamber._core.nulls import NULL
from cloudchamber._core.registry import Quantity, register
from cloudchamber._core.types import Scalar
from cloudchamber.measures.activity import dead_fraction
from cloudchamber.measures.angles import neuron_amplitude, orientation_angle
from cloudchamber.measures.catalogue.entries import COSINE, FRACTION, POSITIVE, entry
from cloudchamber.measures.channels import channel_groups
from cloudchamber.measures.drift import neuron_distance, static_fraction
from cloudchamber.measures.orientation import effective_width
from cloudchamber.measures.similarity import cosine_matrix
from cloudchamber.measures.vectors import precision

NEURON = ("image_step", "layer", "neuron")


def channel_group_count(outputs: Tensor) -> Scalar:
    """Return the number of groups of channels of (n, P, h) outputs; NaN if one is NaN or infinite."""
    groups = channel_groups(outputs, neurons=-1).n_groups
    known = bool(outputs.isfinite().all())
    return outputs.new_tensor(groups if known else math.nan, dtype=precision(outputs))


effective_width_null = register(
    Quantity(
        f"effective_width{NULL}", "orientation groups of as many random neurons", "m_iso", ("layer",), bounds=POSITIVE
    )
)

entry(
    "effective_width",
    "orientation groups of the neurons",
    "m_eff",
    "zhou2022, Section 4",
    POSITIVE,
    effective_width,
    {"weight": "weight"},
    groups=("default", "neurons"),
    sparse=True,
)
entry(
    "channel_groups",
    "groups of the neurons by what they put out for all samples and positions",
    "m_out",
    "overview2025, Section 4.2",
    POSITIVE,
    channel_group_count,
    {"outputs": "output_rows"},
    groups=("neurons",),
    sparse=True,
)
entry(
    "dead_fraction",
    "fraction of neurons that are zero for all samples",
    "h_dead / h",
    "overview2025, Section 3",
    FRACTION,
    dead_fraction,
    {"features": "feature_rows"},
    groups=("default", "neurons"),
)
entry(
    "static_fraction",
    "fraction of neurons whose weights have not moved",
    "h_static / h",
    "overview2025, Section 3",
    FRACTION,
    static_fraction,
    {"weight": "weight", "initial_weight": "initial_weight"},
    groups=("neurons",),
    sparse=True,
)
entry(
    "neuron_cosine",
    "cosine of the input weights of two neurons",
    "D(u, v)",
    "zhou2022, Section 3, Eq. (5)",
    COSINE,
    cosine_matrix,
    {"vectors": "weight"},
    dims=(*NEURON, "neuron_other"),
    groups=("default", "neurons"),
    subset="neurons",
)
entry(
    "neuron_distance",
    "distance of a neuron's weights from their start, relative to their start",
    "RD_j",
    "overview2025, Section 5, Eq. (5)",
    POSITIVE,
    neuron_distance,
    {"weight": "weight", "initial_weight": "initial_weight"},
    dims=NEURON,
    groups=("neurons",),
    subset="neurons",
)
entry(
    "orientation_angle",
    "orientation of a neuron with one input and a bias",
    "θ_j",
    "overview2025, Section 2",
    (-math.pi, math.pi),
    orientation_angle,
    {"weight": "planar_weight"},
    dims=NEURON,
    unit="rad",
    groups=("neurons",),
    subset="neurons",
)
entry(
    "neuron_amplitude",
    "amplitude of a neuron with one input and a bias",
    "A_j",
    "overview2025, Section 2",
    POSITIVE,
    neuron_amplitude,
    {"weight": "planar_weight"},
    dims=NEURON,
    groups=("neurons",),
    subset="neurons",
)
