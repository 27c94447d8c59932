"""A small network that is stuck, and one that is not, with their records."""

import torch
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber.diagnosis import PhaseRule
from cloudchamber.interventions import XavierNormalConfig
from cloudchamber.models import MLP

RULE = PhaseRule(stuck_steps=60, stuck_observations=10)
SMALL_WEIGHTS, LARGE_WEIGHTS = 0.05, 1.0


def data(samples=60):
    random = torch.Generator().manual_seed(0)
    targets = torch.arange(samples) % 3
    return 2 * fn.one_hot(targets, 6).float() + 0.3 * torch.randn(samples, 6, generator=random), targets


def network(variance_scale=SMALL_WEIGHTS, depth=5):
    model = MLP(6, 3, depth=depth, width=24)
    cc.initialize(model, XavierNormalConfig(variance_scale=variance_scale), seed=1)
    return model


def trained(model, optimizer, steps=80, monitor=None, samples=None):
    x, y = samples or data()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        fn.cross_entropy(model(x), y).backward()
        optimizer.step()
        if monitor is not None:
            monitor.observe(step)


def watched(model, optimizer, steps=80, samples=None):
    """Train, and return the record."""
    with cc.Monitor(
        model, probe=samples or data(), loss=fn.cross_entropy, every=5, measures=["light", "relative_distance"]
    ) as monitor:
        trained(model, optimizer, steps, monitor, samples)
    return monitor.record


def rescue(model, optimizer, record, **options):
    options = {"probe": data(), "loss": fn.cross_entropy, "rule": RULE, "trial_steps": 100, **options}
    return cc.rescue(model, optimizer, record, **options)


def everything(model, optimizer):
    """All that a rescue could change, copied."""
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    averages = [
        {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in kept.items()}
        for kept in optimizer.state.values()
    ]
    return repr(model), tensors, groups, averages


def same(one, other):
    """Whether two results of `everything` are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


class Calls(nn.Module):
    """The network as a model that calls its layers by hand."""

    def __init__(self, network):
        super().__init__()
        self.layers = nn.ModuleList([module for module in network if isinstance(module, nn.Linear)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)
