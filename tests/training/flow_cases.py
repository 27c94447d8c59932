"""What the tests of gradient flow share: small nets, data, and SciPy's solution."""

import copy
from itertools import pairwise

import torch
from hypothesis import settings
from scipy.integrate import solve_ivp
from torch import nn
from torch.func import functional_call, grad

laws = settings(derandomize=True, max_examples=6, deadline=None, database=None)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(n=7, d=2, k=1, seed=0):
    return gaussian(n, d, seed=seed), gaussian(n, k, seed=seed + 1)


def net(*sizes, act=nn.Tanh, seed=0, scale=1.0, bias=True):
    """A chain in float64 with Gaussian weights."""
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias, dtype=torch.float64), act()]
    model = nn.Sequential(*layers[:-1])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * draw / max(parameter.shape[-1], 1) ** 0.5)
    return model


def mse(outputs, targets):
    return (outputs - targets).square().mean()


def flat(parts, member=0):
    return torch.cat([value[member].flatten() for value in parts.values()])


def by_scipy(model, samples, time, loss=mse, rates=None):
    """θ(time), flat, by an independent integrator."""
    held = {name: value.detach() for name, value in model.named_parameters()}
    sizes = [value.numel() for value in held.values()]

    def velocity(_, theta):
        parts = torch.tensor(theta).split(sizes)
        named = {name: part.reshape(held[name].shape) for name, part in zip(held, parts, strict=True)}
        slope = grad(lambda p: loss(functional_call(model, p, (samples[0],)), samples[1]))(named)
        return -torch.cat([(rates or {}).get(name, 1.0) * value.flatten() for name, value in slope.items()]).numpy()

    start = torch.cat([value.flatten() for value in held.values()]).numpy()
    solution = solve_ivp(velocity, (0, time), start, method="DOP853", rtol=1e-10, atol=1e-13)
    return torch.from_numpy(solution.y[:, -1])


def unchanged(model):
    """A deep copy, to compare with later."""
    return copy.deepcopy(model.state_dict())
