"""The recipes that the exhibits of mlp2024 share, so that equal ones are run once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from cloudchamber.papers.exhibit import Scale
from cloudchamber.training import Recipe, load_recipe

DataName = Literal["cifar10", "mnist", "tiny_imagenet_50", "adult"]

SETTINGS = (
    "ReLU MLP, SGD, batch 100, cross entropy; random crop and flip for CIFAR-10 and Tiny ImageNet; lr 0.1, on MNIST "
    "0.01. The paper does not state its default initialization: Xavier, with γ = 0.25 and inputs of deviation 1 on "
    "images in colour, with γ = 0.8 and pixels/255 on MNIST, with γ = 0.3 on Census (docs/papers.md shows others). "
    "The first phase ends where the loss begins to decrease (5 %), or where the features are most alike if that is "
    "soon after. Similarities are of 500 training samples, equally many of each class, not augmented."
)

_IMAGES = ("data.augment=[crop, flip]", "initialization.variance_scale=0.25", "optimizer.lr=0.1")
_DATA: dict[DataName, tuple[str, ...]] = {
    "cifar10": ("data.name=cifar10", *_IMAGES),
    "tiny_imagenet_50": ("data.name=tiny_imagenet_50", *_IMAGES),
    "mnist": (
        *("data.name=mnist", "data.normalization=scaled"),
        *("initialization.variance_scale=0.8", "optimizer.lr=0.01"),
    ),
    "adult": (
        *("data.name=adult", "data.samples=15000", "data.balanced=true", "batch_size=1000", "model.width=128"),
        *("initialization.variance_scale=0.3", "optimizer.lr=0.1"),
    ),
}
_STEPS: dict[DataName, int] = {"cifar10": 2500, "tiny_imagenet_50": 8000, "mnist": 2000, "adult": 4000}
_WATCHED = ("observe.measures=[light]", "observe.probe_samples=500", "observe.image_samples=50", "checkpoint_every=500")

SMOKE = (
    *("data.samples=1000", "model.width=32", "batch_size=50", "steps=120", "observe.every=4"),
    *("observe.probe_samples=100", "initialization.name=xavier_normal", "initialization.variance_scale=1.0"),
    *("optimizer.lr=0.05", "optimizer.momentum=0.8"),
)
"""A network so small and quick that it leaves its plateau within a second, on digits too."""


def mlp(data: DataName, scale: Scale, *overrides: str) -> Recipe:
    """Return the recipe of an MLP as the paper trains it, 9 layers of 512 neurons unless overridden.

    Args:
        data: the data set.
        scale: at "smoke" everything is small, whatever else is said.
        overrides: "field=value", as on the command line.

    >>> mlp("cifar10", "laptop", "seed=1").optimizer.lr
    0.1
    """
    small = SMOKE if scale == "smoke" else ()
    return load_recipe(overrides=[*_DATA[data], f"steps={_STEPS[data]}", *_WATCHED, *overrides, *small])


def seeds(scale: Scale, laptop: int = 3, paper: int = 5) -> range:
    """Return the seeds of an exhibit at a scale; one at smoke."""
    return range({"smoke": 1, "laptop": laptop, "paper": paper}[scale])


def series(
    data: DataName, scale: Scale, networks: Mapping[str, Sequence[str]], chosen: Iterable[int]
) -> dict[str, Recipe]:
    """Return the recipes of several networks with each seed, by "network, seed k".

    Args:
        data: the data set.
        scale: at "smoke" everything is small.
        networks: by a name of ours, what sets each apart from the 9-layer MLP of 512 neurons.
        chosen: the seeds.
    """
    return {
        f"{name}, seed {seed}": mlp(data, scale, *overrides, f"seed={seed}")
        for seed in chosen
        for name, overrides in networks.items()
    }


def shortened(
    networks: Mapping[str, Sequence[str]], scale: Scale, steps: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Return networks of which some are trained for fewer steps at "laptop": those that leave their plateaus early.

    Args:
        networks: by a name of ours, overrides.
        scale: at "smoke" and "paper" nothing is cut.
        steps: by the names of some of the networks.

    >>> shortened({"a": (), "b": ()}, "laptop", {"b": 800})
    {'a': (), 'b': ('steps=800',)}
    """
    cut = steps if scale == "laptop" else {}
    return {name: (*own, *((f"steps={cut[name]}",) if name in cut else ())) for name, own in networks.items()}


def by_seed(data: DataName, scale: Scale, laptop: int = 3, paper: int = 5) -> dict[str, Recipe]:
    """Return the 9-layer MLP of 512 neurons on a data set, by the name of data and seed."""
    return {f"{data} seed {seed}": mlp(data, scale, f"seed={seed}") for seed in seeds(scale, laptop, paper)}
