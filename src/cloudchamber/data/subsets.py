"""Parts of data sets: some classes, some samples, other shares of training and test; seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Int
from pydantic import BeforeValidator, Field, PositiveInt, model_validator
from torch import Tensor

from cloudchamber._core.config import Config
from cloudchamber._core.errors import InvalidRecipe, require
from cloudchamber._core.seeding import generator
from cloudchamber._core.types import Labels
from cloudchamber.data.dataset import Dataset

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")
Rows = Int[Tensor, " _"]


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[str, BeforeValidator(_as_text)]


class SubsetConfig(Config):
    """Which samples of a set are used; every choice is drawn from the seed of the run."""

    samples: PositiveInt | None = None
    """training samples, drawn without replacement; null = all"""
    balanced: bool = False
    """whether `samples` are equally many of each class"""
    classes: list[ClassName] | None = None
    """names or numbers of the classes used, labelled anew in this order; null = all"""
    train_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """share of the pooled training and test samples that is trained on, drawn at random; null = the official split"""

    @model_validator(mode="after")
    def _balance_of_samples(self) -> SubsetConfig:
        if self.balanced and self.samples is None:
            raise ValueError("balanced needs a number of samples")
        return self


def split(dataset: Dataset, train_share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Part a data set at random into one to train on and one to test on; the samples keep their order.

    Args:
        dataset: what to part.
        train_share: share of the first part, between 0 and 1; rounded to whole samples.
        seed: the same seed gives the same parts.

    Returns:
        The two parts; the second one is not augmented.

    Raises:
        InvalidInput: if a part would be empty.

    >>> from cloudchamber.data import load_digits
    >>> [len(part) for part in split(load_digits(), 0.8, seed=0)]
    [1438, 359]
    """
    train, test = split_rows(len(dataset), train_share, seed)
    return dataset.of(train), replace(dataset.of(test), augmentation=None)


def split_rows(samples: int, train_share: float, seed: int) -> tuple[Rows, Rows]:
    """Return the rows of both parts of a random split, each in increasing order (see `split`)."""
    first = round(train_share * samples)
    require(0 < first < samples, "both parts of a split hold samples", f"{first} of {samples}", "choose another share")
    order = torch.randperm(samples, generator=generator(seed, "split"))
    return order[:first].sort().values, order[first:].sort().values


def class_numbers(wanted: list[str] | None, names: tuple[str, ...]) -> list[int]:
    """Return the numbers of the wanted classes; None = all.

    Raises:
        InvalidRecipe: if a class is unknown or named twice.
    """
    numbers = list(range(len(names))) if wanted is None else [_number(name, names) for name in wanted]
    if not numbers or len(set(numbers)) < len(numbers):
        raise InvalidRecipe(f"data.classes names one class or more, each once; got {wanted}. Remedy: mend the list.")
    return numbers


def _number(name: str, names: tuple[str, ...]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    known = ", ".join(f"{number} {known}" for number, known in enumerate(names))
    raise InvalidRecipe(f"data.classes are of {known}; got {name!r}. Remedy: check the spelling.")


@dataclass(frozen=True)
class Selection:
    """Which samples of the official parts make up a part, and what they are called.

    Attributes:
        rows: the rows of each official part, in increasing order.
        targets: the new label of each of them, one part after the other.
        class_names: what the new labels stand for.
    """

    rows: dict[Part, Rows]
    targets: Labels
    class_names: tuple[str, ...]

    def of(self, values: Callable[[Part], Tensor]) -> Tensor:
        """Return the selected rows of `values`, which gives those of an official part."""
        taken = [whole if len(rows) == len(whole) else whole[rows] for whole, rows in self._pairs(values)]
        return taken[0] if len(taken) == 1 else torch.cat(taken)

    def _pairs(self, values: Callable[[Part], Tensor]) -> list[tuple[Tensor, Rows]]:
        return [(values(part), rows) for part, rows in self.rows.items()]


def select(
    labels: Callable[[Part], Labels], class_names: tuple[str, ...], config: SubsetConfig, seed: int, part: Part
) -> Selection:
    """Choose the samples of a part as a recipe says.

    First training and test are parted anew, where `train_share` is given; then the classes are chosen; then, of
    the training part, as many samples as are wanted.

    Args:
        labels: gives the labels of an official part.
        class_names: what they stand for.
        config: of the recipe.
        seed: of the run.
        part: which part is wanted.

    Raises:
        InvalidRecipe: if classes are unknown, or there are not as many samples.
    """
    official: tuple[Part, ...] = (part,) if config.train_share is None else PARTS
    of_parts = [labels(each) for each in official]
    pooled = torch.cat(of_parts)
    rows = torch.arange(len(pooled))
    if config.train_share is not None:
        rows = split_rows(len(pooled), config.train_share, seed)[PARTS.index(part)]
    wanted = class_numbers(config.classes, class_names)
    rows = rows[torch.isin(pooled[rows], torch.tensor(wanted))]
    if part == "train":
        rows = rows[drawn(pooled[rows], wanted, config, seed)]
    bounds = [0, *accumulate(map(len, of_parts))]
    within = [rows[(rows >= low) & (rows < high)] - low for low, high in pairwise(bounds)]
    names = tuple(class_names[number] for number in wanted)
    return Selection(dict(zip(official, within, strict=True)), relabelled(pooled[rows], wanted), names)


def drawn(labels: Labels, wanted: list[int], config: SubsetConfig, seed: int) -> Rows:
    """Return the rows of `config.samples` training samples, in increasing order.

    More samples with the same seed contain the fewer.

    Raises:
        InvalidRecipe: if there are not as many, or not equally many of each class.
    """
    if config.samples is None:
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=generator(seed, "samples"))
    groups = [order[labels[order] == label] for label in wanted] if config.balanced else [order]
    each, rest = divmod(config.samples, len(groups))
    if rest or each > min(map(len, groups)):
        raise InvalidRecipe(_too_many(config.samples, groups))
    return torch.cat([group[:each] for group in groups]).sort().values


def _too_many(samples: int, groups: list[Tensor]) -> str:
    most = len(groups) * min(map(len, groups))
    kind = f"at most {most}" if len(groups) == 1 else f"a multiple of the {len(groups)} classes, at most {most}"
    return f"data.samples must be {kind}; got {samples}. Remedy: choose another number, or null for all."


def relabelled(labels: Labels, wanted: list[int]) -> Labels:
    """Return each label's place in `wanted`, which holds every one of them."""
    place = torch.zeros(max(wanted) + 1, dtype=torch.int64)
    place[torch.tensor(wanted)] = torch.arange(len(wanted))
    return place[labels]
