"""Blocks among the kernels of a convolution and among its channels' outputs, as numbers beside their nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.measures import cosine_matrix, flatten_samples, heatmap_order, kernel_groups
from cloudchamber.plot.colors import INK, cosine_colors

KINDS = ("kernels", "outputs")
LINE = 0.9
STRENGTH = (
    "Block strength is the mean |cos| over pairs of channels; its null is that of the same layer, on the same inputs, "
    "with the entries of its kernels shuffled among all of them (mean of 5 shuffles), which has the same number of "
    "inputs and sees the same images."
)
_SHUFFLES = 5


def block_strength(cosines: Float[Tensor, "h h"]) -> float:
    """Return the mean |cos| over pairs of rows: 1 if all are on one line; rows without a direction are left out.

    >>> block_strength(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    1.0
    """
    pairs = cosines[~torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)].abs()
    return float(pairs.nanmean())


def line_shares(weight: Float[Tensor, "h ..."]) -> tuple[float, float]:
    """Return the share of kernels on the most crowded line (|cos| > 0.9), and of these the share of the rarer sign.

    >>> kernels = torch.ones(3, 1, 2, 2)
    >>> line_shares(torch.cat([kernels, -kernels[:1], torch.eye(2).view(1, 1, 2, 2)]))
    (0.8, 0.25)
    """
    found = kernel_groups(weight, threshold=LINE)
    rows = flatten_samples(weight)
    best = int(found.sizes.argmax())
    on_line = rows[found.labels == best]
    positive = float((on_line @ rows[found.leaders[best]] > 0).float().mean())
    return len(on_line) / len(rows), min(positive, 1 - positive)


def blocks(layer: nn.Conv2d, inputs: Float[Tensor, "n c y x"], seed: int) -> xr.Dataset:
    """Return cosines of a convolution's kernels and outputs, in blocks, and their strengths beside the nulls.

    Args:
        layer: the convolution.
        inputs: what it is given.
        seed: of the shuffles.
    """
    with torch.no_grad():
        weight, bias = layer.weight.detach(), layer.bias
        matrices = [cosine_matrix(flatten_samples(weight)), _outputs(layer, inputs, weight, bias)]
        random, nulls = generator(seed, "shuffled kernels"), []
        for _ in range(_SHUFFLES):
            mixed = weight.flatten()[torch.randperm(weight.numel(), generator=random)].view_as(weight)
            both = cosine_matrix(flatten_samples(mixed)), _outputs(layer, inputs, mixed, bias)
            nulls.append([block_strength(one) for one in both])
    ordered = [_in_blocks(one) for one in matrices]
    share, rarer = line_shares(weight)
    return xr.Dataset(
        {
            "cosine": (("kind", "channel", "channel_other"), np.array([one.numpy() for one in ordered], np.float16)),
            "strength": ("kind", [block_strength(one) for one in matrices]),
            "null": ("kind", np.mean(nulls, axis=0)),
            "on_line": share,
            "rarer_sign": rarer,
        },
        coords={"kind": list(KINDS)},
    )


def _in_blocks(cosines: Tensor) -> Tensor:
    order = heatmap_order(cosines)
    return cosines[order][:, order]


def _outputs(layer: nn.Conv2d, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Cosines of channels over samples and positions."""
    out = nn.functional.conv2d(inputs, weight, bias, layer.stride, layer.padding)
    return cosine_matrix(out.transpose(0, 1).flatten(1))


def heatmaps(axes: Sequence[Axes], shown: Mapping[str, xr.Dataset]) -> None:
    """Draw a heatmap in each of the axes: by title, `cosine`, `strength` and `null` of one."""
    for ax, (title, one) in zip(axes, shown.items(), strict=True):
        matrix = one.cosine.values.astype(np.float32)
        kept = matrix[~np.isnan(matrix).all(1)][:, ~np.isnan(matrix).all(0)]
        ax.imshow(kept, cmap=cosine_colors(), vmin=-1, vmax=1, interpolation="nearest")
        numbers = f"strength {float(one.strength):.2f}, shuffled {float(one.null):.2f}"
        ax.set_title(f"{title}\n{numbers}", fontsize="small", color=INK)
        ax.set_xticks([])
        ax.set_yticks([])


def color_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw what the colours of heatmaps mean."""
    colors = ScalarMappable(Normalize(-1, 1), cosine_colors())
    figure.colorbar(colors, ax=list(axes), label="cosine", shrink=0.7)
