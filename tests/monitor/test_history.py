"""What spans steps: common directions of a window, and kept snapshots, against all gradients side by side."""

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc

X = torch.randn(12, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(12) % 3


def trained(passive, steps=40):
    """Train with a history; return it, and every sample's gradient of the second layer at every step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    gradients = []
    options = {"every": 1, "passive": passive, "history": True, "measures": ["feature_cosine"], "image_samples": 4}
    with cc.Monitor(model, (X, Y), loss=fn.cross_entropy, **options) as monitor:
        for step in range(steps):
            gradients.append(
                torch.stack(
                    [
                        torch.autograd.grad(fn.cross_entropy(model(x[None]), y[None]), model[2].weight)[0]
                        for x, y in zip(X, Y, strict=True)
                    ]
                )
            )
            if passive:
                with monitor.batch(step, Y):
                    loss = fn.cross_entropy(model(X), Y)
                    optimizer.zero_grad()
                    loss.backward()
            else:
                optimizer.zero_grad()
                fn.cross_entropy(model(X), Y).backward()
            optimizer.step()
            if not passive and step + 1 < steps:
                monitor.observe(step + 1)
    return monitor.history, torch.stack(gradients)


@pytest.mark.parametrize("passive", [False, True])
def test_the_directions_of_a_window_are_those_of_all_its_gradients(passive):
    history, gradients = trained(passive)
    found = history.directions(0, 12)["2"]
    side_by_side = gradients[found.start : found.stop].flatten(0, 1).permute(1, 0, 2).flatten(1)
    slow = torch.linalg.svd(side_by_side)[0][:, 0]
    assert found.start == 0
    assert 8 <= found.stop <= 18
    torch.testing.assert_close((found.directions.vectors[0] @ slow).abs(), torch.ones((), dtype=torch.float64))


def test_the_kept_snapshots_are_those_of_their_steps_and_few():
    history, gradients = trained(False)
    kept = history.snapshots()
    assert 8 <= len(kept) <= 32
    for sample in kept:
        inputs, of_outputs = sample.tensors["2/inputs"], sample.tensors["2/output_gradients"]
        torch.testing.assert_close(of_outputs.mT @ inputs, gradients[sample.step - 1])
    assert all(5 < sample.step <= 20 for sample in history.snapshots(5, 20))


def test_memory_does_not_grow_with_the_number_of_steps():
    short, long = trained(True, 40)[0].nbytes, trained(True, 160)[0].nbytes
    assert long <= 1.3 * short


def test_a_monitor_without_a_history_says_so():
    with pytest.raises(cc.InvalidInput, match="history=True"):
        _ = cc.Monitor(nn.Linear(6, 3).double(), (X, Y), loss=fn.cross_entropy).history
    empty = cc.Monitor(nn.Linear(6, 3).double(), (X, Y), loss=fn.cross_entropy, history=True).history
    with pytest.raises(cc.InvalidInput, match="once a step was observed"):
        empty.directions()
