"""Why verdicts of zhou2022 are what they are: runs beside those of the exhibits.

`python benchmarks/zhou2022_settings.py` measures all parts, `… "over time"` one of them; rows that
`results/zhou2022_settings.json` holds already are not repeated. One thread; "resnets" needs CIFAR-10
($CLOUDCHAMBER_DATA, cache or download), "figure 2" and "starts" the runs of Figures 2 and 9 in the cache.

- over time (Figures 6, 17): Adam's networks epoch by epoch. `loss`: over the first; `slope`: ‖Σ e_i x_i‖ over its
  first; `turned`: the largest angle from an attractor at the start to the nearest of now; `field`: the largest angle
  from a predicted attractor to where the whole field holds neurons; of the neurons grown tenfold, the shares within 5°
  of an attractor of now, and of a direction with equally large entries (`corner`).
- flow (Figure 6): gradient flow by initial deviation and by the loss at which it ends. `now` and `start`: shares within
  5° of attractors from the residuals at the end, at the start; `far grown`: the same of neurons grown 1/sin 5° = 11.5
  times, which are within 5° of the attractor if what they had across it has stayed; `seeds`: twenty.
- equal speeds (Figure 6): every neuron moves by a hundredth of its length and step; shares of all neurons.
- resnets (Figures 2, 14, 18): convolutions left as they start; the rate times a factor. figure 2: the exhibit's own.
- rates (Figures 3, 10, 11, 12, 13): the exhibits' networks with a multiple of the rate, 20 seeds. By hidden layer:
  mean number of lines, share on lines, share within 10° of a corner (`corner`, first layers only).
- starts (Table 1, Figure 9): how many updates ago networks of Glorot's start had the training loss of a condensed one,
  and the difference in test accuracy; the exhibits' runs, from the cache.
- initial stage (Figures 5, 8): the same; lowest loss over the first, seeds below 70 %, seeds that polynomials explain.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orientations
import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.files import write_text
from cloudchamber.models import ActivationName, activation
from cloudchamber.papers import RunCache
from cloudchamber.papers.zhou2022 import accuracies, condensing_resnets, fields, heatmaps, nets, resnets, small
from cloudchamber.papers.zhou2022.condensing_resnets import NETWORKS, PER_EPOCH, UPDATES, Network
from cloudchamber.papers.zhou2022.fig5 import ENOUGH, TOLERANCE, left_by_fits
from cloudchamber.papers.zhou2022.heatmaps import Panel
from cloudchamber.papers.zhou2022.predictions import Layer, layer_of
from cloudchamber.theory import condensed_directions, match_attractors, multiplicity
from cloudchamber.training.batches import Batches

RESULTS = Path(__file__).parent / "results" / "zhou2022_settings.json"
SEEDS, DEGREES, GROWN = 20, 5.0, 10.0
FAR_GROWN = 1 / math.sin(math.radians(DEGREES))
EPOCHS = (0, 20, 50, 70, 100, 200, 1000)
RATES: dict[ActivationName, float] = {"tanh": 5e-4, "xtanh": 1e-4, "x2tanh": 1e-4}
"""those of Figure 5"""
OVER_TIME: dict[str, tuple[ActivationName, float, float]] = {
    **{f"{name}, N(0, {std:g}²)": (name, std, 1.0) for name in RATES for std in (5e-3, 5e-5)},
    **{f"tanh, rate × {factor:g}": ("tanh", 5e-3, factor) for factor in (0.4, 0.2, 0.1)},
}
FLOW = {
    **{
        f"tanh, N(0, {std:g}²), loss {ratio:.1%}": ("tanh", std, ratio)
        for std in (5e-3, 5e-4, 5e-5, 5e-6)
        for ratio in (0.999, 0.98, 0.9)
    },
    **{
        f"{name}, N(0, {std:g}²), loss 98.0%": (name, std, 0.98) for name in ("xtanh", "x2tanh") for std in (5e-3, 5e-5)
    },
}
EQUAL: dict[str, tuple[ActivationName, float]] = {
    f"{name}, N(0, {std:g}²)": (name, std) for name in RATES for std in (5e-3, 5e-5)
}
RESNETS = {
    f"{one.activation}, head only, rate × {factor:g}": (one, factor)
    for one, factor in zip(NETWORKS[2:], (4.0, 1.0), strict=True)
}
"""softplus and xtanh of Figure 2 with the convolutions as they start"""
FIGURES: dict[str, Sequence[small.Net]] = {
    "Figure 3": small.FIGURE_3,
    "Figure 10": (small.FIGURE_10,),
    "Figure 11": small.FIGURE_11,
    "Figure 12": small.FIGURE_12,
    "Figure 13": small.FIGURE_13,
}
EARLIER = ("Figure 3", "Figure 13")
MULTIPLES = {
    f"{figure}, {net.name}, rate × {factor:g}": (net, factor)
    for figure, chosen in FIGURES.items()
    for net in chosen
    for factor in (*((0.25,) if figure in EARLIER else ()), 1.0, 4.0, 16.0)
}
STAGE = {f"{net.name}, rate × {factor:g}": (net, factor) for net in small.FIGURE_5 for factor in (1.0, 0.8, 0.5)}


def over_time(setting: str) -> dict[str, Any]:
    """Return what becomes of prediction, field and neurons over the epochs of Adam."""
    name, std, factor = OVER_TIME[setting]
    options = {"data": small.WAVE, "activations": [name], "width": 100, "std": std, "lr": factor * RATES[name]}
    result = nets.trained_nets(Path(), **options, epochs=EPOCHS, seeds=SEEDS)
    first = fields.layers(_as_run(result), 0)
    return {str(epoch): _at_epoch(result, first, epoch) for epoch in EPOCHS[1:]}


class _Done:
    """A result where a run of a study is asked for."""

    def __init__(self, result: xr.Dataset) -> None:
        self.result = result


def _as_run(result: xr.Dataset) -> Any:
    return _Done(result)


def _at_epoch(result: xr.Dataset, first: Sequence[Layer], epoch: int) -> dict[str, Any]:
    now = fields.layers(_as_run(result), epoch)
    pairs = list(zip(first, now, strict=True))
    grown = torch.cat([_growth(one, other) >= GROWN for one, other in pairs])
    near = torch.cat([_degrees(one, one) for one in now])[grown] <= DEGREES
    corner = torch.cat([_from_corner(one.weights) for one in now])[grown] <= DEGREES
    return {
        "loss": float(nets.loss_ratio(result, epoch).mean()),
        "slope": _mean([_slope(other) / _slope(one) for one, other in pairs]),
        "turned": _mean([_turned(one, other) for one, other in pairs]),
        "field": _mean([fields.distance_to_field(one) for one in now]),
        "norm": _mean([float(one.weights.norm(dim=1).median()) for one in now]),
        "grown": int(grown.sum()),
        "near": _share(near),
        "corner": _share(corner),
    }


def _growth(first: Layer, now: Layer) -> Tensor:
    return now.weights.norm(dim=1) / first.weights.norm(dim=1)


def _degrees(neurons: Layer, predicting: Layer) -> Tensor:
    """Angles of neurons to attractors from the residuals of a layer."""
    return match_attractors(neurons.weights, neurons.output_weights, predicting.predicted, growing=True).degrees


def _from_corner(weights: Tensor) -> Tensor:
    cosine = weights.abs().sum(1) / (weights.norm(dim=1) * math.sqrt(weights.shape[1]))
    return torch.rad2deg(cosine.clamp(max=1).acos())


def _slope(layer: Layer) -> float:
    return float((layer.residuals @ layer.inputs).norm())


def _turned(first: Layer, now: Layer) -> float:
    """The largest angle from an attractor of a > 0 at first to the nearest of now; NaN if there is none."""
    before, after = (one.predicted.attractors(1, growing=True) for one in (first, now))
    if not len(before) or not len(after):
        return math.nan
    return float(torch.rad2deg((before @ after.T).clamp(-1, 1).acos().amin(1).max()))


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values))


def _share(chosen: Tensor) -> float | None:
    return float(chosen.double().mean()) if len(chosen) else None


def flow(setting: str) -> dict[str, Any]:
    """Return where neurons are that gradient flow has let grow."""
    name, std, ratio = FLOW[setting]
    settings = {"data": small.WAVE, "activation": name, "width": 100, "std": std}
    result = nets.flowed_nets(Path(), **settings, ratio=ratio, seeds=SEEDS)
    pairs = [(layer_of(result, member, 0), layer_of(result, member, 1)) for member in range(SEEDS)]
    growth = torch.cat([_growth(one, other) for one, other in pairs])
    now = torch.cat([_degrees(other, other) for _, other in pairs])
    start = torch.cat([_degrees(other, one) for one, other in pairs])
    grown, far = growth >= GROWN, growth >= FAR_GROWN
    return {
        "loss": float(nets.loss_ratio(result, 1).mean()),
        "turned": _mean([_turned(one, other) for one, other in pairs]),
        "field": _mean([fields.distance_to_field(other) for _, other in pairs]),
        "grown": int(grown.sum()),
        "now": _share(now[grown] <= DEGREES),
        "start": _share(start[grown] <= DEGREES),
        "far grown": int(far.sum()),
        "now, far grown": _share(now[far] <= DEGREES),
        "start, far grown": _share(start[far] <= DEGREES),
    }


def equal_speeds(setting: str) -> dict[str, Any]:
    """Return where neurons are that all move by the same part of their length, until the loss is 98 % of its first."""
    name, std = EQUAL[setting]
    pairs = [_with_ones(*nets.samples_of(small.WAVE, seed)) for seed in range(SEEDS)]
    models = [orientations.network(2, 100, name, std, seed) for seed in range(SEEDS)]
    ends = orientations.by_equal_speeds(models, pairs, 0.98, name)
    rows = [
        _told(model, end, pair, name) for model, end, pair in zip(models, ends, pairs, strict=True) if end is not None
    ]
    growth, degrees = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return {
        "reached": len(rows),
        "near": _share(degrees <= DEGREES),
        "grown": int((growth >= GROWN).sum()),
        "near, grown": _share(degrees[growth >= GROWN] <= DEGREES),
    }


def _with_ones(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([x, torch.ones(len(x), 1)], 1), y


def _told(
    model: nn.Module, end: orientations.State, pair: tuple[Tensor, Tensor], name: ActivationName
) -> tuple[Tensor, Tensor]:
    """Growth, and angles to the attractors of the first residuals."""
    weights, outputs = end
    order = multiplicity(activation(name))
    found = condensed_directions(pair[0].double(), -pair[1][:, 0].double(), order)
    growth = weights.norm(dim=1) / orientations.start(model)[0].norm(dim=1)
    return growth, match_attractors(weights, outputs, found, growing=True).degrees


def condensing(setting: str) -> dict[str, Any]:
    """Return on how many lines the first fully connected layer of a ResNet of Figure 2 is after 240 updates."""
    weights = _trained_head(*RESNETS[setting])
    return {str(step): _counted(weight) | {"growth": _grown(weights[0], weight)} for step, weight in weights.items()}


def figure_2(setting: str) -> dict[str, Any]:
    """Return the same of a network of Figure 2 itself, with how many directions there are at |cos| > 0.9."""
    result = RunCache.of_user().study(condensing_resnets.studies("laptop")[setting]).result
    first, rows = result.weight.values[0], {}
    for step, weight in zip(result.snapshot.values.tolist(), result.weight.values, strict=True):
        wide = [float(one[0]) for one in heatmaps.counts(Panel("", weight[None], 1, True), threshold=0.9)]
        row = {"directions, 0.9": int(wide[0]), "on directions, 0.9": wide[1], "growth": _grown(first, weight)}
        rows[str(step)] = _counted(weight) | row
    return rows


def _counted(weight: np.ndarray) -> dict[str, float]:
    (lines, on_lines), (directions, on_directions) = (
        heatmaps.counts(Panel("", weight[None], 1, signed)) for signed in (False, True)
    )
    row = {"lines": int(lines[0]), "on lines": float(on_lines[0])}
    return {**row, "directions": int(directions[0]), "on directions": float(on_directions[0])}


def _grown(first: np.ndarray, now: np.ndarray) -> float:
    """The median growth of norms."""
    return float(np.median(np.linalg.norm(now, axis=-1) / np.linalg.norm(first, axis=-1)))


def _trained_head(one: Network, factor: float) -> dict[int, np.ndarray]:
    updates = UPDATES["laptop"]
    train = resnets.images("cifar10", 0, "train")
    model = resnets.resnet(one.activation, 1 / 4, (1024, 1024), train, "N(0, 1/m_out³)", 0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=factor * one.lr * one.epochs * PER_EPOCH / updates)
    batches, held, kept = Batches(train, 128, 0), dict(model.named_parameters()), {}
    for step in range(updates + 1):
        if step in (0, updates // 2, updates):
            weight = torch.cat([held[f"{resnets.FIRST}.weight"], held[f"{resnets.FIRST}.bias"][:, None]], 1)
            kept[step] = weight.detach().numpy().copy()
        x, y = batches.of_step(step + 1)
        loss = nn.functional.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return kept


def rates(setting: str) -> dict[str, Any]:
    """Return the lines of a figure's network, trained with a multiple of its rate, by hidden layer."""
    net, factor = MULTIPLES[setting]
    result = _trained(net, factor)
    rows = {}
    for layer, epoch in enumerate(net.shown, start=1):
        weights = nets.input_weights(result, layer, epoch)
        count, covered = heatmaps.counts(Panel("", weights, 1, norm_cut=net.norm_cut))
        corner = np.mean([orientations.near_corners(torch.from_numpy(weight)) for weight in weights])
        row = {"lines": float(count.mean()), "one line": int((count == 1).sum()), "on lines": float(covered.mean())}
        rows[str(layer)] = {**row, "corner": float(corner), "growth": _grown(_first(net, layer), weights)}
    return {**rows, "loss": float(nets.loss_ratio(result, max(net.shown)).mean())}


