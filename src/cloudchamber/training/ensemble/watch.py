"""What is observed of an ensemble, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from cloudchamber.monitor import Schedule


@dataclass(frozen=True)
class Watch:
    """What is observed of an ensemble, and when; the words are those of `cloudchamber.Monitor`.

    Attributes:
        probe: inputs and targets, (n, ...) for all members, or (K, n, ...) with `probe_per_member`.
        every: observe every so-many-th step, or a schedule.
        images_every: the same for cosine images and costly measures; None = about every tenth observation.
        image_samples: samples of the cosine images.
        layers: names or patterns; None = all.
        measures: names or groups; None = what can be left on.
        probe_per_member: whether each member has a probe of its own.
        recipe: text that the record keeps.
    """

    probe: tuple[Tensor, Tensor]
    every: int | Schedule = 10
    images_every: int | Schedule | None = None
    image_samples: int = 100
    layers: Sequence[str] | None = None
    measures: Sequence[str] | None = None
    probe_per_member: bool = False
    recipe: str = ""
