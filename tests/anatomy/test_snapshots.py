"""Snapshots equal what a hand-written forward with per-sample autograd shows, sample by sample, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

from cloudchamber.anatomy import capture, choose_views

N = 6
FIELDS = ("inputs", "outputs", "features", "output_gradients", "feature_gradients")


class XTanhModule(nn.Module):
    def forward(self, x):
        return x * torch.tanh(x)


class Functional(nn.Module):
    """gelu, then x·tanh(x), then nothing, written as functions."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 7), nn.Linear(7, 4, bias=False), nn.Linear(4, 3)

    def forward(self, x):
        h = self.b(fn.gelu(self.a(x)))
        return self.c(h * torch.tanh(h))


class ConvNet(nn.Module):
    """Two convolutions with batch norm and one in-place ReLU that both share, then a head."""

    def __init__(self):
        super().__init__()
        self.a, self.norm_a = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.b, self.norm_b = nn.Conv2d(4, 4, 3, groups=2, bias=False), nn.BatchNorm2d(4)
        self.c, self.relu = nn.Linear(4 * 9, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.norm_a(self.a(x)))
        x = self.relu(self.norm_b(self.b(x)))
        return self.c(x.flatten(1))


class Tokens(nn.Module):
    """Linear layers on (n, tokens, d), one of them called twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 3)
        self.act = XTanhModule()

    def forward(self, x):
        return self.b(self.act(self.a(self.act(self.a(x))))).mean(1)


def mlp():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.SiLU(), nn.Linear(6, 3))


def by_hand_mlp(model, x):
    z0 = model[0](x)
    f0 = z0.clamp(min=0)
    z2 = model[2](f0)
    f2 = z2 / (1 + torch.exp(-z2))
    out = model[4](f2)
    return out, {"0": (x, z0, f0), "2": (f0, z2, f2), "4": (f2, out, out)}


def by_hand_functional(model, x):
    za = model.a(x)
    fa = za * 0.5 * (1 + torch.erf(za / 2**0.5))
    zb = model.b(fa)
    fb = zb * torch.tanh(zb)
    out = model.c(fb)
    return out, {"a": (x, za, fa), "b": (fa, zb, fb), "c": (fb, out, out)}


def _normalized(norm, z):
    shape = (1, -1, 1, 1)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (z - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


def by_hand_conv(model, x):
    za = fn.conv2d(x, model.a.weight, model.a.bias, padding=1)
    fa = _normalized(model.norm_a, za).clamp(min=0)
    zb = torch.cat([fn.conv2d(fa[:, :2], model.b.weight[:2]), fn.conv2d(fa[:, 2:], model.b.weight[2:])], 1)
    fb = _normalized(model.norm_b, zb).clamp(min=0)
    flat = fb.reshape(len(x), -1)
    out = model.c(flat)
    return out, {"a": (x, za, fa), "b": (fa, zb, fb), "c": (flat, out, out)}


def by_hand_tokens(model, x):
    z1 = model.a(x)
    f1 = z1 * torch.tanh(z1)
    z2 = model.a(f1)
    f2 = z2 * torch.tanh(z2)
    z3 = model.b(f2)
    return z3.mean(1), {"a#1": (x, z1, f1), "a#2": (f1, z2, f2), "b": (f2, z3, z3)}


NETS = {
    "mlp": (mlp, by_hand_mlp, (5,)),
    "functional": (Functional, by_hand_functional, (5,)),
    "conv": (ConvNet, by_hand_conv, (2, 5, 5)),
    "tokens": (Tokens, by_hand_tokens, (4, 5)),
}


def slow_twin(model, by_hand, x, y):
    """One sample after another: values, and gradients by autograd of that sample's loss."""
    rows = {}
    for sample, target in zip(x, y, strict=True):
        out, layers = by_hand(model, sample[None])
        loss = fn.cross_entropy(out, target[None])
        for name, (inputs, outputs, features) in layers.items():
            g, f = torch.autograd.grad(loss, [outputs, features], retain_graph=True)
            for field, value in zip(FIELDS, (inputs, outputs, features, g, f), strict=True):
                rows.setdefault((name, field), []).append(value.detach())
    return {key: torch.cat(values) for key, values in rows.items()}


def observed(model, x, y, fields=FIELDS, loss=None, **options):
    summed = loss or (lambda out: fn.cross_entropy(out, y, reduction="sum"))
    return capture(model, x, summed, layers=choose_views(model, None), fields=fields, **options)


