"""The numbers of Tables 1 and 2 of mlp2024."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PaperTable:
    """A class of the paper's table: rows S_primary, S_1, S_2, S_3, columns layers 2–6, in 10⁻³, and the ± beside.

    Attributes:
        data: the data's name in recipes.
        name: of the class.
        values: (4, 5).
        deviations: (4, 5).
    """

    data: str
    name: str
    values: Sequence[Sequence[float]]
    deviations: Sequence[Sequence[float]]

    @property
    def smallest_ratio(self) -> float:
        """The smallest S_primary / S_k."""
        values = np.asarray(self.values)
        return float((values[0] / values[1:]).min())


CAT = PaperTable(
    "cifar10",
    "cat",
    (
        (154.0, 176.5, 201.6, 253.6, 277.4),
        (11.5, 13.0, 11.6, 16.1, 9.0),
        (12.7, 11.9, 10.9, 11.9, 8.8),
        (11.0, 14.4, 12.5, 13.9, 8.6),
    ),
    ((17.1, 16.8, 18.7, 24.6, 25.6), (1.5, 0.9, 1.7, 1.8, 0.8), (1.7, 1.3, 1.3, 0.8, 1.1), (1.1, 1.7, 2.2, 1.7, 1.1)),
)
TRUCK = PaperTable(
    "cifar10",
    "truck",
    (
        (169.9, 208.1, 223.6, 248.4, 281.5),
        (15.6, 14.0, 14.3, 14.3, 10.0),
        (14.4, 15.1, 11.3, 12.3, 12.9),
        (14.3, 12.4, 12.8, 13.1, 9.7),
    ),
    ((20.8, 21.5, 20.1, 19.2, 20.4), (2.1, 1.8, 1.1, 1.7, 1.1), (1.4, 2.0, 1.4, 0.9, 1.2), (2.2, 1.9, 1.6, 1.2, 1.0)),
)
FLAGPOLE = PaperTable(
    "tiny_imagenet_50",
    "flagpole",
    (
        (97.8, 143.9, 198.9, 259.8, 322.8),
        (10.6, 9.5, 14.4, 24.9, 8.8),
        (7.5, 7.9, 9.7, 9.2, 8.3),
        (7.1, 9.1, 11.3, 17.9, 16.6),
    ),
    ((3.7, 5.6, 8.1, 10.1, 12.7), (0.9, 0.8, 1.4, 1.3, 1.0), (0.9, 1.2, 1.2, 1.2, 0.6), (0.8, 1.1, 1.0, 2.2, 1.5)),
)
BOTTLE = PaperTable(
    "tiny_imagenet_50",
    "bottle",
    (
        (202.3, 234.4, 276.8, 345.2, 440.2),
        (10.3, 11.2, 12.2, 11.9, 13.2),
        (10.4, 11.6, 13.8, 10.0, 13.6),
        (11.6, 15.7, 10.7, 10.8, 19.8),
    ),
    ((12.2, 13.1, 13.9, 16.6, 22.2), (1.4, 1.6, 1.3, 1.1, 1.6), (1.1, 1.0, 1.3, 0.8, 1.2), (1.4, 1.4, 1.1, 1.2, 1.6)),
)
EIGHT = PaperTable(
    "mnist",
    "eight",
    (
        (367.1, 364.5, 381.9, 444.4, 504.0),
        (14.9, 15.9, 15.5, 15.6, 13.5),
        (16.3, 13.1, 16.4, 18.1, 11.7),
        (15.1, 16.3, 13.5, 15.1, 15.0),
    ),
    ((56.8, 52.8, 56.3, 68.7, 81.3), (0.8, 1.4, 1.1, 1.5, 2.0), (1.7, 0.9, 0.8, 3.2, 1.6), (1.5, 1.7, 0.6, 1.4, 1.1)),
)
ZERO = PaperTable(
    "mnist",
    "zero",
    (
        (441.7, 448.2, 429.0, 493.1, 504.1),
        (24.6, 30.0, 18.4, 17.2, 15.6),
        (16.6, 23.9, 17.9, 14.3, 12.2),
        (29.4, 21.1, 15.5, 21.2, 14.7),
    ),
    ((86.0, 83.5, 78.1, 87.2, 89.0), (3.1, 4.3, 2.6, 2.2, 1.8), (1.7, 4.2, 2.4, 1.5, 1.9), (5.2, 4.2, 1.8, 3.6, 1.6)),
)
