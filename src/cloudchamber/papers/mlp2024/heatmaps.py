"""Figures 8 to 10: cosines of the features of 500 samples around the first phase."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured
from cloudchamber.papers.mlp2024.first_phase import end_of_phase, reasons
from cloudchamber.papers.mlp2024.samples import cosines, measured_features
from cloudchamber.plot.colors import INK, cosine_colors

LAYER = "linear4"
THIN = 5
"""one of so many samples is kept for the picture"""


def claims(source: str, step: float, seeds: int = 3) -> tuple[Claim, ...]:
    """Return what the paper says of such a figure; `step` is the iteration that it names."""
    return (
        Claim(
            "almost the same feature",
            "At the end of the first phase samples of different categories share almost the same feature.",
            "mean cosine of the features of two samples at the end of the first phase",
            "the paper's words; that 0.8 is almost the same is ours",
            source,
            at_least=0.8,
            seeds=seeds,
        ),
        Claim(
            "rise",
            "The cosine similarity keeps increasing until then.",
            "that mean cosine less that at initialization",
            "the paper's words; that 0.05 is the least that counts is ours",
            source,
            at_least=0.05,
            seeds=seeds,
        ),
        Claim(
            "structure after",
            "After the first phase the features of samples differ.",
            "deviation of the cosines over pairs at the last step over that at the end of the first phase",
            "the paper's figure; the bound is ours",
            source,
            at_least=1.5,
            seeds=seeds,
        ),
        Claim(
            "when",
            f"The condensation happens in the {step:.0f}th iteration.",
            "step at which the first phase of this layer is over",
            "the paper's number within 30 %, which is ours",
            source,
            at_least=0.7 * step,
            at_most=1.3 * step,
            paper=(step,),
            over="mean of seeds",
            seeds=seeds,
        ),
    )


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure the cosines of every run; the first one's are drawn."""
    rows = [_numbers(run) for run in runs.values()]
    names = ("almost the same feature", "rise", "structure after", "when")
    numbers = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return Measured(numbers, _picture(next(iter(runs.values()))), reasons(numbers))


def draw(shown: xr.Dataset) -> Figure:
    """Draw a heatmap per step, samples by class."""
    from matplotlib import pyplot as plt

    count = shown.sizes["step"]
    figure, axes = plt.subplots(1, count, figsize=(2.6 * count, 3.1), layout="constrained", squeeze=False)
    classes, starts = np.unique(shown.label.values, return_index=True)
    colors = ScalarMappable(Normalize(-1, 1), cosine_colors())
    for ax, step in zip(axes[0], shown.step.values, strict=True):
        one = shown.sel(step=step)
        ax.imshow(one.cosine.values, cmap=colors.cmap, norm=colors.norm, interpolation="nearest")
        mark = " (end of first phase)" if step == shown.attrs["end"] else ""
        ax.set_title(f"iteration {step}{mark}\nmean {float(one.mean_cosine):.2f}", fontsize="small", color=INK)
        ax.set_xticks([])
        ax.set_yticks(starts if len(classes) <= 10 else [], classes if len(classes) <= 10 else [], fontsize="small")
    axes[0][0].set_ylabel("samples, by class")
    figure.colorbar(colors, ax=axes[0].tolist(), label="cosine", shrink=0.8)
    return figure


def _numbers(run: Run) -> tuple[float, float, float, float]:
    stop = end_of_phase(run, LAYER)
    if stop is None:
        return np.nan, np.nan, np.nan, np.nan
    found = measured_features(run, LAYER)
    means, spreads = _moments(cosines(found))
    place = found.step.values.tolist().index(stop)
    return (
        float(means[place]),
        float(means[place] - means[0]),
        float(spreads[-1] / spreads[place]),
        float(stop),
    )


def _moments(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = matrices[:, ~np.eye(matrices.shape[1], dtype=bool)]
    return np.nanmean(pairs, axis=1), np.nanstd(pairs, axis=1)


def _picture(run: Run) -> xr.Dataset:
    found, stop = measured_features(run, LAYER), end_of_phase(run, LAYER)
    matrices = cosines(found)
    thin = matrices[:, ::THIN, ::THIN].astype(np.float16).astype(np.float32)
    return xr.Dataset(
        {
            "cosine": (("step", "sample", "sample_other"), thin),
            "mean_cosine": ("step", _moments(matrices)[0]),
            "label": ("sample", found.label.values[::THIN]),
        },
        coords={"step": found.step.values},
        attrs={"end": -1 if stop is None else stop},
    )