def _trained(net: small.Net, factor: float) -> xr.Dataset:
    return nets.trained_nets(
        Path(), data=net.data, activations=net.activations, width=net.width, std=net.std, lr=factor * net.lr,
        epochs=sorted({0, *net.shown}), seeds=SEEDS, residual=net.residual,
    )  # fmt: skip


def _first(net: small.Net, layer: int) -> np.ndarray:
    """Input weights of a layer at the start, for every seed."""
    _, models, _ = nets.started(net.data, net.activations, net.width, net.std, range(SEEDS), net.residual)
    held = [dict(model.named_parameters()) for model in models]
    rows = [torch.cat([one[f"linear{layer}.weight"], one[f"linear{layer}.bias"][:, None]], 1) for one in held]
    return torch.stack(rows).detach().numpy()


def initial_stage(setting: str) -> dict[str, Any]:
    """Return how far the loss of a network of Figure 5 has fallen, and whether its output is a polynomial."""
    net, factor = STAGE[setting]
    result = _trained(net, factor)
    ratios = nets.loss_ratio(result, net.shown[0])
    points = torch.linspace(-1, 1.5, 201, dtype=torch.float64)[:, None]
    with torch.no_grad():
        outputs = [nets.network(result, seed, net.shown[0])(points)[:, 0].numpy() for seed in range(SEEDS)]
    left = np.array([left_by_fits(output)[small.LINES[net.name]] for output in outputs])
    row = {"lowest": float(ratios.min()), "mean": float(ratios.mean()), "below 70 %": int((ratios < 0.7).sum())}
    return {**row, "explained": int((left <= TOLERANCE).sum()), "asked for": ENOUGH}


