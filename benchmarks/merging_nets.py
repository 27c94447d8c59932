"""The trained networks that `merging.py` narrows: six kinds, three seeds, each trained once and kept.

Run: python benchmarks/merging_nets.py FOLDER      (20 minutes on one core; goes on where it was stopped)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cloudchamber._core.files import atomic_path, make_folder
from cloudchamber.data import ImagesConfig, load_data

SEEDS = (0, 1, 2)


class Block(nn.Module):
    """Two convolutions with norms, added to their input."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        if stride == 1 and inputs == width:
            self.shortcut = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(out + self.shortcut(x))


class ResidualNet(nn.Module):
    """A small residual network for 32×32 images: one block of 32 channels and one of 64."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)
        self.block1, self.block2 = Block(32, 32, 1), Block(32, 64, 2)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.block2(self.block1(torch.relu(self.norm(self.stem(x)))))
        return self.head(x.mean((2, 3)))


def _mlp(width: int, hidden: int, act: type[nn.Module], dropout: float = 0.0) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for number in range(hidden):
        layers += [nn.Linear(width if number else 784, width), act()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(width, 10))


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.Tanh(), nn.Conv2d(32, 64, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(4096, 10)
    )


@dataclass(frozen=True)
class Net:
    """One kind of trained network.

    Attributes:
        what: in words.
        make: a new one.
        data: name of the image set.
        samples: to train on.
        steps: updates, batches of 100, SGD.
        lr: learning rate.
        momentum: heavy ball.
        decay: weight decay.
        std: standard deviation of every parameter at the start; None = torch's default initialization.
    """

    what: str
    make: Callable[[], nn.Module]
    data: str
    samples: int
    steps: int
    lr: float
    momentum: float = 0.9
    decay: float = 0.0
    std: float | None = None

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (1, 28, 28) if self.data == "mnist" else (3, 32, 32)


NETS: dict[str, Net] = {
    "published": Net(
        "784-400-10 ReLU, variance m⁻⁶", lambda: _mlp(400, 1, nn.ReLU), "mnist", 1000, 2000, 0.1, 0.0, std=400.0**-3
    ),
    "tanh": Net(
        "784-200-200-10 tanh, std 1/m", lambda: _mlp(200, 2, nn.Tanh), "mnist", 10_000, 2000, 0.05, std=1 / 200
    ),
    "dropout": Net("784-400-400-10 ReLU, dropout ½", lambda: _mlp(400, 2, nn.ReLU, 0.5), "mnist", 10_000, 3000, 0.05),
    "default": Net("784-400-400-10 ReLU, torch's init", lambda: _mlp(400, 2, nn.ReLU), "mnist", 10_000, 1000, 0.05),
    "convolutions": Net("2 convolutions, tanh, std 0.01", _convolutions, "cifar10", 10_000, 1500, 0.02, std=0.01),
    "residual": Net("residual net with batch norm", ResidualNet, "cifar10", 10_000, 500, 0.05, decay=5e-4),
}


@cache
def data_of(net: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training inputs and labels, test inputs and labels."""
    kind = NETS[net]
    scaled = "scaled" if kind.data == "mnist" else "channel"
    config = ImagesConfig(name=kind.data, normalization=scaled, samples=kind.samples)  # pyright: ignore
    train = load_data(config, 0)
    test = load_data(ImagesConfig(name=kind.data, normalization=scaled), 0, part="test")  # pyright: ignore
    return train.inputs, train.targets, test.inputs, test.targets


def fresh(net: str, seed: int) -> nn.Module:
    """A network at its initialization."""
    torch.manual_seed(seed)
    model = NETS[net].make()
    if (std := NETS[net].std) is not None:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=std)
    return model


def batches(net: str, seed: int, steps: int) -> list[Tensor]:
    """Rows of the training set, 100 a step, epoch by epoch."""
    generator, n = torch.Generator().manual_seed(1000 + seed), NETS[net].samples
    rows = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-100 * steps // n))])
    return list(rows[: 100 * steps].view(steps, 100))


def train(model: nn.Module, net: str, seed: int, steps: int, lr: float) -> nn.Module:
    """Train for some steps, the learning rate falling as a cosine; return the model, ready to be evaluated."""
    kind, (x, y, _, _) = NETS[net], data_of(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=kind.momentum, weight_decay=kind.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for rows in batches(net, seed, steps):
        optimizer.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def trained(folder: Path, net: str, seed: int) -> nn.Module:
    """The trained network, from the folder if it is there."""
    path, model = folder / f"{net}-{seed}.safetensors", fresh(net, seed)
    if path.exists():
        model.load_state_dict(load_file(path))
        return model.eval()
    train(model, net, seed, NETS[net].steps, NETS[net].lr)
    with atomic_path(path) as temporary:
        save_file(model.state_dict(), temporary)
    return model


@torch.no_grad()
def predictions(model: nn.Module, x: Tensor) -> Tensor:
    """Predicted classes."""
    return torch.cat([model(part).argmax(1) for part in x.split(1000)])


def main() -> None:
    """Train what is not there yet."""
    folder = make_folder(sys.argv[1])
    for seed in SEEDS:
        for net in NETS:
            model = trained(folder, net, seed)
            _, _, x, y = data_of(net)
            print(net, seed, f"test accuracy {(predictions(model, x) == y).float().mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
