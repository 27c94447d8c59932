"""The ways that `measures.py` compares: ours, and the direct computations that they replace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from cloudchamber import measures

Ways = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Case:
    """Ways to compute one thing: how to build them on a full or a small problem, and how often to time them.

    Attributes:
        build: takes whether the problem is the small one.
        against: for each way that is ours, the baselines: other ways, one after the other where several make the job.
        rounds: how often ours is timed.
        baseline_rounds: how often the others are.
    """

    build: Callable[[bool], Ways]
    against: dict[str, tuple[tuple[str, ...], ...]]
    rounds: int
    baseline_rounds: int


@dataclass(frozen=True)
class Step:
    """What Theorem 1 takes from one step of a bias-free ReLU chain; primes for the layer above."""

    X: Tensor
    gates: Tensor
    F: Tensor
    above: Tensor
    G_above: Tensor


def steps(width: int, samples: int, count: int) -> list[Step]:
    """Train a 9-layer MLP for some steps, and return layers 5 and 6 of each."""
    weights = [torch.empty(h, d) for d, h in zip([64] + 8 * [width], 8 * [width] + [10], strict=True)]
    weights = [nn.init.xavier_normal_(weight).requires_grad_() for weight in weights]
    inputs, labels, found = torch.rand(samples, 64), torch.arange(samples) % 10, []
    for _ in range(count):
        features, outputs = [inputs], []
        for weight in weights:
            outputs.append(features[-1] @ weight.T)
            features.append(torch.relu(outputs[-1]))
        loss = nn.functional.cross_entropy(outputs[-1], labels, reduction="sum")
        above, *gradients = torch.autograd.grad(loss, [outputs[5], *weights])
        now = (features[4], (outputs[4] > 0).float(), features[5], weights[5].clone(), above)
        found.append(Step(*(part.detach() for part in now)))
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.01 / samples * gradient
    return found


def together(data: list[Step]) -> Step:
    """The samples of all steps as those of one, with the weight of the last."""
    X, gates, F, G = (torch.cat([getattr(step, name) for step in data]) for name in ("X", "gates", "F", "G_above"))
    return Step(X, gates, F, data[-1].above, G)


def direction(data: list[Step]) -> Tensor:
    """Lemma 1, as it is added up while training."""
    moment = measures.gradient_moment(data[0].F, data[0].G_above)
    for step in data[1:]:
        moment += measures.gradient_moment(step.F, step.G_above)
    return measures.common_directions(moment).vectors[0]


def strengths(data: list[Step], C: Tensor, count: int | None) -> list[Tensor]:
    """Theorem 1, with the components of each step's own weight: the mean over steps and samples."""
    found = []
    for step in data:
        components = measures.noise_components(step.above, C, count)
        primary = measures.primary_strengths(step.X, step.gates, step.above, C, step.G_above)
        noise = measures.noise_strengths(step.X, step.gates, components, step.G_above)
        found.append(torch.cat([primary[:, None], noise], 1).mean(0))
    return list(torch.stack(found).mean(0))


def both(of_direction: list[Step], of_strengths: list[Step], count: int | None = 3) -> list[Tensor]:
    """Direction and strengths in closed form."""
    C = direction(of_direction)
    return [C, *strengths(of_strengths, C, count)]


def side_by_side(data: list[Step]) -> Tensor:
    """All changes of single samples, (h, d·n·T), up to their sign and rate."""
    changes = torch.cat([step.G_above[:, :, None] * step.F[:, None] for step in data])
    return changes.transpose(0, 1).reshape(changes.shape[1], -1)


def direction_by_svd(data: list[Step]) -> Tensor:
    return torch.linalg.svd(side_by_side(data), full_matrices=False).U[:, 0]


def direction_by_gram(data: list[Step]) -> Tensor:
    changes = side_by_side(data)
    return torch.linalg.eigh((changes @ changes.T).double()).eigenvectors[:, -1].float()


def strengths_in_full(data: list[Step], C: Tensor) -> list[Tensor]:
    """Eq. (13) of mlp2024 as it stands, all samples of a step side by side: several tensors n × h × d."""
    found = []
    for step in data:
        changes = -step.G_above[:, :, None] * step.F[:, None]
        V, along = step.above.T @ C, changes.mT @ C
        U, S, Vh = torch.linalg.svd(step.above.T - torch.outer(V, C))
        response = ((changes.mT - along[:, :, None] * C).mT @ step.F[:, :, None])[:, :, 0]
        scale = step.F.square().sum(1, keepdim=True)
        parts = [(along * step.F).sum(1, keepdim=True) * V / scale]
        parts += [(response @ Vh[k])[:, None] * S[k] * U[:, k] / scale for k in range(3)]
        full = [(step.gates * part)[:, :, None] * step.X[:, None] for part in parts]
        found.append(torch.stack([torch.linalg.matrix_norm(part).mean() for part in full]))
    return list(torch.stack(found).mean(0))


def theorem1(small: bool) -> Ways:
    data = steps(32, 10, 2) if small else steps(512, 100, 10)
    C, one = direction(data).float(), [together(data)]
    return {
        "direction": partial(direction, data),
        "direction, and strengths of one step": partial(both, data, data[-1:]),
        "direction, and strengths of all steps by the last weight": partial(both, one, one),
        "direction, and strengths of all steps by their weights": partial(both, data, data),
        "direction, and all components of one step": partial(both, data, data[-1:], None),
        "SVD": partial(direction_by_svd, data),
        "Gram": partial(direction_by_gram, data),
        "one step in full": partial(strengths_in_full, data[-1:], C),
        "all steps in full": partial(strengths_in_full, data, C),
    }