def trained(make, shape, seed):
    """A net in float64 whose batch-norm statistics are not those of its start."""
    torch.manual_seed(seed)
    model = make().double()
    for _ in range(3):
        model(torch.randn(8, *shape, dtype=torch.float64))
    x, y = torch.randn(N, *shape, dtype=torch.float64), torch.randint(0, 3, (N,))
    return model, x, y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_every_field_equals_the_slow_twin(name, seed):
    make, by_hand, shape = NETS[name]
    model, x, y = trained(make, shape, seed)
    seen = observed(model, x, y)
    twin = slow_twin(model.eval(), by_hand, x, y)
    assert {layer for layer, _ in twin} == set(seen.layers)
    for (layer, field), expected in twin.items():
        torch.testing.assert_close(getattr(seen.layers[layer], field), expected, rtol=1e-10, atol=1e-10)


def test_only_what_is_asked_for_is_kept():
    model, x, y = trained(mlp, (5,), 0)
    layer = observed(model, x, y, fields=("features",)).layers["0"]
    assert layer.features is not None
    assert (layer.inputs, layer.outputs, layer.output_gradients, layer.feature_gradients) == (None,) * 4


def test_layers_come_in_the_order_of_the_calls():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 3), nn.Linear(5, 4)

        def forward(self, x):
            return self.last(self.first(x))

    model, x, y = trained(Reversed, (5,), 0)
    assert list(observed(model, x, y).layers) == ["first", "last"]


def test_weight_rows_hold_the_bias_and_follow_the_module():
    model, x, y = trained(Functional, (5,), 0)
    seen = observed(model, x, y, fields={"weight"})
    expected = torch.cat([model.a.weight, model.a.bias[:, None]], 1)
    torch.testing.assert_close(seen.layers["a"].weight, expected.detach(), rtol=0, atol=0)
    torch.testing.assert_close(seen.layers["b"].weight, model.b.weight.detach(), rtol=0, atol=0)
    assert not seen.layers["a"].weight.requires_grad
    assert observed(model, x, y).layers["a"].weight is None


