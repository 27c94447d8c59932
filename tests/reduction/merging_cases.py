"""Small networks of the kinds that are merged, with what is split in them."""

import torch
from torch import nn
from torch.nn import functional as fn


def chain(activation):
    return nn.Sequential(nn.Linear(5, 7), activation(), nn.Linear(7, 6), activation(), nn.Linear(6, 3))


class Block(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.norm2 = nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        out = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        out += x
        return torch.relu(out)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.block1, self.block2 = Block(4, 5), Block(4, 6)
        self.head = nn.Linear(4 * 9, 3)

    def forward(self, x):
        x = self.block2(self.block1(torch.relu(self.norm(self.stem(x)))))
        return self.head(fn.max_pool2d(x, 2).flatten(1))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.fc1, self.fc2, self.head = nn.LayerNorm(4), nn.Linear(4, 9), nn.Linear(9, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head((x + self.fc2(fn.gelu(self.fc1(self.norm(x))))).mean(1))


class Gated(nn.Module):
    """SwiGLU: a product of two layers."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.down(fn.silu(self.gate(x)) * self.up(x))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.head = kind(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class LastState(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        _, (hidden, _) = self.cells(x)
        return self.head(hidden[-1])


def depthwise():
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU6()),
        *(nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)),
    )


def upwards():
    return nn.Sequential(
        *(nn.ConvTranspose2d(2, 6, 2), nn.PReLU(6), nn.ConvTranspose2d(6, 5, 2), nn.Softplus()),
        *(nn.Flatten(), nn.Linear(320, 2)),
    )


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 10, batch_first=True, activation="gelu", dropout=0.0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


# name: (make, shape of one sample, copies)
CASES = {
    "relu": (lambda: chain(nn.ReLU), (5,), {"0": 2, "2": 3}),
    "leaky relu": (lambda: chain(nn.LeakyReLU), (5,), {"0": 3, "2": 2}),
    "tanh": (lambda: chain(nn.Tanh), (5,), {"0": 2, "2": [1, 2, 3, 1, 2, 1]}),
    "gelu": (lambda: chain(nn.GELU), (5,), {"0": 2, "2": 3}),
    "linear": (lambda: chain(nn.Identity), (5,), {"2": 3}),
    "residual": (Residual, (2, 6, 6), {"stem": 2, "block1.conv1": 3, "block2.conv1": 2}),
    "feed-forward": (FeedForward, (3, 4), {"fc1": 2}),
    "torch's transformer": (encoder, (3, 8), {"layers.0.linear1": 2, "layers.1.linear1": 3}),
    "gated": (Gated, (5,), {"gate": 2}),
    "lstm": (lambda: Recurrent(nn.LSTM), (5, 3), {"cells": 2}),
    "last state": (LastState, (5, 3), {"cells": 2}),
    "gru": (lambda: Recurrent(nn.GRU), (5, 3), {"cells": 2}),
    "depthwise": (depthwise, (2, 6, 6), {"0": 2, "5": 2}),
    "upwards": (upwards, (2, 6, 6), {"0": 2, "2": 2}),
}


def made(name, seed=0, dtype=torch.float64, samples=80):
    """A network in evaluation, with norms that have seen something, and inputs."""
    make, shape, copies = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.3)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, 0.1, 0.5)
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                nn.init.uniform_(module.bias, 0.1, 0.5)  # so that few neurons are dead on the examples
        x = torch.randn(samples, *shape)
    return model.to(dtype).eval(), x.to(dtype), copies


def widths(model):
    return [tuple(parameter.shape) for parameter in model.parameters()]


def two_layers(w, a, activation, bias=None, dtype=torch.float64):
    """A network of one hidden layer with given weights."""
    model = nn.Sequential(nn.Linear(w.shape[1], len(w)), activation, nn.Linear(len(w), len(a))).to(dtype)
    with torch.no_grad():
        model[0].weight.copy_(w)
        model[0].bias.copy_(torch.zeros(len(w)) if bias is None else bias)
        model[2].weight.copy_(a)
    return model
