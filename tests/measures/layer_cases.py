"""Small networks in float64 with what their layers receive, their gradients, and the gradients of their weights.

Everything that the closed forms avoid is here in full, by autograd: `gradients` is n×h×d, `jacobian` n×k×(all weights).
"""

from dataclasses import dataclass, field

import torch
from measure_cases import gaussian

SAMPLES, OUTPUTS = 5, 3


@dataclass
class Layer:
    """X (n, d) or (n, P, d), G of the loss like it, G (n, k, ...) of each output, and ∂loss_x/∂W of each sample."""

    inputs: torch.Tensor
    loss_gradients: torch.Tensor
    output_gradients: torch.Tensor
    gradients: torch.Tensor


@dataclass
class Net:
    """A function of named weights and samples; `calls` notes what each layer receives and computes."""

    weights: dict
    samples: torch.Tensor
    calls: dict = field(default_factory=dict)

    def use(self, name, weights, x):
        """z = W x on the last dimension; several calls of one name are further applications."""
        z = x @ weights[name].mT
        self.calls.setdefault(name, []).append((x, z))
        return z

    def __call__(self, weights, samples):
        raise NotImplementedError

    def outputs(self, weights, samples):
        self.calls.clear()
        return self(weights, samples)

    def layers(self):
        """Every layer by name, from one pass with graph; the loss of a sample is a quartic of its outputs."""
        weights = {name: value.clone().requires_grad_() for name, value in self.weights.items()}
        outputs = self.outputs(weights, self.samples)
        losses = (outputs**2).sum(1) + (outputs**4).sum(1)
        found = {}
        for name, calls in self.calls.items():
            inputs, z = [x for x, _ in calls], [z for _, z in calls]
            each = [joined(grad(outputs[:, o].sum(), z)) for o in range(outputs.shape[1])]
            by_sample = torch.stack([grad(loss, [weights[name]])[0] for loss in losses])
            found[name] = Layer(joined(inputs).detach(), joined(grad(losses.sum(), z)), torch.stack(each, 1), by_sample)
        return found


def grad(value, where):
    return torch.autograd.grad(value, where, retain_graph=True)


def joined(parts):
    """One call as it is; several calls as applications of one layer."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part if part.ndim == 3 else part[:, None] for part in parts], 1)


class Dense(Net):
    def __call__(self, weights, samples):
        first = torch.tanh(self.use("first", weights, samples))
        return self.use("last", weights, torch.relu(self.use("middle", weights, first)))


class Convolutional(Net):
    """A 3×3 and a 2×2 convolution on unfolded patches, and a linear layer."""

    def __call__(self, weights, samples):
        x = torch.tanh(self.conv("first", weights, samples, 3, 6))
        x = torch.tanh(self.conv("middle", weights, x, 2, 5))
        return self.use("last", weights, x.flatten(1))

    def conv(self, name, weights, images, kernel, width):
        padding = 1 if kernel == 3 else 0
        patches = torch.nn.functional.unfold(images, kernel, padding=padding).mT
        return self.use(name, weights, patches).mT.unflatten(2, (width, width))


class Recurrent(Net):
    """h_t = tanh(W (h_{t−1}, x_t)) for t = 1 … 4: one weight, four applications."""

    def __call__(self, weights, samples):
        state = samples.new_zeros(len(samples), 4)
        for x in samples.unbind(1):
            state = torch.tanh(self.use("middle", weights, torch.cat([state, x], 1)))
        return self.use("last", weights, state)


class Tokens(Net):
    """A linear layer on each of seven tokens, which then are mixed."""

    def __call__(self, weights, samples):
        mixed = torch.softmax(samples @ samples.mT, 2) @ torch.tanh(self.use("middle", weights, samples))
        return self.use("last", weights, torch.tanh(mixed).mean(1))


def dense(seed=0, sizes=(4, 6, 5, OUTPUTS), n=SAMPLES):
    names = ("first", "middle", "last")
    weights = {name: gaussian(sizes[i + 1], sizes[i], seed + i) for i, name in enumerate(names)}
    return Dense(weights, gaussian(n, sizes[0], seed + 7))


def convolutional(seed=0):
    weights = {"first": gaussian(4, 18, seed) / 4, "middle": gaussian(3, 16, seed + 1) / 4}
    weights["last"] = gaussian(OUTPUTS, 75, seed + 2) / 9
    return Convolutional(weights, gaussian(SAMPLES, 72, seed + 3).view(SAMPLES, 2, 6, 6))


def recurrent(seed=0):
    weights = {"middle": gaussian(4, 7, seed), "last": gaussian(OUTPUTS, 4, seed + 1)}
    return Recurrent(weights, gaussian(SAMPLES, 12, seed + 2).view(SAMPLES, 4, 3))


def tokens(seed=0):
    weights = {"middle": gaussian(6, 5, seed), "last": gaussian(OUTPUTS, 6, seed + 1)}
    return Tokens(weights, gaussian(SAMPLES, 35, seed + 2).view(SAMPLES, 7, 5))


def autoencoder(seed=0):
    """One weight used as W and as Wᵀ, `r = Wᵀ tanh(W x)`: as factors, two applications whose roles are exchanged."""
    W, x = gaussian(4, 6, seed).requires_grad_(), gaussian(SAMPLES, 6, seed + 1)
    z = x @ W.T
    code = torch.tanh(z)
    losses = ((code @ W - x) ** 2).sum(1)
    by_sample = torch.stack([grad(loss, [W])[0] for loss in losses])
    (inner,) = grad(losses.sum(), [z])
    outer = 2 * (code @ W - x)
    parts = joined([x, outer]).detach(), joined([inner, code]).detach()
    return Layer(*parts, parts[1][:, None], by_sample)


def every_layer():
    """Layers of every kind, by name."""
    nets = {"dense": dense, "convolutional": convolutional, "recurrent": recurrent, "tokens": tokens}
    found = {f"{kind} {name}": layer for kind, net in nets.items() for name, layer in net().layers().items()}
    return {**found, "autoencoder": autoencoder()}


LAYERS = every_layer()
NETS = {"dense": dense, "convolutional": convolutional, "recurrent": recurrent, "tokens": tokens}
