"""Train K models of one architecture at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.data import Dataset
from cloudchamber.monitor.schedule import positive_whole
from cloudchamber.training.ensemble.dense.gradients import TanhName
from cloudchamber.training.ensemble.engine import Plan, Rule
from cloudchamber.training.ensemble.gradients import Loss, loss_function
from cloudchamber.training.ensemble.members import Members
from cloudchamber.training.ensemble.observation import EnsembleObserver
from cloudchamber.training.ensemble.optimizers import Optimizer
from cloudchamber.training.ensemble.paths import PathName, Wish, choose_path
from cloudchamber.training.ensemble.result import Ensemble
from cloudchamber.training.ensemble.trainer import GivenSource, train
from cloudchamber.training.ensemble.watch import Watch
from cloudchamber.training.flow.stops import Time
from cloudchamber.training.session import LOSSES

Pair = tuple[Tensor, Tensor]


def train_ensemble(
    models: Sequence[nn.Module],
    data: Pair | Sequence[Pair],
    *,
    loss: Loss,
    optimizer: Optimizer,
    steps: int,
    batch_size: int | None = None,
    seeds: Sequence[int] | None = None,
    stop: Rule | Sequence[Rule] = (),
    observe: Watch | None = None,
    losses_every: int = 1,
    snapshot_steps: Sequence[int] = (),
    path: PathName = "auto",
    compile: Literal["auto"] | bool = "auto",  # noqa: A002 - the word for it
    tanh: TanhName = "exact",
    chunk: int | None = None,
    dtype: torch.dtype | None = None,
) -> Ensemble:
    """Train K models of one architecture at once; member k is `models[k]` trained alone.

    Equation: `θ_k ← step(θ_k, ∇ L(f(x; θ_k), y))`, for all k in one batched operation each.

    In float64 a member equals a loop with `torch.optim` over `Batches(data, batch_size, seed)` after
    `torch.manual_seed(seed)` to about 1e-12 per step of rounding. That includes dropout and noise that the model draws
    by functions of torch; dropout inside of attention is drawn from one stream for all members (a warning says so).

    Models are not changed; they are called in their mode as given. Parameters that need no gradient stay. A member
    stops when a rule is met after an update, by the loss before it, or when that loss is not finite; others notice
    nothing.

    Args:
        models: K modules, alike but for the numbers in their parameters and buffers, which `torch.func.vmap`
            accepts. An output scale of each member's own: `cloudchamber.models.ScaledOutput`.
        data: inputs and targets (n, ...) for all members, or such a pair for each.
        loss: "mse", "cross_entropy", or a function of one member's outputs and targets to its mean loss.
        optimizer: `SGD` or `Adam`, with numbers for all members, for each, or by layer.
        steps: updates.
        batch_size: samples per step; None = all.
        seeds: (K,), of each member's batches and of what its model draws; 0, 1, 2, … by default.
        stop: rules to stop a member earlier, such as `LossBelow` and `LossRatio`.
        observe: what is observed on the way, and when.
        losses_every: every so-many-th loss is kept.
        snapshot_steps: after which updates the parameters of all members are kept, rising; 0 is the start.
        path: "dense" for chains of linear layers, "vmap" for any module; "auto" takes the former where it can.
        compile: whether steps are compiled; "auto": if a compiler is there and the work pays for its time.
        tanh: "rational" replaces tanh on the dense path by a faster one, with an error that `docs/ensembles.md` states.
        chunk: members that are trained together; what fits the cache by default, a function of the ensemble alone.
        dtype: of parameters and data; that of the models by default.

    Returns:
        The trained members.

    Raises:
        InvalidInput: if models, data, loss or numbers do not fit each other.
        Unsupported: if the path cannot compute such models.

    Source: torch.func, "Model ensembling".

    >>> from cloudchamber.training.ensemble.optimizers import SGD
    >>> models = [nn.Linear(2, 1) for _ in range(3)]
    >>> x, y = torch.randn(10, 2), torch.randn(10, 1)
    >>> trained = train_ensemble(models, (x, y), loss="mse", optimizer=SGD(lr=torch.tensor([0.1, 0.2, 0.3])), steps=5)
    >>> trained.parameters["weight"].shape, trained.losses.shape, trained.reasons
    (torch.Size([3, 1, 2]), torch.Size([3, 5]), ('steps', 'steps', 'steps'))
    """
    steps, losses_every = positive_whole("steps", steps, low=0), positive_whole("losses_every", losses_every)
    kept = _snapshot_steps(snapshot_steps, steps)
    members = Members.of(models, dtype)
    datasets = _datasets(data, members)
    size = _batch_size(batch_size, len(datasets[0]))
    seeds = _seeds(seeds, len(members))
    batch = datasets[0].batch(torch.arange(size), torch.Generator())
    way = choose_path(members, _known(loss), Wish(path, compile, tanh), batch, steps)
    observer = None if observe is None else _observer(members, observe, loss)
    plan = Plan(members.layout, optimizer, steps, _rules(stop), losses_every, len(datasets[0]) // size, observer, kept)
    return train(members, GivenSource(datasets, size, seeds, seeds), plan, way, chunk)


def _observer(members: Members, watch: Watch, loss: Loss) -> EnsembleObserver:
    inputs, targets = (_cast(part, members.flat) for part in watch.probe)
    watch = replace(watch, probe=(inputs, targets))
    return EnsembleObserver(members.template, members.layout, watch, loss_function(loss), len(members))


def _datasets(data: Pair | Sequence[Pair], members: Members) -> list[Dataset]:
    """Return the data set of each member, the same object where the tensors are the same."""
    pairs: list[Any] = [data] * len(members) if len(data) and isinstance(data[0], Tensor) else list(data)
    rule = f"`data` is one pair of tensors (x, y), or one for each of {len(members)} members"
    require(len(pairs) == len(members), rule, len(pairs), "pass those")
    made: dict[tuple[int, int], Dataset] = {}
    for pair in pairs:
        tensors = len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)
        require(tensors, rule, [type(part).__name__ for part in pair], "pass tensors")
        key = (id(pair[0]), id(pair[1]))
        if key not in made:
            made[key] = _dataset(pair, members)
    sizes = {(dataset.inputs.shape, dataset.targets.shape) for dataset in made.values()}
    require(len(sizes) == 1, "the data of all members have one shape", sorted(map(str, sizes)), "train them apart")
    return [made[id(pair[0]), id(pair[1])] for pair in pairs]


def _dataset(pair: Pair, members: Members) -> Dataset:
    sizes = [len(part) if part.ndim else 0 for part in pair]
    require(sizes[0] == sizes[1] > 0, "there are as many targets as samples", sizes, "pass (x, y)")
    inputs, targets = (_cast(part, members.flat) for part in pair)
    return Dataset("data", inputs, targets, classes=0)


def _cast(part: Tensor, like: Tensor) -> Tensor:
    part = part.detach().to(like.device)
    return part.to(like.dtype) if part.is_floating_point() else part


def _batch_size(size: int | None, samples: int) -> int:
    if size is None:
        return samples
    positive_whole("batch_size", size)
    require(size <= samples, f"`batch_size` is at most the {samples} samples", size, "pass None for all of them")
    return size


def _seeds(seeds: Sequence[int] | None, members: int) -> list[int]:
    chosen = list(range(members) if seeds is None else seeds)
    require(len(chosen) == members, f"there is a seed for each of {members} members", len(chosen), "pass as many")
    return [positive_whole("seeds", seed, low=0) for seed in chosen]


def _snapshot_steps(chosen: Sequence[int], steps: int) -> tuple[int, ...]:
    kept = tuple(positive_whole("snapshot_steps", step, low=0) for step in chosen)
    rising = all(one < other for one, other in pairwise(kept)) and (not kept or kept[-1] <= steps)
    require(rising, f"`snapshot_steps` rise, to {steps} at most", list(kept), "sort them, and leave out later ones")
    return kept


def _rules(stop: Rule | Sequence[Rule]) -> tuple[Rule, ...]:
    rules = (stop,) if isinstance(stop, Rule) else tuple(stop)
    for rule in rules:
        require(isinstance(rule, Rule), "a rule has a `reason` and a method `met`", rule, "use LossBelow(1e-3)")
        timed = isinstance(rule, Time)
        require(not timed, "an ensemble counts updates, not time", rule, "pass steps=, or use gradient_flow")
    return rules


def _known(loss: Loss) -> Loss:
    known = callable(loss) or loss in LOSSES
    require(known, f"`loss` is one of {sorted(LOSSES)}, or a function of outputs and targets", loss, "pass one of them")
    return loss
