"""What a monitor's record holds: every number against one computed by hand from the model itself."""

import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber._core.record import RecordBuffer
from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber.measures import select
from cloudchamber.monitor.evaluate import fields_needed

N = 12
X, Y = torch.randn(N, 6, generator=torch.Generator().manual_seed(1)), torch.arange(N) % 3


class Net(nn.Module):
    """Layers of different width; one is called twice."""

    def __init__(self, width=8, outputs=3):
        super().__init__()
        self.first, self.twice, self.norm = nn.Linear(6, width), nn.Linear(width, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        x = fn.relu(self.first(x))
        x = torch.tanh(self.twice(torch.tanh(self.twice(x))))
        return self.head(self.norm(x))


def net(**sizes):
    torch.manual_seed(0)
    return Net(**sizes)


def watch(model, steps=(), probe=(X, Y), loss=fn.cross_entropy, **options):
    with cc.Monitor(model, probe=probe, loss=loss, **({"image_samples": 6} | options)) as monitor:
        for step in steps:
            monitor.observe(step)
    return monitor.record


def cosines(rows):
    rows = rows.double()
    unit = rows / rows.norm(dim=1, keepdim=True)
    return unit @ unit.T


def mean_of_pairs(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)].mean().item()


def by_hand(model):
    f1 = fn.relu(model.first(X))
    f2 = torch.tanh(model.twice(f1))
    f3 = torch.tanh(model.twice(f2))
    out = model.head(model.norm(f3))
    loss = fn.cross_entropy(out, Y, reduction="sum")
    features = [f1, f2, f3, out]
    return features, torch.autograd.grad(loss, features, retain_graph=True), out, loss.item() / N


LAYERS = ["first", "twice#1", "twice#2", "head"]


def test_every_number_is_the_one_computed_by_hand():
    model = net()
    record = watch(model)
    features, gradients, out, loss = by_hand(model)
    assert record.layer.values.tolist() == LAYERS
    assert record.activation.values.tolist() == ["relu", "tanh", "tanh", "none"]
    assert record.width.values.tolist() == [8, 8, 8, 3]
    assert record.fan_in.values.tolist() == [6, 8, 8, 8]
    assert record.probe_loss.item() == pytest.approx(loss, rel=1e-6)
    assert record.constant_predictor_loss.item() == pytest.approx(math.log(3), rel=1e-6)
    right = (out.argmax(1) == Y).double()
    assert record.class_accuracy.values[0].tolist() == pytest.approx([right[c == Y].mean().item() for c in range(3)])
    for index, (feature, gradient) in enumerate(zip(features, gradients, strict=True)):
        at = record.isel(step=0, layer=index)
        assert at.feature_cosine.item() == pytest.approx(mean_of_pairs(cosines(feature)), abs=1e-5)
        within = [mean_of_pairs(cosines(gradient[c == Y])) for c in range(3)]
        assert at.gradient_cosine.item() == pytest.approx(np.mean(within), abs=1e-5)
        assert at.relative_distance.item() == 0


def test_cosine_images_show_chosen_samples_and_neurons():
    model = net()
    record = watch(model)
    features = by_hand(model)[0]
    chosen = torch.tensor([0, 3, 1, 4, 2, 5])  # two of each class, by class
    assert record.sample_class.values.tolist() == [0, 0, 1, 1, 2, 2]
    assert record.neuron_id.values.tolist() == [list(range(8))] * 3 + [[0, 1, 2] + [-1] * 5]
    for index, feature in enumerate(features):
        images = record.isel(image_step=0, layer=index)
        np.testing.assert_allclose(images.sample_cosine, cosines(feature[chosen]).detach(), atol=1e-5)
    for index, layer in enumerate((model.first, model.twice, model.twice, model.head)):
        expected = np.full((8, 8), np.nan)
        rows = torch.cat([layer.weight, layer.bias[:, None]], 1)
        expected[: len(rows), : len(rows)] = cosines(rows).detach()
        np.testing.assert_allclose(record.neuron_cosine.values[0, index], expected, atol=1e-5)


def test_wide_layers_show_128_neurons_chosen_once():
    record = watch(net(width=300), steps=(10,), measures=["neuron_cosine"], images_every=10)
    ids = record.neuron_id.values
    assert record.sizes["neuron"] == 128
    assert record.image_step.values.tolist() == [0, 10]
    assert ids[0, 0] == 0
    assert ids[0, -1] == 299
    assert len(set(ids[0])) == 128
    assert ids[-1].tolist() == [0, 1, 2] + [-1] * 125


