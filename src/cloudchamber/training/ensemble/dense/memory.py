"""Memory that was freed stays with the process, so that the next step need not fetch it page by page."""

from __future__ import annotations

from functools import cache

import torch

# The largest block that glibc's threshold follows is 32 MiB.
_BYTES = 31 * 2**20


@cache
def keep_freed_memory() -> None:
    """Let the C library keep freed blocks of up to 31 MiB instead of returning them to the system.

    A step allocates its activations anew. glibc takes blocks above a threshold (128 kB at first) from the system and
    gives them back when they are freed; each page then costs a fault at its next use, 40 % of a small step. The
    threshold follows the largest such block that was freed, so one block that is never written to raises it. Where
    another C library is, nothing happens.

    >>> keep_freed_memory()
    """
    torch.empty(_BYTES, dtype=torch.uint8)
