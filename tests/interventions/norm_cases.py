"""Slow twins of the norms: the formulas of the paper, one neuron at a time, with torch's means and variances alone."""

import torch
from hypothesis import settings

laws = settings(derandomize=True, max_examples=25, deadline=None, database=None)

SHAPES = {"vectors": ((4,), -1), "sequence": ((3, 4), -1), "feature map": ((4, 2, 3), 1)}
"""Shape of a sample with four neurons, and the axis that counts them."""


def batch_of(shape, seed, samples=6, shift=0.0):
    random = torch.Generator().manual_seed(seed)
    return shift + torch.randn(samples, *shape, generator=random, dtype=torch.float64)


def per_neuron(x, axis):
    """All values of each neuron: over samples and positions."""
    return [neuron.flatten() for neuron in x.unbind(axis)]


def normalized_by_hand(x, axis, means, variances, eps):
    """Eq. (29) of mlp2024 for every neuron apart."""
    pairs = zip(x.unbind(axis), means, variances, strict=True)
    return torch.stack([(neuron - mean) / (variance + eps) ** 0.5 for neuron, mean, variance in pairs], axis)


def by_batch_by_hand(x, axis, eps):
    values = per_neuron(x, axis)
    return normalized_by_hand(x, axis, [v.mean() for v in values], [v.var(correction=0) for v in values], eps)


def similarity_by_hand(features):
    """The mean cosine of all pairs, pair by pair; None without a pair. A zero vector has no direction."""
    rows = [row for row in features.detach().flatten(1) if row.any()]
    pairs = [(u, v) for i, u in enumerate(rows) for j, v in enumerate(rows) if i != j]
    return sum(float(u @ v / (u.norm() * v.norm())) for u, v in pairs) / len(pairs) if pairs else None


class PhaseNormByHand:
    """Eq. (31) of mlp2024 with Python's numbers."""

    def __init__(self, neurons, axis, *, threshold, start, smoothing, momentum, eps, watched, statistics, once):
        self.axis, self.threshold, self.similarity, self.smoothing = axis, threshold, start, smoothing
        self.momentum, self.eps, self.watched, self.statistics, self.once = momentum, eps, watched, statistics, once
        self.means, self.variances = [0.0] * neurons, [1.0] * neurons
        self.frozen, self.batches = False, 0

    def train(self, x):
        if self.frozen and self.once:
            return self.evaluate(x)
        normalized = by_batch_by_hand(x, self.axis, self.eps)
        features = {"output": x, "normalized": normalized, "rectified": normalized.clamp(min=0)}[self.watched]
        alike = similarity_by_hand(features)
        if alike is not None:
            self.similarity = self.smoothing * self.similarity + (1 - self.smoothing) * alike
        self.frozen = self.similarity <= self.threshold
        if self.frozen:
            return self.evaluate(x)
        self.batches += 1
        for number, values in enumerate(per_neuron(x.detach(), self.axis)):
            self.means[number] = (1 - self.momentum) * self.means[number] + self.momentum * float(values.mean())
            self.variances[number] = (1 - self.momentum) * self.variances[number] + self.momentum * float(values.var())
        return normalized if self.statistics == "batch" else self.evaluate(x)

    def evaluate(self, x):
        return normalized_by_hand(x, self.axis, self.means, self.variances, self.eps)
