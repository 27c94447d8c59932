"""The networks of Figure 2: every layer's initial weights times one scale, then trained until they fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn

from cloudchamber._core.seeding import derive_seed, generator
from cloudchamber.models import MLP, ResNet
from cloudchamber.papers.xu2024.pictures import Pictures
from cloudchamber.training import SGD, train_ensemble

ENDS = ("train_accuracy", "test_accuracy", "start_norm", "end_norm")
_AT_ONCE = 250


def scaled_resnet(classes: int, channels: int, *, width_factor: float, scale: float, seed: int) -> nn.Module:
    """Return a ResNet-18 as torch initializes it, convolutions and head times a scale; batch norms as they are."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "resnet"))
        model = ResNet(channels, classes, depth=18, width_factor=width_factor)
    return _scaled(model, scale)


def scaled_mlp(inputs: int, classes: int, *, depth: int, width: int, scale: float, seed: int) -> nn.Module:
    """Return an MLP of He's initialization, without biases, every layer times a scale."""
    model = MLP(inputs, classes, depth=depth, width=width, bias=False)
    random = generator(seed, "mlp")
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((2 / weight.shape[1]) ** 0.5 * torch.randn(weight.shape, generator=random))
    return _scaled(model, scale)


def train_resnet(
    model: nn.Module, images: Pictures, *, epochs: int, batch_size: int, lr: float, augment: bool, seed: int
) -> xr.Dataset:
    """Train with SGD, momentum 0.9, weight decay 5e-4 and a cosine schedule; return `ENDS`."""
    steps = len(images.inputs) // batch_size
    start = _norm(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for epoch in range(epochs):
        random = generator(seed, "epoch", epoch)
        order = torch.randperm(len(images.inputs), generator=random)
        for rows in order[: steps * batch_size].split(batch_size):
            inputs = _augmented(images.inputs[rows], random) if augment else images.inputs[rows]
            loss = nn.functional.cross_entropy(model(inputs), images.targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return _ends(model, images, start)


def train_mlps(
    models: Sequence[nn.Module],
    rates: Sequence[float],
    images: Pictures,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
) -> xr.Dataset:
    """Train MLPs as one stack with SGD; return `ENDS` by member."""
    flat = images.flat
    steps = epochs * (len(flat.inputs) // batch_size)
    stack = train_ensemble(
        models,
        (flat.inputs, flat.targets),
        loss="cross_entropy",
        optimizer=SGD(lr=torch.tensor(list(rates), dtype=torch.float64)),
        steps=steps,
        batch_size=batch_size,
        seeds=[derive_seed(seed, "order")] * len(models),
        losses_every=steps,
        compile=False,
    )
    ends = [_ends(stack.member(place), flat, _norm(model)) for place, model in enumerate(models)]
    return xr.concat(ends, "member")


def _scaled(model: nn.Module, scale: float) -> nn.Module:
    with torch.no_grad():
        for layer in _layers(model):
            for parameter in layer.parameters():
                parameter.mul_(scale)
    return model


def _layers(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _norm(model: nn.Module) -> float:
    """The sum of the norms of all layers' weights."""
    return sum(float(parameter.detach().norm()) for layer in _layers(model) for parameter in layer.parameters())


def _augmented(images: Float[Tensor, "n c h w"], random: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Crop at random out of 4 pixels of border, and flip, as usual for CIFAR-10."""
    side = images.shape[-1]
    padded = nn.functional.pad(images, (4, 4, 4, 4))
    places = torch.randint(9, (len(images), 2), generator=random).tolist()
    cropped = torch.stack(
        [image[:, top : top + side, left : left + side] for image, (top, left) in zip(padded, places, strict=True)]
    )
    flips = torch.rand(len(images), generator=random) < 0.5
    return torch.where(flips[:, None, None, None], cropped.flip(3), cropped)


def _ends(model: nn.Module, images: Pictures, start: float) -> xr.Dataset:
    model.eval()
    train = _accuracy(model, images.inputs, images.targets)
    test = _accuracy(model, images.test_inputs, images.test_targets)
    return xr.Dataset(dict(zip(ENDS, (train, test, start, _norm(model)), strict=True)))


@torch.no_grad()
def _accuracy(model: nn.Module, inputs: Tensor, targets: Int[Tensor, " n"]) -> float:
    parts = [model(part).argmax(1) for part in inputs.split(_AT_ONCE)]
    return float(np.mean((torch.cat(parts) == targets).numpy()))
