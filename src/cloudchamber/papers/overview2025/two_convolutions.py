"""ResNets-18 on CIFAR-10, and the blocks in their first and last convolution while they train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.papers.overview2025.channel_blocks import blocks
from cloudchamber.papers.xu2024.pictures import Pictures, pictures
from cloudchamber.papers.xu2024.scaled_start import scaled_resnet

PLACES = {"first": "stem.0", "last": "stage4.1.conv2.0"}
"""convolutions by where they are"""


def trained_resnet(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    data: str,
    samples: int,
    looked_at: int,
    side: int,
    width_factor: float,
    scale: float,
    lr: float,
    batch_size: int,
    steps: int,
    looks: Sequence[int],
    seed: int,
) -> xr.Dataset:
    """Train a ResNet-18 with SGD, momentum 0.9, weight decay 5e-4 and a cosine schedule, and look at convolutions.

    Args:
        folder: of the study.
        data: "cifar10", or "digits" for a quick run.
        samples: to train on.
        looked_at: images of the training part and as many of the test part whose outputs are compared.
        side: images are averaged down to this.
        width_factor: of the channels.
        scale: of torch's initial weights of convolutions and head.
        lr: learning rate at the start.
        batch_size: images per update.
        steps: updates.
        looks: after which updates to look.
        seed: of images, weights and batches.

    Returns:
        By look and place (first, last): what `blocks` returns, channels padded with NaN; `loss` by update; training
        and test `accuracy` at the end, on the images looked at.
    """
    images = pictures(data, samples=samples, tests=looked_at, side=side, seed=seed)
    model = scaled_resnet(images.classes, images.inputs.shape[1], width_factor=width_factor, scale=scale, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    shown = torch.cat([images.inputs[:looked_at], images.test_inputs[:looked_at]])
    rows = _rows(len(images.inputs), batch_size, steps, seed)
    found: list[xr.Dataset] = []
    losses: list[float] = []
    for step in range(steps + 1):
        if step in looks:
            found.append(_look(model, shown, seed).expand_dims(look=[step]))
        if step < steps:
            losses.append(_updated(model, optimizer, images, rows[step]))
            schedule.step()
    ends = _right(model, images, looked_at)
    curves = xr.Dataset({"loss": ("update", losses), "accuracy": ("part", ends)}, coords={"part": ["train", "test"]})
    return xr.merge([xr.concat(found, "look"), curves])


def _rows(samples: int, batch_size: int, steps: int, seed: int) -> list[Tensor]:
    """Rows of every batch, epoch by epoch."""
    per_epoch, rows = samples // batch_size, []
    for epoch in range(-(-steps // per_epoch)):
        order = torch.randperm(samples, generator=generator(seed, "epoch", epoch))
        rows.extend(order[: per_epoch * batch_size].split(batch_size))
    return rows


def _updated(model: nn.Module, optimizer: torch.optim.Optimizer, images: Pictures, rows: Tensor) -> float:
    loss = nn.functional.cross_entropy(model(images.inputs[rows]), images.targets[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def _look(model: nn.Module, shown: Float[Tensor, "n c h w"], seed: int) -> xr.Dataset:
    """Blocks of both convolutions on the inputs that they have in evaluation mode."""
    model.eval()
    found = [_blocks_of(model, name, shown, seed).expand_dims(place=[place]) for place, name in PLACES.items()]
    model.train()
    most = max(one.sizes["channel"] for one in found)
    return xr.concat([_padded(one, most) for one in found], "place")


def _blocks_of(model: nn.Module, name: str, shown: Tensor, seed: int) -> xr.Dataset:
    layer, given = model.get_submodule(name), []
    assert isinstance(layer, nn.Conv2d)
    hook = layer.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    model(shown)
    hook.remove()
    return blocks(layer, given[0], seed)


def _padded(one: xr.Dataset, most: int) -> xr.Dataset:
    more = most - one.sizes["channel"]
    return one.pad(channel=(0, more), channel_other=(0, more))


@torch.no_grad()
def _right(model: nn.Module, images: Pictures, count: int) -> list[float]:
    model.eval()
    parts = ((images.inputs, images.targets), (images.test_inputs, images.test_targets))
    right = [float((model(x[:count]).argmax(1) == y[:count]).double().mean()) for x, y in parts]
    model.train()
    return right
