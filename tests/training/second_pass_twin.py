"""The slow, obvious second pass: a loop of its own, all changes materialised (samples × h × d), and SVDs of them."""

import torch
from torch import nn

from cloudchamber.training.session import Session


def materialised(recipe, stop):
    """Per step: what each layer receives and is told, from hooks, in float64; and the weights at the end."""
    session, steps = Session.of(recipe), {}
    model, layers = session.model, [m for m in session.model.children() if isinstance(m, nn.Linear)]
    classes = session.batches.dataset.classes
    loss_function = nn.functional.cross_entropy if classes else nn.functional.mse_loss
    start = [layer.weight.detach().double() for layer in layers]
    for step in range(1, stop + 1):
        inputs, targets = session.batches.of_step(step)
        seen = {}
        handles = [layer.register_forward_hook(noting(seen)) for layer in layers]
        loss = loss_function(model(inputs), targets)
        for handle in handles:
            handle.remove()
        gradients = torch.autograd.grad(len(inputs) * loss, [seen[layer][1] for layer in layers], retain_graph=True)
        found = [
            Layer(layer.weight.detach().double(), seen[layer][0].detach().double(), g.double())
            for layer, g in zip(layers, gradients, strict=True)
        ]
        steps[step] = found, targets
        session.optimizer.zero_grad()
        loss.backward()
        session.optimizer.step()
    moved = [layer.weight.detach().double() - before for layer, before in zip(layers, start, strict=True)]
    return steps, moved


def noting(seen):
    return lambda layer, received, output: seen.__setitem__(layer, (received[0], output))


class Layer:
    def __init__(self, W, X, G):
        self.W, self.X, self.G = W, X, G

    def of(self, chosen):
        return Layer(self.W, self.X[chosen], self.G[chosen])

    def changes(self, rate):
        """(n, h, d)"""
        return -rate * torch.einsum("nh,nd->nhd", self.G, self.X)


def of_group(steps, label):
    """The same steps for the samples of one class; steps without one are left out."""
    if label is None:
        return {step: (layers, targets) for step, (layers, targets) in steps.items()}
    chosen = {step: torch.nonzero(targets == label)[:, 0] for step, (_, targets) in steps.items()}
    return {
        step: ([layer.of(chosen[step]) for layer in layers], targets[chosen[step]])
        for step, (layers, targets) in steps.items()
        if len(chosen[step])
    }


def left_singular(changes):
    side_by_side = changes.transpose(0, 1).flatten(1)
    return torch.linalg.svd(side_by_side, full_matrices=False)


def directions(steps, number, rate, count):
    """C_1 from all single changes (Lemma 1); the others from what is left of the mean ones, one by one."""
    single = torch.cat([layers[number].changes(rate) for layers, _ in steps.values()])
    means = torch.stack([layers[number].changes(rate).mean(0) for layers, _ in steps.values()])
    found = [left_singular(single)[0][:, 0]]
    left = means - along(means, found[0])
    for _ in range(count - 1):
        found.append(left_singular(left)[0][:, 0])
        left = left - along(left, found[-1])
    return torch.stack(found), single, means


def along(changes, C):
    return torch.einsum("h,k,tkd->thd", C, C, changes)


def strengths(means, C):
    """`s_i = ‖C_i E_t[ΔV̄_i]ᵀ‖_F`, as matrices."""
    return torch.stack([torch.linalg.matrix_norm(torch.outer(c, (means.mean(0).T @ c))) for c in C])


def theorem1(layer, above, C, rate):
    """Norms of the parts of every sample's change by the paper's Eq. (13), which divides by ‖F‖²."""
    F = above.X
    gates = (F > 0).double()
    eps = above.W.T - torch.outer(above.W.T @ C, C)
    U, S, Vh = torch.linalg.svd(eps, full_matrices=False)
    primary, noise = [], []
    for x, f, D, change in zip(layer.X, F, gates, above.changes(rate), strict=True):
        right = torch.outer(f, x) / (f @ f)
        dV, V = change.T @ C, above.W.T @ C
        d_eps = change.T - torch.outer(dV, C)
        primary.append(torch.linalg.matrix_norm(torch.diag(D) @ torch.outer(V, dV) @ right))
        parts = [S[k] * torch.diag(D) @ torch.outer(U[:, k], Vh[k]) @ d_eps.T @ right for k in range(len(S))]
        noise.append(torch.stack([torch.linalg.matrix_norm(part) for part in parts]))
    return torch.stack(primary), torch.stack(noise)


def agreement(layer, targets, C):
    """How often two samples of a class push the same way, pair by pair."""
    pushes, rates = layer.G @ C, []
    for label in targets.unique():
        own = pushes[targets == label]
        pairs = [float(a * b > 0) for i, a in enumerate(own) for j, b in enumerate(own) if i != j]
        if pairs:
            rates.append(sum(pairs) / len(pairs))
    return sum(rates) / len(rates) if rates else None
