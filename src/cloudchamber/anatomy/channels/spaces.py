"""Spaces while they are being found: channels that turn out to be the same are united."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from cloudchamber.anatomy.channels.part import Axis, Part, Reader, Space


@dataclass(eq=False)
class Cell:
    """Channels of one layer, until they are united with others."""

    space: Space
    united: Cell | None = None

    def root(self) -> Cell:
        """Return the cell that stands for all that were united."""
        cell = self
        while cell.united is not None:
            cell = cell.united
        return cell


class Tracked(NamedTuple):
    """Channels in a tensor, and where."""

    cell: Cell
    axis: Axis


class Sizes(NamedTuple):
    """The shape of a tensor with channels, or (`whole` False) the entry of it that counts them."""

    cell: Cell
    dim: int
    ndim: int
    whole: bool = True


class Spaces:
    """All spaces of a model."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._by_slot: dict[tuple[str, str], Cell] = {}
        self.taken_apart: set[str] = set()
        """Modules whose weights are used outside of their calls."""

    def of_slot(self, module: str, slot: str, size: int) -> Cell:
        """Return the channels of a module's slot ("out", "in"); the same for each of its calls."""
        if (module, slot) not in self._by_slot:
            cell = Cell(Space(size))
            self.cells.append(cell)
            self._by_slot[module, slot] = cell
        return self._by_slot[module, slot].root()

    def makes(self, part: Part, size: int, axis: Axis) -> Tracked:
        """Note that a module makes channels."""
        cell = self.of_slot(part.module, "out", size)
        cell.space.parts[f"{part.module} makes"] = part
        return Tracked(cell, axis)

    def reads(self, tracked: Tracked, part: Part, reader: Reader) -> None:
        """Note that a module consumes channels."""
        cell = tracked.cell.root()
        known = self._by_slot.get((part.module, "in"))
        self._by_slot[part.module, "in"] = cell
        if known is not None:
            cell = self.unite(known, cell)
        before = cell.space.readers.get(reader.key)
        if before is not None and _columns(before) != _columns(reader):
            self.pin(cell, f"{part.module} is called with its channels in different places")
        cell.space.parts[f"{part.module} reads"] = part
        cell.space.readers[reader.key] = reader

    def passes(self, tracked: Tracked, part: Part) -> None:
        """Note that channels pass through a module that has something for each."""
        cell = tracked.cell.root()
        known = self._by_slot.get((part.module, "through"))
        self._by_slot[part.module, "through"] = cell
        cell = cell if known is None else self.unite(known, cell)
        cell.space.parts[f"{part.module} passes"] = part
        norm = any(each.kind == "statistic" for each in part.tensors)
        cell.space.normed_late |= norm and bool(cell.space.functions or cell.space.added)

    def unite(self, first: Cell, second: Cell) -> Cell:
        """Note that two cells are the same channels."""
        a, b = first.root(), second.root()
        if a is b:
            return a
        if a.space.size != b.space.size:
            reason = f"{a.space.size} and {b.space.size} channels meet"
            self.pin(a, reason)
            self.pin(b, reason)
            return a
        b.united = a
        a.space.parts.update(b.space.parts)
        a.space.readers.update(b.space.readers)
        a.space.functions |= b.space.functions
        a.space.added |= b.space.added
        a.space.normed_late |= b.space.normed_late
        a.space.pinned = a.space.pinned or b.space.pinned
        return a

    def pin(self, cell: Cell, reason: str) -> None:
        """Note that channels have to stay; the first reason is kept."""
        space = cell.root().space
        space.pinned = space.pinned or reason

    def pin_module(self, module: str, reason: str) -> None:
        """Pin all channels that a module makes, passes or reads."""
        for (name, _), cell in self._by_slot.items():
            if name == module:
                self.pin(cell, reason)

    def found(self, modules: list[str]) -> list[Space]:
        """Return the spaces with a layer that makes them, in the order of the modules, as their parts are."""
        place = {name: number for number, name in enumerate(modules)}
        spaces = [cell.space for cell in self.cells if cell.united is None and cell.space.makers]
        for space in spaces:
            space.parts = dict(sorted(space.parts.items(), key=lambda item: place[item[1].module]))
        return sorted(spaces, key=lambda space: place[space.makers[0]])


def _columns(reader: Reader) -> tuple[object, ...]:
    return (reader.weights, replace(reader.axis, dim=0))
