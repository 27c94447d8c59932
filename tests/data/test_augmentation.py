"""Crops and flips, beside a twin that goes image by image and pixel by pixel."""

import math

import pytest
import torch
from data_cases import laws, pixels, random
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber._core.errors import InvalidInput
from cloudchamber.data import Augmentation, central_crop, random_crop, random_flip

sides = st.integers(1, 6)


def slow_crops(image, size, padding):
    """Return every square of an image within its border, pixel by pixel."""
    c, h, w = image.shape
    squares = []
    for top in range(-padding, h + padding - size + 1):
        for left in range(-padding, w + padding - size + 1):
            square = torch.zeros(c, size, size, dtype=image.dtype)
            for y in range(size):
                for x in range(size):
                    if 0 <= top + y < h and 0 <= left + x < w:
                        square[:, y, x] = image[:, top + y, left + x]
            squares.append(square)
    return squares


def slow_crop(images, size, padding, generator):
    """Cut image by image, with the places drawn as `random_crop` draws them."""
    _, _, h, w = images.shape
    places = [(h + 2 * padding - size) + 1, (w + 2 * padding - size) + 1]
    top, left = (torch.randint(0, many, (len(images),), generator=generator).tolist() for many in places)
    chosen = [
        slow_crops(image, size, padding)[t * places[1] + x] for image, t, x in zip(images, top, left, strict=True)
    ]
    return torch.stack(chosen)


@laws
@given(st.integers(1, 4), st.integers(1, 3), sides, sides, st.integers(0, 3), st.data(), st.integers(0, 99))
def test_crops_are_those_of_the_slow_twin(n, channels, h, w, padding, data, seed):
    size = data.draw(st.integers(1, min(h, w) + 2 * padding))
    images = pixels(n, channels, h, w, seed=seed)
    for values in (images, images.double() / 7):
        found = random_crop(values, size, generator=random(seed), padding=padding)
        assert torch.equal(found, slow_crop(values, size, padding, random(seed)))
        assert found.dtype == values.dtype


def test_every_place_is_as_likely():
    image = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(9000, 1, 3, 3)
    found = random_crop(image, 3, generator=random(), padding=1)
    centres, counts = found[:, 0, 1, 1].unique(return_counts=True)
    assert centres.tolist() == list(range(1, 10))
    assert counts.sub(1000).abs().max() < 5 * math.sqrt(9000 * (1 / 9) * (8 / 9))


@laws
@given(st.integers(0, 6), st.integers(1, 3), sides, sides, st.integers(0, 99))
def test_flips_are_those_of_the_slow_twin(n, channels, h, w, seed):
    images = pixels(n, channels, h, w, seed=seed)
    chances = torch.rand(n, generator=random(seed), dtype=torch.float64).tolist()
    expected = [
        torch.stack([image[:, :, w - 1 - x] for x in range(w)], dim=2) if chance < 0.3 else image
        for image, chance in zip(images, chances, strict=True)
    ]
    found = random_flip(images, generator=random(seed), probability=0.3)
    assert found.shape == images.shape
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@laws
@given(st.integers(1, 5), sides, st.integers(0, 99))
def test_flipping_twice_by_the_same_chances_gives_the_images_back(n, side, seed):
    images = pixels(n, 2, side, side, seed=seed)
    once = random_flip(images, generator=random(seed))
    assert torch.equal(random_flip(once, generator=random(seed)), images)
    assert torch.equal(random_flip(images, generator=random(seed), probability=0.0), images)
    assert torch.equal(random_flip(images, generator=random(seed), probability=1.0), images.flip(3))


def test_half_of_the_images_are_flipped():
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(10_000, 1, 1, 2)
    assert abs(random_flip(images, generator=random())[:, 0, 0, 0].float().mean() - 0.5) < 5 * 0.5 / 100


def test_only_the_given_generator_is_used():
    images, state = pixels(5, 3, 8, 8), torch.get_rng_state()
    random_flip(random_crop(images, 8, generator=random(), padding=4), generator=random())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("side", "size", "corner"), [(5, 3, 1), (4, 3, 0), (4, 2, 1), (4, 4, 0), (1, 1, 0)])
def test_the_middle_of_an_image(side, size, corner):
    image = torch.arange(side * side).reshape(1, 1, side, side)
    found = central_crop(image, size)
    assert torch.equal(found, image[:, :, corner : corner + size, corner : corner + size])
    assert found.data_ptr() == image[:, :, corner, corner].data_ptr()


def test_what_does_not_fit_is_refused():
    images = pixels(2, 3, 4, 5)
    for size, padding in ((5, 0), (7, 1), (0, 0)):
        with pytest.raises(InvalidInput, match=f"got size {size} for images of 4×5 with padding {padding}"):
            random_crop(images, size, generator=random(), padding=padding)
    with pytest.raises(InvalidInput, match="`padding` is at least 0; got -1"):
        random_crop(images, 2, generator=random(), padding=-1)
    with pytest.raises(InvalidInput, match="4×5 images is of 1 to 4 pixels; got 5"):
        central_crop(images, 5)
    for probability in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidInput, match="`probability` is from 0 to 1"):
            random_flip(images, generator=random(), probability=probability)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [None, 6, 8])
def test_an_augmentation_crops_then_flips_then_normalises(crop, flip):
    images, chosen = pixels(9, 3, 8, 8), torch.tensor([4, 0, 4])
    scale, shift = torch.tensor([0.5, 0.25, 2.0])[:, None, None], torch.tensor([-1.0, 3.0, 0.0])[:, None, None]
    augmentation = Augmentation(images, crop, 2, flip, scale, shift)
    generator = random(5)
    expected = images[chosen]
    if crop is not None:
        expected = slow_crop(expected, crop, 2, generator)
    if flip:
        expected = random_flip(expected, generator=generator)
    assert torch.equal(augmentation(chosen, random(5)), expected * scale + shift)
    assert torch.equal(augmentation.of(chosen)(torch.arange(3), random(5)), augmentation(chosen, random(5)))
    assert augmentation.to(torch.device("meta")).pixels.device.type == "meta"


def test_the_border_is_as_black_as_a_black_pixel():
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    shift = torch.tensor([-1.0, 3.0, 0.5])[:, None, None]
    found = Augmentation(black, 4, 4, True, torch.ones(3, 1, 1), shift)(torch.zeros(50, dtype=torch.int64), random())
    assert torch.equal(found, shift.expand(50, 3, 4, 4))
