"""What does not fit is said at once, by its rule, with a remedy."""

import pytest
import torch
from ensemble_cases import chain, classification, regression, stack
from torch import nn
from unchecked import refused

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.training import SGD, train_ensemble


def train(models=None, data=None, **options):
    options = {"loss": "mse", "optimizer": SGD(0.1), "steps": 2, **options}
    return train_ensemble(stack(chain, 3) if models is None else models, data or regression(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "`steps` is a whole number of at least 0; got -1"),
        ({"steps": 1.5}, "`steps` is a whole number"),
        ({"losses_every": 0}, "`losses_every` is a whole number of at least 1"),
        ({"batch_size": 0}, "`batch_size` is a whole number of at least 1"),
        ({"batch_size": 21}, "`batch_size` is at most the 20 samples; got 21"),
        ({"chunk": 0}, "`chunk` is a whole number of at least 1"),
        ({"seeds": [0, 1]}, "a seed for each of 3 members; got 2"),
        ({"seeds": [0, 1, -1]}, "`seeds` is a whole number of at least 0; got -1"),
        ({"loss": "hinge"}, r"`loss` is one of \['cross_entropy', 'mse'\], or a function"),
        ({"path": "fast"}, "`path` is one of .*; got 'fast'"),
        ({"compile": "yes"}, "`compile` is one of"),
        ({"tanh": "quick"}, "`tanh` is one of"),
        ({"optimizer": SGD(torch.tensor([0.1, 0.2]))}, r"`lr` is one number, or one per member: 3; got \(2,\)"),
        ({"optimizer": SGD({"nothing": 0.1})}, "got 'nothing'"),
        ({"dtype": torch.int64}, "`dtype` is a floating-point type"),
        ({"loss": lambda outputs, _: outputs}, r"a loss is one number for each member; got shape \(20, 1\)"),
        ({"loss": lambda *_: 1.0}, "a loss is one number for each member; got shape float"),
    ],
)
def test_options(options, message):
    with refused(message):
        train(**options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((regression()[0], regression()[1][:5]), r"as many targets as samples; got \[20, 5\]"),
        ((torch.zeros(0, 3), torch.zeros(0, 1)), "as many targets as samples"),
        ((regression()[0], regression()[1][:, 0]), r"the outputs' shape, \(20, 1\); got \(20,\). Remedy: reshape"),
        (regression(d=4), "the model and its loss can be called on a batch"),
        ([regression()] * 2, "one for each of 3 members; got 2"),
        ([regression(), regression(), regression(n=21)], "the data of all members have one shape"),
        ([regression(), regression(), (1, 2)], r"got \['int', 'int'\]. Remedy: pass tensors"),
    ],
)
def test_data(data, message):
    with refused(message):
        train(data=data)


def test_labels_that_are_not_there():
    x, _ = classification()
    with pytest.raises(InvalidInput, match="the model and its loss can be called"):
        train(stack(lambda: chain(outputs=4)), (x, torch.full((20,), 9)), loss="cross_entropy")


def evaluating():
    return chain().eval()


def other_slope():
    return nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


def frozen():
    model = chain()
    model[0].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chain, lambda: chain(width=9)),
        (chain, evaluating),
        (chain, frozen),
        (other_slope, lambda: nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.1), nn.Linear(8, 1))),
        (chain, lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))),
    ],
)
def test_models_that_are_not_alike(one, other):
    with pytest.raises(InvalidInput, match=r"alike but for the numbers .*; got another one as number 1\. Remedy"):
        train([one().double(), other().double()])


def test_no_models():
    with pytest.raises(InvalidInput, match="an ensemble has a model; got none"):
        train([])


def test_models_of_two_precisions():
    model = chain()
    model[0].double()
    with pytest.raises(InvalidInput, match=r"parameters are of one type; got \['torch.float32', 'torch.float64'\]"):
        train([model])


def test_a_model_that_returns_no_tensor():
    class Pair(nn.Linear):
        def forward(self, x):
            return x, x

    with pytest.raises(InvalidInput, match="a model returns a tensor; got tuple"):
        train([Pair(3, 1).double()])


class Counting(nn.Module):
    """Asks for a number, which `vmap` cannot tell."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        z = self.linear(x)
        return z if float(z.sum()) > 0 else -z


def test_a_model_that_vmap_cannot_call():
    with pytest.raises(Unsupported, match=r"through torch\.func\.vmap; got .*\. Remedy: replace what"):
        train(stack(Counting))


@pytest.mark.parametrize("options", [{"path": "dense"}, {"tanh": "rational"}, {"compile": True}])
def test_what_only_a_dense_chain_can(options):
    models = stack(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)))
    with pytest.raises(Unsupported, match=r"takes chains of linear layers; got: .*\. Remedy: path='vmap' or 'auto'"):
        train(models, **options)
