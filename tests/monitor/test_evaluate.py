"""How measures are applied: what cannot be had is masked, what is shared is made once, and memory is bounded."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluate_cases import CLOSED, chain, data, evaluated, evaluation, jacobian_kernel, pass_over
from torch import nn
from torch.nn import functional as fn

from cloudchamber.measures import functional_kernel, select
from cloudchamber.measures.registry import all_measures
from cloudchamber.monitor import derived, kernels
from cloudchamber.monitor.derived import DERIVATIONS, Derivation, fields_needed
from cloudchamber.monitor.evaluate import _arrays
from cloudchamber.monitor.kernels import KernelSource

BY_NAME = all_measures()


def measured(values, name):
    """Per layer, whether anything was measured."""
    array = values[name]
    return (~np.ma.getmaskarray(array)).reshape(len(array), -1).any(1).tolist()


class Residual(nn.Module):
    """A chain with one addition: the features of `first` go on beside `second`."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = x + torch.relu(self.second(x))
        return self.head(x)


class Normed(nn.Module):
    """A softmax is no entrywise function, and a norm stands between the layers."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.norm(torch.softmax(self.first(x), 1)))


class Tokens(nn.Module):
    """(n, T) words, looked up, worked on one by one, and averaged."""

    def __init__(self):
        super().__init__()
        self.words, self.each, self.head = nn.Embedding(9, 4), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, words):
        return self.head(torch.tanh(self.each(self.words(words))).mean(1))


def convolutional(groups=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.Tanh(),
        nn.Conv2d(4, 6, 2, groups=groups),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(54, 3),
    ).double()


def images(n=8):
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


SINGLE = ["sign_agreement", "self_enhancement", "common_term"]
THEOREM1 = ["primary_strength", "noise_strength", "noise_strength_max"]


def test_what_needs_one_application_per_sample_is_not_measured_for_convolutions():
    y = torch.arange(8) % 3
    values = evaluated(convolutional(), images(), y, [*SINGLE, *THEOREM1, "direction_share", "step_alignment"])
    for name in SINGLE:
        assert measured(values, name) == [False, False, True]
    for name in THEOREM1:
        assert measured(values, name) == [False, False, False]
    for name in ("direction_share", "step_alignment"):
        assert measured(values, name) == [True, True, True]


def test_theorem_1_is_not_measured_where_features_go_elsewhere_too():
    torch.manual_seed(0)
    values = evaluated(Residual().double(), *data(), THEOREM1)
    for name in THEOREM1:
        assert measured(values, name) == [False, False, False]


def test_theorem_1_is_not_measured_without_gates_or_with_a_norm_between():
    torch.manual_seed(0)
    values = evaluated(Normed().double(), *data(), [*THEOREM1, "layer_alignment"])
    for name in (*THEOREM1, "layer_alignment"):
        assert measured(values, name) == [False, False]


def test_theorem_1_is_measured_for_every_layer_of_a_chain_with_biases_and_dead_neurons():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        model[0].bias[:3] = -100
    values = evaluated(model, *data(), THEOREM1)
    for name in THEOREM1:
        assert measured(values, name) == [True, True, False]


def test_an_embedding_has_gradients_but_no_features_below_it():
    torch.manual_seed(0)
    x, y = torch.randint(0, 9, (8, 4)), torch.arange(8) % 3
    names = ["gradient_norm", "sample_gradient_norm", "direction_share", "step_alignment", "channel_groups", *SINGLE]
    model = Tokens().double()
    values = evaluated(model, x, y, names)
    for name in ("gradient_norm", "sample_gradient_norm", "direction_share"):
        assert measured(values, name) == [True, True, True]
    assert measured(values, "step_alignment") == measured(values, "channel_groups") == [False, True, True]
    for name in SINGLE:
        assert measured(values, name) == [False, False, True]
    fn.cross_entropy(model(x), y).backward()
    for number, layer in enumerate((model.words, model.each, model.head)):
        assert values["gradient_norm"][number] == pytest.approx(layer.weight.grad.norm().item(), rel=1e-10)


def sample_gradients(model, x, y):
    """Of every layer (n, h, d), sample by sample."""
    weights = [layer.weight for layer in model.modules() if hasattr(layer, "weight")]
    each = [torch.autograd.grad(fn.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), weights) for i in range(len(x))]
    return [torch.stack(part).flatten(2) for part in zip(*each, strict=True)]


def applied_often():
    torch.manual_seed(0)
    yield "convolutions", convolutional(), images()
    yield "groups of channels", convolutional(groups=2), images()
    yield "words", Tokens().double(), torch.randint(0, 9, (8, 4))


@pytest.mark.parametrize(("model", "x"), [pytest.param(m, x, id=kind) for kind, m, x in applied_often()])
def test_layers_applied_often_have_the_gradients_and_directions_of_autograd(model, x):
    y = torch.arange(8) % 3
    values = evaluated(model, x, y, ["gradient_norm", "sample_gradient_norm", "direction_share", "direction_strength"])
    for number, grads in enumerate(sample_gradients(model, x, y)):
        U, s, _ = torch.linalg.svd(torch.cat(list(grads), 1), full_matrices=False)
        along = (U.T @ grads.mean(0)).norm(dim=1)
        expected = {
            "gradient_norm": grads.mean(0).norm(),
            "sample_gradient_norm": grads.flatten(1).norm(dim=1).mean(),
            "direction_share": s[0] ** 2 / s.square().sum(),
            "direction_strength": torch.where(s > 1e-10, along, torch.nan)[:3],
        }
        for name, twin in expected.items():
            np.testing.assert_allclose(values[name][number], twin, rtol=1e-9, err_msg=name)


def zeta(lower, upper):
    """Of the leading singular vectors, without a sign."""
    return abs((torch.linalg.svd(lower).U[:, 0] @ torch.linalg.svd(upper).Vh[0]).item())


def test_layers_are_aligned_over_flattened_positions_and_kernels():
    model = convolutional()
    values = evaluated(model, images(), torch.arange(8) % 3, ["layer_alignment"])["layer_alignment"]
    first, second, last = (model[place].weight.detach() for place in (0, 2, 5))
    kernels_of_each = second.flatten(2).transpose(1, 2).flatten(0, 1)  # (6·4, 4): what is read of each channel
    places_of_each = last.view(3, 6, 9).transpose(1, 2).flatten(0, 1)  # (3·9, 6)
    assert abs(values[0]) == pytest.approx(zeta(first.flatten(1), kernels_of_each), rel=1e-9)
    assert abs(values[1]) == pytest.approx(zeta(second.flatten(1), places_of_each), rel=1e-9)
    assert values.mask.tolist() == [False, False, True]
    grouped = evaluated(convolutional(groups=2), images(), torch.arange(8) % 3, ["layer_alignment"])["layer_alignment"]
    assert grouped.mask.tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["mean_gradient", "directions", "factors", "noise_components"])
def test_what_several_measures_take_is_made_once(monkeypatch, name):
    made = []
    if name == "noise_components":
        plain = derived.noise_components
        monkeypatch.setattr(derived, name, lambda *given: made.append(1) or plain(*given))
    else:
        plain = DERIVATIONS[name]
        counting = Derivation(lambda *given: made.append(1) or plain.make(*given), plain.takes, plain.asks)
        monkeypatch.setitem(DERIVATIONS, name, counting)
    evaluated(chain(), *data(), ["mlp2024", "theorem1"])
    assert len(made) == (3 if name == "noise_components" else 4)


def test_what_was_made_of_a_layer_is_freed_before_the_next_but_one():
    measures = select(["mlp2024", "theorem1"])
    x, y = data()
    seen, kept = pass_over(chain(), x, y, measures), []
    things = derived.Derived(seen, y, torch.arange(len(y)), lambda key, name, make: make())
    for key in seen.layers:
        for measure in measures:
            for name in measure.takes.values():
                if measure.scope == "layer":
                    things.of_layer(key, name)
        alive = {place[0] for place in things._made}
        assert len(alive) <= 2
        kept.append(weakref.ref(things.of_layer(key, "factors")))
        things.forget(key)
        gc.collect()
        assert kept[-1]() is None


def test_rows_of_convolutions_are_those_of_as_many_samples_as_fit(monkeypatch):
    x, y = images(20), torch.arange(20) % 3
    names = ["gradient_norm", "sample_gradient_norm", "direction_share", "direction_strength", "step_alignment"]
    full = evaluated(convolutional(), x, y, names)
    # One sample of the first layer takes 16·18 numbers for its patches (its gradients are not copied).
    monkeypatch.setattr(derived, "ROW_NUMBERS", 6 * 16 * 18)
    bounded = evaluated(convolutional(), x, y, names)
    chosen = derived.image_samples(y, 6)
    assert chosen.tolist() == [0, 3, 1, 4, 2, 5]
    some = evaluated(convolutional(), x[chosen], y[chosen], names)
    for name in names:
        np.testing.assert_allclose(bounded[name][0], some[name][0], rtol=1e-10)
        np.testing.assert_array_equal(bounded[name][2], full[name][2])  # a view of what is there already
        assert (bounded[name][0] != full[name][0]).all()


def test_few_samples_are_equally_many_of_each_class():
    x, y = data(n=250)
    y = y.sort().values
    one = evaluation(pass_over(chain(), x, y, ()), y, ())
    assert torch.bincount(y[one.few]).tolist() == [33, 33, 33]
    assert y[one.few].diff().min() == 0  # by class
    values = evaluated(chain(), x, y, THEOREM1)
    few = evaluated(chain(), x[one.few], y[one.few], THEOREM1)
    # The direction C' is that of all samples, the strengths are those of the few.
    assert values["primary_strength"][0] == pytest.approx(few["primary_strength"][0], rel=0.05)
    assert values["primary_strength"][0] != few["primary_strength"][0]
    assert len(evaluation(pass_over(chain(), x[:100], y[:100], ()), y[:100], ()).few) == 100


def test_masked_and_missing_layers_keep_their_place():
    x, y = data()
    measures = select(["feature_cosine", "direction_strength", "neuron_cosine"])
    seen = pass_over(chain(), x, y, measures)
    one = evaluation(seen, y, measures)
    partly = replace(seen, layers={key: seen.layers[key] for key in ("0", "4")})
    values, full = one.values(partly, images=True), one.values(seen, images=True)
    for name, array in values.items():
        assert array.shape == full[name].shape
        assert measured(values, name) == [True, False, True, False]
        np.testing.assert_array_equal(array[0], full[name][0])
    assert values["neuron_cosine"].dtype == np.float32
    assert values["direction_strength"].dtype == np.float64


def test_partials_of_layers_of_equal_and_other_widths_are_finished_together():
    x, y = data()
    model = chain(sizes=(5, 6, 6, 4, 6, 3))
    together = evaluated(model, x, y, ["feature_cosine", "gradient_cosine"])
    slow = [replace(BY_NAME[name], partials=None, shorten=None, finish=None) for name in together]
    seen = pass_over(model, x, y, slow)
    with torch.no_grad():
        alone = evaluation(seen, y, slow).values(seen, images=True)
    for name, array in together.items():
        np.testing.assert_allclose(array, alone[name], rtol=1e-12)


def test_without_a_shuffled_pass_null_values_are_left_out():
    x, y = data()
    assert set(evaluated(chain(), x, y, ["feature_cosine", "feature_cosine_shuffled"])) == {"feature_cosine"}
    both = evaluated(chain(), x, y, ["feature_cosine", "feature_cosine_shuffled"], shuffled=x)
    np.testing.assert_array_equal(both["feature_cosine"], both["feature_cosine_shuffled"])


def test_only_what_is_due_is_taken():
    x, y = data()
    measures = select(["light", "theorem1", "effective_width"])
    seen = pass_over(chain(), x, y, measures)
    one, light = evaluation(seen, y, measures), {measure.name for measure in select(["light"])}
    theorem1 = {measure.name for measure in select(["theorem1"])}
    assert set(one.values(seen, images=False)) == light
    assert set(one.values(seen, images=True)) == light | theorem1 | {"effective_width"}
    assert set(one.values(seen, images=True, rare=False)) == light | {"effective_width"}
    assert set(one.values(seen, images=False, rare=True)) == light | theorem1


def test_the_start_is_that_of_the_first_observation_unless_given():
    x, y = data()
    model, measures = chain(), select(["relative_distance", "neuron_distance", "static_fraction"])
    start = {str(place): 2 * part.weight.detach() for place, part in enumerate(model) if place % 2 == 0}
    given = evaluated(model, x, y, [measure.name for measure in measures], initial_weights=start)
    np.testing.assert_allclose(given["relative_distance"], 0.5)
    one = evaluation(pass_over(model, x, y, measures), y, measures)
    first = one.values(pass_over(model, x, y, measures), images=True)
    assert (first["relative_distance"] == 0).all()
    assert (first["static_fraction"] == 1).all()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    later = one.values(pass_over(model, x, y, measures), images=True)
    np.testing.assert_allclose(later["relative_distance"], 2)
    np.testing.assert_allclose(later["neuron_distance"][0, :6], 2)


def test_what_must_be_captured():
    assert fields_needed(select(["class_accuracy"])) == frozenset()
    assert fields_needed(select(["class_accuracy", "feature_cosine"])) == {"features"}
    assert fields_needed(select(["gradient_cosine"])) == {"feature_gradients"}
    assert fields_needed(select(["relative_distance"])) == {"weight", "initial_weight"}
    assert fields_needed(select(["direction_share"])) == {"inputs", "output_gradients"}
    assert fields_needed(select(["kernel"])) == {"inputs", "per_output_gradients"}
    theorem1 = {"inputs", "output_gradients", "gates", "feature_gradients", "weight"}
    assert fields_needed(select(["theorem1"])) == theorem1
    assert "gates" not in fields_needed(select(["mlp2024", "neurons", "default"]))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_values_on_an_accelerator_come_in_one_transfer_per_type(monkeypatch, shape):
    tensors = [torch.rand(shape, dtype=dtype) for dtype in (torch.float32, torch.float64, torch.float32)]
    plain = _arrays({("a", at): tensor for at, tensor in enumerate(tensors)})
    moves = []

    class Elsewhere(torch.Tensor):
        device = torch.device("meta")
        is_cpu = False

        def cpu(self):
            moves.append(self.dtype)
            return self.as_subclass(torch.Tensor)

    found = _arrays({("a", at): tensor.as_subclass(Elsewhere) for at, tensor in enumerate(tensors)})
    assert sorted(map(str, moves)) == ["torch.float32", "torch.float64"]
    assert found.keys() == plain.keys()
    for place, array in found.items():
        assert array.dtype == plain[place].dtype
        np.testing.assert_array_equal(array, plain[place])


# Kernels


class Shared(nn.Module):
    """One layer used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.twice, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.twice(torch.tanh(self.twice(torch.tanh(self.first(x)))))))


