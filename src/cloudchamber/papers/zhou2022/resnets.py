"""ResNet-18-like networks with fully connected layers 1024-1024, trained from common and condensed initializations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.data import Dataset, DigitsConfig, ImagesConfig, load_data
from cloudchamber.models import ResNetConfig, build_model
from cloudchamber.papers.exhibit import Scale
from cloudchamber.papers.study import Study
from cloudchamber.training.batches import Batches

COMMON = ("Glorot_uniform", "Glorot_normal", "N(0, 1/m̄)")
CONDENSED = ("N(0, 1/m_out⁴)", "N(0, 1/m_out³)", "N(0, (1/m̄)²)")
FIRST = "head.linear1"
_TESTED = 500


def head_deviation(name: str, fan_in: int, fan_out: int) -> float:
    """Return the standard deviation of an initialization of Table 1; m̄ = (m_in + m_out)/2.

    Raises:
        KeyError: if there is no such initialization.

    >>> head_deviation("N(0, 1/m_out³)", 512, 100)
    0.001
    """
    mean = (fan_in + fan_out) / 2
    glorot = mean**-0.5
    by_name = {"Glorot_uniform": glorot, "Glorot_normal": glorot, "N(0, 1/m̄)": glorot}
    return {**by_name, "N(0, 1/m_out⁴)": fan_out**-2.0, "N(0, 1/m_out³)": fan_out**-1.5, "N(0, (1/m̄)²)": 1 / mean}[name]


def resnet(activation: str, width_factor: float, head: Sequence[int], data: Dataset, name: str, seed: int) -> nn.Module:
    """Return a network at its initialization: convolutions Glorot normal, the head as Table 1 names it, biases 0."""
    fields = {"width_factor": width_factor, "head": tuple(head), "head_activation": activation}
    model = build_model(ResNetConfig.model_validate(fields), data.sample_shape, data.output_size)
    random = generator(seed, "initialization")
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.xavier_normal_(part.weight, generator=random)
        elif isinstance(part, nn.Linear):
            _start_head(part, name, random)
    return model


def _start_head(layer: nn.Linear, name: str, random: torch.Generator) -> None:
    nn.init.zeros_(layer.bias)
    deviation = head_deviation(name, layer.in_features, layer.out_features)
    if name == "Glorot_uniform":
        nn.init.uniform_(layer.weight, -(3**0.5) * deviation, 3**0.5 * deviation, generator=random)
    else:
        nn.init.normal_(layer.weight, 0.0, deviation, generator=random)


def images(name: str, seed: int, part: Literal["train", "test"]) -> Dataset:
    """Return a part of an image set; of the digits, which have one part, that."""
    if name == "digits":
        return load_data(DigitsConfig(), seed)
    return load_data(ImagesConfig.model_validate({"name": name}), seed, part)


def trained_resnet(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    data: str,
    activation: str,
    initialization: str,
    rates: Sequence[Sequence[float]],
    batch_size: int,
    width_factor: float,
    head: Sequence[int],
    snapshots: Sequence[int],
    seed: int,
    tested: Sequence[int] = (),
    test_samples: int | None = None,
) -> xr.Dataset:
    """Train with Adam and cross entropy; return losses, test accuracies and input weights of the first FC layer.

    Args:
        folder: of the study.
        data: an image set, or digits.
        activation: of the fully connected layers.
        initialization: of them, by the names of Table 1.
        rates: (updates, learning rate) of each part of training.
        batch_size: samples per update.
        width_factor: of the convolutional part.
        head: neurons of the fully connected layers before the output.
        snapshots: after which updates the weights of the first of them are kept.
        seed: of weights and batches.
        tested: after which updates the accuracy on the test part is measured.
        test_samples: of that part, the first of it; None = all.
    """
    train, test = images(data, seed, "train"), images(data, seed, "test")
    model = resnet(activation, width_factor, head, train, initialization, seed)
    kept, accuracy, losses = {}, {}, []
    optimizer, batches = torch.optim.Adam(model.parameters()), Batches(train, min(batch_size, len(train)), seed)
    for step, rate in enumerate([0.0, *(rate for count, rate in rates for _ in range(int(count)))]):
        if step:
            losses.append(_updated(model, optimizer, rate, batches.of_step(step)))
        if step in snapshots:
            kept[step] = _input_weights(model)
        if step in tested:
            accuracy[step] = _accuracy(model, test, test_samples)
    return xr.Dataset(
        {
            "weight": (("snapshot", "neuron", "input"), np.array(list(kept.values()), dtype=np.float32)),
            "loss": ("update", losses),
            "test_accuracy": ("tested", list(accuracy.values())),
        },
        coords={"snapshot": list(kept), "tested": list(accuracy), "update": np.arange(1, len(losses) + 1)},
        attrs={"data": train.name, "samples": len(train)},
    )


def _input_weights(model: nn.Module) -> np.ndarray:
    held = dict(model.named_parameters())
    return torch.cat([held[f"{FIRST}.weight"], held[f"{FIRST}.bias"][:, None]], 1).detach().numpy()


def _updated(model: nn.Module, optimizer: torch.optim.Optimizer, rate: float, batch: tuple[Tensor, Tensor]) -> float:
    """Apply an update and return the loss before it."""
    optimizer.param_groups[0]["lr"] = rate
    loss = nn.functional.cross_entropy(model(_last(batch[0])), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _last(inputs: Tensor) -> Tensor:
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def _accuracy(model: nn.Module, test: Dataset, samples: int | None) -> float:
    parts = zip(test.inputs[:samples].split(_TESTED), test.targets[:samples].split(_TESTED), strict=True)
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(_last(x)).argmax(1) == y for x, y in parts])
    model.train()
    return float(right.float().mean())


SIZES: Mapping[Scale, dict[str, Any]] = {
    "smoke": {"width_factor": 1 / 32, "head": (24, 24), "batch_size": 32},
    "laptop": {"width_factor": 1 / 4, "head": (1024, 1024), "batch_size": 128},
    "paper": {"width_factor": 1.0, "head": (1024, 1024), "batch_size": 128},
}
"""Of networks whose condensation is looked at."""


def study(scale: Scale, **settings: Any) -> Study:
    """Return the study of one network, of the sizes of a scale unless they are given."""
    return Study(trained_resnet, SIZES[scale] | settings)
