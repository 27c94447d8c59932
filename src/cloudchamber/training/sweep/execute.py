"""Compute the chunks that a ledger does not hold yet, here or elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

from cloudchamber._core.errors import require
from cloudchamber.training.sweep.chunks import Chunk, Outcome, Work
from cloudchamber.training.sweep.ledger import Ledger, name_of
from cloudchamber.training.sweep.places import place_of


@runtime_checkable
class Watcher(Protocol):
    """Is told how a sweep goes on; the progress bar is one."""

    def started(self, chunks: Sequence[Chunk], done: Sequence[Chunk]) -> None:
        """It begins; `done` are those of the chunks that the ledger held already."""
        ...

    def finished(self, chunk: Chunk, outcome: Outcome) -> None:
        """A chunk was computed and committed."""
        ...


def execute(
    chunks: Sequence[Chunk],
    work: Work,
    *,
    ledger: Path | str | None = None,
    on: str | None = None,
    threads: int = 1,
    callbacks: Sequence[Watcher] = (),
    retry_failed: bool = False,
) -> dict[str, Outcome]:
    """Return what came of every chunk; compute what the ledger does not hold, and commit each chunk as it finishes.

    Args:
        chunks: what to compute.
        work: how; a function of the top level of a module.
        ledger: SQLite file that keeps what is finished; None = keep nothing.
        on: where to compute: None = in this process, "processes" or "processes://4" = in so many of this machine,
            "ray" = on the Ray cluster of this machine, "ray://host:port" = on another.
        threads: CPU threads of torch in each process; results depend on it in their last bits.
        callbacks: are told what happens.
        retry_failed: compute chunks again that the ledger holds with failed cells.

    Returns:
        The outcomes by `Chunk.key`.

    Raises:
        InvalidInput: if `on` names no place.
        FileAccess: if the ledger cannot be written, or another process writes it.
        DamagedFile: if the ledger is damaged.
        Unsupported: if Ray is asked for and not installed.

    >>> def squares(task, cells):
    ...     return {"square": [cell["x"] ** 2 for cell in cells]}
    >>> chunk = Chunk({}, ({"x": 3}, {"x": 4}))
    >>> execute([chunk], squares)[chunk.key].arrays["square"]
    array([ 9, 16])
    """
    require(threads >= 1, "`threads` must be at least 1", threads, "leave it out")
    place = place_of(on)
    book = None if ledger is None else Ledger(ledger, name_of(work))
    with nullcontext() if book is None else book.held():
        found = {} if book is None else book.load()
        kept = {
            chunk.key: found[chunk.key]
            for chunk in chunks
            if chunk.key in found and not (retry_failed and found[chunk.key].failed)
        }
        for watcher in callbacks:
            watcher.started(chunks, [chunk for chunk in chunks if chunk.key in kept])
        missing = list({chunk.key: chunk for chunk in chunks if chunk.key not in kept}.values())
        with closing(place.outcomes(work, missing, threads)) as outcomes:
            return kept | dict(_committed(outcomes, book, callbacks))


def _committed(
    outcomes: Iterator[tuple[Chunk, Outcome]], book: Ledger | None, callbacks: Sequence[Watcher]
) -> Iterator[tuple[str, Outcome]]:
    for chunk, outcome in outcomes:
        if book is not None:
            book.commit(chunk.key, outcome)
        for watcher in callbacks:
            watcher.finished(chunk, outcome)
        yield chunk.key, outcome
