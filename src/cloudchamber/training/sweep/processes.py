"""Chunks in processes of this machine. A process that is killed takes nothing with it but what it was computing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from cloudchamber._core.errors import InvalidInput
from cloudchamber.training.sweep.chunks import Chunk, Outcome, Work
from cloudchamber.training.sweep.compute import compute, gathered

ATTEMPTS = 3
"""How often a chunk may take its process with it before its cells are tried one by one; then the same for each."""
_SPAWN = multiprocessing.get_context("spawn")  # forking a process in which torch has threads can hang
_Finished = tuple[Chunk, Outcome]


class Processes:
    """Computes in `count` processes."""

    def __init__(self, count: int) -> None:
        self.count = count

    def outcomes(self, work: Work, chunks: Sequence[Chunk], threads: int) -> Generator[_Finished, None, None]:
        """Yield what came of the chunks, as they finish."""
        _require_importable(work)
        waiting = deque(chunks)
        while waiting:
            suspects = yield from self._together(work, waiting, threads)
            with _Cell(work, threads) as cell:
                for chunk in suspects:
                    yield chunk, cell.compute(chunk)

    def _together(self, work: Work, waiting: deque[Chunk], threads: int) -> Generator[_Finished, None, list[Chunk]]:
        """Compute until nothing waits or a process dies; return the chunks that were in flight then."""
        with _Pool(min(self.count, len(waiting))) as pool:
            flying: dict[Future[Outcome], Chunk] = {}
            while waiting or flying:
                # No more than there are processes: whatever is in flight when one of them dies is under suspicion.
                while waiting and len(flying) < self.count:
                    chunk = waiting.popleft()
                    flying[pool.submit(work, chunk, threads)] = chunk
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        return list(flying.values())
                    yield flying.pop(future), future.result()
        return []


def _require_importable(work: Work) -> None:
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInput(
            f"work for other processes is a function that they can import; got {work!r}. "
            "Remedy: define it at the top level of a module."
        ) from error


class _Cell:
    """One process at a time, so that it is clear which chunk kills it."""

    def __init__(self, work: Work, threads: int) -> None:
        self._work, self._threads = work, threads
        self._pool: _Pool | None = None

    def __enter__(self) -> _Cell:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def compute(self, chunk: Chunk) -> Outcome:
        for _ in range(ATTEMPTS):
            self._pool = self._pool or _Pool(1)
            try:
                return self._pool.submit(self._work, chunk, self._threads).result()
            except BrokenProcessPool:
                self._close()
        if len(chunk.cells) == 1:
            return Outcome({}, (f"ProcessDied: its process ended {ATTEMPTS} times: killed, crashed, or out of memory",))
        return gathered([self.compute(part) for part in chunk.parts()])

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._pool = None


class _Pool:
    """Processes that end with this one, also when this one is killed or leaves early."""

    def __init__(self, count: int) -> None:
        theirs, self._ours = _SPAWN.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(count, _SPAWN, _prepare, (theirs,))
        try:
            self._pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            self.close()
            raise InvalidInput(
                "the program must be importable by its own processes; got one that ended at once. Remedy: put what "
                'starts the sweep under `if __name__ == "__main__":`, or leave `on` out.'
            ) from error

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._ours.close()
        self.close()

    def submit(self, work: Work, chunk: Chunk, threads: int) -> Future[Outcome]:
        return self._pool.submit(compute, work, chunk, threads)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._ours.close()


def _prepare(pipe: Connection) -> None:
    """Prepare a process: it ignores Ctrl-C, which the first process answers, and ends when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()


def _end_with(pipe: Connection) -> None:
    # The other end is closed when its process closes it, or dies.
    with contextlib.suppress(EOFError, OSError):
        pipe.recv_bytes()
    os._exit(1)
