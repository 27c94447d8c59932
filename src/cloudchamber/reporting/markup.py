"""HTML that is escaped by construction: whatever is not already markup is text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_VOID = frozenset({"br", "hr", "input", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return an element; children that are not `Markup` and all attributes are escaped.

    A trailing underscore of an attribute is dropped (`class_`), others become hyphens (`aria_label`). True stands
    for an attribute without a value; False and None leave it out.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    opened = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    return Markup(opened if tag in _VOID else f"{opened}{joined(children)}</{tag}>")


def joined(parts: Iterable[object]) -> Markup:
    """Return the parts one after the other; those that are not `Markup` are escaped.

    >>> joined(["<", element("b", 1)])
    '&lt;<b>1</b>'
    """
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in parts))


def prose(text: str) -> Markup:
    """Return a sentence, what stands between backticks as code.

    >>> prose("set `lr` < 1")
    'set <code>lr</code> &lt; 1'
    """
    parts = text.split("`") if text.count("`") % 2 == 0 else [text]
    return joined(element("code", part) if place % 2 else part for place, part in enumerate(parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, class_: str = "") -> Markup:
    """Return a table in a box of its own that scrolls sideways; the first cell of a row is its header."""
    cells = [element("th", cell, scope="col") for cell in head]
    body = [element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:])) for row in rows]
    inner = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", element("tr", *cells)),
        element("tbody", *body),
    )
    return element("div", inner, class_=f"scroll {class_}".strip(), tabindex="0", role="region", aria_label=caption)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    word = name.rstrip("_").replace("_", "-")
    return f" {word}" if value is True else f' {word}="{escape(str(value))}"'
