"""Figures 7(a) and 55: norms against the growing similarity of features."""

from __future__ import annotations

from collections.abc import Sequence

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.mlp2024.six_panels import LEAST, top_of_phase

LAYER = "linear3"
IN_BATCHES = "observe.mode=train"
"""normalized by what is observed itself: running averages would first have to settle"""


def claims(source: str, norm: str, label: str = "", seeds: int = 3, networks: str = "") -> tuple[Claim, ...]:
    """Return what the paper says of such a figure.

    Args:
        source: the figure.
        norm: what it calls the norm.
        label: tells data sets apart.
        seeds: how many the claims take.
        networks: over which networks the worst is taken.
    """
    return (
        Claim(
            f"never rises{label}",
            f"The feature similarity in MLPs with {norm} keeps decreasing.",
            f"highest feature cosine of layer 3 with the norm less that at initialization{networks}",
            "the paper's words; that 0.05 is the most that does not count is ours",
            source,
            at_most=LEAST,
            seeds=seeds,
        ),
        Claim(
            f"falls{label}",
            f"The feature similarity in MLPs with {norm} keeps decreasing.",
            f"feature cosine of layer 3 with the norm at initialization less that at the end{networks}",
            "the paper's words; that 0.05 is the least that counts is ours",
            source,
            at_least=LEAST,
            seeds=seeds,
        ),
        Claim(
            f"rises without{label}",
            f"The feature similarity of the MLP without {norm} keeps increasing in the first phase.",
            f"highest feature cosine of layer 3 around the first phase less that at initialization{networks}",
            "the paper's words; that 0.05 is the least that counts is ours",
            source,
            at_least=LEAST,
            seeds=seeds,
        ),
    )


def numbers(normed: Sequence[Sequence[Run]], plain: Sequence[Sequence[Run]], label: str = "") -> dict[str, list[float]]:
    """Return the numbers of the claims, from the networks of each seed with and without the norm."""
    return {
        f"never rises{label}": [max(_highest(run) - _first(run) for run in of) for of in normed],
        f"falls{label}": [min(_first(run) - _last(run) for run in of) for of in normed],
        f"rises without{label}": [
            min(top_of_phase(run, "feature_cosine", LAYER) - _first(run) for run in of) for of in plain
        ],
    }


def _first(run: Run) -> float:
    return float(run.record.feature_cosine.sel(layer=LAYER)[0])


def _last(run: Run) -> float:
    return float(run.record.feature_cosine.sel(layer=LAYER)[-1])


def _highest(run: Run) -> float:
    return float(run.record.feature_cosine.sel(layer=LAYER).max())
