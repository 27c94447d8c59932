"""Whole data sets, as recipes ask for them, from made-up public files."""

import pytest
import torch
from data_cases import (
    labels,
    origin,
    person,
    pixels,
    point_to,
    random,
    write_adult,
    write_ag_news,
    write_idx,
    write_tiny_imagenet,
    zipped,
)
from pydantic import ValidationError

from cloudchamber._core.errors import DamagedFile, InvalidInput, InvalidRecipe
from cloudchamber.data import (
    SOURCES,
    AdultConfig,
    DigitsConfig,
    ImagesConfig,
    SinesConfig,
    TextConfig,
    central_crop,
    load_data,
    provenance,
)
from cloudchamber.data.images import PADDING
from cloudchamber.data.text import numbered, tokens, vocabulary

PEOPLE, OTHERS = [person(i) for i in range(24)], [person(i) for i in range(5, 17)]


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Return what makes files the public ones of a data set, and puts them into the data folder."""
    monkeypatch.setenv("CLOUDCHAMBER_DATA", str(tmp_path / "data"))

    def into(name, train, test, rows):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        point_to(monkeypatch, name, map(origin, train), map(origin, test), rows)
        for path in {*train, *test}:
            path.rename(folder / path.name)

    return into


@pytest.fixture
def mnist(put, tmp_path):
    images = {"train": pixels(40, 28, 28), "test": pixels(20, 28, 28, seed=1)}
    files = {
        part: [
            write_idx(tmp_path / f"{part}-i.gz", values),
            write_idx(tmp_path / f"{part}-l.gz", labels(len(values), 10)),
        ]
        for part, values in images.items()
    }
    put("mnist", files["train"], files["test"], (40, 20))
    return {part: values[:, None] for part, values in images.items()}


@pytest.fixture
def tiny(put, tmp_path):
    path = write_tiny_imagenet(tmp_path / "tiny.zip")
    put("tiny_imagenet_50", [path], [path], (100, 50))


def config(**fields):
    return ImagesConfig(**{"name": "mnist", **fields})


def test_both_parts_are_normalised_by_the_training_part(mnist):
    mean, deviation = (f(mnist["train"].double() / 255).item() for f in (torch.mean, lambda x: x.std(correction=0)))
    for part in ("train", "test"):
        found = load_data(config(), seed=0, part=part)
        expected = (mnist[part].double() / 255 - mean) / deviation
        torch.testing.assert_close(found.inputs.double(), expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.targets, labels(len(expected), 10))
    assert (found.sample_shape, found.output_size, found.name) == ((1, 28, 28), 10, "mnist")
    assert found.source.count("md5:") == 2


def test_a_subset_is_normalised_like_the_whole(mnist):
    whole = load_data(config(), seed=3)
    part = load_data(config(samples=12), seed=3)
    rows = [row for row in range(40) if any(torch.equal(whole.inputs[row], image) for image in part.inputs)]
    assert len(part) == len(rows) == 12
    assert torch.equal(part.inputs, whole.inputs[rows])
    assert torch.equal(part.targets, whole.targets[rows])


def test_classes_of_images(mnist):
    found = load_data(config(classes=[7, "2"]), seed=0)
    assert (found.classes, found.class_names, found.output_size) == (2, ("7", "2"), 2)
    assert found.targets.tolist() == [1, 0] * 4
    whole = load_data(config(), seed=0)
    assert torch.equal(found.inputs, whole.inputs[torch.isin(whole.targets, torch.tensor([2, 7]))])


def test_a_new_split_holds_every_image_once(mnist):
    train, test = (load_data(config(train_share=0.5), seed=1, part=part) for part in ("train", "test"))
    assert (len(train), len(test)) == (30, 30)
    official = torch.cat([load_data(config(), seed=1, part=part).inputs for part in ("train", "test")])
    ours = torch.cat([train.inputs, test.inputs])
    assert torch.equal(ours.flatten(1).sum(1).sort().values, official.flatten(1).sum(1).sort().values)
    assert train.source == test.source
    assert "train-i.gz" in train.source
    assert "test-i.gz" in train.source


def test_training_batches_are_augmented_and_nothing_else(mnist):
    found = load_data(config(augment=["crop", "flip"]), seed=0)
    plain = load_data(config(), seed=0)
    assert torch.equal(found.inputs, plain.inputs)
    assert torch.equal(found.probe(10)[0], plain.probe(10)[0])
    chosen = torch.arange(40)
    first, targets = found.batch(chosen, random(1))
    assert torch.equal(targets, plain.targets)
    assert first.shape == plain.inputs.shape
    assert not torch.equal(first, plain.inputs)
    assert torch.equal(found.batch(chosen, random(1))[0], first)
    assert not torch.equal(found.batch(chosen, random(2))[0], first)
    assert torch.equal(plain.batch(chosen, random(1))[0], plain.inputs)
    assert (found.augmentation.crop, found.augmentation.padding, found.augmentation.flip) == (28, PADDING, True)
    assert load_data(config(augment=["crop", "flip"]), seed=0, part="test").augmentation is None
    only = load_data(config(augment=["flip"]), seed=0)
    assert torch.equal(only.batch(chosen, random(1))[0].sort(-1).values, plain.inputs.sort(-1).values)


@pytest.mark.parametrize("normalization", ["channel", "scaled", "standardized"])
def test_smaller_images_are_the_middle_of_the_whole_ones(mnist, normalization):
    whole = load_data(config(normalization=normalization), seed=0)
    found = load_data(config(normalization=normalization, size=20), seed=0)
    assert torch.equal(found.inputs, central_crop(whole.inputs, 20))
    flipped = load_data(config(normalization=normalization, size=20, augment=["flip"]), seed=0)
    assert flipped.augmentation.pixels.shape == (40, 1, 20, 20)
    cropped = load_data(config(normalization="scaled", size=20, augment=["crop"]), seed=0).augmentation
    assert (cropped.pixels.shape, cropped.crop, cropped.padding) == ((40, 1, 28, 28), 20, 0)
    assert cropped(torch.arange(3), random()).shape == (3, 1, 20, 20)


def test_images_have_no_more_pixels_than_they_have(mnist):
    with pytest.raises(InvalidRecipe, match=r"data\.size is at most the image's 28; got 29"):
        load_data(config(size=29), seed=0)


def test_tiny_imagenet_is_seen_in_crops_of_32(tiny):
    found = load_data(ImagesConfig(name="tiny_imagenet_50", augment=["crop", "flip"]), seed=0)
    assert found.inputs.shape == (100, 3, 32, 32)
    assert (found.classes, found.class_names[30]) == (50, "n02988304 CD player")
    assert found.augmentation.pixels.shape == (100, 3, 64, 64)
    assert found.batch(torch.arange(5), random())[0].shape == (5, 3, 32, 32)
    assert load_data(ImagesConfig(name="tiny_imagenet_50", size=64), seed=0).inputs.shape == (100, 3, 64, 64)
    assert len(load_data(ImagesConfig(name="tiny_imagenet_50"), seed=0, part="test")) == 50


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "cifar"},
        {"augment": ["rotate"]},
        {"augment": "crop"},
        {"augment": True},
        {"normalization": "none"},
        {"size": 0},
        {"padding": 4},
    ],
)
def test_what_recipes_cannot_say_about_images(fields):
    with pytest.raises(ValidationError):
        config(**fields)


@pytest.fixture
def census(put, tmp_path):
    train, test = write_adult(tmp_path / "adult.data", PEOPLE), write_adult(tmp_path / "adult.test", OTHERS, test=True)
    put("adult", [train], [test], (24, 12))


def slow_adult(people):
    """Encode row by row: 14 columns in their order, numbers standardised, words one by one."""
    rows = []
    for row in people:
        encoded = []
        for column, value in enumerate(row[:-1]):
            known = [other[column] for other in PEOPLE]
            if all(other.isdecimal() for other in known):
                numbers = [int(other) for other in known]
                mean = sum(numbers) / len(numbers)
                deviation = (sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5
                encoded.append((int(value) - mean) / (deviation or 1.0))
            else:
                encoded += [float(value == word) for word in sorted(set(known))]
        rows.append(encoded)
    return torch.tensor(rows, dtype=torch.float64)


def test_adult_is_encoded_like_the_slow_twin(census):
    for part, people in (("train", PEOPLE), ("test", OTHERS)):
        found = load_data(AdultConfig(), seed=0, part=part)
        torch.testing.assert_close(found.inputs.double(), slow_adult(people), atol=1e-6, rtol=1e-6)
        assert found.inputs.dtype == torch.float32
        assert found.targets.tolist() == [int(row[-1] == ">50K") for row in people]
    assert (found.class_names, found.classes) == (("<=50K", ">50K"), 2)


def test_subsets_of_adult(census):
    found = load_data(AdultConfig(samples=8, balanced=True), seed=0)
    assert torch.bincount(found.targets).tolist() == [4, 4]
    assert len(load_data(AdultConfig(train_share=0.75), seed=0)) == 27


@pytest.mark.parametrize("content", ["", "1, 2, 3\n", "x" + ", 1" * 14 + "\n"])
def test_a_file_that_is_not_adult_is_refused(put, tmp_path, content):
    path = tmp_path / "adult.data"
    path.write_text(content)
    put("adult", [path], [path], (1, 1))
    with pytest.raises(DamagedFile, match=r"adult\.data must have"):
        load_data(AdultConfig(), seed=0)


def test_ag_news_is_title_and_description(put, tmp_path):
    rows = [(3, 'Oil "up"', "Prices, again"), (1, "Peace", "At last")]
    path = write_ag_news(tmp_path / "train.csv", rows)
    put("ag_news", [path], [path], (2, 2))
    found = load_data(TextConfig(name="ag_news", length=20), seed=0)
    assert found.targets.tolist() == [2, 0]
    words = [[found.vocabulary[number] for number in row if number] for row in found.inputs.tolist()]
    assert words == [["oil", '"', "up", '"', "prices", ",", "again"], ["peace", "at", "last"]]
    assert found.class_names == ("World", "Sports", "Business", "Sci/Tech")
    assert not found.inputs.is_floating_point()


def test_cola_has_both_development_sets_as_test_part(put, tmp_path):
    rows = {"in_domain_train": "a\t1\t\tOne two.\nb\t0\t*\tTwo \x85 one\n", "in_domain_dev": "a\t0\t*\tOne\n"}
    raw = {f"cola_public/raw/{name}.tsv": content for name, content in rows.items()}
    raw["cola_public/raw/out_of_domain_dev.tsv"] = "c\t1\t\tThree\n"
    tokenized = {name.replace("raw", "tokenized"): "wrong" for name in raw}
    path = zipped(tmp_path / "cola.zip", {**raw, **tokenized})
    put("cola", [path], [path], (2, 2))
    train, test = (load_data(TextConfig(name="cola", length=3), seed=0, part=part) for part in ("train", "test"))
    assert train.vocabulary == ("<filler>", "<unknown>", "one", "two", ".")
    assert train.inputs.tolist() == [[2, 3, 4], [0, 3, 2]]
    assert (train.targets.tolist(), test.targets.tolist()) == ([1, 0], [0, 1])
    assert test.inputs.tolist() == [[0, 0, 2], [0, 0, 1]]


def test_sst2_is_read_under_its_titles(put, tmp_path):
    parts = {
        "SST-2/train.tsv": "sentence\tlabel\ngood film \t1\nbad \t0\n",
        "SST-2/dev.tsv": "sentence\tlabel\nbad\t0\n",
    }
    path = zipped(tmp_path / "sst.zip", parts)
    put("sst2", [path], [path], (2, 1))
    train, test = (load_data(TextConfig(name="sst2", length=2), seed=0, part=part) for part in ("train", "test"))
    assert train.inputs.tolist() == [[4, 3], [0, 2]]
    assert (train.targets.tolist(), test.targets.tolist()) == ([1, 0], [0])
    assert test.inputs.tolist() == [[0, 2]]


@pytest.mark.parametrize("name", ["ag_news", "cola", "sst2"])
def test_a_file_that_is_none_of_the_texts_is_refused(put, tmp_path, name):
    path = tmp_path / "wrong"
    path.write_text("x,y\n")
    put(name, [path], [path], (1, 1))
    with pytest.raises(DamagedFile, match=f"must hold {name} as published"):
        load_data(TextConfig(name=name), seed=0)


def test_words_are_ranked_by_frequency_then_alphabet():
    texts = ["B a", "a b c", "d C b", "é!"]
    assert vocabulary(texts, 9) == ("<filler>", "<unknown>", "b", "a", "c", "!", "d", "é")
    assert vocabulary(texts, 4) == ("<filler>", "<unknown>", "b", "a")
    assert tokens("") == []


def test_long_texts_are_cut_behind_and_short_ones_filled_in_front():
    words = ("<filler>", "<unknown>", "a", "b")
    assert numbered(["a b a b", "b", "", "x"], words, 3).tolist() == [[2, 3, 2], [0, 0, 3], [0, 0, 0], [0, 0, 1]]
    assert numbered([], words, 3).shape == (0, 3)


@pytest.mark.parametrize("other", [DigitsConfig(), SinesConfig()])
def test_sets_without_a_test_part_say_so(other):
    with pytest.raises(InvalidInput, match=f"{other.name} has no test part; got test. Remedy: part it with"):
        load_data(other, seed=0, part="test")


def test_every_source_can_be_named_and_told():
    names = set(SOURCES)
    said = ImagesConfig.model_fields["name"].annotation.__args__ + TextConfig.model_fields["name"].annotation.__args__
    assert names == {*said, "adult"}
    for name in names:
        assert SOURCES[name].licence in provenance(name)
