"""The narrow network that a condensed one equals: neurons along one direction as a single neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.chains import Matrix, require_fit

Symmetry = Literal["homogeneous", "odd", "linear", "none"]


@dataclass(frozen=True)
class NarrowNetwork:
    """A hidden layer with one neuron per group.

    Attributes:
        w_in: (g, d), the input weights of the groups' leaders, as they were.
        w_out: (k, g) or (k, g + 1), the sums of the groups' output weights.
        labels: (h,), the group of each neuron; −1 for those left out, which give nothing.
        leaders: (g,), which neuron leads each group: the one with the largest ‖w‖.
        defect: how far the groups are from what can be merged without any change of the output: the largest
            `‖w_k − c_k w_j‖/‖w_k‖` over neurons k and their leaders j, where c_k is what the symmetry allows.
    """

    w_in: Matrix
    w_out: Matrix
    labels: Int[Tensor, " h"]
    leaders: Int[Tensor, " g"]
    defect: float


def effective_narrow_network(
    w_in: Matrix, w_out: Matrix, *, symmetry: Symmetry, labels: Int[Tensor, " h"] | None = None, threshold: float = 0.9
) -> NarrowNetwork:
    """Return a hidden layer with the neurons along each direction merged into one.

    `a_j ← Σ_k s_k a_k ‖w_k‖/‖w_j‖` over the neurons k of the group that j leads, s_k = ±1 its direction. The output
    does not change

    - for "homogeneous" activations, σ(cz) = cσ(z) for c > 0 (ReLU, leaky ReLU), if all w_k point the same way;
    - for "linear" ones, σ(cz) = cσ(z) for any c, if all w_k lie on the same line;
    - for "odd" ones, σ(−z) = −σ(z) (tanh), if all `w_k = ±w_j`; else only where |w·x| is small, as tanh z ≈ z there;
    - for any other ("none"), if all `w_k = w_j`; then `a_j ← Σ_k a_k`.

    Args:
        w_in: (h, d), input weights, rows are neurons, a bias as a last column.
        w_out: (k, h) or (k, h + 1), the next layer's weights; a last column beyond h is its bias and stays.
        symmetry: of the activation.
        labels: (h,), the group of each neuron, −1 to leave one out. By default neurons join the strongest
            leader with a cosine above `threshold` to it ("odd" and "linear": of either sign); neurons with w = 0 are
            left out, except for "none", where they are a group (σ(0) may not be 0).
        threshold: in [0, 1).

    Raises:
        InvalidInput: if the matrices or labels do not fit each other, or `threshold` is out of its range.

    Source: overview2025, Sections 2 and 7.3.

    >>> w_in, w_out = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 6.0, 5.0]])
    >>> effective_narrow_network(w_in, w_out, symmetry="homogeneous").w_out
    tensor([[3., 5.]])
    """
    require_fit(w_out, len(w_in))
    lines = symmetry in ("odd", "linear")
    groups = _grouped(w_in, threshold, lines, symmetry == "none") if labels is None else _compact(labels, len(w_in))
    leaders = _strongest(w_in, groups)
    member, leader = w_in[groups >= 0], w_in[leaders[groups[groups >= 0]]]
    factor = _factors(member, leader, symmetry)
    sums = w_out.new_zeros(len(w_out), len(leaders))
    sums.index_add_(1, groups[groups >= 0], w_out[:, : len(w_in)][:, groups >= 0] * factor)
    allowed = factor if symmetry in ("homogeneous", "linear") else factor.sign()
    return NarrowNetwork(
        w_in[leaders], torch.cat([sums, w_out[:, len(w_in) :]], 1), groups, leaders, _defect(member, leader, allowed)
    )


def _factors(member: Tensor, leader: Tensor, symmetry: Symmetry) -> Tensor:
    """By what the output weight of a member is multiplied when its leader takes it over."""
    if symmetry == "none":
        return member.new_ones(len(member))
    ratio = member.norm(dim=1) / leader.norm(dim=1)
    return ratio if symmetry == "homogeneous" else ratio * torch.where((member * leader).sum(1) < 0, -1.0, 1.0)


def _defect(member: Tensor, leader: Tensor, allowed: Tensor) -> float:
    size = member.norm(dim=1)
    distance = (member - allowed[:, None] * leader).norm(dim=1)
    return float(torch.where(size > 0, distance / size, 0.0).max()) if len(member) else 0.0


def _strongest(w_in: Tensor, groups: Tensor) -> Tensor:
    """The neuron with the largest norm of each group, the first of equals."""
    order = w_in.norm(dim=1).argsort(descending=True, stable=True)
    ranked = groups[order]
    count = int(groups.max()) + 1 if len(groups) else 0
    return torch.tensor(
        [int(order[ranked == group][0]) for group in range(count)], dtype=torch.long, device=w_in.device
    )


def _compact(labels: Tensor, h: int) -> Tensor:
    """Labels as 0, 1, … without gaps, −1 kept."""
    require(tuple(labels.shape) == (h,), f"there is a label for each of {h} neurons", tuple(labels.shape), "pass all")
    groups = torch.full_like(labels, -1)
    groups[labels >= 0] = labels[labels >= 0].unique(return_inverse=True)[1]
    return groups


def _grouped(w_in: Tensor, threshold: float, lines: bool, zeros: bool) -> Tensor:
    """Each neuron joins the strongest leader that it is close to; one that is close to none leads."""
    require(0 <= threshold < 1, "`threshold` is a cosine in [0, 1)", threshold, "use 0.9")
    norms = w_in.norm(dim=1)
    unit = torch.where(norms[:, None] > 0, w_in / norms[:, None], 0.0)
    groups, count = torch.full((len(w_in),), -1, device=w_in.device), 0
    for neuron in norms.argsort(descending=True, stable=True).tolist():
        if norms[neuron] > 0 and groups[neuron] < 0:
            cosine = unit @ unit[neuron]
            joins = (cosine.abs() if lines else cosine) > threshold
            joins[neuron] = True
            groups[joins & (groups < 0)] = count
            count += 1
    groups[(norms == 0) & zeros] = count
    return groups
