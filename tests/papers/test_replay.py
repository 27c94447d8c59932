"""Running again: the same losses, the same network at every step, and nothing disturbed by looking."""

import pytest
import torch
import toy
from torch import nn

from cloudchamber import InvalidInput, open_record, save_record
from cloudchamber.papers.replay import features_of, loss_and_accuracy, outputs_of, replay


def test_a_replay_shows_the_network_as_the_record_saw_it(cache):
    run = cache.run(toy.small_recipe())
    losses = {}

    def look(step, session):
        inputs, targets = session.batches.dataset.probe(20)
        losses[step] = loss_and_accuracy(session, inputs, targets)[0]
        session.model(inputs)

    replay(run, [0, 10, 20], look)
    for step, loss in losses.items():
        assert loss == pytest.approx(float(run.record.probe_loss.sel(step=step)), rel=1e-6)


def test_looking_changes_nothing_of_the_training(cache):
    """The replay itself checks every recorded loss after the look."""
    replay(
        cache.run(toy.small_recipe()), range(21), lambda _, s: features_of(s, s.batches.dataset.inputs[:9], "linear2")
    )


def test_another_run_than_the_recorded_one_is_refused(cache):
    run = cache.run(toy.small_recipe())
    record = open_record(run.folder)
    save_record(record.assign(train_loss=record.train_loss + 1e-3), run.folder / "record.nc")
    with pytest.raises(InvalidInput, match="bit for bit"):
        replay(run, [20], lambda step, session: None)


def test_features_are_those_after_the_activation(cache):
    run = cache.run(toy.small_recipe())
    seen = []

    def look(_, session):
        inputs = session.batches.dataset.inputs[:7]
        hidden = torch.relu(session.model.linear1(inputs))
        seen.append((features_of(session, inputs, "linear2"), torch.relu(session.model.linear2(hidden))))
        with pytest.raises(InvalidInput, match="linear9"):
            features_of(session, inputs, "linear9")

    replay(run, [5], look)
    found, expected = seen[0]
    assert torch.allclose(found, expected.detach(), atol=1e-6)


def test_testing_puts_the_modes_back_and_draws_nothing():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    model[1].eval()
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    x = torch.ones(5000, 4)
    assert torch.equal(outputs_of(model, x), outputs_of(model, x))
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
