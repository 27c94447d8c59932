import pytest
import torch
from torch import nn
from training.flow_cases import data, net

from cloudchamber import InvalidInput
from cloudchamber._core.errors import Unsupported
from cloudchamber.training.flow.explicit import DormandPrince, KernelEuler
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.stops import LossRatio, Steps, Time


def flow(model=None, samples=None, **options):
    return gradient_flow(model or net(2, 5, 1), samples or data(), **{"until": Time(1.0), **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": lambda out, y: out.square().mean(), "method": KernelEuler()}, "needs a squared loss"),
        ({"loss": lambda out, y: out.square().mean(), "method": Exponential()}, "needs a squared loss"),
        ({"loss": lambda out, y: out - y}, "one number"),
        ({"until": []}, "a rule to stop by"),
        ({"times": [1.0, 0.5]}, "rise"),
        ({"times": [-1.0]}, "rise"),
        ({"rates": {"1": 2.0}}, "a rate is for one of"),
        ({"rates": {"0": 2.0, "0.weight": 1.0}}, "one rate"),
        ({"rates": {"0": -1.0}}, "positive"),
        ({"rates": {"0": torch.ones(3)}}, "one per member"),
        ({"chunk": -1}, "chunk"),
        ({"dtype": torch.long}, "floating"),
        ({"most_steps": -1}, "not negative"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(InvalidInput, match=words):
        flow(**options)


def test_data_are_checked():
    x, y = data()
    with pytest.raises(InvalidInput, match="outputs' shape"):
        flow(samples=(x, y[:, 0]))
    with pytest.raises(InvalidInput, match="as many targets"):
        flow(samples=(x, y[:3]))
    with pytest.raises(Unsupported, match=r"torch\.func"):
        flow(samples=(x[:, :1], y))


def test_models_are_checked():
    with pytest.raises(InvalidInput, match="there is a model"):
        gradient_flow([], data(), until=Time(1.0))
    with pytest.raises(InvalidInput, match="one architecture"):
        gradient_flow([net(2, 5, 1), net(2, 6, 1)], data(), until=Time(1.0))
    with pytest.raises(InvalidInput, match="one architecture"):
        gradient_flow([net(2, 5, 1), nn.Linear(2, 1)], data(), until=Time(1.0))
    with pytest.raises(InvalidInput, match="one kind and mode"):
        gradient_flow([net(2, 5, 1), net(2, 5, 1).eval()], data(), until=Time(1.0))
    frozen = net(2, 5, 1).requires_grad_(False)
    with pytest.raises(InvalidInput, match="requires_grad"):
        flow(frozen)
    with pytest.raises(Unsupported, match="nothing random"):
        flow(nn.Sequential(net(2, 5, 1), nn.Dropout(0.5)))


def test_rules_and_methods_are_checked():
    with pytest.raises(InvalidInput, match="ratio"):
        LossRatio(1.0)
    with pytest.raises(InvalidInput, match="time"):
        Time(-1.0)
    with pytest.raises(InvalidInput, match="steps"):
        Steps(-1)
    for method in (DormandPrince, Exponential):
        with pytest.raises(InvalidInput, match="tolerance"):
            method(1e-14)
    with pytest.raises(InvalidInput, match="stability"):
        KernelEuler(2.0)


def test_loading_is_checked():
    result = flow()
    with pytest.raises(InvalidInput, match="members"):
        result.load_into([net(2, 5, 1), net(2, 5, 1)])
    with pytest.raises(InvalidInput, match="those that flowed"):
        result.load_into(net(2, 6, 1))
