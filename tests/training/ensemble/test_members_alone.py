"""A member of an ensemble is that model trained alone with torch.optim and the same seed."""

import logging

import pytest
import torch
from ensemble_cases import alone, assert_member, chain, classification, normal, regression, stack
from torch import nn

from cloudchamber.models import MLP, ScaledOutput
from cloudchamber.training import SGD, Adam, train_ensemble

RATES = torch.linspace(0.02, 0.06, 5, dtype=torch.float64)
STEPS = 12


class Noisy(nn.Module):
    """Draws in many ways."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x):
        x = nn.functional.dropout(torch.tanh(self.first(x)), p=0.4)
        x = x + 0.1 * torch.randn_like(x)
        x = nn.functional.alpha_dropout(self.second(x), 0.3, training=True)
        x = x * torch.rand(8, dtype=x.dtype)
        return self.last(nn.functional.dropout(2.0 * x, 0.2, True, True))


class Gated(nn.Module):
    """Draws with probabilities that differ between members."""

    def __init__(self):
        super().__init__()
        self.gate, self.last = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        z = self.gate(x)
        return self.last(z * torch.bernoulli(torch.sigmoid(z)))


class Images(nn.Module):
    """Convolutions, with running statistics, and whole channels dropped."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(16, 3)
        )

    def forward(self, x):
        return self.body(x)


class Attention(nn.Module):
    """A block of a transformer on words."""

    def __init__(self):
        super().__init__()
        self.words, self.attention = nn.Embedding(7, 4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm, self.last = nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x):
        x = self.words(x)
        return self.last(self.norm(x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 1))
    model[2].weight = model[0].weight
    return model


def frozen():
    model = chain()
    model[0].weight.requires_grad_(False)
    return model


def selu_dropout():
    return nn.Sequential(nn.Linear(3, 8), nn.SELU(), nn.AlphaDropout(0.3), nn.Linear(8, 1))


def residual_in_place():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x):
            x = 1.0 * self.one(x)
            return self.two(nn.functional.dropout(x, 0.5, inplace=True) + x)

    return Residual()


IMAGES = normal(12, 2, 4, 4), torch.arange(12) % 3
WORDS = torch.arange(60).reshape(12, 5) % 7, torch.arange(12) % 2
MODELS = {
    "chain": (chain, regression(), "mse"),
    "mlp": (lambda: MLP(3, 4, depth=4, width=6), classification(), "cross_entropy"),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)), regression(), "mse"),
    "no statistics": (
        lambda: nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), chain()),
        regression(),
        "mse",
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)), regression(), "mse"),
    "alpha dropout": (selu_dropout, regression(), "mse"),
    "in place": (residual_in_place, regression(), "mse"),
    "noisy": (Noisy, regression(), "mse"),
    "images": (Images, IMAGES, "cross_entropy"),
    "attention": (Attention, WORDS, "cross_entropy"),
    "tied": (tied, regression(), "mse"),
    "frozen": (frozen, regression(), "mse"),
    "own loss": (chain, regression(), lambda outputs, targets: (outputs - targets).abs().mean()),
}


@pytest.mark.parametrize("name", MODELS)
def test_of_any_architecture(name):
    make, data, loss = MODELS[name]
    models = stack(make)
    trained = train_ensemble(models, data, loss=loss, optimizer=SGD(RATES, 0.9), steps=STEPS, chunk=3)
    for k, model in enumerate(models):
        rate = RATES[k].item()
        twin = alone(
            model, data, lambda m, rate=rate: torch.optim.SGD(m.parameters(), rate, 0.9), STEPS, loss=loss, seed=k
        )
        assert_member(trained, k, *twin)


@pytest.mark.parametrize("path", ["vmap", "dense"])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("batch_size", [None, 6])
def test_with_adam_and_batches_of_their_own(path, decoupled, batch_size):
    models, data, seeds = stack(chain), regression(), [7, 7, 1, 0, 2**40]
    optimizer = Adam({"0": RATES, "*": 0.01}, weight_decay=0.1, decoupled=decoupled)
    trained = train_ensemble(
        models, data, loss="mse", optimizer=optimizer, steps=STEPS, batch_size=batch_size, seeds=seeds, path=path
    )

    def updater(model, k):
        groups = [
            {"params": model[0].parameters(), "lr": RATES[k].item()},
            {"params": model[2].parameters(), "lr": 0.01},
        ]
        return (torch.optim.AdamW if decoupled else torch.optim.Adam)(groups, weight_decay=0.1)

    for k, model in enumerate(models):
        twin = alone(model, data, lambda m, k=k: updater(m, k), STEPS, seed=seeds[k], batch_size=batch_size)
        assert_member(trained, k, *twin)


