"""Figures as files that a repository can hold: at most 256 colours, and the same bytes for the same figure."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

_DPI = 110
_COLORS = 256
_SAME: dict[Any, Any] = {"svg.hashsalt": "cloudchamber", "svg.fonttype": "path"}
"""with these and without a date, the same figure is the same file"""
_EMBEDDED = re.compile(r"(?<=data:image/png;base64,)[^\"]+")


def png(figure: Figure) -> bytes:
    """Return a figure as PNG with a palette, a half to a third of the size of one with four bytes per pixel."""
    return with_palette(_saved(figure, "png", dpi=_DPI))


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG; images in it have a palette."""
    with mpl.rc_context(_SAME):
        text = _saved(figure, "svg", metadata={"Date": None}).decode()
    return _EMBEDDED.sub(lambda found: _smaller(found.group()), text).encode()


def with_palette(content: bytes) -> bytes:
    """Return a PNG with the 256 colours that suit it best, or its own if they are no more; that itself if smaller.

    >>> shown = io.BytesIO()
    >>> Image.new("RGB", (64, 64), "#0f6f8f").save(shown, "png")
    >>> Image.open(io.BytesIO(with_palette(shown.getvalue()))).convert("RGB").getpixel((5, 5))
    (15, 111, 143)
    """
    image = Image.open(io.BytesIO(content))
    opaque = image.mode == "RGB" or image.getextrema()[-1] == (255, 255)
    chosen = image.convert("RGB") if opaque else image.convert("RGBA")
    # Median cut knows no transparency.
    method = Image.Quantize.MEDIANCUT if opaque else Image.Quantize.FASTOCTREE
    saved = io.BytesIO()
    chosen.quantize(_COLORS, method=method, dither=Image.Dither.NONE).save(saved, "png", optimize=True)
    return min(saved.getvalue(), content, key=len)


def _smaller(encoded: str) -> str:
    return base64.b64encode(with_palette(base64.b64decode(encoded))).decode()


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=kind, bbox_inches="tight", **options)
    return content.getvalue()