def starts(setting: str) -> dict[str, Any]:
    """Return how far a condensed start of Table 1 is behind Glorot's: in updates and in accuracy, means of trials."""
    studies, cache = accuracies.studies("laptop"), RunCache.of_user()
    trials = range(1, accuracies.TRIALS["laptop"][1] + 1)

    def results(name: str) -> list[xr.Dataset]:
        return [cache.study(studies[f"{name}, trial {trial}"]).result for trial in trials]

    one, common = results(setting), [*results("Glorot_uniform"), *results("Glorot_normal")]
    loss, reference = (np.mean([run.loss.values for run in runs], 0) for runs in (one, common))
    last = [float(part[-60:].mean()) for part in (loss, reference)]
    accuracy, compared = (np.mean([run.test_accuracy.values for run in runs], 0) for runs in (one, common))
    behind = dict(zip(map(str, one[0].tested.values.tolist()), (accuracy - compared).tolist(), strict=True))
    return {"updates behind": _behind(loss, reference), "accuracy less Glorot's": behind, "last loss, Glorot's": last}


def _behind(loss: np.ndarray, reference: np.ndarray) -> dict[str, int]:
    """Updates ago at which the reference's loss (mean of 40, lowest so far) was what the loss is now, by update."""
    # 360: until the rate falls.
    low = [np.minimum.accumulate(np.convolve(part[:360], np.ones(40) / 40, "valid")) for part in (loss, reference)]
    return {str(step): int(step - np.argmax(low[1] <= low[0][step])) for step in range(40, 321, 40)}


