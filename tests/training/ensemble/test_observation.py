"""Members observed at once or one after the other are measured as a monitor measures each alone."""

import numpy as np
import pytest
import torch
from models_zoo import ZOO
from observation_cases import Twins, data, mlp, scattered
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import Unsupported
from cloudchamber.measures import select
from cloudchamber.training.ensemble import observation, stacked_observer
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.observation import EnsembleObserver
from cloudchamber.training.ensemble.watch import Watch

AT_ONCE = {
    "class_accuracy",
    "dead_fraction",
    "feature_cosine",
    "feature_cosine_shuffled",
    "gradient_cosine",
    "gradient_cosine_shuffled",
    "gradient_norm",
    "neuron_amplitude",
    "neuron_cosine",
    "neuron_distance",
    "orientation_angle",
    "relative_distance",
    "sample_cosine",
    "sample_gradient_norm",
    "static_fraction",
    "weight_norm",
}
"""The measures that are taken of all members at once; the others decide something by their numbers."""

LOOPED = {"LSTM"}
"""The models of the zoo whose members are observed one after the other."""


@pytest.mark.parametrize("path", ["stacked", "looped"])
def test_every_measure_is_that_of_a_monitor(path):
    twins = Twins(scattered(mlp, 2), data(), fn.cross_entropy, measures=["all"], observer={"path": path})
    twins.step(1)
    twins.step(2)
    record = twins.assert_same()
    assert twins.observer.stacked == (AT_ONCE if path == "stacked" else frozenset())
    assert {measure.name for measure in select(["all"])} <= set(record.data_vars)


@pytest.mark.parametrize("name", ZOO)
def test_every_kind_of_model(name):
    case = ZOO[name]
    models = scattered(lambda: case.make(torch.float64), 2)
    twins = Twins(models, case.batch(dtype=torch.float64), case.loss)
    twins.step(2)
    record = twins.assert_same()
    assert record.layer.values.tolist() == list(case.layers)
    assert bool(twins.observer.stacked) == (name not in LOOPED)


def test_in_single_precision():
    def make():
        return mlp(sizes=(5, 30, 20, 3), activation=nn.ReLU, dtype=torch.float32)

    x, y = data(40)
    twins = Twins(scattered(make, 4), (x.float(), y), fn.cross_entropy)
    twins.step(1)
    twins.step(2)
    twins.assert_same(1e-4)
    assert "feature_cosine" in twins.observer.stacked


def test_probes_are_brought_to_the_precision_of_the_weights():
    x, y = data()
    x, models = x.float(), scattered(mlp, 2)
    exact = Twins(models, (x.double(), y), fn.cross_entropy).observer.record
    layout = Layout.of(models[0])
    observer = EnsembleObserver(models[0], layout, Watch(probe=(x, y), every=1), fn.cross_entropy, 2)
    observer.observe(0, layout.flat(models), {}, range(2))
    np.testing.assert_array_equal(observer.record.probe_loss, exact.probe_loss)


class OneLayerTwice(nn.Module):
    """A residual stream that goes on beside a layer: the feature's gradient comes from both."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.activation = nn.Tanh()

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(h + self.activation(self.second(h)))


class OwnActivation(nn.Module):
    """Its last activation is neither a module nor what a layer receives."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        return 2 * torch.tanh(self.last(torch.sin(self.first(x)) + 1))


class DependsOnNumbers(nn.Module):
    """Decides by its numbers what to do: no `vmap`."""

    def __init__(self):
        super().__init__()
        self.first, self.activation, self.last = nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        h = self.activation(self.first(x))
        return self.last(h if float(h.detach().sum()) < 1e9 else -h)


@pytest.mark.parametrize(
    ("kind", "at_once"), [(OneLayerTwice, True), (OwnActivation, False), (DependsOnNumbers, False)]
)
def test_models_of_ones_own(kind, at_once):
    torch.manual_seed(3)
    twins = Twins(scattered(lambda: kind().double(), 2), data(), fn.cross_entropy, measures=["default", "mlp2024"])
    twins.step(2)
    twins.assert_same()
    assert bool(twins.observer.stacked) == at_once


def test_insisting_on_one_pass_names_what_is_in_the_way():
    with pytest.raises(Unsupported, match="vmap does not accept the module"):
        Twins([DependsOnNumbers().double()], data(), fn.cross_entropy, observer={"path": "stacked"})
    with pytest.raises(Unsupported, match="fuses several layers"):
        Twins([ZOO["LSTM"].make()], ZOO["LSTM"].batch(), fn.cross_entropy, observer={"path": "stacked"})


def frozen_first():
    model = mlp(sizes=(5, 8, 8, 3), activation=nn.ReLU)
    model[0].requires_grad_(False)
    return model


def test_frozen_layers_have_gradients_too():
    twins = Twins(scattered(frozen_first, 2), data(), fn.cross_entropy, measures=["default", "mlp2024", "kernel"])
    twins.step(2)
    record = twins.assert_same()
    assert np.isfinite(record.gradient_cosine.values[:, :, 0]).all()
    assert twins.layout.names[0] == "2.weight"


