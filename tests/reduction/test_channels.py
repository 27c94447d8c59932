"""Who makes and who consumes the neurons of the models that people train."""

import pytest
import torch
from models_zoo import ZOO, Attention
from reduction.merging_cases import CASES, made
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber.anatomy import default_forward
from cloudchamber.anatomy.channels import find_channels


def spaces(model, x):
    return {space.name: space for space in find_channels(model.eval(), x, default_forward).spaces}


def free(model, x):
    return {name for name, space in spaces(model, x).items() if not space.pinned and space.readers}


def test_a_residual_group_is_one_space():
    model, x, _ = made("residual")
    found = spaces(model, x)
    together = found["stem + block1.conv2 + block2.conv2"]
    assert together.added
    assert set(together.readers) == {"block1.conv1", "block2.conv1", "head"}
    assert found["block1.conv1"].readers.keys() == {"block1.conv2"}
    assert found["head"].pinned == "what it computes is the model's output"


@pytest.mark.parametrize("name", ZOO)
def test_models_of_the_zoo_are_followed_without_a_trace(name):
    model, (x, _) = ZOO[name].make(), ZOO[name].batch()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    find_channels(model.eval(), x, default_forward)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_feed_forward_blocks_beside_attention_are_free():
    model, (x, _) = ZOO["tiny GPT"].make(), ZOO["tiny GPT"].batch()
    assert free(model, x) == {"block.fc1"}


@pytest.mark.parametrize("name", CASES)
def test_what_can_be_split_is_free(name):
    model, x, copies = made(name)
    makers = {maker for space in free(model, x) for maker in space.split(" + ")}
    assert set(copies) <= makers


class Sizes(nn.Module):
    """Shapes used in the ways that people use them."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv, self.head = how, nn.Conv2d(1, 6, 3), nn.Linear(54, 2)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        n, c, h, w = x.shape
        match self.how:
            case "computed":
                return self.head(x.view(n, c * h * w))
            case "asked for":
                return self.head(x.reshape(x.size(0), -1))
            case "first":
                return self.head(x.permute(0, 2, 3, 1).flatten(1))
            case "written":
                return self.head(x.view(-1, 54))
            case "scaled":
                return self.head(x.flatten(1) / c)
            case "one":
                return self.head(x.flatten(1)) + x[:, 0].mean((1, 2))[:, None]
        raise AssertionError


@pytest.mark.parametrize("how", ["computed", "asked for", "first"])
def test_shapes_that_follow_the_channels_let_them_be_merged(how):
    model = Sizes(how).double()
    with torch.no_grad():
        model.conv.weight[3], model.conv.bias[3] = model.conv.weight[1], model.conv.bias[1]
        model.conv.bias.fill_(0.5)
    small, summary = cc.merge_neurons(model, torch.randn(40, 1, 5, 5).double(), tolerance=0)
    assert small.conv.out_channels == 5
    assert summary.error.relative < 1e-13


@pytest.mark.parametrize(
    ("how", "why"), [("written", "written into"), ("scaled", "width used"), ("one", "single channels")]
)
def test_shapes_that_do_not_are_named(how, why):
    plan = cc.plan_merge(Sizes(how), torch.randn(8, 1, 5, 5), tolerance=0)
    assert dict(plan.skipped)["conv"].count(why) == 1


class Choosing(nn.Module):
    """Goes another way for other values, so that it cannot be traced as a whole."""

    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = self.part(x) if x.sum() > 0 else self.part(-x)
        return self.last(torch.relu(self.first(x)))


def test_what_cannot_be_traced_is_named_and_its_parts_are_merged():
    model, x = Choosing(), torch.randn(20, 4)
    found = find_channels(model.eval(), x, default_forward)
    assert found.untraced == (("", "its flow cannot be traced (TraceError)"),)
    assert free(model, x) == {"part.0"}


def test_shared_computed_and_taken_weights_stay():
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    tied[2].weight = tied[0].weight
    assert "shares its weights" in spaces(tied, torch.randn(5, 4))["0"].pinned
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    assert "computed from others" in spaces(normed, torch.randn(5, 4))["0"].pinned

    class Taken(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x))) + fn.linear(x, self.fc1.weight)[:, :2]

    assert "outside of it" in spaces(Taken(), torch.randn(5, 4))["fc1"].pinned


def test_a_shared_layer_has_one_space_for_all_its_calls():
    model, (x, _) = ZOO["shared autoencoder"].make(), ZOO["shared autoencoder"].batch()
    assert free(model, x) == {"encode", "mix"}


def test_layers_that_mix_channels_keep_them():
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    assert "LayerNorm, which mixes channels" in spaces(model, torch.randn(5, 4))["0"].pinned
    heads = nn.Sequential(nn.Linear(4, 8), Attention(8, 2), nn.Linear(8, 2))
    found = spaces(heads, torch.randn(5, 3, 4))
    assert "split over dimensions" in found["1.qkv"].pinned
    assert "width used" in found["0"].pinned  # its width becomes that of the heads' output
    assert not found["1.proj"].pinned
