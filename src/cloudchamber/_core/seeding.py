"""Random streams: independent ones from one seed, and a guard that puts every global one back."""

from __future__ import annotations

import ctypes
import hashlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed of its own for one purpose: the first 63 bits of a SHA-256, so that no two are alike by design.

    Args:
        seed: the seed of the run.
        purpose: words and numbers that name the stream ("initialization", or "order" and an epoch).

    >>> derive_seed(0, "data") == derive_seed(0, "data")
    True
    >>> derive_seed(0, "ab", "cd") == derive_seed(0, "abcd")
    False
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator for one purpose (see `derive_seed`)."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


_TWISTER = 624 * 4 + 4
"""Bytes of a Mersenne twister: its key and the position in it."""


class _Stream:
    """A global stream of Python or NumPy. Reading its state takes 20 µs, comparing its memory 1: it is read if changed.

    A normal number that is kept for the next call is not in that memory; a state with one is read every time.

    Args:
        memory: returns the bytes of the twister; none where they cannot be seen.
        read: returns the state.
        write: puts a state back.
        spare: whether a state holds such a number.
    """

    def __init__(
        self,
        memory: Callable[[], bytes],
        read: Callable[[], Any],
        write: Callable[[Any], None],
        spare: Callable[[Any], bool],
    ) -> None:
        self._look, self._read, self._write, self._spare = memory, read, write, spare
        self._memory, self._state = b"", None

    def state(self) -> Any:
        """Return the state."""
        if not self._unchanged():
            self._state = self._read()
            self._memory = b"" if self._spare(self._state) else self._look()
        return self._state

    def restore(self, state: Any) -> None:
        """Put a state back that `state` returned."""
        if state is not self._state or not self._unchanged():
            self._write(state)

    def _unchanged(self) -> bool:
        return self._memory != b"" and self._memory == self._look()


def _python_memory() -> bytes:
    twister = random.Random.__mro__[1]  # of CPython's; another layout has another size
    seen = sys.implementation.name == "cpython" and twister.__basicsize__ == object.__basicsize__ + _TWISTER + 4
    own = getattr(random.getstate, "__self__", None)
    return ctypes.string_at(id(own) + object.__basicsize__, _TWISTER) if seen and own is not None else b""


@lru_cache(maxsize=1)
def _address_of(generator: Any) -> int:
    """Where a Mersenne twister keeps its state; 0 for another generator."""
    return generator.ctypes.state_address if isinstance(generator, np.random.MT19937) else 0


def _numpy_memory() -> bytes:
    address = _address_of(np.random.get_bit_generator())  # pyright: ignore
    return ctypes.string_at(address, _TWISTER) if address else b""


_streams = (
    _Stream(_python_memory, random.getstate, random.setstate, lambda state: state[2] is not None),
    _Stream(
        _numpy_memory,
        lambda: dict(np.random.get_state(legacy=False)),
        np.random.set_state,
        lambda state: bool(state["has_gauss"]),
    ),
)


@contextmanager
def preserved_random_state(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Put the random states of Python, NumPy and torch back on exit, also after an exception.

    Args:
        devices: accelerator devices whose states are kept as well; the CPU's always is.
    """
    cuda = sorted({device.index or 0 for device in devices if device.type == "cuda"})
    states = [stream.state() for stream in _streams]
    torch_state = torch.default_generator.get_state()  # a fifth of what `fork_rng` takes
    try:
        with torch.random.fork_rng(devices=cuda) if cuda else nullcontext():
            yield
    finally:
        torch.default_generator.set_state(torch_state)
        for stream, state in zip(_streams, states, strict=True):
            stream.restore(state)