def kernel_cases():
    torch.manual_seed(0)
    yield "biases and a shared weight", Shared().double(), data()[0]
    yield "convolutions", convolutional(), images()
    yield "groups of channels", convolutional(groups=2), images()
    yield "words", Tokens().double(), torch.randint(0, 9, (8, 4))


def closed(model, x, few=None):
    y = torch.arange(len(x)) % 3
    seen = pass_over(model, x, y, select(["kernel"]), kernel_samples=few)
    with torch.no_grad():
        return kernels.closed_kernel(seen.layers.values(), torch.arange(len(x)) if few is None else few)


@pytest.mark.parametrize(("model", "x"), [pytest.param(m, x, id=kind) for kind, m, x in kernel_cases()])
def test_the_closed_kernel_is_that_of_the_jacobian(model, x):
    K = jacobian_kernel(model, x)
    found = closed(model, x)
    np.testing.assert_allclose(found.transpose(1, 2).flatten(2).flatten(0, 1), K, rtol=1e-10, atol=1e-10)
    few = torch.tensor([5, 0, 2])
    np.testing.assert_allclose(closed(model, x, few), found[few][:, few], rtol=1e-10, atol=1e-10)


def test_a_kernel_of_many_outputs_is_summed_over_them(monkeypatch):
    model, x = Shared().double(), data()[0]
    full = closed(model, x)
    monkeypatch.setattr(kernels, "KERNEL_ROWS", 3 * len(x) - 1)
    summed = full.diagonal(dim1=2, dim2=3).sum(2)
    np.testing.assert_allclose(closed(model, x), summed, rtol=1e-10)
    seen = pass_over(model, x, torch.arange(len(x)) % 3, ())
    for given in (full, summed):
        found = KernelSource(functional=lambda few, given=given: given).kernel(seen, torch.arange(len(x)))
        np.testing.assert_allclose(found, summed, rtol=1e-10)


