"""UCI Adult (census income) as numbers."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.dataset import Dataset
from cloudchamber.data.parquet import read_columns
from cloudchamber.data.places import Found, archives, find
from cloudchamber.data.raw import RENEW
from cloudchamber.data.sources import SOURCES
from cloudchamber.data.subsets import Part, SubsetConfig, select

_NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
_COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"),
)
_CLASS_NAMES = ("<=50K", ">50K")

Table = dict[str, np.ndarray]


class AdultConfig(SubsetConfig):
    """UCI Adult, the Census set of mlp2024, as 108 numbers a sample.

    The 14 columns come in their order. The 6 of numbers (age, fnlwgt, education-num, capital-gain, capital-loss,
    hours-per-week) get mean 0 and standard deviation 1 over the official training part; the 8 of words become one
    column of 0 and 1 for each word of that part, in alphabetical order, a missing value ("?") being a word. The paper
    does not state its encoding.
    """

    name: Literal["adult"] = "adult"


def load_adult(config: AdultConfig, seed: int, part: Part) -> Dataset:
    """Load a part of UCI Adult; inputs (n, 108) float32, label 1 = more than 50,000 dollars a year.

    Raises:
        InvalidRecipe: if classes are unknown or there are not as many samples.
        FileAccess: if the set is nowhere, or a library to read it is not installed.
        DamagedFile: if what was found is not as published.
    """
    source = SOURCES["adult"]

    @cache
    def of(official: Part) -> tuple[Table, Found]:
        found = find(source, official)
        return (_parquet(found.parquet) if found.parquet else _csv(archives(source, official)[0])), found

    train, _ = of("train")
    selection = select(lambda each: torch.from_numpy(of(each)[0]["label"]), _CLASS_NAMES, config, seed, part)
    sources = [of(each)[1].described(source.rows_of(each), len(of(each)[0]["label"])) for each in selection.rows]
    return Dataset(
        "adult",
        selection.of(lambda each: encoded(of(each)[0], train)),
        selection.targets,
        len(selection.class_names),
        class_names=selection.class_names,
        source="; ".join(sources),
    )


def encoded(table: Table, train: Table) -> Float[Tensor, "n d"]:
    """Return the columns of a table as numbers, with the means, deviations and words of the training part."""
    columns = (
        _standardized(table[name], train[name]) if name in _NUMBERS else _one_hot(table[name], train[name])
        for name in _COLUMNS
    )
    return torch.from_numpy(np.concatenate(list(columns), axis=1).astype(np.float32))


def _standardized(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    deviation = train.std()
    return ((values - train.mean()) / (deviation if deviation > 0 else 1.0))[:, None]


def _one_hot(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    return values[:, None] == np.unique(train)


def _parquet(path: Path) -> Table:
    columns = read_columns(path)
    absent = {*_COLUMNS, "label"} - columns.keys()
    if absent:
        raise DamagedFile(f"{path} must have the columns of Adult; got none called {sorted(absent)}. {RENEW}")
    return _table(columns, path)


def _csv(path: Path) -> Table:
    """Read `adult.data` or `adult.test`; in the latter, a line begins with | and the classes end with a dot."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row and not row[0].startswith("|")]
    if any(len(row) != len(_COLUMNS) + 1 for row in rows) or not rows:
        raise DamagedFile(f"{path} must have {len(_COLUMNS) + 1} columns in each row. {RENEW}")
    *columns, classes = zip(*rows, strict=True)
    named: dict[str, list[str] | list[int]] = {
        name: [value.strip() for value in column] for name, column in zip(_COLUMNS, columns, strict=True)
    }
    return _table({**named, "label": [int(value.strip(" .") == _CLASS_NAMES[1]) for value in classes]}, path)


def _table(columns: dict[str, list[str] | list[int]], path: Path) -> Table:
    try:
        numbers = {name: np.array(columns[name], dtype=np.int64) for name in (*_NUMBERS, "label")}
    except (TypeError, ValueError) as error:
        raise DamagedFile(f"{path} must have whole numbers in {_NUMBERS}; got: {error}. {RENEW}") from error
    return {name: np.array(columns[name]) for name in _COLUMNS} | numbers
