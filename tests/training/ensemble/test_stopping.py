"""Members that stop early: where a loop of their own would, and without a trace in the others."""

import copy
import math

import hypothesis.strategies as st
import pytest
import torch
from ensemble_cases import alone, assert_member, chain, laws, regression, stack
from hypothesis import given
from torch import nn
from unchecked import refused

from cloudchamber._core.errors import InvalidInput
from cloudchamber.training import SGD, Adam, LossBelow, LossRatio, Steps, Time, train_ensemble

MEMBERS, STEPS = 9, 40
RATES = torch.logspace(-4, -0.5, MEMBERS, dtype=torch.float64)


def loops(models, until=None, rates=RATES, steps=STEPS, make=torch.optim.SGD):
    return [
        alone(model, regression(), lambda m, k=k: make(m.parameters(), rates[k].item()), steps, seed=k, until=until)
        for k, model in enumerate(models)
    ]


@pytest.mark.parametrize("path", ["vmap", "dense"])
@pytest.mark.parametrize(
    ("rule", "until"),
    [
        (LossRatio(0.8), lambda loss, first: loss <= 0.8 * first),
        (LossBelow(0.9), lambda loss, _: loss <= 0.9),
    ],
)
def test_each_stops_where_its_own_loop_does(path, rule, until):
    models = stack(chain, MEMBERS)
    trained = train_ensemble(models, regression(), loss="mse", optimizer=SGD(RATES), steps=STEPS, stop=rule, path=path)
    twins = loops(models, until)
    for k, twin in enumerate(twins):
        assert_member(trained, k, *twin)
    early = [len(losses) < STEPS for _, losses in twins]
    assert 0 < sum(early) < MEMBERS
    assert trained.reasons == tuple(rule.reason if stopped else "steps" for stopped in early)
    assert trained.loss.tolist() == [trained.losses[k, int(trained.stopped_at[k]) - 1] for k in range(MEMBERS)]


def test_with_running_statistics_momentum_and_dropout_they_go_on_as_they_were():
    # Without bias before the normalization: its gradient is zero up to rounding, which Adam makes as large as others.
    norm = [nn.Linear(3, 6, bias=False), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 1)]
    models = stack(lambda: nn.Sequential(*copy.deepcopy(norm)), MEMBERS)
    rule = LossRatio(0.7)
    trained = train_ensemble(models, regression(), loss="mse", optimizer=Adam(RATES), steps=STEPS, stop=rule)
    twins = loops(models, lambda loss, first: loss <= 0.7 * first, make=torch.optim.Adam)
    assert len({len(losses) for _, losses in twins}) > 3
    for k, twin in enumerate(twins):
        assert_member(trained, k, *twin)


def test_with_data_and_batches_of_their_own_they_go_on_as_they_were():
    models, data = stack(chain, MEMBERS), [regression(seed=seed) for seed in range(MEMBERS)]
    for batch_size in (None, 6):
        trained = train_ensemble(
            models, data, loss="mse", optimizer=SGD(RATES), steps=STEPS, stop=LossRatio(0.7), batch_size=batch_size
        )
        for k, model in enumerate(models):
            rate = RATES[k].item()
            twin = alone(
                model,
                data[k],
                lambda m, rate=rate: torch.optim.SGD(m.parameters(), rate),
                STEPS,
                seed=k,
                batch_size=batch_size,
                until=lambda loss, first: loss <= 0.7 * first,
            )
            assert_member(trained, k, *twin)


@pytest.mark.parametrize("path", ["vmap", "dense"])
@pytest.mark.parametrize("bad", [[0], [4], [0, 1, 2, 3, 5, 6, 7, 8]])
def test_members_that_diverge_disturb_nobody(path, bad):
    models, rates = stack(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), MEMBERS), RATES.clone()
    rates[bad] = 1e30
    trained = train_ensemble(models, regression(), loss="mse", optimizer=SGD(rates), steps=STEPS, path=path)
    for k, twin in enumerate(loops(models, rates=rates)):
        assert trained.reasons[k] == ("not_finite" if k in bad else "steps")
        if k in bad:
            assert int(trained.stopped_at[k]) == len(twin[1]) < STEPS
            assert not math.isfinite(trained.loss[k])
        else:
            assert_member(trained, k, *twin)


def test_data_that_are_not_finite_are_data():
    data = [regression(seed=seed) for seed in range(3)]
    data[1][0][4, 1] = math.nan
    data[2][1][0] = math.inf
    trained = train_ensemble(stack(chain, 3), data, loss="mse", optimizer=SGD(0.05), steps=5)
    assert trained.reasons == ("steps", "not_finite", "not_finite")
    assert trained.stopped_at.tolist() == [5, 1, 1]
    assert trained.loss.isfinite().tolist() == [True, False, False]


def test_the_first_rule_that_holds_is_the_reason_and_what_is_not_finite_comes_first():
    rules = [LossBelow(1e9), LossRatio(0.9), Steps(1)]
    trained = train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.05), steps=5, stop=rules)
    assert (trained.reasons, trained.stopped_at.tolist()) == (("loss",) * 5, [1] * 5)
    trained = train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.05), steps=5, stop=rules[::-1])
    assert trained.reasons == ("steps",) * 5


def test_two_rules_of_one_kind_hold_both():
    rules = [LossBelow(1e9), LossBelow(1e-9)]
    trained = train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.05), steps=5, stop=rules)
    assert trained.stopped_at.tolist() == [1] * 5


class Uneven:
    """A rule of the user's own: members of a low loss first."""

    reason = "uneven"

    def met(self, progress):
        return (progress.steps >= 3) & (progress.loss <= progress.loss.median())


def test_a_rule_may_be_the_users_own():
    trained = train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.05), steps=9, stop=Uneven())
    assert set(trained.reasons) == {"uneven"}
    assert int(trained.stopped_at.min()) == 3


@laws
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 5))
def test_whoever_leaves_when_the_rest_is_the_same(ends, chunk):
    """Members stop at any steps; each then has had the losses that it has where none stops."""
    models = stack(chain, len(ends))
    options = {"loss": "mse", "optimizer": Adam(0.05), "steps": 12, "batch_size": 6, "chunk": chunk}
    whole = train_ensemble(models, regression(), **options)
    first_losses = whole.losses[:, 0]

    class At:
        """Knows a member by its first loss."""

        reason = "at"

        def met(self, progress):
            members = (progress.first_loss[:, None] - first_losses).abs().argmin(1)
            return progress.steps >= torch.tensor(ends)[members]

    part = train_ensemble(models, regression(), stop=At(), **options)
    assert part.stopped_at.tolist() == ends
    for k, end in enumerate(ends):
        torch.testing.assert_close(part.losses[k, :end], whole.losses[k, :end], rtol=1e-12, atol=1e-12)
        assert part.losses[k, end:].isnan().all()


def test_a_rule_about_time_is_refused():
    with pytest.raises(InvalidInput, match="an ensemble counts updates, not time"):
        train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.1), steps=5, stop=Time(1.0))


def test_what_is_no_rule_is_refused():
    with refused("a rule has a `reason`"):
        train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.1), steps=5, stop=[0.1])
