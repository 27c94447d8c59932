"""Later passes look at less and show the same; when the model changes they notice."""

import random

import numpy as np
import pytest
import torch
from models_zoo import ZOO
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.seeding import _streams, preserved_random_state
from cloudchamber.anatomy import capture, choose_views

FIELDS = frozenset({"inputs", "outputs", "features", "output_gradients", "feature_gradients", "gates", "weight"})
X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3


def summed(out):
    return fn.cross_entropy(out, Y, reduction="sum")


def seen_in(model, chosen, plan=None, fields=FIELDS, loss=summed, x=X, **options):
    return capture(model, x, loss, layers=chosen, fields=fields, plan=plan, **options)


def assert_same_layers(first, second, fields=FIELDS):
    assert list(first.layers) == list(second.layers)
    for key, layer in first.layers.items():
        other = second.layers[key]
        assert (layer.activation, layer.next) == (other.activation, other.next)
        for field in fields:
            a, b = getattr(layer, field), getattr(other, field)
            assert (a is None) == (b is None), (key, field)
            assert a is None or torch.equal(a, b), (key, field)


@pytest.mark.parametrize("fields", [FIELDS, frozenset({"features"}), frozenset({"output_gradients"})], ids=len)
@pytest.mark.parametrize("name", ZOO)
def test_a_planned_pass_shows_what_a_first_one_shows(name, fields):
    case = ZOO[name]
    model, (x, y) = case.make(), case.batch()
    chosen = choose_views(model, None)
    how = {"loss": lambda out: case.loss(out, y), "x": x, "fields": fields}
    first = seen_in(model, chosen, **how)
    assert list(first.layers) == list(case.layers)
    assert {key: layer.activation for key, layer in first.layers.items()} == case.layers
    again = seen_in(model, chosen, first.plan, **how)
    assert again.plan is first.plan
    assert not again.plan.wrong
    assert_same_layers(first, again)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def test_other_fields_may_follow():
    model = mlp()
    chosen = choose_views(model, None)
    plan = seen_in(model, chosen, fields={"features"}).plan
    for fields in ({"inputs"}, {"features", "feature_gradients"}, {"outputs", "gates"}, {"weight"}, FIELDS, {"inputs"}):
        found = seen_in(model, chosen, plan, fields=fields)
        assert_same_layers(seen_in(model, chosen, fields=fields), found)
        plan = found.plan
    assert seen_in(model, chosen, plan).plan is plan


def replace_module(model):
    model[1] = nn.Tanh()


def replace_inside(model):
    model[2] = nn.Linear(8, 8)


def freeze(model):
    model[0].requires_grad_(False)


def reorder(model):
    model[1], model[2] = nn.Identity(), nn.Sequential(model[2], nn.Tanh())


@pytest.mark.parametrize("change", [replace_module, replace_inside, freeze, reorder])
def test_a_changed_model_is_seen_as_it_is_now(change):
    model = mlp()
    plan = seen_in(model, choose_views(model, None)).plan
    change(model)
    chosen = choose_views(model, None)
    for known in (None, plan):
        assert_same_layers(seen_in(model, chosen), seen_in(model, chosen, known))


class Stages(nn.Module):
    """What it computes depends on its stage, though its modules stay the same."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.extra, self.stage = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 8), "relu"
        self.act = nn.ReLU()

    def forward(self, x):
        h = self.a(x)
        if self.stage == "more":
            h = self.extra(self.act(h))
        if self.stage == "twice":
            h = self.extra(self.extra(h).relu())
        if self.stage == "sum":
            return self.b(torch.relu(h + 1) * 2)
        return self.b(torch.tanh(h) if self.stage == "tanh" else h if self.stage == "none" else torch.relu(h))


STAGES = ["relu", "tanh", "none", "more", "twice", "sum"]


@pytest.mark.parametrize("fields", [FIELDS, frozenset({"features"})], ids=len)
@pytest.mark.parametrize("after", STAGES)
@pytest.mark.parametrize("before", STAGES)
def test_another_course_through_the_same_modules_is_noticed(before, after, fields):
    torch.manual_seed(0)
    model = Stages()
    chosen = choose_views(model, None)
    model.stage = before
    plan = seen_in(model, chosen, fields=fields).plan
    model.stage = after
    found = seen_in(model, chosen, plan, fields=fields)
    assert_same_layers(seen_in(model, chosen, fields=fields), found)
    assert (found.plan is plan) == (before == after)
    assert seen_in(model, chosen, found.plan, fields=fields).plan is found.plan


class Restless(nn.Module):
    """Leaves a layer out at random."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.a(x).relu_()
        h = self.b(h).relu_() if torch.rand(()) < 0.5 else h * 2
        return self.c(h)


def test_a_model_whose_course_is_random_is_seen_right_every_time():
    torch.manual_seed(0)
    model = Restless()
    chosen = choose_views(model, None)
    plan, found = None, set()
    for _ in range(40):
        torch.rand(1)
        state = torch.get_rng_state()
        seen = seen_in(model, chosen, plan)
        assert torch.equal(state, torch.get_rng_state())
        plan = seen.plan
        found.add(tuple(seen.layers))
        za = model.a(X)
        assert torch.equal(seen.layers["a"].outputs, za)
        assert torch.equal(seen.layers["a"].features, za.relu())
        inputs = seen.layers["b"].features if "b" in seen.layers else 2 * za.relu()
        assert torch.equal(seen.layers["c"].inputs, inputs)
    assert found == {("a", "b", "c"), ("a", "c")}


def test_a_plan_that_served_for_long_is_replaced_without_distrust():
    model = Stages()
    chosen, plan, changes = choose_views(model, None), None, []
    for number in range(60):
        model.stage = STAGES[number // 12]
        plan = seen_in(model, chosen, plan).plan
        changes.append(plan.changes)
    assert max(changes) == 0
    for number in range(8):
        model.stage = STAGES[number % 2]
        plan = seen_in(model, chosen, plan).plan
    assert plan.changes >= 3


def states():
    return [repr(np.random.get_state()), torch.get_rng_state().tolist()]  # beartype draws from Python's own


@pytest.mark.parametrize("draw", [lambda: np.random.rand(3), np.random.randn, lambda: np.random.seed(4), lambda: None])
@pytest.mark.parametrize("before", [lambda: np.random.seed(7), np.random.randn, np.random.rand, lambda: None])
def test_numpys_stream_is_put_back_though_it_is_read_only_when_it_changed(before, draw):
    for _ in range(3):
        before()
        kept = states()
        with preserved_random_state():
            draw()
            inner = states()
            with preserved_random_state():
                draw()
            assert states() == inner
            draw()
        assert states() == kept


@pytest.mark.parametrize("draw", [random.random, lambda: random.gauss(0, 1), lambda: random.seed(4), lambda: None])
@pytest.mark.parametrize("before", [lambda: random.seed(7), lambda: random.gauss(0, 1), random.random])
def test_pythons_stream_is_put_back_though_it_is_read_only_when_it_changed(before, draw):
    stream = _streams[0]  # by itself: beartype draws from Python's stream
    for _ in range(3):
        before()
        kept = random.getstate()
        held = stream.state()
        draw()
        stream.restore(held)
        assert random.getstate() == kept
        assert stream.state() == kept


def test_another_generator_of_numpy_is_put_back():
    mine = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        with preserved_random_state():
            first = np.random.rand(3)
        assert (np.random.rand(3) == first).all()
    finally:
        np.random.set_bit_generator(mine)
