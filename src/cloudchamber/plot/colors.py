"""The colours of plots and reports: sequential by depth, diverging for cosines, safe for the colour-blind."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.colors import Colormap, to_hex

_LIGHT = (0.0, 0.78)
_DARK = (0.32, 1.0)
_PETROFF = "3f90da ffa90e bd1f01 94a4a2 832db6 a96b59 e76300 b9ac70 717581 92dadb"  # Petroff (2021), colour-blind safe
_CLASSES = tuple(f"#{color}" for color in _PETROFF.split())

INK = "#3a4654"
ACCENT = "#0f6f8f"
MUTED = "#8a94a0"
ALARM = "#b3261e"
PHASES = {"first phase": "#d99a1e", "stuck": "#b3261e"}


def depth_colors(count: int, *, dark: bool = False) -> list[str]:
    """Return one colour per layer, from the first to the last, readable on a light (or dark) ground.

    >>> len(depth_colors(9)), depth_colors(0)
    (9, [])
    """
    start, stop = _DARK if dark else _LIGHT
    places = [start + (stop - start) * index / max(count - 1, 1) for index in range(count)]
    return [to_hex(color) for color in mpl.colormaps["viridis"](places)] if count else []


def class_colors(count: int) -> list[str]:
    """Return one colour per class; beyond ten classes colours cannot be told apart, and all are grey."""
    return [MUTED] * count if count > len(_CLASSES) else list(_CLASSES[:count])


def cosine_colors() -> Colormap:
    """Return the diverging colour map of cosines from -1 to 1; what is not a number is grey."""
    return mpl.colormaps["RdBu_r"].with_extremes(bad="#b8bcc2")


def phase_color(name: str) -> str:
    """Return the colour of a phase; unknown ones are grey."""
    return PHASES.get(name.replace("_", " "), MUTED)