def test_a_network_that_is_more_than_its_layers_is_asked_for_its_jacobian():
    torch.manual_seed(0)
    model, (x, y), asked = Normed().double(), data(), []
    parameters = dict(model.named_parameters())

    def functional(few):
        asked.append(few)
        return functional_kernel(lambda p, x: torch.func.functional_call(model, p, (x,)), parameters, x[few])

    K = jacobian_kernel(model, x)
    values = evaluated(model, x, y, ["kernel"], kernel_source=KernelSource(functional=functional))
    assert len(asked) == 1
    assert values["kernel_trace"] == pytest.approx(K.trace().item(), rel=1e-10)
    assert set(values) == {"kernel_trace", "kernel_spectrum", "kernel_distance", "kernel_rotation"}  # no targets
    assert evaluated(model, x, y, ["kernel"]) == {}
    assert evaluated(model, x, y, ["kernel"], kernel_source=KernelSource(functional=lambda few: None)) == {}


def test_targets_of_other_outputs_fit_no_kernel():
    x, y = data()
    options = {"kernel_source": CLOSED, "targets": torch.ones(len(x), 2, dtype=torch.float64)}
    assert "kernel_alignment" not in evaluated(chain(), x, y, ["kernel"], **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_measure_of_a_narrow_model_is_that_of_a_wide_one(dtype):
    model, (x, y) = chain(), data()
    names = [measure.name for measure in select(["all"]) if not measure.shuffled and measure.scope == "layer"]
    wide = evaluated(model.to(dtype).double(), x.to(dtype).double(), y, names)
    narrow = evaluated(model.to(dtype), x.to(dtype), y, names)
    rough = {torch.float16: 3e-2, torch.bfloat16: 2e-1, torch.float32: 1e-4}[dtype]
    exact = {"effective_width", "channel_groups", "dead_fraction", "static_fraction", "relative_distance"}
    close = {"feature_cosine", "gradient_cosine", "weight_norm", "sample_cosine", "neuron_cosine", "direction_share"}
    for name in names:
        assert (narrow[name].mask == wide[name].mask).all() or name == "direction_strength", name
        if name in exact | close:
            np.testing.assert_allclose(narrow[name], wide[name], rtol=rough, atol=rough, err_msg=name)
