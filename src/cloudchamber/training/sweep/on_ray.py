"""Chunks as tasks of a Ray cluster (extra `ray`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from cloudchamber._core.errors import FileAccess, Unsupported
from cloudchamber.training.sweep.chunks import Chunk, Outcome, Work
from cloudchamber.training.sweep.compute import compute, gathered

RETRIES = 3
"""How often Ray starts a task again whose worker died."""
SUBMITTED = 1000
"""Tasks that Ray knows of at once: enough for its autoscaler to see the queue, few enough to wait for quickly."""

_OWN_CLUSTER = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}


class Ray:
    """Computes on a Ray cluster.

    Args:
        address: "ray://host:port" of a cluster's client server; None = the cluster that this machine belongs to, or a
            new one of this machine alone.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._ray = _installed()

    def outcomes(
        self, work: Work, chunks: Sequence[Chunk], threads: int
    ) -> Generator[tuple[Chunk, Outcome], None, None]:
        """Yield what came of the chunks, as they finish."""
        with self._connected():
            task = self._ray.remote(num_cpus=threads, max_retries=RETRIES)(compute)
            waiting, flying = list(reversed(chunks)), {}
            while waiting or flying:
                while waiting and len(flying) < SUBMITTED:
                    chunk = waiting.pop()
                    flying[task.remote(work, chunk, threads)] = chunk
                done, _ = self._ray.wait(list(flying), num_returns=1)
                chunk = flying.pop(done[0])
                yield chunk, self._outcome(task, done[0], work, chunk, threads)

    def _outcome(self, task: Any, reference: Any, work: Work, chunk: Chunk, threads: int) -> Outcome:
        try:
            return _own_memory(self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:
            raise _unfit_worker(error) from error
        except self._ray.exceptions.RayError as error:
            if len(chunk.cells) == 1:
                return Outcome({}, (f"{type(error).__name__}: {' '.join(str(error).split())}",))
        parts = [(task.remote(work, part, threads), part) for part in chunk.parts()]
        return gathered([self._outcome(task, part_reference, work, part, threads) for part_reference, part in parts])

    @contextmanager
    def _connected(self) -> Iterator[None]:
        if self._ray.is_initialized():  # the caller's own
            yield
            return
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here reports to nobody
            self._ray.init(address=self._address, **({} if self._address else _OWN_CLUSTER))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_cluster(self._address, error) from error
        try:
            yield
        finally:
            self._ray.shutdown()


def _own_memory(outcome: Outcome) -> Outcome:
    """Copy arrays that lie in the memory of the cluster, which goes when the connection is closed."""
    return replace(outcome, arrays={name: array.copy() for name, array in outcome.arrays.items()})


def _installed() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise Unsupported(
            "computing on Ray needs the package ray; got none. Remedy: pip install 'cloudchamber[ray]'."
        ) from error


def _unfit_worker(error: Exception) -> Unsupported:
    return Unsupported(
        f"a worker of the cluster must be able to compute a chunk; got: {_last_line(error)}. "
        "Remedy: install the same versions of cloudchamber, torch and your own modules on every machine of the cluster."
    )


def _no_cluster(address: str | None, error: Exception) -> FileAccess:
    return FileAccess(
        f"a Ray cluster must answer at {address or 'this machine'}; got: {_last_line(error)}. "
        "Remedy: check the address with `ray status`, and that `ray start --head` was called."
    )


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:300] if str(error).strip() else type(error).__name__
