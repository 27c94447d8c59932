"""Norms put into models: where they stand, that layers are observed as before, and that errors change nothing."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.anatomy import capture, choose_views
from cloudchamber.interventions import (
    BatchNorm,
    BatchNormConfig,
    CenteringNorm,
    CenteringNormConfig,
    PhaseNorm,
    PhaseNormConfig,
    XavierNormalConfig,
    initialize,
    insert_norms,
)
from cloudchamber.models import MLP

CONFIGS = [
    BatchNormConfig(),
    BatchNormConfig(affine=False),
    CenteringNormConfig(),
    PhaseNormConfig(),
    PhaseNormConfig(smoothing=0.3, watched="normalized"),  # freezes at the second batch
    PhaseNormConfig(smoothing=0.3, watched="rectified", statistics="running", once=False),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name} {CONFIGS.index(config)}")


def mlp():
    model = MLP(6, 3, depth=4, width=8)
    initialize(model, XavierNormalConfig(), seed=0)
    return model


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True)),
        nn.Flatten(),
        nn.Linear(24, 5),
        nn.Tanh(),
        nn.Linear(5, 3),
    )


def on_sequences():
    return nn.Sequential(nn.Unflatten(1, (3, 2)), nn.Linear(2, 4), nn.GELU(), nn.Flatten(), nn.Linear(12, 3))


MODELS = {"mlp": mlp, "cnn": cnn, "sequences": on_sequences}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def data(samples=24):
    random = torch.Generator().manual_seed(0)
    return torch.randn(samples, 6, generator=random), torch.arange(samples) % 3


def names(model):
    return [name for name, _ in model.named_children()]


def by_itself(make, config):
    torch.manual_seed(0)
    model = make()
    return model, insert_norms(model, config)


def trained(model, steps, watch=None):
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.5)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        fn.cross_entropy(model(x), y).backward()
        optimizer.step()
        if watch is not None:
            watch.observe(step)
    return model


def test_by_default_one_stands_after_every_layer_but_the_last_before_the_activation():
    model = mlp()
    norms = insert_norms(model, CenteringNormConfig())
    assert names(model) == [
        *("linear1", "linear1_norm", "activation1", "linear2", "linear2_norm", "activation2"),
        *("linear3", "linear3_norm", "activation3", "linear4"),
    ]
    assert list(norms) == ["linear1", "linear2", "linear3"]
    assert all(type(norm) is CenteringNorm for norm in norms.values())
    assert model.linear2_norm is norms["linear2"]


def test_where_they_stand_can_be_said_by_names_and_patterns():
    model = MLP(6, 3, depth=9, width=4)
    norms = insert_norms(model, PhaseNormConfig(after=["linear1", "linear[357]"]))
    assert list(norms) == ["linear1", "linear3", "linear5", "linear7"]
    assert "linear9" in insert_norms(MLP(6, 3, depth=9, width=4), BatchNormConfig(after=["Linear"]))


def test_the_network_is_the_chain_with_norms_in_it():
    model = mlp()
    layers = [model.linear1, model.linear2, model.linear3, model.linear4]
    insert_norms(model, CenteringNormConfig(after=["linear1", "linear3"]))
    x = data()[0]
    f = fn.batch_norm(layers[0](x), None, None, training=True).relu()
    f = fn.batch_norm(layers[2](layers[1](f).relu()), None, None, training=True).relu()
    assert torch.equal(model(x), layers[3](f))


def test_the_settings_arrive():
    model = cnn()
    conv, linear = insert_norms(
        model, PhaseNormConfig(threshold=0.2, start=0.5, smoothing=0.9, momentum=0.3, eps=1e-3, watched="rectified")
    ).values()
    assert (conv.axis, conv.neurons, linear.axis, linear.neurons) == (1, 4, -1, 5)
    assert (conv.threshold, conv.start, conv.smoothing, conv.momentum, conv.eps) == (0.2, 0.5, 0.9, 0.3, 1e-3)
    assert (conv.watched, conv.statistics, conv.once) == ("rectified", "batch", True)
    assert names(model[1]) == ["0", "0_norm", "1"]
    batch = insert_norms(mlp(), BatchNormConfig(affine=False, momentum=0.2))["linear1"]
    assert (type(batch), batch.weight, batch.momentum) == (BatchNorm, None, 0.2)


@configs
def test_precision_and_mode_are_the_layers_and_weights_and_seeds_as_without(config):
    wide, model = mlp().double().eval(), MLP(6, 3, depth=4, width=8)
    norm = insert_norms(wide, config)["linear2"]
    assert norm.running_var.dtype == torch.float64
    assert not norm.training
    insert_norms(model, config)
    initialize(model, XavierNormalConfig(), seed=0)
    assert torch.equal(model.linear4.weight, mlp().linear4.weight)


@configs
@models
@pytest.mark.parametrize("training", [True, False])
def test_layers_are_observed_as_operations_apart_from_their_norms(config, make, training):
    """Z is what the layer computed, F the activation of the norm's output, and Σ G_xᵀ X_x the weight's gradient."""
    model, norms = by_itself(make, config)
    trained(model, 3).train(training)
    x, y = data()
    seen = capture(
        model,
        x,
        lambda out: fn.cross_entropy(out, y, reduction="sum"),
        layers=choose_views(model, list(norms)),
        fields={"inputs", "outputs", "features", "output_gradients", "feature_gradients"},
        training_mode=training,
    )
    twin = copy.deepcopy(model)
    kept = {}
    for name in norms:
        twin.get_submodule(name).register_forward_hook(lambda _, __, z, name=name: kept.update({name: z.clone()}))
    fn.cross_entropy(twin(x), y, reduction="sum").backward()
    assert list(seen.layers) == list(norms)
    for name, layer in seen.layers.items():
        torch.testing.assert_close(layer.outputs, kept[name])
        path, _, own = name.rpartition(".")
        parent = copy.deepcopy(model.get_submodule(path))
        children = names(parent)
        norm, act = (parent.get_submodule(children[children.index(own) + place]) for place in (1, 2))
        torch.testing.assert_close(layer.features, act(norm(kept[name].detach())).detach())
        assert layer.activation == type(act).__name__.lower()
        summed = torch.einsum("nph,npd->hd", layer.gradient_rows, layer.input_rows)
        exact = twin.get_submodule(name).weight.grad.flatten(1)
        torch.testing.assert_close(summed, exact, rtol=1e-4, atol=1e-5)


@configs
@models
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_observing_leaves_no_trace_in_training_or_in_the_norms(config, make, mode):
    alone = trained(by_itself(make, config)[0], 6)
    model, _ = by_itself(make, config)
    with cc.Monitor(model, probe=data(12), loss=fn.cross_entropy, every=1, mode=mode) as monitor:
        trained(model, 6, monitor)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in alone.state_dict().items())
    assert np.isfinite(monitor.record.feature_cosine.values).all()


@configs
def test_watching_the_batches_own_passes_sees_the_same_layers_and_leaves_no_trace(config):
    alone = trained(by_itself(mlp, config)[0], 6)
    model, _ = by_itself(mlp, config)
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.5)
    with cc.Monitor(model, probe=data(12), loss=fn.cross_entropy, every=1, measures="light", passive=True) as monitor:
        for step in range(6):
            optimizer.zero_grad()
            with monitor.batch(step + 1, y):
                fn.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in alone.state_dict().items())
    assert monitor.record.activation.values.tolist() == ["relu", "relu", "relu", "none"]


@pytest.mark.parametrize(
    ("make", "config", "error", "message"),
    [
        (mlp, BatchNormConfig(after=["linear1", "conv"]), InvalidInput, "matches a layer among ['linear1', "),
        (lambda: MLP(6, 3, depth=1, width=1), BatchNormConfig(), InvalidInput, "a model with norms has two layers"),
        (
            lambda: nn.Sequential(nn.Linear(6, 4), nn.LSTM(4, 5)),
            BatchNormConfig(after=["0", "1"]),
            Unsupported,
            "a norm stands after a layer that computes one tensor of neurons (Linear, Conv); got 1, LSTM",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 4)),
            BatchNormConfig(after=["0"]),
            Unsupported,
            "got 0, Embedding",
        ),
        (
            lambda: nn.Sequential(nn.Linear(6, 4), nn.TransformerEncoderLayer(4, 2, 8)),
            BatchNormConfig(after=["0", "1.linear1"]),
            Unsupported,
            "calls its layers; got 1.linear1 in TransformerEncoderLayer",
        ),
        (lambda: nn.Linear(6, 4), BatchNormConfig(after=["*"]), Unsupported, "got (the model itself) in Linear"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_model_stays(make, config, error, message):
    model = make()
    before = repr(model)
    with pytest.raises(error, match=re.escape(message)):
        insert_norms(model, config)
    assert repr(model) == before


def test_a_layer_gets_one_norm():
    model = mlp()
    insert_norms(model, PhaseNormConfig(after=["linear2"]))
    before = repr(model)
    with pytest.raises(InvalidInput, match="a layer gets one norm; got linear2, which has one"):
        insert_norms(model, BatchNormConfig())
    assert repr(model) == before
    assert isinstance(model.linear2_norm, PhaseNorm)


def test_the_caller_goes_on_with_a_copy_of_its_own():
    model = mlp()
    insert_norms(model, PhaseNormConfig())
    other = copy.deepcopy(model)
    trained(other, 2)
    assert not model.linear1_norm.batches
    assert int(other.linear1_norm.batches) == 2
