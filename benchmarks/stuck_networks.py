"""Networks of many kinds, trained to see which leave the plateau: what `cc.predict` is fitted to and judged by.

`draw(number, which)` makes the settings of one network from its number alone; no two sets share one.
`python benchmarks/stuck_networks.py calibration 480` trains them (one thread each, resumable) and appends one line of
JSON per network to `results/stuck_networks_<which>.jsonl`: settings, loss of the best constant output, loss curve.

Sets: "calibration" and "test" are trained by SGD with and without momentum; "variants_calibration" and "variants_test"
by Adam, AdamW, and SGD with weight decay; "hard_calibration" holds, of further networks, those with layer
normalization, and those with momentum and no normalization, of which the first set has few that fail.
MNIST is read from $CLOUDCHAMBER_DATA, from the cache, or downloaded.
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.data import DigitsConfig, ImagesConfig, load_data
from cloudchamber.interventions import XavierNormalConfig, initialize
from cloudchamber.models.activations import activation

RESULTS = Path(__file__).parent / "results"
POINTS = 50
PROBE = 200
MNIST_SAMPLES = 6000
CONFIGS = {"digits": DigitsConfig(), "mnist": ImagesConfig(name="mnist", normalization="scaled")}
HARD_FROM = 480
ACTIVATIONS = ("relu", "relu", "tanh", "gelu", "leaky_relu")
NORMS = ("none", "none", "none", "none", "batch", "layer")


@dataclass(frozen=True)
class Settings:
    """Everything that defines one network and its training."""

    data: str
    depth: int
    width: int
    activation: str
    norm: str
    variance_scale: float
    lr: float
    momentum: float
    batch: int
    steps: int
    seed: int
    optimizer: str = "sgd"
    weight_decay: float = 0.0


def draw(number: int, which: str) -> Settings:
    """Return the settings of a network; the same number gives the same ones."""
    rng = random.Random(f"{which} {number}")
    settings = _drawn(rng)
    return _varied(settings, rng) if which.startswith("variants") else settings


def _drawn(rng: random.Random) -> Settings:
    return Settings(
        data=rng.choice(["digits", "mnist"]),
        depth=rng.randint(3, 15),
        width=rng.choice([32, 64, 128, 256]),
        activation=rng.choice(ACTIVATIONS),
        norm=rng.choice(NORMS),
        variance_scale=round(math.exp(rng.uniform(math.log(0.05), math.log(2))), 4),
        lr=round(math.exp(rng.uniform(math.log(0.01), math.log(0.3))), 5),
        momentum=rng.choice([0.0, 0.0, 0.0, 0.9]),
        batch=rng.choice([50, 100, 200]),
        steps=rng.choice([150, 300, 600, 1200, 2000]),
        seed=rng.randrange(10**6),
    )


def _varied(settings: Settings, rng: random.Random) -> Settings:
    """The same network with another optimizer."""
    optimizer = rng.choice(["adam", "adam", "adamw", "sgd"])
    if optimizer == "sgd":
        decay = round(math.exp(rng.uniform(math.log(1e-4), math.log(3e-2))), 6)
        return replace(settings, weight_decay=decay)
    lr = round(math.exp(rng.uniform(math.log(1e-5), math.log(1e-2))), 7)
    decay = rng.choice([0.01, 0.1]) if optimizer == "adamw" else 0.0
    return replace(settings, optimizer=optimizer, lr=lr, momentum=0.0, weight_decay=decay)


def numbers(which: str, count: int) -> list[tuple[int, str]]:
    """Return the numbers of a set's networks, each with the name that it is drawn under."""
    if which != "hard_calibration":
        return [(number, which) for number in range(count)]
    drawn = ((number, draw(number, "calibration")) for number in range(HARD_FROM, HARD_FROM + count))
    return [(number, "calibration") for number, s in drawn if s.norm == "layer" or (s.norm == "none" and s.momentum)]


def network(settings: Settings, inputs: int, classes: int) -> nn.Sequential:
    """Build the network at its initialization."""
    sizes = [inputs, *[settings.width] * (settings.depth - 1), classes]
    modules: list[nn.Module] = [nn.Flatten()]
    for layer in range(settings.depth):
        modules.append(nn.Linear(sizes[layer], sizes[layer + 1]))
        if layer < settings.depth - 1:
            modules += [*_norm(settings.norm, settings.width), activation(settings.activation)]  # pyright: ignore[reportArgumentType]
    model = nn.Sequential(*modules)
    initialize(model, XavierNormalConfig(variance_scale=settings.variance_scale), settings.seed)
    return model


def _norm(name: str, width: int) -> list[nn.Module]:
    return {"none": [], "batch": [nn.BatchNorm1d(width)], "layer": [nn.LayerNorm(width)]}[name]


def samples(name: str) -> tuple[Tensor, Tensor]:
    """Return inputs and labels: all digits, or the first 6000 training images of MNIST, pixels in [0, 1]."""
    dataset = load_data(CONFIGS[name], 0)
    return dataset.inputs[:MNIST_SAMPLES].flatten(1), dataset.targets[:MNIST_SAMPLES]


def probe_of(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probe: the first 20 samples of each class, which are trained on as well."""
    chosen = torch.cat([(labels == c).nonzero()[: PROBE // 10, 0] for c in range(10)])
    return inputs[chosen], labels[chosen]


def optimizer_of(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return the optimizer of the training."""
    parameters, lr, decay = model.parameters(), settings.lr, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=decay)


def train(settings: Settings, inputs: Tensor, labels: Tensor) -> dict[str, Any]:
    """Train one network; return its settings, the constant predictor's loss and the probe's loss at 51 steps."""
    model, probe = network(settings, inputs.shape[1], 10), probe_of(inputs, labels)
    optimizer = optimizer_of(model, settings)
    random_batches = torch.Generator().manual_seed(settings.seed)
    curve = [_loss(model, probe)]
    for step in range(1, settings.steps + 1):
        chosen = torch.randint(len(inputs), (settings.batch,), generator=random_batches)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
        optimizer.step()
        if step % (settings.steps // POINTS) == 0:
            curve.append(_loss(model, probe))
    return {"settings": asdict(settings), "constant_loss": math.log(10), "loss": curve}


def _loss(model: nn.Module, probe: tuple[Tensor, Tensor]) -> float:
    model.train()
    with torch.no_grad():
        # Batch statistics, as in training: running ones lag behind in the first steps.
        kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
        value = float(nn.functional.cross_entropy(model(probe[0]), probe[1]))
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return round(value, 5)


def left_plateau(row: dict[str, Any]) -> bool:
    """Whether the loss fell below 85 % of the best constant predictor's and stayed there for the last tenth of the run.

    A run whose loss became NaN did not.
    """
    return all(value < 0.85 * row["constant_loss"] for value in row["loss"][-POINTS // 10 :])


def main(which: str, count: int) -> None:
    """Train the networks that are not in the results yet."""
    torch.set_num_threads(1)
    path = RESULTS / f"stuck_networks_{which}.jsonl"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    data = {name: samples(name) for name in CONFIGS}
    for number, name in numbers(which, count)[done:]:
        settings = draw(number, name)
        row = train(settings, *data[settings.data])
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