def test_frozen_layers_that_all_members_share():
    models = [frozen_first() for _ in range(2)]
    twins = Twins(models, data(), fn.cross_entropy)
    twins.step(2)
    assert twins.observer.observe(3, twins.layout.flat(models), {}, range(2))  # nothing is given: the module's own
    for monitor in twins.monitors:
        monitor.observe(3)
    twins.assert_same()


def test_weights_that_are_tied():
    def make():
        model = mlp(sizes=(5, 6, 6, 6, 3))
        model[4].weight = model[2].weight
        return model

    twins = Twins(scattered(make, 2), data(), fn.cross_entropy, measures=["default", "kernel"])
    twins.step(2)
    twins.assert_same()


@pytest.mark.parametrize("regression", [False, True])
def test_members_with_probes_of_their_own(regression):
    x = torch.stack([data(seed=k)[0] for k in range(3)])
    y = torch.stack([x[k, :, :3].sin() if regression else (torch.arange(20) + k) % 3 for k in range(3)])
    loss = fn.mse_loss if regression else fn.cross_entropy
    measures = ["default", "mlp2024", "theorem1", "kernel"]
    twins = Twins(scattered(mlp, 3), (x, y), loss, own=True, measures=measures)
    twins.step(2)
    record = twins.assert_same()
    assert ("member" in record.sample_class.dims) == (not regression)
    assert bool(twins.observer.stacked)


def test_kernels_of_many_samples_of_probes_of_their_own_are_taken_one_by_one():
    x = torch.stack([data(102, seed=k)[0] for k in range(2)])
    y = torch.stack([data(102)[1].roll(k) for k in range(2)])
    twins = Twins(scattered(mlp, 2), (x, y), fn.cross_entropy, own=True, measures=["kernel_trace", "feature_cosine"])
    twins.assert_same()
    assert not twins.observer.stacked


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="none")])
def test_losses_of_any_reduction(loss):
    twins = Twins(scattered(mlp, 2), data(), loss)
    twins.step(1)
    twins.assert_same()


def test_a_loss_that_vmap_does_not_accept():
    def loss(outputs, targets):
        assert np.isfinite(outputs.detach().numpy()).all()
        return fn.cross_entropy(outputs, targets)

    twins = Twins(scattered(mlp, 2), data(), loss)
    twins.step(1)
    twins.assert_same()


def test_positions_and_a_call_of_ones_own():
    case = ZOO["ViT"]
    models = scattered(lambda: case.make(torch.float64), 2)
    own = {"positions": "first", "forward": lambda model, x: 0.5 * model(x)}
    twins = Twins(models, case.batch(dtype=torch.float64), case.loss, monitor=own, observer=own, layers=["blocks.*"])
    twins.step(1)
    twins.step(2)
    twins.assert_same()
    assert bool(twins.observer.stacked)


def test_a_member_that_diverged_does_not_disturb_the_others():
    models = scattered(mlp, 4)
    for k, value in ((1, torch.nan), (3, torch.inf)):
        models[k][0].weight.data[0, 0] = value
    models[2][0].weight.data *= 1e160
    twins = Twins(models, data(), fn.cross_entropy, measures=["default", "theorem1", "neurons"])
    twins.step(2)
    record = twins.assert_same()
    assert np.isfinite(record.probe_loss.values[0]).all()
    assert np.isnan(record.probe_loss.values[1]).all()
    assert bool(record.valid.sel(member=1, quantity="feature_cosine").all())  # a true NaN


def test_more_members_than_one_pass_takes(monkeypatch):
    whole = Twins(scattered(mlp, 5), data(), fn.cross_entropy)
    monkeypatch.setattr(stacked_observer, "CHUNK_NUMBERS", 6000)
    parts = Twins(scattered(mlp, 5), data(), fn.cross_entropy)
    assert 1 < parts.observer._stacked._chunk < 5
    parts.assert_same()
    whole.assert_same()


def test_a_large_member_is_observed_by_itself(monkeypatch):
    monkeypatch.setattr(observation, "MOST_NUMBERS", 100)
    twins = Twins(scattered(mlp, 2), data(), fn.cross_entropy)
    twins.assert_same()
    assert not twins.observer.stacked
    assert Twins(scattered(mlp, 2), data(), fn.cross_entropy, observer={"path": "stacked"}).observer.stacked


def test_nothing_is_disturbed():
    models = scattered(mlp, 3)
    twins = Twins(models, data(), fn.cross_entropy, measures=["all"])
    flat = twins.layout.flat(models).requires_grad_()
    before, state = flat.detach().clone(), torch.get_rng_state()
    hooks = [len(module._forward_hooks) for module in models[0].modules()]
    training = [module.training for module in models[0].modules()]
    twins.observer.observe(2, flat, {}, range(3))
    assert torch.equal(flat.detach(), before)
    assert flat.grad is None
    assert torch.equal(state, torch.get_rng_state())
    assert [len(module._forward_hooks) for module in models[0].modules()] == hooks
    assert [module.training for module in models[0].modules()] == training
    assert all(parameter.grad is None for parameter in models[0].parameters())


def test_weights_made_in_inference_mode():
    models = scattered(mlp, 2)
    twins = Twins(models, data(), fn.cross_entropy)
    step_flat = twins.layout.flat(models)
    with torch.inference_mode():
        assert twins.observer.observe(1, step_flat.clone(), {}, range(2))
    for monitor in twins.monitors:
        monitor.observe(1)
    twins.assert_same()
