"""The small networks of the figures: which are trained, and which of their layers are shown when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudchamber.papers.exhibit import Measured, Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.zhou2022 import heatmaps
from cloudchamber.papers.zhou2022.heatmaps import Panel
from cloudchamber.papers.zhou2022.nets import input_weights, loss_ratio, nets

SEEDS: Mapping[Scale, int] = {"smoke": 1, "laptop": 20, "paper": 20}
LINES = {"tanh": 1, "xtanh": 2, "x2tanh": 3, "sigmoid": 1, "softplus": 1, "silu": 1}
"""What the paper sees: the multiplicity."""
ADAM = "Adam, full batch, squared error; data and initial weights are drawn anew for each of 20 seeds."
SIX_LAYERS = ("x2tanh", "xtanh", "sigmoid", "tanh", "softplus")


def sines(dimension: int, amplitude: float, frequency: float) -> dict[str, Any]:
    """Return 80 samples of Σ amplitude · sin(frequency x_k + 1), x_k uniform in [−4, 2]."""
    return {
        "name": "sines",
        "samples": 80,
        "dimension": dimension,
        "amplitude": amplitude,
        "frequency": frequency,
    }


@dataclass(frozen=True)
class Net:
    """A small network, trained with 20 seeds.

    Attributes:
        name: of ours.
        data: as `nets.samples_of` takes it.
        activations: of the hidden layers.
        width: neurons of each.
        std: standard deviation of all parameters at the start.
        lr: Adam's.
        shown: by hidden layer, the epoch at which the paper shows it.
        between: further epochs that are kept.
        residual: whether hidden layers add their input.
        norm_cut: neurons below this part of the largest norm are left out of heatmaps.
    """

    name: str
    data: Mapping[str, Any]
    activations: tuple[str, ...]
    width: int
    std: float
    lr: float
    shown: tuple[int, ...]
    between: tuple[int, ...] = ()
    residual: bool = False
    norm_cut: float = 0.0

    @property
    def epochs(self) -> list[int]:
        """At which weights are kept."""
        return sorted({*self.shown, *self.between})

    def study(self, scale: Scale) -> Study:
        """Return what is trained; fewer seeds and epochs at smoke."""
        last = 20 * len(self.epochs)
        epochs = range(20, last + 1, 20) if scale == "smoke" else self.epochs
        return nets(
            data=self.data, activations=self.activations, width=self.width, std=self.std,
            lr=self.lr * self.epochs[-1] / epochs[-1], epochs=[*epochs], seeds=SEEDS[scale], residual=self.residual,
        )  # fmt: skip

    def panel_name(self, layer: int) -> str:
        """Return the name of a layer's heatmap and of its claims."""
        if len(self.activations) == 1:
            return self.name
        same = len(set(self.activations)) == 1
        return f"layer {layer}, {self.activations[layer - 1]}" if not same else f"{self.name}, layer {layer}"


def studies(scale: Scale, chosen: Sequence[Net]) -> dict[str, Study]:
    """Return the studies of networks, by name."""
    return {net.name: net.study(scale) for net in chosen}


def kept_epoch(net: Net, run: StudyRun, epoch: int) -> int:
    """Return the epoch of a run that stands for one of the paper's: itself, or another one at smoke."""
    return int(run.result.epoch.values[net.epochs.index(epoch)])


def panel(net: Net, run: StudyRun, layer: int, epoch: int, name: str = "") -> Panel:
    """Return the heatmap of a layer at an epoch."""
    kept = kept_epoch(net, run, epoch)
    ratios = loss_ratio(run.result, kept)
    return Panel(
        name or net.panel_name(layer),
        input_weights(run.result, layer, kept),
        LINES[net.activations[layer - 1]],
        norm_cut=net.norm_cut,
        note=f"epoch {kept}, loss {ratios.mean():.0%}",
    )


def panels(net: Net, run: StudyRun) -> list[Panel]:
    """Return the heatmaps of a network's hidden layers, each at the paper's epoch."""
    return [panel(net, run, layer, epoch) for layer, epoch in enumerate(net.shown, start=1)]


def measure(runs: Mapping[str, StudyRun], *, chosen: Sequence[Net]) -> Measured:
    """Count the lines of every hidden layer shown."""
    found = [one for net in chosen for one in panels(net, runs[net.name])]
    return Measured(heatmaps.numbers(found), heatmaps.picture(found))


def claims(chosen: Sequence[Net], source: str) -> tuple[heatmaps.Claim, ...]:
    """Return what the paper says of such heatmaps: as many lines as the multiplicity."""
    named = [
        (net.panel_name(layer), LINES[net.activations[layer - 1]], False)
        for net in chosen
        for layer in range(1, len(net.shown) + 1)
    ]
    return (*heatmaps.line_claims(named, source), heatmaps.condensed_claim(source))


_FIGURE_3 = sines(5, 3.5, 5.0)
FIGURE_3 = tuple(
    Net(name, _FIGURE_3, (name,), 50, 0.005, lr, (100,), (0, 10, 30, 60))
    for name, lr in (("tanh", 1e-3), ("xtanh", 1e-3), ("x2tanh", 1e-3), ("sigmoid", 8e-4), ("softplus", 2.5e-4))
)
FIGURE_4 = Net(
    "six layers", sines(3, 4.0, 12.0), SIX_LAYERS, 18, 0.01, 4e-5, (1000, 900, 900, 1400, 1400), (0, 200, 400, 600),
    residual=True,
)  # fmt: skip
FIGURE_10 = Net("six layers", sines(3, 4.0, 12.0), SIX_LAYERS, 18, 0.008, 1e-5, (6800, 6800, 6800, 6300))
WAVE = {"name": "wave", "samples": 40}
FIGURE_5 = tuple(
    Net(name, WAVE, (name,), 100, 0.005, lr, (1000,), (0, 20, 50, 100, 200))
    for name, lr in (("tanh", 5e-4), ("xtanh", 1e-4), ("x2tanh", 1e-4))
)
FIGURE_11 = tuple(
    Net(name, sines(5, 3.0, 8.0), (name,) * 2, 50, 0.005, lr, (700, 700), norm_cut=cut)
    for name, lr, cut in (
        ("tanh", 1e-4, 0.0),
        ("silu", 1e-4, 0.0),
        ("xtanh", 1e-4, 0.0),
        ("x2tanh", 1e-4, 0.1),
        ("sigmoid", 1e-5, 0.0),
        ("softplus", 1.4e-5, 0.0),
    )
)
FIGURE_12 = tuple(
    Net(name, sines(5, 3.0, 10.0), (name,) * 4, 18, 0.008, lr, (epoch,) * 4)
    for name, lr, epoch in (
        ("tanh", 1.5e-5, 10000),
        ("xtanh", 1.5e-5, 10000),
        ("x2tanh", 1.5e-5, 26000),
        ("sigmoid", 1.5e-5, 10000),
        ("softplus", 1.5e-6, 20000),
    )
)
FIGURE_13 = tuple(
    Net(name, sines(5, 3.0, 10.0), (name,) * 4, 18, 0.008, lr, (epoch,) * 4, residual=True)
    for name, lr, epoch in (
        ("tanh", 1e-4, 400),
        ("xtanh", 1e-4, 400),
        ("x2tanh", 1e-4, 400),
        ("sigmoid", 1e-4, 3000),
        ("softplus", 5e-5, 3000),
    )
)
