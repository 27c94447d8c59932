"""Lean passes, whose hooks only take notes, show what others show, and fall back where they could not."""

import pytest
import torch
from models_zoo import ZOO
from passive_cases import Keeps, X, Y, assert_no_hooks, assert_same_bits, mlp, train
from torch import nn
from torch.nn import functional as fn

from cloudchamber.anatomy import PassivePass, choose_views
from cloudchamber.anatomy.lean import Notes

LEAN = frozenset({"features", "feature_gradients"})
MUCH = 2**30


class Steps:
    """Steps of a model that are watched one after the other; `used` says which of their forward passes were lean."""

    def __init__(self, model, streamed=LEAN, most_bytes=MUCH):
        self.model, self.streamed, self.most_bytes = model, streamed, most_bytes
        self.chosen, self.plan, self.used = choose_views(model, None), None, []

    def __call__(self, step):
        """Watch a step; return what the sink was told, and the result."""
        sink = Keeps()
        with PassivePass(
            self.model, self.chosen, streamed=self.streamed, sink=sink, plan=self.plan, most_bytes=self.most_bytes
        ) as armed:
            step()
            self.used.append([isinstance(each.run, Notes) for each in armed._passes])
        assert_no_hooks(self.model)
        self.plan = armed.result.plan
        return sink.told, armed.result


def plain_step(model, x=X, y=Y):
    return lambda: fn.cross_entropy(model(x), y).backward()


@pytest.mark.parametrize("streamed", [LEAN, frozenset({"features"}), frozenset({"feature_gradients"})])
@pytest.mark.parametrize("name", ZOO)
def test_what_is_told_is_what_other_passes_hold(name, streamed):
    case = ZOO[name]
    model = case.make()
    steps, plan = Steps(model, streamed), None
    for step in range(3):
        x, y = case.batch(step)
        torch.manual_seed(0)
        told, result = steps(lambda x=x, y=y: case.loss(model(x), y).backward())
        torch.manual_seed(0)
        with PassivePass(model, steps.chosen, held=streamed, plan=plan) as holding:
            case.loss(model(x), y).backward()
        plan = holding.result.plan
        assert result.reason == holding.result.reason == ""
        assert (result.passes, result.samples) == ((0,), (len(y),))
        assert set(told) == {(0, key, field) for key in case.layers for field in streamed}
        for (_, key, field), tensor in told.items():
            assert torch.equal(tensor, getattr(holding.result.layers[key], field)), (key, field)
    if name in ("MLP", "CNN with batch norm", "dropout net"):
        assert steps.used == [[False], [True], [True]]


@pytest.mark.parametrize("how", [{}, {"accumulate": 3}, {"context": lambda: torch.autocast("cpu", torch.bfloat16)}])
@pytest.mark.parametrize("name", ["MLP", "CNN with batch norm", "ResNet", "dropout net"])
def test_training_is_bit_identical(name, how):
    plain, _ = train(ZOO[name], watch=False, steps=6, **how)
    seen, results = train(ZOO[name], watch=True, steps=6, every=1, streamed=LEAN, most_bytes=MUCH, **how)
    assert_same_bits(plain, seen)
    assert all(result.samples == (12,) * how.get("accumulate", 1) for result in results)


def test_several_passes_are_told_one_by_one_and_those_without_a_backward_pass_not_at_all():
    model = mlp()
    steps = Steps(model)
    steps(plain_step(model))

    def accumulated():
        for part in (slice(0, 4), slice(4, 6)):
            plain_step(model, X[part], Y[part])()
            model(X)
            with torch.no_grad():
                model(X)

    told, result = steps(accumulated)
    assert steps.used[-1] == [True] * 4
    assert (result.passes, result.samples) == ((0, 2), (4, 2))
    assert {number for number, _, _ in told} == {0, 2}
    torch.testing.assert_close(told[2, "0", "features"], model[1](model[0](X[4:])).detach())


@pytest.mark.parametrize("streamed", [LEAN, frozenset({"features"})])
def test_two_backward_passes_do_not_count(streamed):
    model = mlp()
    steps = Steps(model, streamed)
    steps(plain_step(model))

    def twice():
        loss = fn.cross_entropy(model(X), Y)
        loss.backward(retain_graph=True)
        loss.backward()

    told, result = steps(twice)
    assert (steps.used[-1], told) == ([True], {})
    assert result.reason == "more than one backward pass went through its graph"
    _, result = steps(lambda: model(X))
    assert result.reason == "no backward pass went through it"


