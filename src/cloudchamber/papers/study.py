"""A study: what an exhibit runs that is no single recipe: many networks as one stack, a sweep, a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber._core.storage import open_record, save_record
from cloudchamber.monitor.environment import environment
from cloudchamber.training.settings import settings_on

RESULT_NAME = "study.nc"


@dataclass(frozen=True)
class Study:
    """What is computed by a function of its own, once, and kept by its content.

    Attributes:
        compute: a function of a module, `compute(folder, **settings) → xr.Dataset`. What it keeps in the folder while
            it works (the ledger of a sweep, parts that are done) is there again after an interruption.
        settings: what JSON can hold; sizes among them, and `seed`, `seeds` for so many from 0, or `groups` of trials.
        edition: raise it when the code changes what comes out; the code itself is no part of the content.
        threads: of torch.
    """

    compute: Callable[..., xr.Dataset]
    settings: Mapping[str, Any] = field(default_factory=dict)
    edition: int = 1
    threads: int = 1

    def content(self) -> dict[str, Any]:
        """Return what makes it the study that it is.

        >>> Study(len, {"seeds": 3}).content()
        {'study': 'builtins.len', 'edition': 1, 'settings': {'seeds': 3}}
        """
        name = f"{self.compute.__module__}.{self.compute.__qualname__}"
        # Through JSON, so that what is kept in a file is equal to what is said here.
        return {"study": name, "edition": self.edition, "settings": json.loads(json.dumps(dict(self.settings)))}

    def run(self, folder: Path) -> None:
        """Compute it, with settings of torch and random numbers of its own, and keep the result in the folder."""
        device = torch.device("cpu")
        with settings_on(device, self.threads):
            found = self.compute(folder, **self.settings)
            machine = json.dumps(environment(device))
        attributes = {"schema_version": SCHEMA_VERSION, "environment": machine}
        save_record(found.assign_attrs(attributes), folder / RESULT_NAME)


@dataclass(frozen=True)
class StudyRun:
    """A study that is done, in its folder of the cache.

    Attributes:
        study: what was computed.
        folder: where.
        seconds: how long it took, as far as it was not killed.
    """

    study: Study
    folder: Path
    seconds: float

    @cached_property
    def result(self) -> xr.Dataset:
        """What came out, in memory."""
        return open_record(self.folder / RESULT_NAME)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device and threads that it ran with."""
        return json.loads(self.result.attrs["environment"])
