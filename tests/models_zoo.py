"""Eight small models of the kinds that people train, each with a batch and a loss, for tests of the monitor.

`ZOO` maps a name to a `Case`; `Case.make()` returns a new model with the same weights every time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

N, CLASSES = 12, 3


def mlp():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, CLASSES))


def cnn_with_batch_norm():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(6 * 16, CLASSES),
    )


class BasicBlock(nn.Module):
    """As in torchvision: convolution, norm, in-place ReLU, twice, the second after the in-place addition."""

    def __init__(self, inputs, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.relu = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.block1, self.block2 = BasicBlock(4, 4), BasicBlock(4, 6, stride=2)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.block2(self.block1(self.relu(self.norm(self.stem(x)))))
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """Self-attention with projections written as Linear."""

    def __init__(self, width, heads, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = fn.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(mixed.transpose(1, 2).reshape(n, length, width))


class TransformerBlock(nn.Module):
    """Pre-norm: the stream is only added to."""

    def __init__(self, width, heads, norm, causal=False, dropout=0.0):
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.attention = Attention(width, heads, causal)
        self.fc1, self.fc2, self.dropout = nn.Linear(width, 2 * width), nn.Linear(2 * width, width), nn.Dropout(dropout)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.dropout(self.fc2(fn.gelu(self.fc1(self.norm2(x)))))


def no_norm(_):
    return nn.Identity()


class ViT(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 4, stride=4)
        self.position = nn.Parameter(0.02 * torch.randn(1, 4, 8))
        self.blocks = nn.Sequential(TransformerBlock(8, 2, norm), TransformerBlock(8, 2, norm))
        self.norm, self.head = norm(8), nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(x)).mean(1))


class LSTMClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 8, num_layers=2, batch_first=True), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class TinyGPT(nn.Module):
    """Next-token prediction; the loss is the mean over the positions."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 8), nn.Embedding(5, 8)  # positions: once, not per sample
        self.block = TransformerBlock(8, 2, nn.LayerNorm, causal=True, dropout=0.1)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 11, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.norm(self.block(x)))


class SharedAutoencoder(nn.Module):
    """Encoder layers that are called again on what was decoded."""

    def __init__(self):
        super().__init__()
        self.encode, self.mix, self.decode = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 6)

    def forward(self, x):
        for _ in range(2):
            hidden = torch.tanh(self.mix(torch.tanh(self.encode(x))))
            x = self.decode(hidden)
        return x


def dropout_net():
    return nn.Sequential(
        nn.Linear(6, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
    )


def per_position_loss(outputs, targets):
    """Cross entropy, mean over samples and positions."""
    return fn.cross_entropy(outputs.flatten(0, 1), targets.flatten())


@dataclass(frozen=True)
class Case:
    """A model with what it is trained on: `inputs` has samples first, `loss` takes (outputs, targets)."""

    build: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator, int], Tensor]
    targets: Callable[[Tensor, torch.Generator], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor] = fn.cross_entropy
    layers: dict[str, str] = field(default_factory=dict)
    """keys of the layers in the order of the calls, with their activations"""

    def make(self, dtype=torch.float32):
        """Return a new model, always with the same weights."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.build().to(dtype)

    def batch(self, seed=0, samples=N, dtype=torch.float32):
        """Return inputs and targets."""
        generator = torch.Generator().manual_seed(seed)
        inputs = self.inputs(generator, samples)
        targets = self.targets(inputs, generator)
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in (inputs, targets))


def rows(*shape):
    return lambda generator, samples: torch.randn(samples, *shape, generator=generator)


def token_rows(generator, samples):
    return torch.randint(0, 11, (samples, 5), generator=generator)


def labels(inputs, generator):
    return torch.randint(0, CLASSES, (len(inputs),), generator=generator)


ADDED = "relu after addition"
VIT = {"patches": "none"} | {
    f"blocks.{block}.{name}": activation
    for block in range(2)
    for name, activation in {"attention.qkv": "none", "attention.proj": "none", "fc1": "gelu", "fc2": "none"}.items()
}
GATES = {"input_gate": "sigmoid", "forget_gate": "sigmoid", "cell_gate": "tanh", "output_gate": "sigmoid"}

ZOO = {
    "MLP": Case(mlp, rows(6), labels, layers={"0": "relu", "2": "tanh", "4": "none"}),
    "CNN with batch norm": Case(
        cnn_with_batch_norm, rows(2, 8, 8), labels, layers={"0": "relu", "4": "relu", "8": "none"}
    ),
    "ResNet": Case(
        ResNet,
        rows(2, 8, 8),
        labels,
        layers={
            "stem": "relu",
            "block1.conv1": "relu",
            "block1.conv2": ADDED,
            "block2.conv1": "relu",
            "block2.conv2": ADDED,
            "block2.downsample.0": ADDED,
            "head": "none",
        },
    ),
    "ViT": Case(lambda: ViT(nn.LayerNorm), rows(2, 8, 8), labels, layers=VIT | {"head": "none"}),
    "ViT without norms": Case(lambda: ViT(no_norm), rows(2, 8, 8), labels, layers=VIT | {"head": "none"}),
    "LSTM": Case(
        LSTMClassifier,
        rows(5, 4),
        labels,
        layers={f"lstm.l{layer}.{gate}": name for layer in range(2) for gate, name in GATES.items()} | {"head": "none"},
    ),
    "tiny GPT": Case(
        TinyGPT,
        token_rows,
        lambda inputs, _: inputs.roll(-1, 1),
        per_position_loss,
        layers={
            "tokens": "none",
            "block.attention.qkv": "none",
            "block.attention.proj": "none",
            "block.fc1": "gelu",
            "block.fc2": "none",
            "head": "none",
        },
    ),
    "shared autoencoder": Case(
        SharedAutoencoder,
        rows(6),
        lambda inputs, _: inputs.clone(),
        fn.mse_loss,
        layers={
            f"{name}#{call}": act
            for call in (1, 2)
            for name, act in {"encode": "tanh", "mix": "tanh", "decode": "none"}.items()
        },
    ),
    "dropout net": Case(dropout_net, rows(6), labels, layers={"0": "relu", "3": "relu", "6": "none"}),
}
