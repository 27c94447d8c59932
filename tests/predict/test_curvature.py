"""The Gauss–Newton eigenvalue against the matrix itself."""

import math

import pytest
import torch
from predict.predict_cases import chain, cross_entropy
from torch import nn

from cloudchamber.anatomy import default_forward
from cloudchamber.monitor.probe import Probe
from cloudchamber.predict.curvature import largest_curvature
from cloudchamber.predict.replica import Replica


def replica_of(model, probe, loss=cross_entropy):
    return Replica.of(model, Probe.of(probe, torch.device("cpu")), loss, default_forward, None)


def random_probe(seed=0, n=9, d=5, k=3):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=random), torch.arange(n) % k


def slow(replica, weights):
    """The largest eigenvalue of `P^½ (1/n) Σ Jᵀ B J P^½`, with J and B written out."""
    parameters = [replica.trainable[name] for name in weights]
    outputs = replica.outputs()
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in outputs.flatten()]
    roots = [math.sqrt(weight) for weight in weights.values()]
    J = torch.stack([torch.cat([root * part.flatten() for root, part in zip(roots, row, strict=True)]) for row in rows])
    shape = outputs.shape
    point = outputs.detach().flatten()
    hessian = torch.autograd.functional.hessian(lambda f: replica.loss.summed(f.view(shape)), point)
    return float(torch.linalg.eigvalsh(J.T @ hessian @ J / len(outputs))[-1])


def squared(outputs, labels):
    return nn.functional.mse_loss(outputs, nn.functional.one_hot(labels, 3).to(outputs.dtype), reduction="sum")


MODELS = {
    "relu": lambda: chain(3, 7, inputs=5, outputs=3, scale=2.0),
    "tanh with layer norm": lambda: chain(3, 7, nn.Tanh, nn.LayerNorm, inputs=5, outputs=3),
    "batch norm": lambda: chain(3, 7, nn.Tanh, nn.BatchNorm1d, inputs=5, outputs=3),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("loss", [cross_entropy, squared], ids=["cross entropy", "squared"])
def test_against_the_matrix(name, loss):
    replica = replica_of(MODELS[name](), random_probe(), loss)
    weights = dict.fromkeys(replica.trainable, 1.0)
    assert largest_curvature(replica, weights) == pytest.approx(slow(replica, weights), rel=2e-2)


def test_learning_rates_of_groups_and_parameters_that_stay():
    replica = replica_of(MODELS["relu"](), random_probe())
    weights = {"1.weight": 0.1, "3.weight": 1.0, "3.bias": 1.0}
    assert largest_curvature(replica, weights) == pytest.approx(slow(replica, weights), rel=2e-2)


def test_a_linear_loss_has_none():
    replica = replica_of(MODELS["relu"](), random_probe(), lambda f, y: (f * nn.functional.one_hot(y, 3)).sum(1).mean())
    assert largest_curvature(replica, dict.fromkeys(replica.trainable, 1.0)) == 0.0


def test_a_loss_without_second_derivative_leaves_it_open():
    replica = replica_of(MODELS["relu"](), random_probe(), nn.MultiMarginLoss(p=2))
    assert math.isnan(largest_curvature(replica, dict.fromkeys(replica.trainable, 1.0)))
