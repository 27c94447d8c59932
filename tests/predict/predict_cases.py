"""What the tests of predictions share: small networks on digits, and their predictions."""

import hypothesis.strategies as st
import torch
from hypothesis import settings
from torch import nn

import cloudchamber as cc
from cloudchamber.data import load_digits
from cloudchamber.interventions import XavierNormalConfig, initialize

laws = settings(derandomize=True, max_examples=6, deadline=None, database=None)
seeds = st.integers(0, 1000)
cross_entropy = nn.functional.cross_entropy


def digits(samples=100):
    return load_digits().probe(samples)


def chain(depth=6, width=24, activation=nn.ReLU, norm=None, scale=0.5, seed=0, inputs=64, outputs=10):
    sizes = [inputs, *[width] * (depth - 1), outputs]
    modules = [nn.Flatten()]
    for number in range(depth):
        modules.append(nn.Linear(sizes[number], sizes[number + 1]))
        if number < depth - 1:
            modules += [*([norm(width)] if norm else []), activation()]
    model = nn.Sequential(*modules)
    initialize(model, XavierNormalConfig(variance_scale=scale), seed)
    return model


def sgd(model, lr=0.05, **more):
    return torch.optim.SGD(model.parameters(), lr=lr, **more)


def said(model, probe=None, *, optimizer=None, steps=300, loss=cross_entropy, **more):
    probe = digits() if probe is None else probe
    return cc.predict(model, probe, loss=loss, optimizer=optimizer or sgd(model), steps=steps, **more)


def linears(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear)]
