"""`rescue`: what it finds for which run, that it tries on copies, and what it refuses."""

import re

import pytest
import torch
from rescue_cases import (
    LARGE_WEIGHTS,
    Calls,
    data,
    everything,
    network,
    rescue,
    same,
    trained,
    watched,
)
from torch import nn
from torch.nn import functional as fn
from unchecked import refused

import cloudchamber as cc
from cloudchamber._core.errors import InvalidInput
from cloudchamber.interventions import PhaseNorm
from cloudchamber.models import MLP


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.05, **settings})


def loss_now(model):
    x, y = data()
    return float(fn.cross_entropy(model(x), y).detach())


def names(plan):
    return [remedy.name for remedy in plan.remedies]


@pytest.mark.parametrize(
    ("make", "settings", "wanted"),
    [
        (lambda: network(0.1), {}, ["momentum"]),
        (lambda: network(0.1, 7), {"momentum": 0.9}, ["rescale"]),
        (lambda: Calls(network(0.1, 7)), {"momentum": 0.9}, ["rescale"]),
        (lambda: network(0.02, 7), {"momentum": 0.9}, ["phase norm"]),
        (lambda: Calls(network(0.02, 7)), {"momentum": 0.9}, ["phase norm"]),
        (lambda: network(LARGE_WEIGHTS), {"lr": 1e-6, "momentum": 0.9}, ["larger steps"]),
    ],
    ids=["momentum", "rescale", "rescale by hand", "norm", "norm by hand", "larger steps"],
)
def test_a_stuck_run_is_freed_by_what_its_trial_found(make, settings, wanted):
    model = make()
    optimizer = sgd(model, **settings)
    record = watched(model, optimizer)
    plan = rescue(model, optimizer, record)
    assert (plan.verdict, names(plan)) == ("rescue", wanted)
    assert [trial.outcome for trial in plan.trials][-1] == "moves"
    plan.apply()
    trained(model, optimizer, 200)
    assert loss_now(model) < 0.85 * float(record.constant_predictor_loss)


def test_nothing_is_touched_before_the_plan_is_applied():
    model = network(0.1, 7)
    optimizer = sgd(model, lr=0.01, momentum=0.9)
    record = watched(model, optimizer)
    before, state = everything(model, optimizer), torch.get_rng_state()
    plan = rescue(model, optimizer, record)
    assert same(everything(model, optimizer), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not plan.applied
    assert str(rescue(model, optimizer, record)) == str(plan)  # the same seed, the same trials
    assert str(plan).startswith("[rescue] Training is stuck so far")
    assert "tried    no change: still on it after 100 updates" in str(plan)
    assert "<li>" in plan._repr_html_()


def test_apply_at_once_says_so_first(caplog):
    model = network(0.1, 7)
    optimizer = sgd(model, momentum=0.9)
    with caplog.at_level("INFO", logger="cloudchamber"):
        plan = rescue(model, optimizer, watched(model, optimizer), apply=True)
    assert plan.applied == len(plan.remedies)
    assert str(plan) in caplog.text


def test_a_lazy_run_is_freed_where_that_is_wanted_and_left_alone_else():
    model = MLP(6, 3, depth=3, width=48)
    cc.initialize(model, "xavier_normal", variance_scale=6.0)
    optimizer = sgd(model, lr=0.001)
    record = watched(model, optimizer, 100)
    assert float(record.probe_loss[-1]) < 0.3
    assert rescue(model, optimizer, record).verdict == "nothing to do"
    plan = rescue(model, optimizer, record, lazy=True)
    assert plan.verdict == "rescue"
    assert names(plan)[0] == "rescale"
    assert plan.remedies[0].factor < 1
    assert plan.trials[-1].moved >= 2 * plan.trials[0].moved > 0
    assert "its hidden weights have moved by 0.0" in plan.reason
    healthy = network(LARGE_WEIGHTS, depth=3)
    plan = rescue(healthy, sgd(healthy), watched(healthy, sgd(healthy), 200), lazy=True)
    assert (plan.verdict, plan.remedies) == ("nothing to do", ())


@pytest.mark.parametrize("steps", [40, 80, 240])
def test_a_healthy_run_is_left_alone(steps):
    model = network(LARGE_WEIGHTS, depth=3)
    optimizer = sgd(model)
    record = watched(model, optimizer, steps)
    before = everything(model, optimizer)
    plan = rescue(model, optimizer, record)
    assert (plan.verdict, plan.remedies, plan.trials) == ("nothing to do", (), ())
    assert "The run is not stuck." in plan.reason
    assert same(everything(model, optimizer), before)
    with pytest.raises(InvalidInput, match="a plan is applied when it has steps left; got 'nothing to do'"):
        plan.apply()


def test_a_run_that_is_about_to_leave_is_to_be_trained_on():
    model = network(0.1)
    optimizer = sgd(model)
    record = watched(model, optimizer)
    optimizer.param_groups[0]["momentum"] = 0.9
    plan = rescue(model, optimizer, record)
    assert (plan.verdict, plan.remedies) == ("train on", ())
    assert "Without any change the loss leaves its plateau" in plan.reason


def test_where_nothing_can_be_learned_no_remedy_is_claimed():
    samples = torch.ones(30, 6), torch.arange(30) % 3
    model = network(LARGE_WEIGHTS, depth=3)
    optimizer = sgd(model, weight_decay=1e-4)
    record = watched(model, optimizer, samples=samples)
    plan = rescue(model, optimizer, record, probe=samples, trial_steps=25)
    assert (plan.verdict, plan.remedies) == ("no remedy", ())
    assert {trial.outcome for trial in plan.trials} <= {"stays", "diverges"}
    assert "no decay" in str(plan)


def test_dead_units_come_back():
    model = network(LARGE_WEIGHTS, depth=3)
    with torch.no_grad():
        model.linear2.bias -= 100
    optimizer = sgd(model)
    record = watched(model, optimizer)
    plan = rescue(model, optimizer, record)
    assert names(plan) == ["phase norm"]
    plan.apply()
    assert sum(isinstance(module, PhaseNorm) for module in model.modules()) == 2


def test_trials_take_the_batches_that_are_given():
    model, asked = network(0.1, 7), []
    optimizer = sgd(model, momentum=0.9)
    record = watched(model, optimizer)

    def batch(update):
        asked.append(update)
        return data()

    by_function = rescue(model, optimizer, record, batches=batch)
    assert asked[:3] == [1, 2, 3]
    by_list = rescue(model, optimizer, record, batches=[data()])
    assert [trial.losses for trial in by_function.trials] == [trial.losses for trial in by_list.trials]
    with pytest.raises(InvalidInput, match="`batches` can be iterated over"):
        rescue(model, optimizer, record, batches=[])


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_losses_of_any_reduction_are_compared_per_sample(reduction):
    model = network(0.1, 7)
    factor = {"sum": 1 / 60, "none": 1}[reduction]
    optimizer = sgd(model, lr=0.05 * factor, momentum=0.9)
    record = watched(network(0.1, 7), sgd(network(0.1, 7)))
    plan = rescue(model, optimizer, record, loss=lambda f, y: fn.cross_entropy(f, y, reduction=reduction))
    assert plan.verdict == "rescue"
    assert 0 < plan.trials[-1].loss < 1.1


def test_values_are_learned_too():
    x, _ = data()
    y = (3 * x[:, :1] - 2 * x[:, 1:2]).contiguous()
    model = nn.Sequential(*[part for _ in range(5) for part in (nn.Linear(6, 6), nn.Tanh())], nn.Linear(6, 1))
    cc.initialize(model, "xavier_normal", variance_scale=0.01)
    optimizer = sgd(model, momentum=0.9, lr=0.02)
    with cc.Monitor(model, probe=(x, y), loss=fn.mse_loss, every=5, measures="light") as monitor:
        for step in range(1, 81):
            optimizer.zero_grad()
            fn.mse_loss(model(x), y).backward()
            optimizer.step()
            monitor.observe(step)
    plan = rescue(model, optimizer, monitor.record, probe=(x, y), loss=fn.mse_loss)
    assert plan.verdict == "rescue"


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 6))

    def forward(self, x):
        return x @ self.weight.T


