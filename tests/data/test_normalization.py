"""Normalised pixels beside formulas in float64, and their means and deviations."""

import pytest
import torch
from data_cases import laws, pixels
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.data.normalization import affine_map, normalized
from cloudchamber.data.raw import PixelMoments

NORMALIZATIONS = ["channel", "scaled", "standardized"]


def slow(images, normalization, training):
    """Return what `normalized` should, value by value over the whole of the training images."""
    x, reference = images.double() / 255, training.double() / 255
    if normalization == "scaled":
        return x
    over = (0,) if normalization == "standardized" else (0, 2, 3)
    mean = reference.mean(over, keepdim=True)
    deviation = (reference - mean).square().mean(over, keepdim=True).sqrt()
    return torch.where(deviation > 0, (x - mean) / deviation, torch.zeros_like(x))


@laws
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.sampled_from(NORMALIZATIONS), st.integers(0, 99))
def test_normalised_pixels_are_those_of_the_formula(n, channels, side, normalization, seed):
    training, images = pixels(n, channels, side, side, seed=seed), pixels(3, channels, side, side, seed=seed + 1)
    training[:, :, 0, 0] = 17  # a place that never changes
    scale, shift = affine_map(normalization, PixelMoments.of(training, chunk=2))
    expected = slow(images, normalization, training)
    torch.testing.assert_close(images * scale + shift, expected, atol=1e-10, rtol=1e-10)
    found = normalized(images, scale, shift)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


@laws
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_sums_do_not_depend_on_the_chunks(n, chunk, seed):
    images = pixels(n, 2, 3, 4, seed=seed)
    moments = PixelMoments.of(images, chunk)
    assert moments.count == n
    assert torch.equal(moments.sums, images.long().sum(0))
    assert torch.equal(moments.squares, images.long().square().sum(0))


def test_sums_of_the_largest_pixels_do_not_overflow():
    moments = PixelMoments.of(torch.full((70_000, 1, 1, 1), 255, dtype=torch.uint8))
    assert (moments.sums.item(), moments.squares.item()) == (70_000 * 255, 70_000 * 255**2)


@pytest.mark.parametrize("normalization", ["channel", "standardized"])
def test_training_images_have_mean_0_and_deviation_1(normalization):
    images = pixels(300, 3, 4, 4)
    found = normalized(images, *affine_map(normalization, PixelMoments.of(images))).double()
    over = (0,) if normalization == "standardized" else (0, 2, 3)
    assert found.mean(over).abs().max() < 1e-6
    assert (found.square().mean(over) - 1).abs().max() < 1e-5


def test_scaled_pixels_are_from_0_to_1():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    found = normalized(images, *affine_map("scaled", PixelMoments.of(images)))
    assert found.flatten().tolist() == [0.0, pytest.approx(0.2), 1.0]


def test_images_of_one_colour_become_0_not_nan():
    images = torch.full((4, 2, 3, 3), 200, dtype=torch.uint8)
    for normalization in ("channel", "standardized"):
        found = normalized(images, *affine_map(normalization, PixelMoments.of(images)))
        assert not found.any()
