"""What the tests of ensembles share: models, and the slow obvious twin that trains one model alone."""

import copy

import torch
from hypothesis import settings
from torch import nn

from cloudchamber.data import Dataset
from cloudchamber.training.batches import Batches

laws = settings(derandomize=True, max_examples=15, deadline=None, database=None)
TOLERANCE = 1e-9
LOSSES = {"mse": nn.functional.mse_loss, "cross_entropy": nn.functional.cross_entropy}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def regression(n=20, d=3, outputs=1, seed=0):
    return normal(n, d, seed=seed), normal(n, outputs, seed=seed + 1000)


def classification(n=20, d=3, classes=4, seed=0):
    return normal(n, d, seed=seed), torch.arange(n) % classes


def stack(make, members=5, dtype=torch.float64):
    """Return models made by `make()`, each from a seed of its own."""
    with torch.random.fork_rng():
        models = []
        for seed in range(members):
            torch.manual_seed(100 + seed)
            models.append(make().to(dtype))
    return models


def chain(d=3, width=8, outputs=1):
    return nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, outputs))


class Draws(nn.Module):
    """A network that draws in training and keeps statistics of its batches."""

    def __init__(self, inputs=3, outputs=1, width=8):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.Linear(width, outputs)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        x = self.dropout(torch.relu(self.norm(self.first(x.flatten(1)))))
        return self.last(x + 0.1 * torch.randn_like(x))


def alone(model, data, optimizer, steps, *, loss="mse", seed=0, batch_size=None, until=None):
    """Train a copy of a model in a plain loop with torch.optim; return it and its losses.

    `optimizer` makes one of a model; `until(loss, first loss)` tells when to stop, after the update.
    """
    model, losses = copy.deepcopy(model), []
    updater = optimizer(model)
    function = LOSSES.get(loss, loss)
    batches = Batches(Dataset("data", *data, classes=0), batch_size or len(data[0]), seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(1, steps + 1):
            inputs, targets = batches.of_step(step)
            value = function(model(inputs), targets)
            updater.zero_grad()
            value.backward()
            updater.step()
            losses.append(value.item())
            if not torch.isfinite(value) or (until is not None and until(losses[-1], losses[0])):
                break
    return model, losses


def assert_member(ensemble, k, model, losses, tolerance=TOLERANCE):
    """Check that a member is that model, and had these losses."""
    ours, theirs = ensemble.member(k).state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name)
    assert int(ensemble.stopped_at[k]) == len(losses)
    kept = ensemble.losses[k, : len(losses)].tolist()
    torch.testing.assert_close(torch.tensor(kept), torch.tensor(losses), rtol=tolerance, atol=tolerance, equal_nan=True)
    assert ensemble.losses[k, len(losses) :].isnan().all()
