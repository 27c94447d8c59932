"""The images of Figures 2 to 4: some of CIFAR-10, averaged down to a smaller side where the scale asks for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from cloudchamber.data import ImagesConfig, load_data, load_digits, split

Images = Float[Tensor, "n c h w"]
Rows = Float[Tensor, "n d"]


@dataclass(frozen=True)
class Pictures:
    """Images to train on and to test on, of mean square 1 per number over the former."""

    inputs: Images | Rows
    targets: Int[Tensor, " n"]
    test_inputs: Float[Tensor, "m c h w"] | Float[Tensor, "m d"]
    test_targets: Int[Tensor, " m"]
    classes: int

    @property
    def flat(self) -> Pictures:
        """The same, a row of numbers per image."""
        return replace(self, inputs=self.inputs.flatten(1), test_inputs=self.test_inputs.flatten(1))


def pictures(data: str, *, samples: int, tests: int, side: int, seed: int) -> Pictures:
    """Return images of a data set.

    Args:
        data: "cifar10", or "digits" for a quick run: those have a side of 8.
        samples: to train on, drawn by the seed; of the digits four fifths of all.
        tests: to test on; of the digits the others.
        side: images of CIFAR-10 are averaged down to this.
        seed: of the run.
    """
    if data == "digits":
        train, test = split(load_digits(), 0.8, seed)
        middle, edge = train.inputs.mean(), math.isqrt(train.inputs[0].numel())
        inputs, test_inputs = ((part.inputs - middle).reshape(-1, 1, edge, edge) for part in (train, test))
    else:
        train = load_data(ImagesConfig(name="cifar10", samples=samples), seed)
        test = load_data(ImagesConfig(name="cifar10", samples=tests), seed, "test")
        inputs, test_inputs = (functional.adaptive_avg_pool2d(part.inputs, side) for part in (train, test))
    size = torch.sqrt(inputs.square().mean())
    return Pictures(inputs / size, train.targets, test_inputs / size, test.targets, train.classes)
