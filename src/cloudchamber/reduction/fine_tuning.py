"""A few updates of the narrow network, to win back what merging lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import generator
from cloudchamber.anatomy.batch import count_samples
from cloudchamber.reduction.outputs import Difference, halves, numbers_of
from cloudchamber.reduction.running import Forward, compare, run

Loss = Callable[[Tensor, Tensor], Tensor]
BATCH = 100


def fine_tune(
    small: nn.Module,
    model: nn.Module,
    inputs: Any,
    steps: int,
    lr: float,
    forward: Forward,
    *,
    loss: Loss | None = None,
    targets: Tensor | None = None,
) -> tuple[nn.Module, Difference]:
    """Train a copy of the narrow network with Adam for some steps; return it, or the network as it was if better.

    Without targets it learns the wide network's outputs on the examples fitted, and what counts is how far it is from
    these on the examples held out. With targets it learns them, and is returned as it is.

    Raises:
        InvalidInput: if the learning rate is not positive, or there are not as many targets as examples.
    """
    require(lr > 0, "`lr` is positive", lr, "use 1e-3")
    n = count_samples(inputs)
    fits = targets is None or len(targets) == n
    require(fits, f"there is a target for each of {n} examples", None if targets is None else len(targets), "pass all")
    fitted, held, _ = halves(inputs)
    wanted = run(model, fitted, forward)[0] if targets is None else targets[::2]
    tuned = copy.deepcopy(small)
    _train(tuned, fitted, wanted, steps, lr, forward, loss or _usual(wanted))
    before, after = (compare(each, model, held, forward) for each in (small, tuned))
    return (small, before) if targets is None and not after.relative < before.relative else (tuned, after)


def _usual(targets: Tensor) -> Loss:
    return mse_loss if targets.is_floating_point() else cross_entropy


def _train(model: nn.Module, inputs: Any, targets: Tensor, steps: int, lr: float, forward: Forward, loss: Loss) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    random, n = generator(0, "fine-tuning"), len(targets)
    for _ in range(steps):
        rows = torch.randint(n, (min(BATCH, n),), generator=random).to(targets.device)
        batch = pytree.tree_map_only(Tensor, lambda tensor, rows=rows: tensor[rows], inputs)
        optimizer.zero_grad()
        loss(numbers_of(forward(model, batch))[0], targets[rows]).backward()
        optimizer.step()
