"""Classes, samples and new splits: laws, seeds and refusals."""

import pytest
import torch
from data_cases import laws, pixels, random
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudchamber._core.errors import InvalidInput, InvalidRecipe
from cloudchamber.data import Augmentation, Dataset, load_digits, split
from cloudchamber.data.subsets import SubsetConfig, select

NAMES = ("ant", "bee", "cow", "dog")
TRAIN, TEST = torch.randint(0, 4, (97,), generator=random(1)), torch.randint(0, 4, (31,), generator=random(2))
POOLED = torch.cat([TRAIN, TEST])


def labels(part):
    return TRAIN if part == "train" else TEST


def choose(part="train", seed=0, **fields):
    return select(labels, NAMES, SubsetConfig(**fields), seed, part)


def taken(part="train", seed=0, **fields):
    """Return the rows chosen, counted through both parts, and the old labels."""
    selection = choose(part, seed, **fields)
    numbers = selection.of(lambda each: torch.arange(97) if each == "train" else 97 + torch.arange(31))
    return numbers.tolist(), POOLED[numbers], selection


def test_nothing_asked_for_is_the_official_part():
    for part, given_labels in (("train", TRAIN), ("test", TEST)):
        selection = choose(part)
        assert torch.equal(selection.targets, given_labels)
        assert selection.of(labels) is given_labels  # no copy
        assert selection.class_names == NAMES


@laws
@given(st.lists(st.integers(0, 3), min_size=1, unique=True), st.sampled_from(["train", "test"]), st.booleans())
def test_classes_are_labelled_anew_in_the_order_given(numbers, part, by_name):
    asked = [NAMES[number] for number in numbers] if by_name else numbers
    rows, old, selection = taken(part, classes=asked)
    assert selection.class_names == tuple(NAMES[number] for number in numbers)
    assert [numbers[new] for new in selection.targets.tolist()] == old.tolist()
    assert len(rows) == sum(int(label) in numbers for label in labels(part))
    assert rows == sorted(rows)


@laws
@given(st.integers(1, 97), st.integers(1, 97), st.integers(0, 20))
def test_more_samples_contain_the_fewer(one, other, seed):
    fewer, more = sorted((one, other))
    rows = set(taken(samples=fewer, seed=seed)[0])
    assert len(rows) == fewer
    assert rows <= set(taken(samples=more, seed=seed)[0])


@laws
@given(st.integers(1, 10), st.integers(0, 20), st.booleans())
def test_balanced_samples_are_equally_many_of_each_class(each, seed, two):
    classes = ["dog", "bee"] if two else None
    count = 2 if two else 4
    _, _, selection = taken(samples=count * each, balanced=True, classes=classes, seed=seed)
    assert torch.bincount(selection.targets).tolist() == [each] * count


@laws
@given(st.floats(0.05, 0.95), st.integers(0, 20))
def test_a_new_split_parts_the_pool(share, seed):
    train, test = (taken(part, train_share=share, seed=seed)[0] for part in ("train", "test"))
    assert sorted(train + test) == list(range(128))
    assert len(train) == round(128 * share)
    for part in ("train", "test"):
        _, old, selection = taken(part, train_share=share, seed=seed)
        assert torch.equal(selection.targets, old)


def test_samples_are_drawn_of_the_training_part_only_and_by_the_seed():
    assert len(choose("test", samples=5).targets) == 31
    rows = [tuple(taken(samples=20, seed=seed)[0]) for seed in range(5)]
    assert len(set(rows)) == 5
    assert rows[3] == tuple(taken(samples=20, seed=3)[0])
    splits = {tuple(taken(train_share=0.5, seed=seed)[0]) for seed in range(5)}
    assert len(splits) == 5


def test_everything_at_once():
    fields = {"train_share": 0.6, "classes": ["cow", "ant"], "samples": 20, "balanced": True}
    rows, old, selection = taken(**fields)
    assert torch.bincount(selection.targets).tolist() == [10, 10]
    assert set(old.tolist()) == {0, 2}
    whole, _, _ = taken(train_share=0.6)
    assert set(rows) <= set(whole)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": 98}, "data.samples must be at most 97; got 98. Remedy"),
        ({"samples": 6, "balanced": True}, "data.samples must be a multiple of the 4 classes, at most"),
        ({"samples": 96, "balanced": True}, "data.samples must be a multiple of the 4 classes, at most"),
        ({"classes": ["cat"]}, "data.classes are of 0 ant, 1 bee, 2 cow, 3 dog; got 'cat'"),
        ({"classes": [4]}, "data.classes are of 0 ant, 1 bee, 2 cow, 3 dog; got '4'"),
        ({"classes": [-1]}, "got '-1'"),
        ({"classes": []}, "one class or more, each once; got []"),
        ({"classes": ["ant", 0]}, r"one class or more, each once; got ['ant', '0']"),
        ({"train_share": 0.001}, "both parts of a split hold samples; got 0 of 128"),
    ],
)
def test_what_the_set_does_not_have_is_refused(fields, message):
    with pytest.raises(InvalidInput) as caught:
        choose(**fields)
    assert message in str(caught.value)
    assert isinstance(caught.value, InvalidRecipe) or "train_share" in fields


@pytest.mark.parametrize(
    "fields",
    [
        {"samples": 0},
        {"samples": 2.5},
        {"train_share": 0.0},
        {"train_share": 1.0},
        {"balanced": True},
        {"classes": "ant"},
        {"classes": [True]},
        {"classes": [1.5]},
    ],
)
def test_what_is_no_subset_is_refused(fields):
    with pytest.raises(ValidationError):
        SubsetConfig(**fields)


def test_a_data_set_is_parted_with_its_targets():
    digits = load_digits()
    train, test = split(digits, 0.75, seed=4)
    assert (len(train), len(test), test.classes, test.name) == (1348, 449, 10, "digits")
    assert torch.equal(torch.cat([train.targets, test.targets]).bincount(), digits.targets.bincount())
    rows = {(*x, float(y)) for x, y in zip(digits.inputs.tolist(), digits.targets.tolist(), strict=True)}
    for part in (train, test):
        assert {(*x, float(y)) for x, y in zip(part.inputs.tolist(), part.targets.tolist(), strict=True)} <= rows
    assert torch.equal(split(digits, 0.75, seed=4)[0].inputs, train.inputs)
    assert not torch.equal(split(digits, 0.75, seed=5)[0].inputs, train.inputs)
    with pytest.raises(InvalidInput, match="both parts of a split hold samples; got 1797 of 1797"):
        split(digits, 0.9999, seed=0)


def test_the_test_part_of_a_split_is_not_augmented():
    stored = pixels(8, 1, 2, 2)
    augmentation = Augmentation(stored, None, 0, True, torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    whole = Dataset("made up", stored.float(), torch.arange(8), 8, augmentation=augmentation)
    train, test = split(whole, 0.5, seed=0)
    assert test.augmentation is None
    assert torch.equal(train.augmentation.pixels, stored[train.targets])
    inputs, targets = test.batch(torch.tensor([2, 0]), random())
    assert torch.equal(inputs, test.inputs[[2, 0]])
    assert torch.equal(targets, test.targets[[2, 0]])
    inputs, _ = train.batch(torch.arange(4), random())
    assert torch.equal(inputs.sort(-1).values, train.inputs.sort(-1).values)
    assert whole.to(torch.device("meta")).augmentation.pixels.device.type == "meta"