@pytest.mark.parametrize("path", ["vmap", "dense"])
@pytest.mark.parametrize("batch_size", [None, 6])
def test_with_data_of_their_own(path, batch_size):
    models, data = stack(chain), [regression(seed=seed) for seed in (0, 1, 2, 0, 3)]
    trained = train_ensemble(
        models, data, loss="mse", optimizer=SGD(RATES), steps=STEPS, batch_size=batch_size, path=path, chunk=2
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
        )
        assert_member(trained, k, *twin)


def test_with_initializations_and_output_scales_of_their_own():
    models = [ScaledOutput(model, scale) for model, scale in zip(stack(chain), (0.1, 1.0, 3.0, 0.5, 2.0), strict=True)]
    for k, model in enumerate(models):
        model.double()
        with torch.no_grad():
            model.network[0].weight.mul_(10.0**-k)
    trained = train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.05), steps=STEPS)
    for k, model in enumerate(models):
        assert_member(trained, k, *alone(model, regression(), lambda m: torch.optim.SGD(m.parameters(), 0.05), STEPS))
    assert trained.fixed["scale"].tolist() == [0.1, 1.0, 3.0, 0.5, 2.0]


def test_models_in_evaluation_mode_stay_in_it():
    models = stack(lambda: nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 1)).eval())
    trained = train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.05), steps=STEPS)
    assert not trained.member(0).training
    for k, model in enumerate(models):
        assert_member(trained, k, *alone(model, regression(), lambda m: torch.optim.SGD(m.parameters(), 0.05), STEPS))


@pytest.mark.parametrize("path", ["vmap", "dense"])
def test_in_float32_to_rounding(path):
    models = stack(chain, dtype=torch.float32)
    data = tuple(part.float() for part in regression())
    trained = train_ensemble(models, data, loss="mse", optimizer=SGD(0.05), steps=STEPS, path=path)
    assert trained.parameters["0.weight"].dtype == torch.float32
    for k, model in enumerate(models):
        twin = alone(model, data, lambda m: torch.optim.SGD(m.parameters(), 0.05), STEPS)
        assert_member(trained, k, *twin, tolerance=1e-5)


def test_models_in_float32_are_trained_in_float64_on_request():
    models = stack(chain, dtype=torch.float32)
    trained = train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.05), steps=STEPS, dtype=torch.float64)
    for k, model in enumerate(stack(chain, dtype=torch.float32)):
        twin = alone(model.double(), regression(), lambda m: torch.optim.SGD(m.parameters(), 0.05), STEPS)
        assert_member(trained, k, *twin)


def test_what_draws_in_its_own_way_is_named(caplog):
    models = stack(Gated)
    with caplog.at_level(logging.WARNING, "cloudchamber"):
        one, other = (train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.05), steps=3) for _ in range(2))
    assert "bernoulli draws random numbers of its own" in caplog.text
    assert torch.equal(one.losses, other.losses)
    assert len(set(one.losses[:, 0].tolist())) == 5


def test_models_data_and_the_callers_random_states_stay_as_they_are():
    models, (x, y) = stack(Noisy), regression()
    before = [model.state_dict() for model in stack(Noisy)]
    state, inputs = torch.get_rng_state(), x.clone()
    train_ensemble(models, (x, y), loss="mse", optimizer=Adam(0.05), steps=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, inputs)
    for model, old in zip(models, before, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in model.state_dict().items())
        assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("region", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_of_gradients_does_not_matter(region):
    models = stack(chain)
    expected = train_ensemble(models, regression(), loss="mse", optimizer=SGD(0.05), steps=3)
    data = regression()
    with region():
        for path in ("vmap", "dense"):
            got = train_ensemble(models, data, loss="mse", optimizer=SGD(0.05), steps=3, path=path)
            torch.testing.assert_close(got.losses, expected.losses, rtol=1e-12, atol=1e-12)