PARTS: dict[str, tuple[Callable[[str], dict[str, Any]], list[str]]] = {
    "over time": (over_time, list(OVER_TIME)),
    "flow": (flow, list(FLOW)),
    "equal speeds": (equal_speeds, list(EQUAL)),
    "rates": (rates, list(MULTIPLES)),
    "initial stage": (initial_stage, list(STAGE)),
    "resnets": (condensing, list(RESNETS)),
    "figure 2": (figure_2, [one.activation for one in NETWORKS]),
    "starts": (starts, list(resnets.CONDENSED)),
}


def main(wanted: list[str]) -> None:
    """Measure what is not kept yet."""
    torch.set_num_threads(1)
    for part in wanted or PARTS:
        measure, settings = PARTS[part]
        for setting in settings:
            if setting not in kept().get(part, {}):
                began = time.perf_counter()
                row = {**measure(setting), "seconds": round(time.perf_counter() - began, 1)}
                keep(part, setting, row)
                print(part, "|", setting, "|", row, flush=True)


def kept() -> dict[str, dict[str, Any]]:
    """Return the rows that are kept, by part and setting."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def keep(part: str, setting: str, row: dict[str, Any]) -> None:
    """Add a row to those that are kept now: another process may have added some meanwhile."""
    found = kept()
    found.setdefault(part, {})[setting] = orientations.rounded(row)
    write_text(RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
