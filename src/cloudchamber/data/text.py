"""Sentences as numbers of words."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Int64
from pydantic import Field, PositiveInt
from torch import Tensor

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.dataset import Dataset
from cloudchamber.data.parquet import read_columns
from cloudchamber.data.places import Found, archives, find
from cloudchamber.data.raw import RENEW, checked_labels
from cloudchamber.data.sources import SOURCES
from cloudchamber.data.subsets import Part, SubsetConfig, select

TextSet = Literal["ag_news", "cola", "sst2"]
Texts = tuple[list[str], list[int]]

CLASS_NAMES: dict[TextSet, tuple[str, ...]] = {
    "ag_news": ("World", "Sports", "Business", "Sci/Tech"),
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
}
FILLER, UNKNOWN = "<filler>", "<unknown>"
_TOKEN = re.compile(r"\w+|[^\w\s]")
_MEMBERS: dict[tuple[str, Part], tuple[str, ...]] = {
    ("cola", "train"): ("in_domain_train.tsv",),
    ("cola", "test"): ("in_domain_dev.tsv", "out_of_domain_dev.tsv"),
    ("sst2", "train"): ("train.tsv",),
    ("sst2", "test"): ("dev.tsv",),
}


class TextConfig(SubsetConfig):
    """Sentences as numbers of words, for networks that look them up.

    A text is set in lower case and cut into words and single marks. The most frequent ones of the official training
    part are numbered from 2, by falling frequency, then by alphabet; all others are number 1. Short texts are
    filled with number 0 in front, so that a recurrent network ends on the last word.
    """

    name: TextSet
    vocabulary: Annotated[int, Field(ge=3)] = 10_000
    """numbers that stand for something, the filler and the unknown word among them"""
    length: PositiveInt = 64
    """words kept of a text, the first ones"""


def load_text(config: TextConfig, seed: int, part: Part) -> Dataset:
    """Load a part of a text set; inputs (n, length) int64, numbers of words.

    Raises:
        InvalidRecipe: if classes are unknown or there are not as many samples.
        FileAccess: if the set is nowhere, or a library to read it is not installed.
        DamagedFile: if what was found is not as published.
    """
    source, names = SOURCES[config.name], CLASS_NAMES[config.name]

    @cache
    def of(official: Part) -> tuple[Texts, Found]:
        found = find(source, official)
        path = found.parquet
        return (_parquet(path) if path else _archive(config.name, official, archives(source, official)[0])), found

    def labels(official: Part) -> Tensor:
        (_, given), found = of(official)
        return checked_labels(torch.tensor(given, dtype=torch.int64), names, found.text)

    words = vocabulary(of("train")[0][0], config.vocabulary)
    selection = select(labels, names, config, seed, part)
    sources = [of(each)[1].described(source.rows_of(each), len(of(each)[0][1])) for each in selection.rows]
    return Dataset(
        config.name,
        selection.of(lambda each: numbered(of(each)[0][0], words, config.length)),
        selection.targets,
        len(selection.class_names),
        class_names=selection.class_names,
        vocabulary=words,
        source="; ".join(sources),
    )


def tokens(text: str) -> list[str]:
    """Return the words and marks of a text, in lower case.

    >>> tokens("It isn't.")
    ['it', 'isn', "'", 't', '.']
    """
    return _TOKEN.findall(text.lower())


def vocabulary(texts: list[str], size: int) -> tuple[str, ...]:
    """Return what the numbers stand for: the filler, the unknown word, then the most frequent words of the texts.

    >>> vocabulary(["a b", "b c"], 4)
    ('<filler>', '<unknown>', 'b', 'a')
    """
    counts = Counter(word for text in texts for word in tokens(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return (FILLER, UNKNOWN, *ranked[: size - 2])


def numbered(texts: list[str], words: tuple[str, ...], length: int) -> Int64[Tensor, "n length"]:
    """Return the numbers of the first `length` words of each text, filled with 0 in front.

    >>> numbered(["b a d"], ("<filler>", "<unknown>", "a", "b"), 4)
    tensor([[0, 3, 2, 1]])
    """
    number = {word: place for place, word in enumerate(words)}
    rows = [[number.get(word, 1) for word in tokens(text)[:length]] for text in texts]
    return torch.tensor([[0] * (length - len(row)) + row for row in rows], dtype=torch.int64).reshape(-1, length)


def _parquet(path: Path) -> Texts:
    columns = read_columns(path)
    texts, labels = columns.get("text", columns.get("sentence")), columns.get("label")
    if not texts or not labels:
        raise DamagedFile(f"{path} must have columns `sentence` or `text`, and `label`; got {list(columns)}. {RENEW}")
    return list(map(str, texts)), list(map(int, labels))


def _archive(name: TextSet, part: Part, path: Path) -> Texts:
    try:
        return _ag_news(path) if name == "ag_news" else _zipped(name, part, path)
    except (zipfile.BadZipFile, KeyError, IndexError, ValueError, OSError) as error:
        raise DamagedFile(f"{path} must hold {name} as published; got: {error}. {RENEW}") from error


def _zipped(name: TextSet, part: Part, path: Path) -> Texts:
    """Read rows of source, label, mark, sentence (CoLA), or under a title, of sentence, label (SST-2)."""
    titles, text, label = (1, 0, 1) if name == "sst2" else (0, 3, 1)
    with zipfile.ZipFile(path) as archive:
        inside = {Path(member).name: member for member in archive.namelist() if "/tokenized/" not in member}
        files = [archive.read(inside[member]).decode() for member in _MEMBERS[name, part]]
    rows = [row.split("\t") for file in files for row in file.split("\n")[titles:] if row]
    return [row[text].strip() for row in rows], [int(row[label]) for row in rows]


def _ag_news(path: Path) -> Texts:
    """Read rows of a class from 1, a title and a description."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    return [f"{title} {description}" for _, title, description in rows], [int(number) - 1 for number, *_ in rows]