def test_the_schedule():
    record = watch(net(), steps=range(1, 48), every=5, images_every=20)
    assert record.step.values.tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 47]
    assert record.image_step.values.tolist() == [0, 20, 40, 47]  # the last announced step has images too
    sparse = record.valid.sel(quantity="effective_width").values
    assert sparse.all(axis=1).tolist() == [True, *[False] * 3, True, *[False] * 3, True, False, True]
    assert record.effective_width.notnull().values.tolist() == sparse.tolist()


def test_forced_observations_have_images():
    with cc.Monitor(net(), probe=(X, Y), loss=fn.cross_entropy, every=100, image_samples=6) as monitor:
        assert monitor.observe(3) is None
        assert "sample_cosine" in monitor.observe(4, force=True).values
    assert monitor.record.image_step.values.tolist() == [0, 4]


def test_the_record_can_be_read_while_it_grows():
    with cc.Monitor(net(), probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        first = monitor.record
        monitor.observe(1)
        assert first.step.values.tolist() == [0]
        assert monitor.record.step.values.tolist() == [0, 1]
        assert [row.coverage for row in monitor.coverage] == [
            "measured",
            "measured",
            monitor.coverage[2].coverage,
            "measured",
        ]


def test_attributes_and_round_trip(tmp_path):
    record = watch(net(), steps=(10,), recipe="seed: 0\n")
    assert record.attrs["schema_version"] == SCHEMA_VERSION
    assert record.attrs["recipe"] == "seed: 0\n"
    assert "mlp2024" in cc.cite(record)
    assert record.module.values.tolist() == ["first", "twice", "norm", "head"]
    assert record.coverage.values[2] == "skipped, because it is a normalization: it has no neurons of its own"
    cc.save_record(record, tmp_path / "record.nc")
    assert cc.open_record(tmp_path).identical(record)


def test_nan_weights_are_data():
    model = net()
    with cc.Monitor(model, probe=(X, Y), loss=fn.cross_entropy, every=1, images_every=1, image_samples=6) as monitor:
        with torch.no_grad():
            model.twice.weight.fill_(torch.nan)
        monitor.observe(1)
        with torch.no_grad():
            model.twice.weight.fill_(torch.inf)
        monitor.observe(2)
    record = monitor.record
    later = record.isel(step=slice(1, None))
    assert later.probe_loss.isnull().all()
    assert later.feature_cosine.sel(layer="twice#1").isnull().all()
    assert later.effective_width.sel(layer="twice#1").isnull().all()
    assert later.feature_cosine.sel(layer="first").notnull().all()
    assert record.valid.all()  # measured, all of it: NaN is what was found


@pytest.mark.parametrize("start", [torch.nan, torch.inf, 0.0])
def test_a_model_may_start_broken(start):
    model = net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(start)
    record = watch(model, steps=(10,))
    assert len(record.step) == 2
    assert record.constant_predictor_loss.item() == pytest.approx(math.log(3), rel=1e-6)


def test_what_is_not_called_this_time_is_not_measured():
    class Sometimes(Net):
        skip = False

        def forward(self, x):
            x = fn.relu(self.first(x))
            return self.head(x if self.skip else torch.tanh(self.twice(x)))

    torch.manual_seed(0)
    model = Sometimes()
    with cc.Monitor(model, probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        model.skip = True
        monitor.observe(1)
    record = monitor.record
    assert record.layer.values.tolist() == ["first", "twice", "head"]
    assert record.valid.sel(quantity="feature_cosine").values.tolist() == [[True] * 3, [True, False, True]]
    assert record.valid.sel(quantity="probe_loss").all()


TARGETS = {
    "regression": ((N, 3), torch.randn(N, 3), fn.mse_loss),
    "one output": ((N, 1), torch.randn(N, 1), fn.mse_loss),
    "two labels by one output": (
        (N, 1),
        torch.arange(N) % 2,
        lambda o, y: fn.binary_cross_entropy_with_logits(o[:, 0], y.float()),
    ),
    "signs by one output": ((N, 1), torch.arange(N) % 2 * 2 - 1, lambda o, y: fn.soft_margin_loss(o[:, 0], y.float())),
    "probabilities": ((N, 3), torch.full((N, 3), 1 / 3), fn.cross_entropy),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_targets_that_are_no_classes(kind, tmp_path):
    shape, targets, loss = TARGETS[kind]
    record = watch(net(outputs=shape[1]), steps=(10,), probe=(X, targets), loss=loss)
    assert record.sizes["class"] == 0
    assert "class_accuracy" not in record
    assert record.sample_class.values.tolist() == [-1] * 6
    assert record.gradient_cosine.notnull().any()
    assert np.isfinite(record.constant_predictor_loss)
    cc.save_record(record, tmp_path / "record.nc")
    assert cc.open_record(tmp_path).identical(record)


def test_labels_of_any_whole_type_and_classes_without_samples():
    for dtype in (torch.int64, torch.int32, torch.uint8):
        labels = torch.zeros(N, dtype=dtype)
        record = watch(net(), probe=(X, labels), loss=lambda o, y: fn.cross_entropy(o, y.long()))
        assert record.class_accuracy.isnull().values.tolist() == [[False, True, True]]
        assert record.valid.sel(quantity="class_accuracy").all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_statistics_of_half_precision_models_are_in_float32(dtype):
    model = net().to(dtype)
    record = watch(model, steps=(10,), probe=(X.to(dtype), Y))
    reference = watch(net(), steps=(10,))
    for name in ("feature_cosine", "gradient_cosine", "probe_loss", "constant_predictor_loss", "sample_cosine"):
        assert record[name].dtype == reference[name].dtype
        assert record[name].notnull().all()
        np.testing.assert_allclose(record[name], reference[name], atol=0.05)
    assert record.valid.isel(step=0).all()
    diagonal = np.diagonal(record.neuron_cosine.values[0, 0])
    np.testing.assert_allclose(diagonal, 1, atol=1e-6)


def test_large_half_precision_losses_do_not_overflow():
    model = nn.Linear(6, 2).half()
    probe = (X.half(), torch.full((N, 2), 150.0, dtype=torch.float16))
    record = watch(model, probe=probe, loss=fn.mse_loss)
    assert record.probe_loss.item() == pytest.approx(150.0**2, rel=0.05)


def test_one_layer_of_many_and_one_measure_of_many():
    record = watch(net(), layers="twice", measures=["feature_cosine"])
    assert record.layer.values.tolist() == ["twice#1", "twice#2"]
    assert set(record.data_vars) == {"feature_cosine", "probe_loss", "constant_predictor_loss", "valid"}


def test_without_any_measure_there_is_the_loss():
    record = watch(net(), steps=(10,), measures=[])
    assert set(record.data_vars) == {"probe_loss", "constant_predictor_loss", "valid"}


def test_a_convolution_is_observed_over_all_positions():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3))
    x = torch.randn(N, 1, 4, 4)
    record = watch(model, probe=(x, Y))
    model.eval()
    feature = model[1](model[0](x)).relu().flatten(1)
    assert record.layer_type.values.tolist() == ["Conv2d", "Linear"]
    assert record.fan_in.values.tolist() == [9, 16]
    assert record.feature_cosine.values[0, 0] == pytest.approx(mean_of_pairs(cosines(feature)), abs=1e-5)


def test_in_place_models_are_observed_in_one_pass():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            passes.append(1)
            h = fn.silu(self.body(x))
            h += h.roll(1, 0)
            return self.head(h)

    passes = []
    with cc.Monitor(Counts(), probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        assert len(passes) == 4  # preparing found out what is overwritten; one observation has shuffled inputs
        passes.clear()
        monitor.observe(1)
        monitor.observe(2)
    assert len(passes) == 2


def test_measures_of_the_network_ask_nothing_of_the_layers():
    assert fields_needed(select(["class_accuracy"])) == frozenset()
    assert fields_needed(select(["class_accuracy", "feature_cosine"])) == {"features"}


def test_an_observation_keeps_nothing_alive():
    alive = []

    class Remembers(Net):
        def forward(self, x):
            h = self.first(x)
            alive.append(weakref.ref(h))
            return self.head(torch.tanh(self.twice(h)))

    with cc.Monitor(Remembers(), probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        monitor.observe(1)
        gc.collect()
        assert not [reference for reference in alive if reference() is not None]


def test_a_continued_record_is_of_the_same_run():
    first = watch_buffer(net(), (1, 2))
    with cc.Monitor(net(), probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        monitor.continue_from(first)
        with pytest.raises(cc.InvalidInput, match="at least 3"):
            monitor.observe(2)
        monitor.observe(3)
        with pytest.raises(cc.InvalidInput, match="same recipe and layers"):
            monitor.continue_from(RecordBuffer(replace(first.frame, recipe="another")))
    assert monitor.record.step.values.tolist() == [0, 1, 2, 3]


def watch_buffer(model, steps):
    with cc.Monitor(model, probe=(X, Y), loss=fn.cross_entropy, every=1, image_samples=6) as monitor:
        for step in steps:
            monitor.observe(step)
    return monitor.buffer
