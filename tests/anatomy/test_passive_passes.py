"""Which passes of a training step count, and what changes from step to step, in passive observation."""

import copy

import pytest
import torch
from passive_cases import FIELDS, Keeps, X, Y, assert_no_hooks, mlp
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.anatomy import PassivePass, choose_views


def seen_by(model, step, plan=None, held=FIELDS, **options):
    with PassivePass(model, choose_views(model, None), held=held, plan=plan, **options) as armed:
        step(model)
    assert_no_hooks(model)
    return armed.result


def planned(make=mlp, held=FIELDS):
    """A model with the choice and the plan of an earlier step."""
    model = make()
    chosen = choose_views(model, None)
    with PassivePass(model, chosen, held=held) as armed:
        fn.cross_entropy(model(X), Y).backward()
    model.zero_grad()
    return model, chosen, armed.result.plan


@pytest.mark.parametrize("learned", [False, True])
def test_passes_without_a_backward_pass_do_not_count(learned):
    model, chosen, plan = planned()
    sink = Keeps()
    with PassivePass(
        model, chosen, held=FIELDS, streamed={"features"}, sink=sink, plan=plan if learned else None
    ) as armed:
        model(X[:2])  # never differentiated
        with torch.no_grad():
            model(X[:3])
        with torch.inference_mode():
            model(X[:3])
        fn.cross_entropy(model(X), Y).backward()
        model(X[:4])
    result = armed.result
    assert result.passes == (1,)
    assert result.samples == (6,)
    torch.testing.assert_close(result.layers["0"].inputs, X, rtol=0, atol=0)
    assert torch.equal(sink.told[1, "0", "features"], result.layers["0"].features)


def test_without_any_backward_pass_nothing_counts():
    result = seen_by(mlp(), lambda model: model(X))
    assert (result.passes, result.layers) == ((), {})
    assert result.reason == "no backward pass went through it"
    result = seen_by(mlp(), lambda model: None)
    assert "no forward pass with a graph" in result.reason


def test_several_passes_are_put_together_by_samples_also_if_backward_passes_come_later():
    model, chosen, plan = planned()
    for known in (None, plan):
        with PassivePass(model, chosen, held=FIELDS, plan=known) as armed:
            losses = [fn.cross_entropy(model(X[part]), Y[part], reduction="sum") for part in (slice(0, 4), slice(4, 6))]
            sum(losses).backward()
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as whole:
            fn.cross_entropy(model(X), Y, reduction="sum").backward()
        assert (armed.result.passes, armed.result.samples) == ((0, 1), (4, 2))
        for key, layer in whole.result.layers.items():
            for field in FIELDS:
                torch.testing.assert_close(getattr(armed.result.layers[key], field), getattr(layer, field))


def test_two_backward_passes_through_one_graph_do_not_count():
    def twice(model):
        loss = fn.cross_entropy(model(X), Y)
        loss.backward(retain_graph=True)
        loss.backward()

    assert seen_by(mlp(), twice).reason == "more than one backward pass went through its graph"


