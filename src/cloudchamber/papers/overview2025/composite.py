"""Composite anchor functions: sequences in which two anchors after a number say what is added to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

Sequences = tuple[Int[Tensor, "n l"], Int[Tensor, " n"]]
"""Tokens and answers."""
STEPS = (5, 1, -2, -8)
"""What anchors 1, 2, 3 and 4 add."""
HELD_OUT = ((3, 4), (4, 3))
SEEN = tuple((a, b) for a in range(1, 5) for b in range(1, 5) if (a, b) not in HELD_OUT)
FIRST = 20
"""The least number; tokens 1 to 4 are the anchors."""
_FARTHEST = 2 * min(STEPS), 2 * max(STEPS)


@dataclass(frozen=True)
class Task:
    """Which sequences there are.

    Attributes:
        length: tokens of a sequence; an answer is asked for at the last.
        numbers: how many, from 20.
    """

    length: int
    numbers: int

    @property
    def tokens(self) -> int:
        """How many tokens there are, those of answers included."""
        return FIRST + self.numbers + _FARTHEST[1]

    def draw(
        self, count: int, pairs: tuple[tuple[int, int], ...], random: torch.Generator, *, unseen: bool = False
    ) -> Sequences:
        """Draw sequences: a number at a place, two anchors after it, and other numbers elsewhere.

        The answer is the number plus what both anchors add. Numbers that leave their place as the remainder by the
        length are the unseen ones there.

        Args:
            count: how many.
            pairs: of anchors, in order.
            random: where from.
            unseen: whether the number is one of the unseen, or of the others.

        >>> tokens, answers = Task(6, 30).draw(1, ((1, 2),), torch.Generator().manual_seed(0))
        >>> tokens.shape, int(answers) - int(tokens[0, (tokens[0] == 1).nonzero()[0] - 1])
        (torch.Size([1, 6]), 6)
        """
        place = torch.randint(self.length - 2, (count,), generator=random)
        number = self._numbers((count,), random)
        while (wrong := (number % self.length == place) != unseen).any():
            number[wrong] = self._numbers((int(wrong.sum()),), random)
        anchors = torch.tensor(pairs)[torch.randint(len(pairs), (count,), generator=random)]
        tokens, rows = self._numbers((count, self.length), random), torch.arange(count)
        tokens[rows, place] = number
        tokens[rows, place + 1], tokens[rows, place + 2] = anchors.unbind(1)
        return tokens, number + torch.tensor((0, *STEPS))[anchors].sum(1)

    def _numbers(self, shape: tuple[int, ...], random: torch.Generator) -> Int[Tensor, ...]:
        return torch.randint(FIRST, FIRST + self.numbers, shape, generator=random)


def swapped(tokens: Int[Tensor, "n l"]) -> Int[Tensor, "n l"]:
    """Return the sequences with anchors 3 and 4 in each other's place.

    >>> swapped(torch.tensor([[20, 3, 4]]))
    tensor([[20,  4,  3]])
    """
    return torch.where((tokens == HELD_OUT[0][0]) | (tokens == HELD_OUT[0][1]), sum(HELD_OUT[0]) - tokens, tokens)
