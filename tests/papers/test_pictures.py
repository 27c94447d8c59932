"""Pictures of results: small, with the colours that were drawn."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from cloudchamber.papers import pictures


@pytest.fixture
def heatmap():
    """Colours of a map, and arrows that are kept as an image with transparent ground."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(3, 1.5))
    left.imshow(np.linspace(-1, 1, 400).reshape(20, 20), cmap="RdBu_r", interpolation="none")
    right.quiver(*np.mgrid[:3, :3], np.ones(9), np.ones(9), color="#e88b1a", rasterized=True)
    yield figure
    plt.close(figure)


def test_a_picture_with_a_palette_looks_as_the_one_without(heatmap):
    whole = io.BytesIO()
    heatmap.savefig(whole, format="png", bbox_inches="tight", dpi=110)
    small = pictures.png(heatmap)
    before, after = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), int) for one in (whole.getvalue(), small))
    assert len(small) < len(whole.getvalue())
    assert np.quantile(np.abs(before - after), 0.99) <= 16  # of 255


def test_images_within_a_drawing_keep_their_transparent_ground(heatmap):
    found = re.findall(rb"data:image/png;base64,([^\"]+)", pictures.svg(heatmap))
    images = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGBA") for one in found]
    assert len(images) == 2
    assert sorted(image.getextrema()[-1][0] for image in images) == [0, 255]
