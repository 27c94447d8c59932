"""Models of recipes: each kind on each kind of sample, and what is refused."""

import pytest
import torch

from cloudchamber._core.errors import InvalidInput, InvalidRecipe
from cloudchamber.cli.live import describe
from cloudchamber.data import load_data
from cloudchamber.models import ResNetConfig, build_model
from cloudchamber.training import load_recipe
from cloudchamber.training.session import Session, model_of

SMALL = ("model.name=resnet", "model.width_factor=0.0625")


def test_convolutions_take_squares_written_as_vectors():
    config = ResNetConfig(width_factor=1 / 16, head=(7,))
    flat, image = build_model(config, (64,), 5), build_model(config, (1, 8, 8), 5)
    assert [*flat.state_dict()] == [*image.state_dict()]
    flat.load_state_dict(image.state_dict())
    x = torch.rand(3, 64)
    assert torch.equal(flat.eval()(x), image.eval()(x.view(3, 1, 8, 8)))


def test_convolutions_refuse_what_is_no_image():
    with pytest.raises(InvalidInput, match=r"takes images; got samples of shape \(5,\)"):
        build_model(ResNetConfig(), (5,), 2)


def test_a_recipe_of_a_resnet_is_trained_and_observed():
    session = Session.of(load_recipe(overrides=[*SMALL, "observe.probe_samples=20", "batch_size=20"]))
    session.seed_training()
    before = [weight.clone() for weight in session.model.parameters()]
    session.update(1)
    assert not any(torch.equal(old, new) for old, new in zip(before, session.model.parameters(), strict=True))
    with session.monitor as monitor:
        assert "stage4.1.conv2.0" in monitor.record.layer.values


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("mlp", "9-layer MLP, 512 wide, relu, on digits; sgd, lr 0.01"),
        ("resnet", "ResNet-18, width × 1, relu, on digits"),
        ("dense", "dense net of 50 tanh, on digits"),
    ],
)
def test_a_recipe_in_words(kind, words):
    assert words in describe(load_recipe(overrides=[f"model.name={kind}"]))


def test_a_network_of_numbers_refuses_words():
    recipe = load_recipe(overrides=SMALL)
    words = load_data(recipe.data, 0)
    object.__setattr__(words, "vocabulary", ("a", "b"))
    with pytest.raises(InvalidRecipe, match="a network that looks words up, for digits; got resnet"):
        model_of(recipe, words)


def test_lists_of_a_recipe_are_the_layers():
    words = ["model.name=dense", "model.widths=[4, 6]", "model.activations=[tanh, xtanh]"]
    model = model_of(load_recipe(overrides=words), load_data(load_recipe().data, 0))
    assert [tuple(value.shape) for name, value in model.named_parameters() if "weight" in name] == [
        (4, 64),
        (6, 4),
        (10, 6),
    ]
    assert load_recipe(overrides=["model.name=resnet", "model.head=[7]"]).model == ResNetConfig(head=(7,))
