"""Arguments that break a rule, and models that cannot be predicted."""

import pytest
import torch
from predict.predict_cases import chain, cross_entropy, digits, said, sgd
from torch import nn
from unchecked import refused

import cloudchamber as cc
from cloudchamber import InvalidInput, Unsupported


def call(**changes):
    model = changes.pop("model", None) or chain(3)
    given = {"probe": digits(), "loss": cross_entropy, "steps": 10} | changes
    given.setdefault("optimizer", sgd(model) if isinstance(model, nn.Module) else None)
    return cc.predict(model, **given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "net"}, "nn.Module"),
        ({"loss": 3}, "can be called"),
        ({"optimizer": 0.1}, "torch optimizer"),
        ({"steps": 0}, "1 or more"),
        ({"steps": -5}, "1 or more"),
        ({"steps": 1.5}, "whole number"),
        ({"reduction": "median"}, "reduction"),
        ({"probe": (torch.zeros(4, 64), torch.zeros(5).long())}, "as many targets"),
        ({"probe": (torch.zeros(1, 64), torch.zeros(1).long())}, "at least 2"),
    ],
)
def test_a_broken_rule_is_named(changes, words):
    with refused(words):
        call(**changes)


def test_labels_beyond_the_outputs():
    x, _ = digits()
    with pytest.raises(InvalidInput, match="labels"):
        said(chain(3), (x, torch.full((len(x),), 10)))


def test_the_optimizer_of_another_model():
    with pytest.raises(InvalidInput, match="holds parameters of the model"):
        said(chain(3), optimizer=sgd(chain(3)))


def test_a_maximizing_optimizer():
    model = chain(3)
    with pytest.raises(InvalidInput, match="minimized"):
        said(model, optimizer=sgd(model, maximize=True))


def test_settings_that_make_no_sense():
    model = chain(3)
    optimizer = sgd(model)
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(InvalidInput, match="0 or more"):
        said(model, optimizer=optimizer)


def test_a_model_without_layers():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(64, 10))

        def forward(self, x):
            return x.flatten(1) @ self.factor

    with pytest.raises(InvalidInput, match="at least one layer"):
        said(Scale())


def test_a_model_that_returns_no_rows():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x):
            return self.layer(x.flatten(1)).mean()

    with pytest.raises(Unsupported, match="a row for each"):
        said(Mean())


def test_a_model_that_cannot_be_copied():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def __deepcopy__(self, memo):
            raise RuntimeError("no copies")

        def forward(self, x):
            return self.layer(x.flatten(1))

    with pytest.raises(Unsupported, match="copied"):
        said(Stubborn())


def test_a_model_that_computes_in_float32_only():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = chain(3)

        def forward(self, x):
            if x.dtype == torch.float64:
                raise RuntimeError("float32 only")
            return self.inner(x)

    model = Single()
    assert said(model).score == pytest.approx(said(model.inner).score, rel=1e-3)


def test_several_inputs_by_forward():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = chain(3)

        def forward(self, images, scale):
            return {"logits": self.inner(images) * scale[:, None]}

    model, (x, y) = Two(), digits()
    found = said(model, ({"x": x, "s": torch.ones(len(x))}, y), forward=lambda m, b: m(b["x"], b["s"])["logits"])
    assert found.score == pytest.approx(said(model.inner, (x, y)).score, rel=1e-9)
