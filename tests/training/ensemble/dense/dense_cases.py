"""What the tests of dense chains share: modules, data, and the comparison with the slow twin."""

from itertools import pairwise

import torch
from hypothesis import settings
from torch import nn

from cloudchamber.models import activation
from cloudchamber.training.ensemble.dense.chain import dense_chain
from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.gradients import VmapGradients
from cloudchamber.training.ensemble.layout import Layout

laws = settings(derandomize=True, max_examples=40, deadline=None, database=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def net(*sizes, act="tanh", bias=True):
    """A chain with an activation between each two layers."""
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), activation(act)]
    return nn.Sequential(*layers[:-1])


def parameters(module, members, seed=0, scale=0.7, dtype=torch.float64):
    layout = Layout.of(module)
    return layout, scale * normal(members, layout.size, seed=seed, dtype=dtype)


def samples(module, loss, lead, seed=0, dtype=torch.float64):
    """Inputs and targets with the leading axes, fitting the first and last linear layer."""
    chain = dense_chain(module)
    inputs = normal(*lead, chain.affine[0].fan_in, seed=seed + 1, dtype=dtype)
    shape = (*lead, chain.affine[-1].fan_out)
    if loss == "cross_entropy":
        return inputs, normal(*shape, seed=seed + 2).argmax(-1)
    return inputs, normal(*shape, seed=seed + 2, dtype=dtype)


def both(module, flat, inputs, targets, loss, per_member=False, fixed=None):
    """Return (losses, gradients) of the dense path and of the general one."""
    layout, chain = Layout.of(module), dense_chain(module)
    assert not isinstance(chain, str), chain
    found = []
    for gradients in (
        DenseGradients(chain, layout, loss, per_member, fixed=fixed),
        VmapGradients(module, layout, loss, per_member, fixed),
    ):
        out = torch.full_like(flat, torch.nan)
        found.append((gradients(flat, inputs, targets, out), out))
    return found


def assert_same(found, tolerance=1e-10):
    dense, general = found
    torch.testing.assert_close(dense, general, rtol=tolerance, atol=tolerance, equal_nan=True)