def test_what_does_not_belong_together_is_refused():
    model = network(0.1, 7)
    optimizer = sgd(model)
    record = watched(model, optimizer, 10)
    other = network(depth=4)
    cases = [
        ((model, sgd(other), record), "the optimizer holds parameters of the model; got 8 parameters, none of them"),
        ((other, sgd(other), record), "the record is of this model, whose layers are linear1 (24 neurons, 6 inputs), "),
    ]
    for arguments, message in cases:
        with pytest.raises(InvalidInput, match=re.escape(message)):
            rescue(*arguments)
    wider = MLP(6, 3, depth=5, width=5)
    with pytest.raises(InvalidInput, match=re.escape("got one with linear1 (24 neurons, 6 inputs)")):
        rescue(wider, sgd(wider), record)
    unknown = Unknown()
    with pytest.raises(InvalidInput, match="a model has at least one layer among"):
        rescue(unknown, sgd(unknown), record)
    for options, message in [
        ({"trial_steps": 5}, "`trial_steps`"),
        ({"batch_size": 0}, "`batch_size`"),
    ]:
        with pytest.raises(InvalidInput, match=re.escape(message)):
            rescue(model, optimizer, record, **options)


def test_wrong_types_are_refused():
    model = network(0.1, 7)
    optimizer = sgd(model)
    record = watched(model, optimizer, 10)
    for arguments, words in [
        ((model, None, record), "`optimizer` is a torch optimizer; got NoneType"),
        ((model, optimizer, "record.nc"), "`record` is a record; got str"),
        (("model", optimizer, record), "`model` is an nn.Module; got str"),
    ]:
        with refused(words):
            rescue(*arguments)
    for options, words in [
        ({"loss": None}, "`loss` can be called"),
        ({"reduction": "max"}, "`reduction` is None or one of"),
        ({"probe": data()[0]}, "`probe` is a pair"),
    ]:
        with refused(words):
            rescue(model, optimizer, record, **options)


def test_the_rule_of_the_diagnosis_can_be_chosen():
    model = network(0.1, 7)
    optimizer = sgd(model)
    record = watched(model, optimizer)
    assert rescue(model, optimizer, record, rule=None).verdict == "nothing to do"  # 80 steps are too few by default