def test_a_change_of_the_model_is_noticed_and_learned():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Linear(4, 8), nn.Linear(8, 3), fn.relu

        def forward(self, x):
            return self.b(self.act(self.a(x)))

    model = Shift()
    steps = Steps(model)
    for _ in range(2):
        steps(plain_step(model))
    model.act = torch.tanh
    told, result = steps(plain_step(model))
    assert (steps.used[-1], told) == ([True], {})
    assert result.reason == "its layers were not called as in the passes before"
    told, _ = steps(plain_step(model))
    torch.testing.assert_close(told[0, "a", "features"], torch.tanh(model.a(X)).detach())


def test_layers_that_are_skipped_or_called_twice_are_noticed():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.act, self.head, self.times = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), 1

        def forward(self, x):
            for _ in range(self.times):
                x = self.act(self.body(x))
            return self.head(x)

    model = Sometimes()
    steps = Steps(model)
    for times, counts in ((1, True), (1, True), (2, False), (2, True), (2, True), (0, False)):
        model.times = times
        told, result = steps(plain_step(model))
        assert (not result.reason, bool(told)) == (counts, counts)


def test_features_that_are_overwritten_after_the_model_are_left_out_and_then_seen_at_once():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Identity())
    steps = Steps(model)

    def overwrites():
        out = model(X)
        loss = (out * 1.0).sum()
        out.detach().mul_(0)  # behind the graph's back, and seen by the version
        loss.backward()

    steps(plain_step(model))
    told, result = steps(overwrites)
    assert (steps.used[-1], result.reason) == ([True], "")
    assert {key for _, key, field in told if field == "features"} == {"0"}
    told, _ = steps(overwrites)
    assert steps.used[-1] == [False]
    assert {key for _, key, field in told if field == "features"} == {"0", "2"}


def test_no_more_is_kept_than_was_allowed():
    model = mlp()
    steps = Steps(model, most_bytes=2 * 4 * 6 * (8 + 3) - 1)
    for _ in range(3):
        told, _ = steps(plain_step(model))
        assert len(told) == 4
    assert steps.used == [[False], [True], [False]]
    steps = Steps(model, most_bytes=2 * 4 * 6 * (8 + 3))
    for _ in range(2):
        steps(plain_step(model))
    steps(lambda: [plain_step(model)() for _ in range(3)])
    assert steps.used == [[False], [True], [True, False, False]]


def test_layers_that_receive_by_name_are_seen_by_other_passes():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.b(input=fn.relu(self.a(x)))

    model = Named()
    steps = Steps(model)
    for _ in range(3):
        told, result = steps(plain_step(model))
        assert (len(told), result.reason) == (4, "")
    assert steps.used == [[False]] * 3


def test_a_forward_pass_that_fails_and_one_of_a_part_are_no_obstacle():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            h = self.body(x).relu()
            if len(x) == 2:
                raise LookupError
            return self.head(h)

    model = Fails()
    steps = Steps(model)
    steps(plain_step(model))

    def step():
        with pytest.raises(LookupError):
            model(X[:2])
        plain_step(model)()
        model.head(torch.ones(5, 8))  # a part, without a backward pass

    told, result = steps(step)
    assert steps.used[-1] == [True, True, False]
    assert (result.passes, {number for number, _, _ in told}) == ((1,), {1})


def test_frozen_layers_have_features_only():
    model = mlp()
    model[0].requires_grad_(False)
    steps = Steps(model)
    for _ in range(2):
        told, _ = steps(plain_step(model))
        assert set(told) == {(0, "0", "features"), (0, "2", "features"), (0, "2", "feature_gradients")}
    assert steps.used[-1] == [True]


def test_hooks_of_a_retained_graph_are_silent_after_the_block():
    model, kept = mlp(), []
    steps = Steps(model)

    def retained():
        kept.append(fn.cross_entropy(model(X), Y))
        kept[-1].backward(retain_graph=True)

    steps(plain_step(model))
    told, _ = steps(retained)
    before = {place: tensor.clone() for place, tensor in told.items()}
    kept[-1].backward()
    assert all(torch.equal(told[place], tensor) for place, tensor in before.items())


def test_under_autocast_tensors_are_as_they_come():
    model = mlp()
    steps = Steps(model)
    for _ in range(2):

        def step():
            with torch.autocast("cpu", torch.bfloat16):
                loss = fn.cross_entropy(model(X), Y)
            loss.backward()

        told, _ = steps(step)
        assert {tensor.dtype for tensor in told.values()} == {torch.bfloat16}
    assert steps.used[-1] == [True]
