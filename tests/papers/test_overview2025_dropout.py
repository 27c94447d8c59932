"""What Figures 8 to 10 and Section 7.1 of overview2025 rest on, against slow obvious twins."""

from itertools import product

import pytest
import torch

from cloudchamber.papers.overview2025.composite import HELD_OUT, SEEN, STEPS, Task, swapped
from cloudchamber.papers.overview2025.dropout import Stack, effective_orientations
from cloudchamber.papers.overview2025.transformer import Transformer

KEEP = 0.7


def _stack(activation, dropped, penalized, n=4):
    x = torch.linspace(-1.5, 2, n, dtype=torch.float64)
    return Stack(activation, x, x.sin(), KEEP, dropped, penalized)


def _objective(stack, one, mask, penalty):
    """Of a single network, as the formulas read."""
    w, b, a = one
    hidden = torch.outer(stack.x, w) + b
    hidden = hidden.tanh() if stack.activation == "tanh" else hidden.relu()
    loss = (((hidden * mask) @ a - stack.y) ** 2).mean() / 2
    n = len(stack.x)
    return loss + penalty * (1 - KEEP) / (2 * n * KEEP) * ((hidden * a) ** 2).sum()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_gradient_is_that_of_the_objective(activation):
    random = torch.Generator().manual_seed(1)
    stack = _stack(activation, dropped=2, penalized=1)
    parameters = torch.randn(4, 3, 5, generator=random, dtype=torch.float64)
    mask, out = stack.mask(5, random), torch.empty(4, 3, 5, dtype=torch.float64)
    stack.gradient(parameters, mask, out)
    whole = torch.ones(4, 5, dtype=torch.float64)
    for k, one in enumerate(parameters):
        free = one.clone().requires_grad_()
        value = _objective(stack, free, mask[k] if k < 2 else whole, penalty=float(k == 2))
        torch.testing.assert_close(out[k], torch.autograd.grad(value, free)[0], rtol=1e-12, atol=1e-12)


def test_the_regularizer_is_what_dropout_adds_on_average():
    stack = _stack("tanh", dropped=1, penalized=0, n=1)
    one = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean = torch.zeros((), dtype=torch.float64)
    for kept in product((0.0, 1.0), repeat=3):
        chance = KEEP ** sum(kept) * (1 - KEEP) ** (3 - sum(kept))
        mean += chance * _objective(stack, one, torch.tensor([kept], dtype=torch.float64) / KEEP, penalty=0.0)
    torch.testing.assert_close(mean, _objective(stack, one, torch.ones(1, 3, dtype=torch.float64), penalty=1.0))


def test_a_mask_keeps_with_its_chance_and_the_mean():
    mask = _stack("relu", dropped=1, penalized=0, n=50).mask(1000, torch.Generator().manual_seed(3))
    assert set(mask.unique().tolist()) == {0.0, 1 / KEEP}
    assert float((mask > 0).double().mean()) == pytest.approx(KEEP, abs=0.01)


def test_effective_orientations_count_equal_groups_and_forget_idle_neurons():
    angles = torch.tensor([0.0, 0.01, 1.0, 1.01, 2.0, 2.01], dtype=torch.float64)
    parameters = torch.stack([angles.cos(), angles.sin(), torch.ones(6, dtype=torch.float64)])
    assert effective_orientations(parameters, signed=True) == pytest.approx(3)
    idle = torch.cat([parameters, torch.tensor([[-1.0], [0.3], [0.0]], dtype=torch.float64)], 1)
    assert effective_orientations(idle, signed=True) == pytest.approx(3)
    opposite = torch.cat([parameters, parameters * torch.tensor([[-1.0], [-1.0], [1.0]])], 1)
    assert effective_orientations(opposite, signed=False) == pytest.approx(3)
    assert effective_orientations(opposite, signed=True) == pytest.approx(6)


@pytest.mark.parametrize("unseen", [False, True])
def test_answers_add_both_anchors_to_the_number_before_them(unseen):
    task = Task(6, 30)
    tokens, answers = task.draw(200, SEEN, torch.Generator().manual_seed(4), unseen=unseen)
    for row, answer in zip(tokens.tolist(), answers.tolist(), strict=True):
        place = next(at for at, token in enumerate(row) if token < 20) - 1
        number, first, second = row[place : place + 3]
        assert answer == number + STEPS[first - 1] + STEPS[second - 1] < task.tokens
        assert (first, second) not in HELD_OUT
        assert (number % 6 == place) == unseen


def test_swapping_twice_changes_nothing():
    tokens, _ = Task(6, 30).draw(20, HELD_OUT, torch.Generator().manual_seed(5))
    assert not torch.equal(swapped(tokens), tokens)
    assert torch.equal(swapped(swapped(tokens)), tokens)


@torch.no_grad()
def test_the_transformer_starts_at_its_rate_and_sees_nothing_after_a_token():
    model = Transformer(40, 6, 400, 100, rate=0.5, random=torch.Generator().manual_seed(6))
    assert float(model.first.query.weight.std()) == pytest.approx(400**-0.5, rel=0.02)
    assert float(model.read.bias.abs().max()) == 0
    x = torch.randn(2, 6, 400, generator=torch.Generator().manual_seed(7))
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(model.first(x, last=False)[:, :4], model.first(changed, last=False)[:, :4])
    torch.testing.assert_close(model.second(x, last=True)[:, 0], model.second(x, last=False)[:, -1])
