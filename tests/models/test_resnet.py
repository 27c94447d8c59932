"""The residual network beside a slow twin, its sizes, and what its switches do."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from cloudchamber._core.errors import InvalidInput
from cloudchamber.models import ResNet, ResNetConfig
from cloudchamber.models.activations import X2Tanh
from cloudchamber.models.resnet import BasicBlock


def block_by_hand(block, x):
    """The block's equation, written out for ReLU without batch norm."""
    first, second = block.conv1[0], block.conv2[0]
    inner = conv2d(x, first.weight, first.bias, stride=first.stride, padding=1).clamp(min=0)
    shortcut = x
    if not isinstance(block.shortcut, nn.Identity):
        shortcut = conv2d(x, block.shortcut[0].weight, block.shortcut[0].bias, stride=first.stride)
    return (conv2d(inner, second.weight, second.bias, padding=1) + shortcut).clamp(min=0)


def forward_by_hand(model, x):
    x = conv2d(x, model.stem[0].weight, model.stem[0].bias, padding=1).clamp(min=0)
    for stage in (model.stage1, model.stage2, model.stage3, model.stage4):
        for block in stage:
            x = block_by_hand(block, x)
    x = x.mean((2, 3))
    x = torch.tanh(x @ model.head.linear1.weight.T + model.head.linear1.bias)
    return x @ model.head.linear2.weight.T + model.head.linear2.bias


@pytest.mark.parametrize("depth", [18, 34])
def test_the_forward_pass_is_the_one_written_out(depth):
    torch.manual_seed(0)
    model = ResNet(3, 4, depth=depth, width_factor=1 / 32, batch_norm=False, head=(5,), head_act="tanh").double()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(model(x), forward_by_hand(model, x), rtol=1e-10, atol=1e-12)


def test_the_full_network_has_the_known_number_of_weights():
    # The CIFAR ResNet-18 with a linear head: 11 173 962 parameters (He et al. 2016, as torch implementations count).
    with torch.device("meta"):
        plain, headed = ResNet(3, 10), ResNet(3, 10, head=[1024, 1024])
    assert sum(p.numel() for p in plain.parameters()) == 11_173_962
    layers = headed.get_submodule("head").modules()
    assert [tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear)] == [
        (1024, 512),
        (1024, 1024),
        (10, 1024),
    ]


def test_depth_counts_the_layers_with_weights_on_the_longest_path():
    for depth in (18, 34):
        with torch.device("meta"):
            model = ResNet(3, 10, depth=depth)
        on_path = [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
        assert len([name for name in on_path if "shortcut" not in name]) == depth


def test_without_batch_norm_none_is_left_and_biases_appear():
    model = ResNet(1, 2, width_factor=1 / 64, batch_norm=False)
    assert not [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(part.bias is not None for part in model.modules() if isinstance(part, nn.Conv2d))


def test_the_shortcut_is_the_identity_where_shapes_agree():
    block = BasicBlock(3, 3, batch_norm=False)
    for weight in block.parameters():
        nn.init.zeros_(weight)
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(block(x), x.clamp(min=0))


def test_activations_go_where_they_are_said_to_go():
    model = ResNet(3, 2, width_factor=1 / 64, act="silu", head=(4,), head_act="x2tanh")
    assert isinstance(model.stem_activation, nn.SiLU)
    assert isinstance(model.get_submodule("head.activation1"), X2Tanh)
    assert not [part for part in model.modules() if isinstance(part, nn.ReLU)]


def test_a_width_without_channels_is_refused():
    with pytest.raises(InvalidInput, match=r"every stage must have a channel; got width_factor = 0\.001"):
        ResNet(3, 10, width_factor=0.001)


@pytest.mark.parametrize("fields", [{"width_factor": 0.0}, {"depth": 20}, {"head": [0]}])
def test_a_config_refuses_what_no_network_has(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        ResNetConfig(**fields)