def mlp(width: int) -> nn.Sequential:
    sizes = [784, width, width, width, width, 10]
    layers = [part for d, h in pairwise(sizes) for part in (nn.Linear(d, h), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def cnn(width: int) -> nn.Sequential:
    first, second = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
    pool, last = nn.MaxPool2d(2), nn.Linear(2 * width * 49, 10)
    return nn.Sequential(first, nn.ReLU(), pool, second, nn.ReLU(), pool, nn.Flatten(), last)


def mlp_kernel(model: nn.Sequential, x: Tensor) -> Tensor:
    """Forward and backward by hand, one row for each output of each sample."""
    linears, inputs = [layer for layer in model if isinstance(layer, nn.Linear)], [x]
    for layer in linears[:-1]:
        inputs.append(torch.relu(nn.functional.linear(inputs[-1], layer.weight, layer.bias)))
    gradients = [torch.eye(10).expand(len(x), 10, 10)]
    for layer, features in zip(linears[:0:-1], inputs[:0:-1], strict=True):
        gradients.append((gradients[-1] @ layer.weight) * (features > 0)[:, None])
    return measures.tangent_kernel(inputs, gradients[::-1], biases=True)


def cnn_kernel(model: nn.Sequential, x: Tensor) -> Tensor:
    """Outputs of the layers and their gradients by autograd, inputs unfolded."""
    first = model[0](x)
    hidden = model[1:3](first)
    second = model[3](hidden)
    features = model[4:7](second)
    outputs = model[7](features)
    each = torch.eye(10)[:, None].expand(10, len(x), 10)
    G = torch.autograd.grad(outputs, [first, second], each, is_grads_batched=True)
    inputs = [nn.functional.unfold(part, 3, padding=1).mT for part in (x, hidden)]
    gradients = [part.transpose(0, 1).flatten(3).mT for part in G]
    last = torch.eye(10).expand(len(x), 10, 10)
    return measures.tangent_kernel([*inputs, features], [*gradients, last], biases=True)


def jacobian_kernel(model: nn.Sequential, x: Tensor) -> Tensor:
    """As in PyTorch's tutorial on neural tangent kernels."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    of_one = jacrev(lambda given, sample: functional_call(model, given, (sample[None],))[0])
    jacobian = vmap(of_one, (None, 0))(parameters, x)
    parts = (part.detach().flatten(2) for part in jacobian.values())
    return torch.stack([torch.einsum("xop,yqp->xyoq", part, part) for part in parts]).sum(0)


def blocked_kernel(model: nn.Sequential, x: Tensor, size: int) -> Tensor:
    def function(given: dict[str, Tensor], samples: Tensor) -> Tensor:
        return functional_call(model, given, (samples,))

    return measures.functional_kernel(function, dict(model.named_parameters()), x, chunk_size=size)


def mlp_ways(small: bool) -> Ways:
    return _kernel_ways(mlp(8 if small else 256), mlp_kernel, torch.rand(5 if small else 50, 784))


def cnn_ways(small: bool) -> Ways:
    return _kernel_ways(cnn(2 if small else 16), cnn_kernel, torch.rand(5 if small else 50, 1, 28, 28))


def _kernel_ways(model: nn.Sequential, ours: Callable[..., Tensor], x: Tensor) -> Ways:
    return {
        "closed form": lambda: ours(model, x),
        "Jacobian": lambda: jacobian_kernel(model, x),
        "Jacobian in blocks of 10": lambda: blocked_kernel(model, x, 10),
        "Jacobian in blocks of 25": lambda: blocked_kernel(model, x, 25),
    }


def groups_ways(small: bool) -> Ways:
    """Isotropic neurons, of which nobody follows anybody, and neurons along 20 lines with noise."""
    h, d = (200, 50) if small else (20_000, 1000)
    isotropic = torch.randn(h, d)
    lines = torch.nn.functional.normalize(torch.randn(20, d), dim=1).repeat(h // 20, 1) + 0.3 * isotropic / d**0.5
    return {
        "isotropic": lambda: measures.orientation_groups(isotropic),
        "20 lines": lambda: measures.orientation_groups(lines),
    }


_KERNEL = {"closed form": (("Jacobian",), ("Jacobian in blocks of 10",), ("Jacobian in blocks of 25",))}
_THEOREM1 = {
    "direction": (("SVD",), ("Gram",)),
    "direction, and strengths of one step": (("SVD", "one step in full"), ("Gram", "one step in full")),
    "direction, and all components of one step": (("SVD", "one step in full"), ("Gram", "one step in full")),
    **{
        f"direction, and strengths of all steps by {whose}": (
            ("SVD", "all steps in full"),
            ("Gram", "all steps in full"),
        )
        for whose in ("the last weight", "their weights")
    },
}
CASES = {
    "Theorem 1, 512 × 512": Case(theorem1, _THEOREM1, 15, 1),
    "kernel, 784-256×4-10": Case(mlp_ways, _KERNEL, 10, 3),
    "kernel, CNN": Case(cnn_ways, _KERNEL, 10, 10),
    "orientation groups, 20 000 × 1000": Case(groups_ways, {"isotropic": (), "20 lines": ()}, 5, 0),
}
