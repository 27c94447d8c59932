"""Two-layer ReLU networks from small and from common weights, trained, narrowed, and trained on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.data import Dataset, DigitsConfig, ImagesConfig, load_data
from cloudchamber.measures import relative_distance
from cloudchamber.models import MLP
from cloudchamber.reduction import merge_neurons
from cloudchamber.theory import NarrowNetwork, effective_narrow_network
from cloudchamber.training.batches import Batches

CONDENSED, LAZY = "m^-6", "He"
COSINE, TOLERANCE, BATCH = 0.9, 0.03, 100
WAYS = ("cosine 0.9", "merge_neurons", "as narrow")
_HALVINGS = 12


def narrowed(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    data: str,
    samples: int,
    width: int,
    steps: int,
    lr: float,
    tune: int,
    starts: Sequence[str],
    seed: int,
) -> xr.Dataset:
    """Train a network from each start and narrow it in each of `WAYS`.

    Args:
        folder: of the study.
        data: "mnist", or digits.
        samples: to train on.
        width: neurons of the hidden layer.
        steps: updates of training.
        lr: learning rate of SGD, falling as a cosine; a fifth of it afterwards.
        tune: updates of the narrow network.
        starts: "m^-6" for parameters of that variance, "He" for He's; the first gives the width of "as narrow".
        seed: of images, weights and batches.

    Returns:
        By start: `accuracy` of the wide network on the test images, `moved`, its ‖w − w₀‖/‖w₀‖; by start and way:
        `neurons` left, `agreement` of both networks, accuracy `before` and `after` the updates.
    """
    train, test = _images(data, samples, seed)
    parts, most = [], width
    for start in starts:
        model = _started(start, train, width, seed)
        first = _linear(model, 1).weight.detach().clone()
        trained(model, train, steps, lr, seed)
        moved = float(relative_distance(_linear(model, 1).weight.detach(), first))
        rows = [_compared(model, small, train, test, tune, lr / 5, seed) for small in _ways(model, train, most)]
        most = int(rows[0].neurons) if start == starts[0] else most
        wide = {"accuracy": accuracy(model, test), "moved": moved}
        parts.append(xr.concat(rows, "way").assign(wide))
    return xr.concat(parts, "start").assign_coords(start=list(starts), way=list(WAYS))


def _images(data: str, samples: int, seed: int) -> tuple[Dataset, Dataset]:
    if data == "digits":
        return load_data(DigitsConfig(), seed), load_data(DigitsConfig(), seed)
    train = ImagesConfig(name="mnist", normalization="scaled", samples=samples)
    return load_data(train, seed), load_data(ImagesConfig(name="mnist", normalization="scaled"), seed, "test")


def _started(start: str, data: Dataset, width: int, seed: int) -> MLP:
    """A network at its initialization: all parameters of variance m^-γ, or He's weights and no biases."""
    model, random = MLP(data.inputs[0].numel(), data.output_size, depth=2, width=width), generator(seed, "start")
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn(parameter.shape, generator=random)
            if start == LAZY:
                std = (2 / parameter.shape[1]) ** 0.5 if parameter.ndim == 2 else 0.0
            else:
                std = width ** (float(start.removeprefix("m^")) / 2)
            parameter.copy_(std * drawn)
    return model


def trained(model: nn.Module, data: Dataset, steps: int, lr: float, seed: int) -> None:
    """Train in place with SGD and cross entropy, the rate falling as a cosine."""
    batches = Batches(data, min(BATCH, len(data)), seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        inputs, targets = batches.of_step(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, data: Dataset) -> float:
    """Return the share of samples whose class is predicted."""
    return float((_classes(model, data) == data.targets).double().mean())


@torch.no_grad()
def _classes(model: nn.Module, data: Dataset) -> Tensor:
    return model(data.inputs).argmax(1)


def _ways(model: MLP, train: Dataset, most: int) -> list[MLP]:
    """The network narrowed in each way."""
    merged, _ = merge_neurons(model, train.inputs, tolerance=TOLERANCE)
    assert isinstance(merged, MLP)
    rule = grouped(model, COSINE)
    return [rule, merged, rule if width_of(rule) <= most else as_narrow(model, most)]


def grouped(model: MLP, cosine: float) -> MLP:
    """Return a network with the neurons within a cosine of each group's strongest as one, by the published rule."""
    first, last = _linear(model, 1), _linear(model, 2)
    w_in = torch.cat([first.weight, first.bias[:, None]], 1).detach()
    w_out = torch.cat([last.weight, last.bias[:, None]], 1).detach()
    return _network(effective_narrow_network(w_in, w_out, symmetry="homogeneous", threshold=cosine))


def as_narrow(model: MLP, most: int) -> MLP:
    """Return the network by that rule, at the highest cosine that leaves no more than `most` neurons."""
    low, high = 0.0, COSINE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if width_of(grouped(model, middle)) <= most else (low, middle)
    return grouped(model, low)


def _network(narrow: NarrowNetwork) -> MLP:
    inputs, width = narrow.w_in.shape[1] - 1, len(narrow.w_in)
    model = MLP(inputs, len(narrow.w_out), depth=2, width=width)
    with torch.no_grad():
        for layer, matrix in ((_linear(model, 1), narrow.w_in), (_linear(model, 2), narrow.w_out)):
            layer.weight.copy_(matrix[:, :-1])
            layer.bias.copy_(matrix[:, -1])
    return model


def width_of(model: MLP) -> int:
    """Return the neurons of the hidden layer."""
    return _linear(model, 1).out_features


def _linear(model: MLP, number: int) -> nn.Linear:
    layer = model.get_submodule(f"linear{number}")
    assert isinstance(layer, nn.Linear)
    return layer


def _compared(wide: MLP, small: MLP, train: Dataset, test: Dataset, tune: int, lr: float, seed: int) -> xr.Dataset:
    same = float((_classes(wide, test) == _classes(small, test)).double().mean())
    tuned = copy.deepcopy(small)
    trained(tuned, train, tune, lr, seed + 100)
    numbers = {"agreement": same, "before": accuracy(small, test), "after": accuracy(tuned, test)}
    return xr.Dataset({"neurons": float(width_of(small)), **numbers})
