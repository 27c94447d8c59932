"""Chunks: what they are, and that nobody can tell from the result."""

import hypothesis.strategies as st
import pytest
import torch
from ensemble_cases import chain, laws, regression, stack
from hypothesis import given
from unchecked import refused

from cloudchamber.training import SGD, Adam, train_ensemble
from cloudchamber.training.ensemble.chunks import chunk_size, split
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.step import PlainStep
from cloudchamber.training.ensemble.trainer import Chunk


@laws
@given(st.integers(1, 200), st.integers(1, 50))
def test_a_split_has_every_member_once_in_as_few_even_chunks_as_can_be(members, size):
    chunks = split(members, size)
    assert torch.cat(list(chunks)).tolist() == list(range(members))
    lengths = {len(chunk) for chunk in chunks}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(chunks) == -(-members // size)


@laws
@given(st.integers(1, 10**7), st.sampled_from([torch.float32, torch.float64]))
def test_larger_activations_make_smaller_chunks_but_never_lone_members(activation, dtype):
    layout = Layout.of(chain())
    size = chunk_size(activation, layout, dtype)
    assert size >= chunk_size(activation + 1, layout, dtype) >= 8
    assert size == 8 or size * max(activation, layout.size) * dtype.itemsize <= 2**21


@pytest.mark.parametrize("path", ["vmap", "dense"])
@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_result_does_not_depend_on_the_chunk_but_by_rounding(path, batch_size):
    lr = torch.linspace(0.01, 0.05, 7, dtype=torch.float64)
    results = [
        train_ensemble(
            stack(chain, 7),
            regression(),
            loss="mse",
            optimizer=Adam({"0": lr, "*": 0.01}),
            steps=8,
            batch_size=batch_size,
            path=path,
            chunk=chunk,
        )
        for chunk in (7, 3, 1, None)
    ]
    for result in results[1:]:
        torch.testing.assert_close(result.losses, results[0].losses, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(result.parameters, results[0].parameters, rtol=1e-11, atol=1e-11)


def test_the_same_ensemble_gives_the_same_bits():
    one, other = (
        train_ensemble(stack(chain, 20), regression(), loss="mse", optimizer=SGD(0.05), steps=8, batch_size=6, chunk=8)
        for _ in range(2)
    )
    assert torch.equal(one.losses, other.losses)


def test_finished_members_leave_the_batch(monkeypatch):
    sizes = []
    step = PlainStep.__call__

    def noting(self, flat, *arguments):
        sizes.append(len(flat))
        return step(self, flat, *arguments)

    models = stack(chain, 32)
    losses = train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.0), steps=1).loss.sort().values

    class OneMore:
        """One member more is done after every step."""

        reason = "one more"

        def met(self, progress):
            return progress.loss <= losses[progress.steps - 1]

    monkeypatch.setattr(PlainStep, "__call__", noting)
    trained = train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.0), steps=40, stop=OneMore(), chunk=32)
    assert sorted(trained.stopped_at.tolist()) == list(range(1, 33))
    # An eighth of them has to be done before the others are copied.
    assert sizes[:10] == [32] * 4 + [28] * 4 + [24] * 2
    assert sizes[-3:] == [3, 2, 1]


def test_a_chunk_is_let_go_of_when_all_its_members_are_done(monkeypatch):
    numbers = []
    account = Chunk._account

    def noting(self, number, losses):
        numbers.append(number)
        account(self, number, losses)

    monkeypatch.setattr(Chunk, "_account", noting)
    lr = torch.tensor([1e30, 1e30, 0.01, 0.01], dtype=torch.float64)
    trained = train_ensemble(stack(chain, 4), regression(), loss="mse", optimizer=SGD(lr), steps=6, chunk=2)
    assert trained.reasons == ("not_finite", "not_finite", "steps", "steps")
    end = int(trained.stopped_at[:2].max())
    assert numbers == [*range(1, end + 1), *range(1, 7)]


@pytest.mark.parametrize("chunk", [0, -1, 1.5])
def test_a_chunk_that_is_no_number_of_members_is_refused(chunk):
    with refused("`chunk` is a whole number of at least 1"):
        train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.1), steps=1, chunk=chunk)