def test_train_mode_uses_batch_statistics_and_couples_the_samples():
    model, x, y = trained(ConvNet, (2, 5, 5), 0)
    seen = observed(model, x, y, training_mode=True)
    model.train()
    za = model.a(x)
    fa = fn.batch_norm(za, None, None, model.norm_a.weight, model.norm_a.bias, training=True).relu()
    zb = model.b(fa)
    fb = fn.batch_norm(zb, None, None, model.norm_b.weight, model.norm_b.bias, training=True).relu()
    loss = fn.cross_entropy(model.c(fb.flatten(1)), y, reduction="sum")
    ga, gb = torch.autograd.grad(loss, [za, fb])
    torch.testing.assert_close(seen.layers["a"].output_gradients, ga, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(seen.layers["b"].feature_gradients, gb, rtol=1e-10, atol=1e-10)


class ResidualInPlace(nn.Module):
    """The feature of `a` is overwritten by an in-place addition right after it was computed, and so is the output of
    `b`, before the activation of the sum."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = fn.silu(self.a(x))
        h += x
        z = self.b(h)
        z += h  # overwrites the output of b before its activation
        return self.c(fn.relu(z, inplace=True))


def test_overwritten_values_are_those_before_they_were_overwritten():
    model, x, y = trained(ResidualInPlace, (5,), 0)
    seen = observed(model, x, y)
    za = model.a(x)
    fa = fn.silu(za)
    zb = model.b(fa + x)
    fb = (zb + fa + x).relu()
    loss = fn.cross_entropy(model.c(fb), y, reduction="sum")
    gza, gfa, gzb, gfb = torch.autograd.grad(loss, [za, fa, zb, fb])
    a, b = seen.layers["a"], seen.layers["b"]
    for found, expected in (
        (a.inputs, x),
        (a.outputs, za),
        (a.features, fa),
        (a.output_gradients, gza),
        (a.feature_gradients, gfa),
        (b.inputs, fa + x),
        (b.outputs, zb),
        (b.features, fb),
        (b.output_gradients, gzb),
        (b.feature_gradients, gfb),
        (seen.layers["c"].inputs, fb),
    ):
        torch.testing.assert_close(found, expected.detach(), rtol=1e-10, atol=1e-10)
    assert (a.activation, b.activation) == ("silu", "relu after addition")
    assert seen.plan.copied == {(0, "features"), (1, "outputs")}


def test_fields_known_to_be_overwritten_are_copied_in_the_first_pass():
    model, x, y = trained(ResidualInPlace, (5,), 0)
    passes = []
    model.a.register_forward_hook(lambda *_: passes.append(1))
    first = observed(model, x, y, fields=("features",))
    assert len(passes) == 2
    second = capture(model, x, torch.sum, layers=first.plan.chosen, fields=("features",), plan=first.plan)
    assert len(passes) == 3
    torch.testing.assert_close(second.layers["a"].features, first.layers["a"].features, rtol=0, atol=0)


class Sliced(nn.Module):
    """In-place work on a view of the layer's output."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        z = self.a(x)
        z[:, :3].relu_()
        return self.b(z)


def test_in_place_work_on_a_view():
    model, x, y = trained(Sliced, (5,), 0)
    layer = observed(model, x, y).layers["a"]
    z = model.a(x)
    h = torch.cat([z[:, :3].relu(), z[:, 3:]], 1)
    (g,) = torch.autograd.grad(fn.cross_entropy(model.b(h), y, reduction="sum"), z)
    assert layer.activation == "none"
    torch.testing.assert_close(layer.outputs, z.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.features, z.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.feature_gradients, g, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("freeze", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_gradients_do_not_depend_on_what_is_frozen(freeze):
    model, x, y = trained(Functional, (5,), 0)
    expected = observed(model, x, y)
    for name in freeze:
        getattr(model, name).requires_grad_(False)
    seen = observed(model, x, y)
    for name, layer in expected.layers.items():
        for field in FIELDS:
            torch.testing.assert_close(getattr(seen.layers[name], field), getattr(layer, field), rtol=0, atol=0)


def test_frozen_embedding_on_whole_numbers_still_has_gradients():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.a, self.b = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.b(fn.relu(self.a(self.embedding(x)), inplace=True)).mean(1)

    torch.manual_seed(0)
    model, x, y = Words().requires_grad_(False), torch.randint(0, 9, (N, 3)), torch.randint(0, 3, (N,))
    seen = observed(model, x, y)
    assert seen.layers["a"].feature_gradients.abs().sum() > 0
    assert seen.layers["a"].activation == "relu"
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_part_that_cannot_reach_the_loss_has_no_gradients():
    class NoPath(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(5, 2)

        def forward(self, x):
            self.unused(x)
            with torch.no_grad():
                h = self.a(x)
            return self.b(h)

    model, x, y = trained(NoPath, (5,), 0)
    seen = observed(model, x, y)
    assert seen.layers["a"].feature_gradients is None
    assert seen.layers["unused"].feature_gradients is None
    assert seen.layers["b"].feature_gradients is not None


def test_gradient_checkpointing_without_reentry():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(torch.utils.checkpoint.checkpoint(self.body, x, use_reentrant=False))

    model, x, y = trained(Checkpointed, (5,), 0)
    seen = observed(model, x, y)
    out, layers = by_hand_mlp(model.body, x)
    loss = fn.cross_entropy(model.head(out), y, reduction="sum")
    for name, (_, outputs, features) in layers.items():
        g, f = torch.autograd.grad(loss, [outputs, features], retain_graph=True)
        torch.testing.assert_close(seen.layers[f"body.{name}"].output_gradients, g, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(seen.layers[f"body.{name}"].feature_gradients, f, rtol=1e-10, atol=1e-10)


def test_the_layer_may_be_called_with_keywords():
    class Keywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.b(input=fn.relu(input=self.a(input=x)))

    model, x, y = trained(Keywords, (5,), 0)
    layer = observed(model, x, y).layers["a"]
    torch.testing.assert_close(layer.inputs, x, rtol=0, atol=0)
    assert layer.activation == "relu"


def test_the_model_itself_can_be_the_layer():
    model, x, y = trained(lambda: nn.Linear(5, 3), (5,), 0)
    seen = observed(model, x, y)
    assert list(seen.layers) == ["(the model itself)"]
    torch.testing.assert_close(seen.layers["(the model itself)"].outputs, model(x).detach())


def test_the_probe_is_not_changed_by_a_model_that_works_in_place_on_its_inputs():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(5, 3)

        def forward(self, x):
            return self.a(x.mul_(2))

    model, x, y = trained(Scales, (5,), 0)
    before = x.clone()
    observed(model, x, y)
    assert torch.equal(x, before)


def test_many_calls_are_numbered_in_order():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x):
            for _ in range(11):
                x = torch.tanh(self.step(x))
            return self.out(x)

    model, x, y = trained(Recurrent, (5,), 0)
    seen = observed(model, x, y)
    assert list(seen.layers) == [f"step#{number}" for number in range(1, 12)] + ["out"]
    torch.testing.assert_close(seen.layers["step#11"].inputs, seen.layers["step#10"].features, rtol=0, atol=0)
