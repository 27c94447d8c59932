"""A small transformer that answers at the last token, and its training on composite anchor functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cloudchamber._core.seeding import generator
from cloudchamber.measures import cosine_matrix, heatmap_order
from cloudchamber.papers.overview2025.composite import FIRST, HELD_OUT, SEEN, Sequences, Task, swapped

_WARM_UP = 200
_TESTS = 1000
PARTS = ("embeddings", "query, key, value", "feed-forward")


class Block(nn.Module):
    """One head of causal attention and a feed-forward layer, each with a residual connection and then a layer norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "n l d"], *, last: bool) -> Float[Tensor, "n q d"]:
        """Return features of all tokens, or of the last alone, which sees all of them."""
        asked = x[:, -1:] if last else x
        scores = self.query(asked) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[2])
        if not last:
            scores = scores.masked_fill(torch.ones_like(scores[0], dtype=torch.bool).triu(1), -torch.inf)
        x = self.norm1(asked + self.out(scores.softmax(-1) @ self.value(x)))
        return self.norm2(x + self.down(self.up(x).relu()))


class Transformer(nn.Module):
    """Two such blocks on embedded tokens and positions; the answer is read off the last token.

    Args:
        tokens: how many there are.
        length: of a sequence.
        width: d.
        hidden: neurons of a feed-forward layer.
        rate: γ: every weight ~ N(0, σ²) with the *standard deviation* σ = d_in^(−γ), biases zero.
        random: of the initialization.
    """

    def __init__(
        self, tokens: int, length: int, width: int, hidden: int, *, rate: float, random: torch.Generator
    ) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.first, self.second = Block(width, hidden), Block(width, hidden)
        self.read = nn.Linear(width, tokens)
        with torch.no_grad():
            for name, value in self.named_parameters():
                if value.ndim == 2:
                    value.copy_(value.shape[1] ** -rate * torch.randn(value.shape, generator=random))
                elif "norm" not in name:
                    value.zero_()

    def forward(self, tokens: Int[Tensor, "n l"]) -> Float[Tensor, "n tokens"]:
        """Return the logits of the answer."""
        x = self.first(self.embedding(tokens) + self.position.weight, last=False)
        return self.read(self.second(x, last=True)[:, 0])


def learned(
    folder: Path,  # noqa: ARG001 - nothing is kept on the way
    *,
    rate: float,
    length: int,
    numbers: int,
    samples: int,
    width: int,
    hidden: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    steps: int,
    looks: int,
    seed: int,
) -> xr.Dataset:
    """Train a transformer on 14 of 16 compositions with AdamW: rising, then falling rate; gradients of norm 1 at most.

    Args:
        folder: of the study.
        rate: γ of the initialization.
        length: of sequences.
        numbers: how many there are.
        samples: training sequences.
        width: of the transformer.
        hidden: neurons of its feed-forward layers.
        batch_size: sequences in a step.
        lr: the highest learning rate.
        weight_decay: of AdamW.
        steps: updates.
        looks: how often is looked, evenly.
        seed: of data, initialization and batches.

    Returns:
        (step): accuracies `seen` (training sequences), `unseen_numbers`, `unseen_compositions`, and `symmetry`, the
        share of sequences with (3, 4) that are answered like those with (4, 3). At the end `condensation` (part),
        mean |cos| between neurons less that of random ones, and `cosines` (neuron, neuron_other) of the first query
        weights.
    """
    task, random = Task(length, numbers), generator(seed, "composite", "data")
    train = task.draw(samples, SEEN, random)
    tests = _tests(task, train, random)
    start = generator(seed, "composite", "start")
    model = Transformer(task.tokens, length, width, hidden, rate=rate, random=start)
    batches = generator(seed, "composite", "batches")
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _part_of_rate(step, steps))
    at, seen = np.linspace(0, steps, looks + 1).astype(int).tolist(), [_accuracies(model, tests)]
    for step in range(1, steps + 1):
        chosen = torch.randint(samples, (batch_size,), generator=batches)
        optimizer.zero_grad()
        cross_entropy(model(train[0][chosen]), train[1][chosen]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step == at[len(seen)]:
            seen.append(_accuracies(model, tests))
    curves = {name: ("step", np.array([one[name] for one in seen])) for name in seen[0]}
    return xr.Dataset({**curves, **_condensation(model, numbers)}, {"step": at, "part": list(PARTS)})


def _tests(task: Task, train: Sequences, random: torch.Generator) -> dict[str, Sequences]:
    return {
        "seen": (train[0][:_TESTS], train[1][:_TESTS]),
        "unseen_numbers": task.draw(_TESTS, SEEN, random, unseen=True),
        "unseen_compositions": task.draw(_TESTS, HELD_OUT, random),
    }


def _part_of_rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


@torch.no_grad()
def _accuracies(model: nn.Module, tests: Mapping[str, Sequences]) -> dict[str, float]:
    answers = {name: model(tokens).argmax(1) for name, (tokens, _) in tests.items()}
    found = {name: float((answers[name] == wanted).double().mean()) for name, (_, wanted) in tests.items()}
    mirrored = model(swapped(tests["unseen_compositions"][0])).argmax(1)
    return {**found, "symmetry": float((mirrored == answers["unseen_compositions"]).double().mean())}


@torch.no_grad()
def _condensation(model: Transformer, numbers: int) -> dict[str, Any]:
    blocks = (model.first, model.second)
    weights = {
        "embeddings": [model.embedding.weight[FIRST : FIRST + numbers]],
        "query, key, value": [layer.weight for block in blocks for layer in (block.query, block.key, block.value)],
        "feed-forward": [block.up.weight for block in blocks],
    }
    values = [float(np.mean([alikeness(weight) for weight in weights[part]])) for part in PARTS]
    cosines = cosine_matrix(model.first.query.weight)
    order = heatmap_order(cosines)
    shown = cosines[order][:, order].numpy().astype(np.float32)
    return {"condensation": ("part", values), "cosines": (("neuron", "neuron_other"), shown)}


def alikeness(weight: Float[Tensor, "h d"]) -> float:
    """Return the mean |cos| between rows, less that of random ones: `Γ(d/2)/(√π Γ((d+1)/2))`.

    >>> round(alikeness(torch.ones(3, 100)), 3)
    0.92
    """
    rows, inputs = weight.shape
    cosines = cosine_matrix(weight).abs().fill_diagonal_(0)
    random = math.exp(math.lgamma(inputs / 2) - math.lgamma((inputs + 1) / 2)) / math.sqrt(math.pi)
    return float(cosines.sum() / (rows * (rows - 1))) - random
