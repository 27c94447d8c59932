"""The global settings of torch that a run depends on: its own while it runs, the caller's afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber._core.seeding import preserved_random_state
from cloudchamber.training.recipe import Recipe


def device_of(recipe: Recipe) -> torch.device:
    """Return the device of a recipe, with its number.

    Raises:
        InvalidRecipe: if this machine cannot compute on it.
    """
    try:
        probe = torch.zeros(1, device=recipe.device)
        probe.item()  # "meta" has no numbers to give back
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidRecipe(
            f"device must name a device of this machine; got {recipe.device!r} ({reason}). Remedy: --set device=cpu."
        ) from error
    return probe.device


def own_settings(recipe: Recipe, threads: int | None) -> AbstractContextManager[None]:
    """Return `settings_on` the device of a recipe."""
    return settings_on(device_of(recipe), threads)


@contextmanager
def settings_on(device: torch.device, threads: int | None) -> Iterator[None]:
    """Compute with gradients, in float32 by default, on `threads` threads (None = as many as now), whatever is set.

    On exit the caller has his settings and random states back, also after an exception.
    """
    threads_before, dtype_before = torch.get_num_threads(), torch.get_default_dtype()
    with preserved_random_state([device]), torch.inference_mode(False), torch.enable_grad():
        torch.set_num_threads(threads or threads_before)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype_before)
            torch.set_num_threads(threads_before)
