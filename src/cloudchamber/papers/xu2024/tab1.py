"""xu2024, Table 1: the phases of 20 scalings, by the rule of the exponents and by simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.plot.colors import ALARM, INK, MUTED, class_colors
from cloudchamber.theory import TABLE_1, phase
from cloudchamber.theory.parametrizations import TableCell
from cloudchamber.training.diagrams.catalogue import DIAGRAMS
from cloudchamber.training.sweep.ledger import LEDGER_NAME

SOURCE = "xu2024, Table 1"
_KAPPAS: dict[Scale, list[int]] = {
    "smoke": [50, 200],
    "laptop": [100, 316, 1000, 3162, 10000],
    "paper": [100, 316, 1000, 3162, 10000, 31623, 100000],
}
_SEEDS: dict[Scale, int] = {"smoke": 2, "laptop": 30, "paper": 30}
_SLOPES = ("time_slope", "time_slope_error", "drift_slope", "drift_slope_error")
_KEPT = (*_SLOPES, "predicted_time_slope", "predicted_drift_slope", "phase", "fitted")


def simulated(folder: Path, *, kappa: Sequence[int], seeds: int) -> xr.Dataset:
    """Train the linear networks of all cells over a growing scale κ, and fit learning time and kernel drift."""
    diagram = DIAGRAMS["exponents"].run(
        "laptop", ledger=folder / LEDGER_NAME, over="table_1", kappa=list(kappa), seeds=seeds
    )
    drift = np.log10(diagram.kernel_drift).mean("seed")
    time = np.log10(diagram.learning_time).mean("seed")
    return diagram[list(_KEPT)].assign(log_drift=drift, log_time=time).drop_attrs()


def recipes(scale: Scale) -> dict[str, Study]:
    """Return the simulation of all cells."""
    return {"table": Study(simulated, {"kappa": _KAPPAS[scale], "seeds": _SEEDS[scale]})}


CLAIMS = (
    Claim(
        "rule",
        "The phases of Table 1 follow from Eq. (28) and Theorem 2.",
        "cells whose phase by the rule is the published one, of 20",
        "the paper's table",
        SOURCE,
        at_least=20,
        paper=(20,),
        seeds=1,
    ),
    Claim(
        "simulation",
        "The phases of Table 1 describe what happens when the scale grows.",
        "cells whose simulated phase is the published one, of 20",
        "the paper's table; a slope of at most 0.1 counts as 0, which is ours",
        SOURCE,
        at_least=20,
        paper=(20,),
        seeds=1,
    ),
    Claim(
        "learning time",
        "1/t_c² has the exponents of Eq. (28).",
        "largest |slope of log learning time − theory's| over the cells",
        "the paper's equation; that 0.1 is agreement over a finite range of κ is ours",
        "xu2024, Eq. (28)",
        at_most=0.1,
        seeds=1,
    ),
)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare the published phases with the rule and with the simulation."""
    found = runs["table"].result
    published = _words(found, lambda cell: cell.published)
    ruled = _words(found, lambda cell: phase(cell.exponents, zero_initial_output=cell.zero_initial_output).name)
    away = abs(found.time_slope - found.predicted_time_slope)
    numbers = {
        "rule": [float((ruled == published).sum())],
        "simulation": [float((found.phase == published).sum())],
        "learning time": [float(away.max(skipna=False))],
    }
    return Measured(numbers, found.assign(published=published, rule=ruled).drop_attrs())


def _words(found: xr.Dataset, word: Callable[[TableCell], str]) -> xr.DataArray:
    names = [[word(TABLE_1[row, column]) for column in found.scaling.values] for row in found.row.values]
    return xr.DataArray(np.array(names, dtype=object), {"row": found.row, "scaling": found.scaling}, ("row", "scaling"))


def draw(found: xr.Dataset) -> Figure:
    """Draw kernel drift and learning time over κ, a panel for each scaling, a line for each row of the table."""
    from matplotlib import pyplot as plt

    columns = found.scaling.values
    figure, axes = plt.subplots(2, len(columns), figsize=(2.6 * len(columns), 5), layout="constrained", sharex=True)
    for place, name in enumerate(columns):
        for ax, quantity in zip(axes[:, place], ("log_drift", "log_time"), strict=True):
            _lines(ax, found.sel(scaling=name), quantity)
        axes[0, place].set_title(str(name), loc="left", fontsize="medium", color=INK)
        axes[1, place].set_xlabel("κ")
    axes[0, 0].set_ylabel("log₁₀ kernel drift")
    axes[1, 0].set_ylabel("log₁₀ learning time")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _lines(ax: Axes, of: xr.Dataset, quantity: str) -> None:
    for row, color in zip(of.row.values, class_colors(of.sizes["row"]), strict=True):
        one = of.sel(row=row)
        right = str(one.phase.item()) == str(one.published.item())
        ax.plot(one.kappa, one[quantity], "o-", color=color, markersize=3, label=str(row))
        if not right:
            ax.plot(one.kappa[-1:], one[quantity][-1:], "x", color=ALARM)
    ax.set_xscale("log")
    ax.axhline(0, color=MUTED, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def text(found: xr.Dataset) -> str:
    """Return a line per cell: published, by rule, simulated, and both slopes with standard errors."""
    head = f"{'row':14}{'scaling':12}{'published':>10}{'rule':>10}{'simulated':>11}"
    rows = [f"{head}{'time slope (theory)':>26}{'drift slope (theory)':>26}"]
    for row in found.row.values:
        rows += [_line(found.sel(row=row, scaling=scaling)) for scaling in found.scaling.values]
    return "\n".join(rows)


def _line(one: xr.Dataset) -> str:
    words = "".join(f"{one[name].item()!s:>{size}}" for name, size in (("published", 10), ("rule", 10), ("phase", 11)))
    slopes = "".join(
        f"{float(one[f'{name}_slope']):10.3f} ± {float(one[f'{name}_slope_error']):.3f}"
        f" ({float(one[f'predicted_{name}_slope']):5.2f})"
        for name in ("time", "drift")
    )
    return f"{one.row.item()!s:14}{one.scaling.item()!s:12}{words}{slopes}"


EXHIBIT = Exhibit(
    id="xu2024/tab1",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    table=text,
    settings="Linear networks f = γ uᵀW x on one direction, E(f − y)² with y = 1, all sizes powers of κ as the table "
    "says, gradient flow to a loss of 1e-6 of the first. Simulated phase: frozen or unstable where the "
    "learning time grows or falls with κ, else kernel where the kernel's relative change falls, else "
    "learning. Lazy networks start from u·w = 0, without which their two kernel cells learn features. 30 "
    "networks per cell and κ, from 100 to 10 000 (paper: 100 000).",
)
