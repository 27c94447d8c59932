"""What the tests of the landscape share: small chains, their losses, and critical points of theirs."""

from itertools import pairwise

import torch
from hypothesis import settings

from cloudchamber.theory.chains import chain_output, flatten, unflatten
from cloudchamber.theory.criticality import polish
from cloudchamber.theory.embedding import Copies

laws = settings(derandomize=True, max_examples=20, deadline=None, database=None)


class Problem:
    """A chain of given sizes with samples, targets and a mean squared loss."""

    def __init__(self, sizes, bias, seed, activation=torch.tanh, samples=9):
        self.generator = torch.Generator().manual_seed(seed)
        self.weights = [self.gaussian(after, before + bias) for before, after in pairwise(sizes)]
        self.x, self.y = self.gaussian(samples, sizes[0]), self.gaussian(samples, sizes[-1])
        self.activation = activation

    def gaussian(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def output(self, weights):
        return chain_output(weights, self.x, self.activation)

    def mse(self, outputs):
        return (outputs - self.y).square().mean()

    def loss(self, like):
        return lambda theta: self.mse(self.output(unflatten(theta, like)))

    def critical(self, steps=60, descent=0):
        """A critical point that Newton steps lead to, after so many steps of gradient descent."""
        theta = flatten(self.weights)
        for _ in range(descent):
            theta = theta - 0.2 * torch.func.grad(self.loss(self.weights))(theta)
        point = polish(self.loss(self.weights), theta, steps=steps)
        return point, unflatten(point.theta, self.weights)

    def copies(self, h, extra):
        """Every neuron at least once, `extra` more, with random shares."""
        origin = torch.cat([torch.arange(h), torch.randint(h, (extra,), generator=self.generator)])
        share = self.gaussian(len(origin))
        for neuron in range(h):
            share[neuron] += 1 - share[origin == neuron].sum()
        order = torch.randperm(len(origin), generator=self.generator)
        return Copies(origin[order], share[order])


# (sizes, bias, seed) of chains from which `polish` finds a critical point with moderate parameters
FOUND = [
    ((2, 2, 1), 0, 0),
    ((2, 2, 1), 0, 2),
    ((2, 2, 1), 0, 3),
    ((2, 2, 1), 0, 6),
    ((2, 2, 1), 0, 7),
    ((2, 2, 1), 1, 3),
    ((2, 2, 1), 1, 7),
    ((2, 3, 1), 0, 4),
    ((2, 3, 1), 0, 7),
    ((2, 2, 2), 0, 0),
    ((2, 2, 2), 1, 1),
    ((2, 2, 2, 1), 0, 0),
    ((2, 2, 2, 1), 0, 5),
    ((2, 2, 2, 1), 1, 2),
]
