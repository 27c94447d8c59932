"""Networks of one convolution and a linear output, trained until they classify all training images."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.data import Dataset, DigitsConfig, ImagesConfig, load_data
from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.papers.overview2025.channel_blocks import blocks
from cloudchamber.training.batches import Batches

_AT_ONCE = 1000


def trained_cnn(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    data: str,
    samples: int | None,
    looked_at: int,
    channels: int,
    kernel: int,
    act: ActivationName,
    exponent: float,
    lr: float,
    batch_size: int,
    epochs: int,
    seed: int,
) -> xr.Dataset:
    """Train with Adam and cross entropy until all training images are right, at most so many epochs.

    Args:
        folder: of the study.
        data: "mnist", or digits.
        samples: to train on; None = all.
        looked_at: images of the training part and as many of the test part whose outputs are compared.
        channels: of the convolution, m.
        kernel: its side.
        act: the activation.
        exponent: γ of the standard deviation m^−γ of all parameters at the start.
        lr: Adam's.
        batch_size: images per update.
        epochs: the most.
        seed: of images, weights and batches.

    Returns:
        `loss` by update and `accuracy` on the training images by epoch; by moment (start, end) what `blocks` returns.
    """
    train, test = images(data, samples, seed)
    model = network(train, channels, kernel, act, exponent, seed)
    shown = torch.cat([train.inputs[:looked_at], test.inputs[:looked_at]])
    batches, optimizer = Batches(train, batch_size, seed), torch.optim.Adam(model.parameters(), lr=lr)
    convolution, losses, right = model.get_submodule("conv"), [], [accuracy(model, train)]
    assert isinstance(convolution, nn.Conv2d)
    found, per_epoch = [blocks(convolution, shown, seed)], len(train) // batch_size
    while right[-1] < 1 and len(right) <= epochs:
        for step in range(len(losses) + 1, len(losses) + per_epoch + 1):
            losses.append(_updated(model, optimizer, batches.of_step(step)))
        right.append(accuracy(model, train))
    found.append(blocks(convolution, shown, seed))
    curves = xr.Dataset({"loss": ("update", losses), "accuracy": ("epoch", right)})
    return xr.merge([curves, xr.concat(found, "moment").assign_coords(moment=["start", "end"])])


def images(data: str, samples: int | None, seed: int) -> tuple[Dataset, Dataset]:
    """Return training and test images; the digits, which have one part, are both."""
    if data == "digits":
        whole = load_data(DigitsConfig(), seed)
        side = math.isqrt(whole.inputs.shape[1])
        as_images = Dataset(whole.name, whole.inputs.view(-1, 1, side, side), whole.targets, whole.classes)
        return as_images, as_images
    train = ImagesConfig(name="mnist", normalization="scaled", samples=samples)
    return load_data(train, seed), load_data(ImagesConfig(name="mnist", normalization="scaled"), seed, "test")


def network(data: Dataset, channels: int, kernel: int, act: ActivationName, exponent: float, seed: int) -> nn.Module:
    """Return a network at its initialization."""
    side = data.inputs.shape[-1] - kernel + 1
    model = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(data.inputs.shape[1], channels, kernel),
            activation=activation(act),
            flat=nn.Flatten(),
            linear=nn.Linear(channels * side**2, data.output_size),
        )
    )
    random = generator(seed, "one convolution")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(channels**-exponent * torch.randn(parameter.shape, generator=random))
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: Dataset) -> float:
    """Return the share of samples that are classified right."""
    parts = zip(data.inputs.split(_AT_ONCE), data.targets.split(_AT_ONCE), strict=True)
    return float(torch.cat([model(x).argmax(1) == y for x, y in parts]).double().mean())


def _updated(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> float:
    loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
