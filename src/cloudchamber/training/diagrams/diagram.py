"""A phase diagram: networks over a grid of scalings, and what becomes of them as they grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import xarray as xr
from pydantic import ValidationError

from cloudchamber._core.config import Config
from cloudchamber._core.errors import InvalidRecipe, require
from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber.training.sweep.chunks import Chunk, Outcome, Work
from cloudchamber.training.sweep.execute import Watcher, execute

Scale = Literal["smoke", "laptop", "paper"]
Options = TypeVar("Options", bound=Config)


@dataclass(frozen=True)
class Diagram(Generic[Options]):
    """A phase diagram that can be computed at several scales.

    Attributes:
        name: as on the command line.
        title: one line.
        options: the class of everything that can be chosen.
        scales: what each scale changes of the defaults: "smoke" takes seconds, "laptop" minutes on 2 cores, "paper" is
            as large as published, or larger.
        plan: the chunks of some options.
        work: computes a chunk.
        read: makes the diagram of what came of the chunks.
        compare: says in words how far theory and networks agree.
    """

    name: str
    title: str
    options: type[Options]
    scales: Mapping[Scale, Mapping[str, Any]]
    plan: Callable[[Options], list[Chunk]] = field(repr=False)
    work: Work = field(repr=False)
    read: Callable[[Options, Sequence[Chunk], Mapping[str, Outcome]], xr.Dataset] = field(repr=False)
    compare: Callable[[xr.Dataset], str] = field(repr=False)

    def chosen(self, scale: Scale = "laptop", **changes: Any) -> Options:
        """Return the options of a scale, with changes.

        Args:
            scale: "smoke", "laptop" or "paper".
            **changes: fields of the options.

        Raises:
            InvalidInput: if there is no such scale.
            InvalidRecipe: if a field is unknown or its value is not allowed.
        """
        require(scale in self.scales, f"a scale is one of {list(self.scales)}", repr(scale), "choose one of them")
        try:
            return self.options.model_validate({**self.scales[scale], **changes})
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            fields = ", ".join(self.options.model_fields)
            raise InvalidRecipe(
                f"the options of {self.name} are {fields}; got {problems}. Remedy: mend them."
            ) from error

    def chunks(self, scale: Scale = "laptop", **changes: Any) -> list[Chunk]:
        """Return what there is to compute, for a look before it is done.

        Raises:
            InvalidInput: if there is no such scale.
            InvalidRecipe: if a field is unknown or its value is not allowed.
        """
        return self.plan(self.chosen(scale, **changes))

    def run(
        self,
        scale: Scale = "laptop",
        *,
        ledger: Path | None = None,
        on: str | None = None,
        callbacks: Sequence[Watcher] = (),
        **changes: Any,
    ) -> xr.Dataset:
        """Return the diagram: measured slopes and classes over the axes, beside theory's.

        Args:
            scale: "smoke", "laptop" or "paper".
            ledger: a SQLite file that keeps every finished chunk; a run that was killed goes on from there.
            on: where to compute, as in sweeps: None = in this process, "processes", "ray".
            callbacks: are told how it goes on.
            **changes: fields of the options.

        Raises:
            InvalidInput: if there is no such scale, or no such place to compute.
            InvalidRecipe: if a field is unknown or its value is not allowed.
        """
        options = self.chosen(scale, **changes)
        chunks = self.plan(options)
        outcomes = execute(chunks, self.work, ledger=ledger, on=on, callbacks=callbacks)
        attrs = {"schema_version": SCHEMA_VERSION, "diagram": self.name, "title": self.title}
        return self.read(options, chunks, outcomes).assign_attrs(attrs, options=options.model_dump_json())

    def summary(self, dataset: xr.Dataset) -> str:
        """Return in words how far theory and networks agree, and how many networks do not count.

        Args:
            dataset: what `run` returned.
        """
        lines = [self.compare(dataset)]
        lost = round(float((1 - dataset.fitted).sum()) * dataset.sizes["seed"])
        if lost:
            lines.append(
                f"{lost} of {dataset.fitted.size * dataset.sizes['seed']} networks did not reach the wanted loss"
            )
        if "failure" in dataset:
            errors = sorted(set(dataset.failure.values.ravel().tolist()) - {""})
            lines.append(f"{int((dataset.failure != '').sum())} networks failed: {'; '.join(errors[:3])}")
        return "\n".join(lines)
