"""What a session makes of a recipe, beside hand-written loops; and the batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import SINES, small
from torch import nn

from cloudchamber.data import Dataset
from cloudchamber.training.batches import Batches
from cloudchamber.training.session import Session

ADAM = {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-4}
DECAY = {**ADAM, "weight_decay": 0.1}
ADAM_RECIPE = "lr: 0.02, beta1: 0.8, beta2: 0.99, eps: 1e-4"


@pytest.mark.parametrize(
    ("optimizer", "by_hand"),
    [
        ("{lr: 0.3}", lambda p: torch.optim.SGD(p, lr=0.3)),
        ("{lr: 0.3, momentum: 0.9}", lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9)),
        (
            "{lr: 0.3, momentum: 0.5, weight_decay: 0.1}",
            lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.5, weight_decay=0.1),
        ),
        (f"{{name: adam, {ADAM_RECIPE}}}", lambda p: torch.optim.Adam(p, **ADAM)),
        (f"{{name: adam, {ADAM_RECIPE}, weight_decay: 0.1}}", lambda p: torch.optim.Adam(p, **DECAY)),
        (
            f"{{name: adamw, {ADAM_RECIPE}, weight_decay: 0.1}}",
            lambda p: torch.optim.AdamW(p, **DECAY),
        ),
        ("{name: adamw}", lambda p: torch.optim.AdamW(p, lr=0.001, weight_decay=0.0)),
    ],
)
@pytest.mark.parametrize("data", ["data={name: digits}", SINES])
def test_five_updates_are_those_of_a_loop_written_by_hand(optimizer, by_hand, data):
    recipe = small(data, f"optimizer={optimizer}")
    session, twin = Session.of(recipe), Session.of(recipe)
    model = twin.model
    updater = by_hand(model.parameters())
    loss_function = nn.CrossEntropyLoss() if data == "data={name: digits}" else nn.MSELoss()
    for step in range(1, 6):
        inputs, targets = twin.batches.of_step(step)
        loss = loss_function(model(inputs), targets)
        updater.zero_grad()
        loss.backward()
        updater.step()
        assert session.update(step) == loss.item()
    for ours, theirs in zip(session.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def numbered(samples):
    return Dataset("numbers", torch.arange(samples)[:, None], torch.arange(samples), classes=samples)


@settings(deadline=None)
@given(st.integers(1, 40), st.data(), st.integers(0, 5))
def test_an_epoch_visits_each_sample_at_most_once(samples, data, seed):
    size = data.draw(st.integers(1, samples))
    batches = Batches(numbered(samples), size, seed)
    per_epoch = samples // size
    for epoch in range(3):
        steps = range(epoch * per_epoch + 1, (epoch + 1) * per_epoch + 1)
        seen = torch.cat([batches.of_step(step)[1] for step in steps])
        assert len(seen) == per_epoch * size == len(seen.unique())
        assert batches.epochs(steps[-1]) == epoch + 1


def test_inputs_and_targets_of_a_batch_belong_together():
    inputs, targets = Batches(numbered(10), 4, seed=0).of_step(3)
    assert torch.equal(inputs[:, 0], targets)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 3))
def test_a_batch_is_a_function_of_seed_and_step_alone(steps, seed):
    walked = Batches(numbered(17), 5, seed)
    for step in steps:
        assert torch.equal(walked.of_step(step)[1], Batches(numbered(17), 5, seed).of_step(step)[1])


def test_orders_differ_between_epochs_and_seeds():
    first = [Batches(numbered(60), 30, seed).of_step(step)[1].tolist() for seed in (0, 1) for step in (1, 3, 5)]
    assert len({tuple(order) for order in first}) == 6


def test_a_batch_of_everything_is_the_data_in_its_order():
    for step in (1, 2, 9):
        assert torch.equal(Batches(numbered(7), 7, seed=3).of_step(step)[1], torch.arange(7))


def test_the_model_starts_at_the_initialization_of_the_recipe():
    weights = [Session.of(small(f"seed={seed}")).model.linear1.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
