"""Recipes that name these data: text and back, training steps, and what they refuse."""

import pytest
import torch
from data_cases import labels, origin, pixels, point_to, write_idx

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber.data import ImagesConfig, load_data
from cloudchamber.training import load_recipe, parse_recipe, recipe_yaml
from cloudchamber.training.batches import Batches
from cloudchamber.training.session import Session

SMALL = ["model.depth=2", "model.width=8", "batch_size=10", "observe.probe_samples=10", "observe.image_samples=10"]


@pytest.fixture(autouse=True)
def mnist(cache, tmp_path, monkeypatch):
    folder = cache / "downloads/mnist"
    folder.mkdir(parents=True)
    files = [write_idx(folder / "i.gz", pixels(40, 28, 28)), write_idx(folder / "l.gz", labels(40, 10))]
    known = [origin(file) for file in files]
    point_to(monkeypatch, "mnist", known, known, (40, 40))


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.name=mnist"],
        ["data={name: cifar10, augment: [crop, flip], classes: [cat, 3, 0], samples: 100}"],
        ["data.name=tiny_imagenet_50", "data.size=64", "data.normalization=standardized"],
        ["data.name=adult", "data.samples=1000", "data.balanced=true", "data.train_share=0.5"],
        ["data.name=sst2", "data.vocabulary=500", "data.length=20"],
    ],
)
def test_recipes_are_written_and_read_back(tmp_path, overrides):
    recipe = load_recipe(overrides=overrides)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(recipe))
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "mnist", "augment": ["spin"]}, "data.augment.0 must be 'crop' or 'flip'; got 'spin'"),
        ({"name": "mnist", "samples": 0}, "data.samples must be greater than 0 or null; got 0"),
        ({"name": "mnist", "train_share": 1.0}, "data.train_share must be less than 1 or null; got 1"),
        ({"name": "mnist", "balanced": True}, "data: balanced needs a number of samples"),
        ({"name": "adult", "augment": ["crop"]}, "data.augment is not a field; choose from balanced, classes,"),
        ({"name": "cola", "vocabulary": 2}, "data.vocabulary must be greater than or equal to 3; got 2"),
        ({"name": "mnist", "classes": [True]}, "data.classes.0 must be a valid string; got true"),
    ],
)
def test_what_recipes_cannot_say_is_told_by_field(data, message):
    with pytest.raises(InvalidRecipe) as caught:
        parse_recipe({"data": data})
    assert str(caught.value).startswith(message)


def test_an_mlp_trains_on_flattened_images():
    session = Session.of(load_recipe(overrides=["data.name=mnist", *SMALL]))
    assert session.model.linear1.weight.shape == (8, 784)
    assert session.loss_name == "cross_entropy"
    assert all(torch.isfinite(torch.tensor(session.update(step))) for step in range(1, 6))


def test_an_augmented_batch_is_a_function_of_seed_and_step_alone():
    dataset = load_data(ImagesConfig(name="mnist", augment=["crop", "flip"]), seed=0)
    walked = Batches(dataset, 10, seed=7)
    for step in (1, 2, 3, 9, 4, 1):
        inputs, targets = walked.of_step(step)
        alone = Batches(dataset, 10, seed=7).of_step(step)
        assert torch.equal(inputs, alone[0])
        assert torch.equal(targets, alone[1])
    assert not torch.equal(walked.of_step(1)[0], Batches(dataset, 10, seed=8).of_step(1)[0])


def test_two_passes_see_an_image_in_different_crops():
    dataset = load_data(ImagesConfig(name="mnist", augment=["crop"]), seed=0)
    batches = Batches(dataset, 40, seed=0)  # all of them, in their order
    one, other = batches.of_step(1)[0], batches.of_step(2)[0]
    same = [torch.equal(a, b) for a, b in zip(one, other, strict=True)]
    assert sum(same) < 8  # of 40, with 81 places each


def test_words_are_not_given_to_a_network_of_numbers(cache, monkeypatch, tmp_path):
    from data_cases import write_ag_news

    (cache / "downloads/ag_news").mkdir()
    path = write_ag_news(cache / "downloads/ag_news/train.csv", [(1, "a", "b")] * 20)
    point_to(monkeypatch, "ag_news", [origin(path)], [origin(path)], (20, 20))
    with pytest.raises(InvalidRecipe, match=r"a network that looks words up, for ag_news; got mlp"):
        Session.of(load_recipe(overrides=["data.name=ag_news", *SMALL]))
