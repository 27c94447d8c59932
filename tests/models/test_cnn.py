"""Plain convolutional networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.models import CNN, CNNConfig, build_model


def test_it_is_the_chain_of_convolutions_and_poolings():
    torch.manual_seed(0)
    model, x = CNN(2, 3, size=6, depth=3, width=4, act="tanh", pool_every=2), torch.randn(5, 2, 6, 6)
    f = fn.max_pool2d(model.conv2(model.conv1(x).tanh()).tanh(), 2)
    assert torch.equal(model(x), model.linear(model.conv3(f).tanh().mean((2, 3))))


def test_images_are_halved_only_while_there_is_something_to_halve():
    model = CNN(1, 2, size=8, depth=10, width=2, pool_every=1)
    assert sum(isinstance(module, nn.MaxPool2d) for module in model) == 3
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 2)


@pytest.mark.parametrize("shape", [(3, 8, 8), (64,)])
def test_the_model_of_a_recipe_takes_images_and_squares(shape):
    model = build_model(CNNConfig(depth=2, width=3, bias=False), shape, 4)
    assert model(torch.zeros(5, *shape)).shape == (5, 4)
    assert model.conv1.bias is None
    with pytest.raises(InvalidInput, match="takes images"):
        build_model(CNNConfig(), (5,), 2)
