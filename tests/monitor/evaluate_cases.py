"""Evaluations of small models, and everything that they avoid in full: n×h×d gradients, Jacobians, all pairs."""

import itertools
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as fn

from cloudchamber.anatomy import FIELDS, capture, choose_views
from cloudchamber.measures import select
from cloudchamber.monitor.evaluate import Evaluation, fields_needed
from cloudchamber.monitor.kernels import KernelSource
from cloudchamber.monitor.probe import image_neurons, image_samples


def sum_of_losses(outputs, labels):
    return fn.cross_entropy(outputs, labels, reduction="sum")


def pass_over(model, x, y, measures, *, loss=sum_of_losses, **options):
    fields = FIELDS.intersection(fields_needed(measures)) | {"weight"}
    return capture(model, x, lambda o: loss(o, y), layers=choose_views(model, None), fields=fields, **options)


def evaluation(seen, y, measures, *, images=100, **options):
    return Evaluation(
        measures=tuple(measures),
        layers=tuple(seen.layers),
        labels=y if not y.is_floating_point() else torch.zeros(len(y), dtype=torch.int64),
        samples=image_samples(y, images) if not y.is_floating_point() else torch.arange(len(y)),
        neurons={key: image_neurons(layer.view.width) for key, layer in seen.layers.items()},
        **options,
    )


def evaluated(model, x, y, names, *, loss=sum_of_losses, shuffled=None, **options):
    """The values of some measures of a model: the whole way."""
    measures = select(names)
    seen = pass_over(model, x, y, measures, loss=loss)
    null = None if shuffled is None else pass_over(model, shuffled, y, measures, loss=loss)
    with torch.no_grad():
        return evaluation(seen, y, measures, **options).values(seen, images=True, shuffled=null)


def chain(seed=0, sizes=(5, 7, 6, 4, 3), activation=nn.Tanh):
    """A bias-free chain in float64."""
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b, bias=False, dtype=torch.float64) for a, b in itertools.pairwise(sizes)]
    parts = [part for layer in layers[:-1] for part in (layer, activation())]
    return nn.Sequential(*parts, layers[-1])


def data(n=11, inputs=5, classes=3, seed=0):
    random = torch.Generator().manual_seed(100 + seed)
    return torch.randn(n, inputs, generator=random, dtype=torch.float64), torch.arange(n) % classes


@dataclass
class FullLayer:
    """One layer of a chain, with the gradient of every sample's loss by everything.

    X (n, d), Z and F (n, h); `g`, `F_grad` and `X_grad` their gradients; `grads` (n, h, d); the gates (n, h).
    """

    W: torch.Tensor
    X: torch.Tensor
    Z: torch.Tensor
    F: torch.Tensor
    g: torch.Tensor
    F_grad: torch.Tensor
    X_grad: torch.Tensor
    gates: torch.Tensor
    grads: torch.Tensor


def full_layers(model, x, y):
    """Sample by sample, by autograd; and the gates by the derivative of the activation."""
    modules = list(model)
    layers = []
    for place, module in enumerate(modules):
        if isinstance(module, nn.Linear):
            follows = modules[place + 1] if place + 1 < len(modules) else nn.Identity()
            rows = [_of_sample(model, place, follows, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
            layers.append(FullLayer(module.weight.detach(), *(torch.stack(part) for part in zip(*rows, strict=True))))
    return layers


def _of_sample(model, place, follows, x, y):
    modules = list(model)
    with torch.enable_grad():
        received = nn.Sequential(*modules[:place])(x).detach().requires_grad_()
        z = modules[place](received)
        feature = follows(z)
        rest = modules[place + (2 if place + 1 < len(modules) else 1) :]
        loss = sum_of_losses(nn.Sequential(*rest)(feature), y)
        g, f_grad, x_grad, w_grad = torch.autograd.grad(
            loss, [z, feature, received, modules[place].weight], retain_graph=True
        )
        (gates,) = torch.autograd.grad(feature.sum(), [z])
    return tuple(t.detach().squeeze(0) for t in (received, z, feature, g, f_grad, x_grad, gates, w_grad))


def jacobian_kernel(model, x):
    """(n·k, n·k), by reverse mode, one output at a time."""
    rows = []
    for sample in x:
        for value in model(sample[None])[0]:
            rows.append(
                torch.cat([g.flatten() for g in torch.autograd.grad(value, model.parameters(), retain_graph=True)])
            )
    J = torch.stack(rows).detach()
    return J @ J.T


CLOSED = KernelSource(closed=True)
