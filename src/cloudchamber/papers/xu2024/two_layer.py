"""Two-layer ReLU networks of Figures 3 and 4, `f = γ U σ(W x)`: all scalings of one width trained as one stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn

from cloudchamber._core.seeding import derive_seed, generator
from cloudchamber.measures import contracted_kernel, kernel_drift, relative_distance
from cloudchamber.models import ScaledOutput
from cloudchamber.papers.xu2024.pictures import Pictures
from cloudchamber.theory import Exponents
from cloudchamber.training import SGD, train_ensemble

FIRST, SECOND = "network.0.weight", "network.2.weight"
CURVES = ("train_accuracy", "test_accuracy", "train_loss", "kernel_drift", "first_moved", "second_moved")
_KERNEL_SAMPLES, _MOST_SAMPLES = 50, 2000
"""training samples of the kernel, which is summed over outputs, and of accuracy and loss"""


@dataclass(frozen=True)
class Sizes:
    """Output scale γ, standard deviations of both layers' initial weights, learning rate of both."""

    gamma: float
    first_std: float
    second_std: float
    lr: float

    def times(self, factor: float, exponents: Exponents) -> Sizes:
        """Return the sizes of a scale that is larger by a factor, as powers of it; exponents are of variances."""
        c = exponents
        return Sizes(
            self.gamma * factor ** float(c.c_gamma),
            self.first_std * factor ** (float(c.c_w) / 2),
            self.second_std * factor ** (float(c.c_u) / 2),
            self.lr * factor ** float(c.c_eta_u),
        )


def he_sizes(inputs: int, width: int, lr: float, *, in_output_scale: bool = False) -> Sizes:
    """Return the sizes of He's initialization, 1/√width in the second layer's weights or in the output scale."""
    first, second = math.sqrt(2 / inputs), math.sqrt(2)
    root = math.sqrt(width)
    return Sizes(1 / root, first, second, lr) if in_output_scale else Sizes(1.0, first, second / root, lr)


def network(inputs: int, width: int, outputs: int, sizes: Sizes, seed: int) -> ScaledOutput:
    """Return a network; with one seed, networks of one width differ by their sizes alone."""
    chain = nn.Sequential(nn.Linear(inputs, width, bias=False), nn.ReLU(), nn.Linear(width, outputs, bias=False))
    random = generator(seed, "two-layer network")
    with torch.no_grad():
        for weight, std in zip(chain.parameters(), (sizes.first_std, sizes.second_std), strict=True):
            weight.copy_(std * torch.randn(weight.shape, generator=random))
    return ScaledOutput(chain, sizes.gamma)


def train(
    sizes: Sequence[Sizes],
    images: Pictures,
    *,
    width: int,
    epochs: int,
    look_every: int,
    batch_size: int,
    seed: int,
) -> xr.Dataset:
    """Train a network of each size with SGD and cross entropy, all on the same batches.

    Returns:
        After every so-many-th epoch, from 0: accuracies and loss, how far the kernel of some training samples has
        drifted, and the relative distance of both layers' weights from their start: (member, epoch).
    """
    flat = images.flat
    models: list[nn.Module] = [
        network(flat.inputs.shape[1], width, flat.classes, one, derive_seed(seed, "network", width)) for one in sizes
    ]
    starts = [_Start.of(model, flat) for model in models]
    found = [[start.seen(model, flat) for start, model in zip(starts, models, strict=True)]]
    rates = torch.tensor([one.lr for one in sizes], dtype=torch.float64)
    per_look = look_every * (len(flat.inputs) // batch_size)
    for look in range(epochs // look_every):
        stack = train_ensemble(
            models,
            (flat.inputs, flat.targets),
            loss="cross_entropy",
            optimizer=SGD(lr=rates),
            steps=per_look,
            batch_size=batch_size,
            seeds=[derive_seed(seed, "look", look)] * len(models),
            losses_every=per_look,
            compile=False,
        )
        models = [stack.member(place) for place in range(len(models))]
        found.append([start.seen(model, flat) for start, model in zip(starts, models, strict=True)])
    values = np.array(found).transpose(2, 1, 0)
    variables = {name: (("member", "epoch"), part) for name, part in zip(CURVES, values, strict=True)}
    return xr.Dataset(variables, coords={"epoch": look_every * np.arange(len(found))})


@dataclass(frozen=True)
class _Start:
    """What a network was when it was initialized."""

    weights: dict[str, Tensor]
    kernel: Tensor

    @classmethod
    def of(cls, model: nn.Module, images: Pictures) -> _Start:
        weights = {name: value.detach().clone() for name, value in model.named_parameters()}
        return cls(weights, _kernel(model, images.inputs[:_KERNEL_SAMPLES]))

    @torch.no_grad()
    def seen(self, model: nn.Module, images: Pictures) -> list[float]:
        """Return the numbers of `CURVES`."""
        held = dict(model.named_parameters())
        outputs, targets = model(images.inputs[:_MOST_SAMPLES]), images.targets[:_MOST_SAMPLES]
        return [
            _accuracy(outputs, targets),
            _accuracy(model(images.test_inputs), images.test_targets),
            float(nn.functional.cross_entropy(outputs, targets)),
            float(kernel_drift(_kernel(model, images.inputs[:_KERNEL_SAMPLES]), self.kernel).distance),
            *(float(relative_distance(held[name], self.weights[name])) for name in (FIRST, SECOND)),
        ]


def _accuracy(outputs: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> float:
    return float((outputs.argmax(1) == targets).double().mean())


@torch.no_grad()
def _kernel(model: nn.Module, samples: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """The tangent kernel summed over outputs; both layers have one learning rate, which drops out of its drift."""
    held, gamma = dict(model.named_parameters()), float(dict(model.named_buffers())["scale"])
    before = samples @ held[FIRST].T
    gates = (before > 0).to(before.dtype)
    first = gamma * held[SECOND] * gates[:, None]
    second = gamma * torch.eye(len(held[SECOND])).expand(len(samples), -1, -1)
    return contracted_kernel([samples, before.relu()], [first, second.contiguous()])
