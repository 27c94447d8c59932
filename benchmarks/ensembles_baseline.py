"""What `ensembles.py` compares with: the plain PyTorch loop that trains one small network after the other."""

from __future__ import annotations

import time
from itertools import pairwise

import torch
from torch import Tensor, nn


def network(sizes: tuple[int, ...]) -> nn.Sequential:
    """Return a tanh network with so many neurons per layer, with torch's own initialization."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def train(network: nn.Module, inputs: Tensor, targets: Tensor, steps: int, *, fused: bool) -> None:
    """Train a network on all samples at every step, by Adam as it comes or by its fused version."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True if fused else None)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(inputs), targets).backward()
        optimizer.step()


def seconds_per_step(sizes: tuple[int, ...], data: tuple[Tensor, Tensor], steps: int, *, fused: bool = False) -> float:
    """Return how long one network takes for one step: two are trained, one after the other, after a short third."""
    train(network(sizes), *data, max(steps // 10, 1), fused=fused)
    networks = [network(sizes) for _ in range(2)]
    start = time.perf_counter()
    for one in networks:
        train(one, *data, steps, fused=fused)
    return (time.perf_counter() - start) / (len(networks) * steps)
