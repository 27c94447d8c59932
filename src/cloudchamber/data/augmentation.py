"""Random crops and flips of images, batch by batch, from a generator of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.data.normalization import normalized
from cloudchamber.data.raw import Pixels

Images = Shaped[Tensor, "n c h w"]
Squares = Shaped[Tensor, "n c s s"]


def random_crop(images: Images, size: int, *, generator: torch.Generator, padding: int = 0) -> Squares:
    """Cut a square at a random place out of each image, after a black border was put around it.

    `y[i, c, a, b] = x̄[i, c, t_i + a, l_i + b]`, where x̄ is x within a border of `padding` zeros, and t_i and l_i are
    uniform over all places at which the square lies within x̄. The same square is cut out of every channel of an image.

    Args:
        images: (n, c, h, w), of any dtype; not normalised yet, where the border is to be black.
        size: side of the squares, in pixels.
        generator: where t and l come from, on the CPU; images on another device get the same squares.
        padding: width of the border; usual for CIFAR-10 are 4 pixels with squares as large as the image.

    Returns:
        (n, c, size, size).

    Raises:
        InvalidInput: if the square does not fit into the image with its border.

    Source: mlp2024, Appendix B.1 ("random cropping"); the paper does not state the border.

    >>> image = torch.arange(9).reshape(1, 1, 3, 3)
    >>> random_crop(image, 2, generator=torch.Generator().manual_seed(0)).tolist()
    [[[[1, 2], [4, 5]]]]
    """
    n, _, h, w = images.shape
    room = (h + 2 * padding - size, w + 2 * padding - size)
    require(padding >= 0, "`padding` is at least 0", padding, "use 4 for CIFAR-10")
    require(
        size >= 1 and min(room) >= 0,
        "a crop's `size` is from 1 to the image's side with its border",
        f"size {size} for images of {h}×{w} with padding {padding}",
        "choose a smaller size or more padding",
    )
    top, left = (torch.randint(0, places + 1, (n,), generator=generator).to(images.device) for places in room)
    bordered = torch.nn.functional.pad(images, (padding,) * 4)
    squares = bordered.unfold(2, size, 1).unfold(3, size, 1)
    return squares[torch.arange(n, device=images.device), :, top, left]


def random_flip(images: Images, *, generator: torch.Generator, probability: float = 0.5) -> Images:
    """Mirror each image left to right, with a probability of its own.

    `y[i, c, a, b] = x[i, c, a, w − 1 − b]` for the flipped ones.

    Args:
        images: (n, c, h, w), of any dtype.
        generator: decides which, on the CPU; images on another device get the same flips.
        probability: of each image to be flipped.

    Returns:
        (n, c, h, w).

    Raises:
        InvalidInput: if `probability` is not one.

    Source: mlp2024, Appendix B.1 ("random horizontal flipping").

    >>> random_flip(torch.tensor([[[[1, 2]]]]), generator=torch.Generator(), probability=1.0).tolist()
    [[[[2, 1]]]]
    """
    require(0 <= probability <= 1, "a `probability` is from 0 to 1", probability, "use 0.5")
    n = len(images)
    flipped = torch.rand(n, generator=generator, dtype=torch.float64) < probability
    rows = (torch.arange(n) + n * flipped).to(images.device)
    return torch.cat([images, images.flip(3)]).index_select(0, rows)  # four times as fast as `where` on bytes


def central_crop(images: Images, size: int) -> Squares:
    """Return the middle of each image, as a view; where it cannot be exact, half a pixel up and to the left.

    Raises:
        InvalidInput: if `size` is not from 1 to the side of the image.

    >>> central_crop(torch.arange(9).reshape(1, 1, 3, 3), 1).item()
    4
    """
    h, w = images.shape[2:]
    require(1 <= size <= min(h, w), f"a crop of {h}×{w} images is of 1 to {min(h, w)} pixels", size, "choose one")
    top, left = (h - size) // 2, (w - size) // 2
    return images[:, :, top : top + size, left : left + size]


@dataclass(frozen=True)
class Augmentation:
    """Makes the inputs of a training step of stored pixels: crop, flip, then normalisation.

    Attributes:
        pixels: (n, c, h, w), 0 … 255, of all samples.
        crop: side of the random crops; None = images are not cropped.
        padding: black border around the images before the crop.
        flip: whether images are flipped at random.
        scale: a of the normalisation a·x + b.
        shift: b of the normalisation.
    """

    pixels: Pixels
    crop: int | None
    padding: int
    flip: bool
    scale: Tensor
    shift: Tensor

    def __call__(self, chosen: Tensor, generator: torch.Generator) -> Float[Tensor, "m c s s"]:
        """Return the inputs of the samples `chosen` for one training step."""
        images = self.pixels.index_select(0, chosen.to(self.pixels.device))
        if self.crop is not None:
            images = random_crop(images, self.crop, generator=generator, padding=self.padding)
        if self.flip:
            images = random_flip(images, generator=generator)
        return normalized(images, self.scale, self.shift)

    def of(self, rows: Tensor) -> Augmentation:
        """Return the same for some of the samples."""
        return replace(self, pixels=self.pixels[rows])

    def to(self, device: torch.device) -> Augmentation:
        """Return the same on a device."""
        moved = {name: getattr(self, name).to(device) for name in ("pixels", "scale", "shift")}
        return replace(self, **moved)