def test_a_gradient_penalty_does_not_count():
    def penalized(model):
        x = X.clone().requires_grad_()
        out = model(x)
        (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        (fn.cross_entropy(out, Y) + g.square().sum()).backward()

    assert seen_by(mlp(), penalized).reason == "more than one backward pass went through its graph"


def test_a_model_that_differentiates_itself_in_its_forward_pass_does_not_count():
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.potential = mlp()

        def forward(self, x):
            x = x.requires_grad_()
            return torch.autograd.grad(self.potential(x).sum(), x, create_graph=True)[0]

    result = seen_by(Field(), lambda model: model(X.clone()).sum().backward())
    assert result.reason == "its forward pass differentiates itself"


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_parts_are_seen_once(reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.body, self.head = nn.Linear(4, 4), mlp(), nn.Linear(3, 3)

        def forward(self, x):
            body = torch.utils.checkpoint.checkpoint(self.body, self.first(x), use_reentrant=reentrant)
            return self.head(fn.relu(body))

    model = Checkpointed()
    chosen = choose_views(model, None)
    twin = copy.deepcopy(model)
    first = twin.first(X)
    body = twin.body(first)
    loss = fn.cross_entropy(twin.head(fn.relu(body)), Y)
    g_first, g_body = torch.autograd.grad(loss, [first, body])
    plan = None
    for _ in range(3):
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
            fn.cross_entropy(model(X), Y).backward()
        plan, layers = armed.result.plan, armed.result.layers
        assert not armed.result.reason
        assert set(layers) == ({"first", "head"} if reentrant else {"first", "body.0", "body.2", "head"})
        torch.testing.assert_close(layers["first"].output_gradients, g_first)
        if not reentrant:
            torch.testing.assert_close(layers["body.2"].output_gradients, g_body)
            assert layers["body.2"].activation == "relu"


def test_frozen_parts_have_no_gradient_and_the_graph_stays_as_it_is():
    model = mlp()
    model[0].requires_grad_(False)
    plan = None
    for _ in range(2):
        chosen = choose_views(model, None) if plan is None else chosen
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
            out = model(X)
            node = out.grad_fn
            names = set()
            while node is not None and node.next_functions:
                names.add(node.name())
                node = node.next_functions[-1][0] if node.next_functions[-1][0] is not None else None
            assert "CloneBackward0" not in names
            fn.cross_entropy(out, Y).backward()
        plan, layers = armed.result.plan, armed.result.layers
        assert layers["0"].features is not None
        assert layers["0"].feature_gradients is None
        assert layers["0"].output_gradients is None
        assert layers["2"].output_gradients is not None
        assert model[0].weight.grad is None


def test_unfreezing_changes_the_graph_and_the_next_step_learns_anew():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    chosen, plan, reasons = choose_views(model, None), None, []
    for step in range(4):
        model[0].requires_grad_(step > 1)
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
            fn.cross_entropy(model(X), Y).backward()
        plan = armed.result.plan
        reasons.append(armed.result.reason)
    assert reasons == ["", "", "its layers were not called as in the passes before", ""]
    assert armed.result.layers["0"].feature_gradients is not None


class Shift(nn.Module):
    """Another activation, written as a function, from some step on."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 8), nn.Linear(8, 3), fn.relu

    def forward(self, x):
        return self.b(self.act(self.a(x)))


def test_another_function_is_noticed_by_the_graph():
    model, chosen, plan = planned(Shift)
    assert not plan.follows_functions
    model.act = torch.tanh
    with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
        fn.cross_entropy(model(X), Y).backward()
    assert armed.result.reason
    with PassivePass(model, chosen, held=FIELDS, plan=armed.result.plan) as armed:
        fn.cross_entropy(model(X), Y).backward()
    assert armed.result.layers["a"].activation == "tanh"


class Functional(nn.Module):
    """Features that no module returns or receives."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = fn.gelu(self.a(x))
        z = self.b(h + 1)
        return self.c((z * torch.sigmoid(z)).add_(h))


def test_features_that_only_functions_show():
    model, chosen, plan = planned(Functional)
    assert plan.follows_functions
    sink = Keeps()
    with PassivePass(model, chosen, held=FIELDS, streamed=FIELDS, sink=sink, plan=plan) as armed:
        fn.cross_entropy(model(X), Y).backward()
    za = model.a(X)
    ha = fn.gelu(za)
    zb = model.b(ha + 1)
    hb = zb * torch.sigmoid(zb)
    loss = fn.cross_entropy(model.c(hb + ha), Y)
    ga, gb = torch.autograd.grad(loss, [ha, hb])
    layers = armed.result.layers
    assert [layer.activation for layer in layers.values()] == ["gelu", "product", "none"]
    for found, expected in ((layers["a"], (ha, ga)), (layers["b"], (hb, gb))):
        torch.testing.assert_close(found.features, expected[0])
        torch.testing.assert_close(found.feature_gradients, expected[1])
    torch.testing.assert_close(sink.told[0, "b", "features"], hb)  # before it was overwritten
    assert armed.result.plan is plan
    assert plan.served >= 1


def test_what_is_overwritten_is_copied_from_the_second_time_on():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            z = self.a(x)
            h = torch.tanh(z)
            z += 100.0  # the output of a is overwritten, its feature is not
            return self.b(h)

    model, chosen, plan = planned(InPlace)
    assert (0, "outputs") in plan.copied
    with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
        fn.cross_entropy(model(X), Y).backward()
    torch.testing.assert_close(armed.result.layers["a"].outputs, model.a(X))
    plan.copied = frozenset()  # as if it were new
    for present in (False, True):
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
            fn.cross_entropy(model(X), Y).backward()
        assert (armed.result.layers["a"].outputs is not None) == present
        assert armed.result.layers["a"].features is not None


def test_modules_that_are_called_without_their_model():
    model = nn.ModuleDict({"encoder": nn.Linear(4, 8), "decoder": nn.Linear(8, 3)})
    plan, chosen = None, choose_views(model, None)
    for _ in range(3):
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
            for part in (slice(0, 4), slice(4, 6)):
                out = model["decoder"](torch.tanh(model["encoder"](X[part])))
                fn.cross_entropy(out, Y[part], reduction="sum").backward()
        plan = armed.result.plan
        assert armed.result.samples == (4, 2)
        torch.testing.assert_close(armed.result.layers["encoder"].inputs, X)
        assert armed.result.layers["encoder"].activation == "tanh"


@pytest.mark.parametrize("learned", [False, True])
def test_after_an_exception_all_hooks_are_gone_and_nothing_is_kept(learned):
    model, chosen, plan = planned()
    armed = PassivePass(model, chosen, held=FIELDS, plan=plan if learned else None)

    def step():
        with armed:
            fn.cross_entropy(model(X), Y).backward()
            raise LookupError

    with pytest.raises(LookupError):
        step()
    assert_no_hooks(model)
    with pytest.raises(InvalidInput, match="after its block"):
        _ = armed.result


@pytest.mark.parametrize("learned", [False, True])
def test_a_forward_pass_that_fails_is_left_out(learned):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            h = self.body(x).relu()
            if len(x) == 2:
                raise LookupError
            return self.head(h)

    model, chosen, plan = planned(Fails)
    with PassivePass(model, chosen, held=FIELDS, plan=plan if learned else None) as armed:
        with pytest.raises(LookupError):
            model(X[:2])
        fn.cross_entropy(model(X), Y).backward()
    assert armed.result.passes == (1,)
    torch.testing.assert_close(armed.result.layers["body"].inputs, X)


def test_hooks_of_a_retained_graph_are_silent_after_the_block():
    model, chosen, plan = planned()
    sink = Keeps()
    with PassivePass(model, chosen, streamed=FIELDS, sink=sink, plan=plan):
        loss = fn.cross_entropy(model(X), Y)
        loss.backward(retain_graph=True)
    told = len(sink.told)
    loss.backward()
    assert len(sink.told) == told


@pytest.mark.filterwarnings("ignore")
def test_compiled_models_are_refused():
    inside = nn.Sequential(torch.compile(mlp(), backend="eager"))
    in_place = mlp()
    in_place.compile(backend="eager")
    for model in (inside, in_place):
        with pytest.raises(Unsupported, match=r"not compiled; got .* Remedy: observe it on a probe"):
            PassivePass(model, choose_views(model, None), held=FIELDS)


def test_wrong_fields_are_refused():
    model = mlp()
    chosen = choose_views(model, None)
    with pytest.raises(InvalidInput, match="a field that training passes show"):
        PassivePass(model, chosen, held={"gates"})
    with pytest.raises(InvalidInput, match="weight is not streamed"):
        PassivePass(model, chosen, streamed={"weight"}, sink=Keeps())
    with pytest.raises(InvalidInput, match="streamed fields have a sink"):
        PassivePass(model, chosen, streamed={"features"})


def test_vmapped_calls_are_not_seen():
    model, chosen, plan = planned()
    parameters = dict(model.named_parameters())

    def loss(parameters, x, y):
        out = torch.func.functional_call(model, parameters, (x[None],))
        return fn.cross_entropy(out, y[None])

    with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
        torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, X, Y)
    assert armed.result.reason


def test_under_autocast_tensors_are_as_they_come_and_the_sink_works_outside_of_it():
    precisions = []

    class Multiplies(Keeps):
        def _take(self, number, key, field, tensor):
            super()._take(number, key, field, tensor)
            precisions.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)

    model, plan = mlp(), None
    chosen = choose_views(model, None)
    for _ in range(2):
        sink = Multiplies()
        with PassivePass(model, chosen, streamed=FIELDS, sink=sink, plan=plan) as armed:
            with torch.autocast("cpu", torch.bfloat16):
                loss = fn.cross_entropy(model(X), Y)
            loss.backward()
        plan = armed.result.plan
        assert sink.told[0, "0", "features"].dtype == torch.bfloat16
        assert sink.told[0, "0", "inputs"].dtype == torch.float32
        assert sink.told[0, "0", "feature_gradients"].dtype == torch.bfloat16
    assert set(precisions) == {torch.float32}
