"""The growing record of an ensemble: observations of any of its members, built into an `xarray.Dataset` when asked for.

`members` says what is in the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from cloudchamber._core.errors import require
from cloudchamber._core.members import MEMBER, shared_settings
from cloudchamber._core.record import (
    VALID_ATTRIBUTES,
    Values,
    attributes,
    coordinates,
    image_quantities,
    kept_dtype,
    measured_layers,
    sizes_of,
    variable,
)
from cloudchamber._core.registry import Quantity
from cloudchamber._core.schema import Frame


@dataclass(frozen=True)
class MembersObservation:
    """What was measured of some members at one step.

    Attributes:
        step: updates applied to them.
        members: their numbers, m of them.
        values: arrays (m, ...) by quantity; masked = not measured.
    """

    step: int
    members: tuple[int, ...]
    values: Values


@dataclass(frozen=True)
class MembersFrame:
    """What a record says about its members.

    Attributes:
        count: K, how many there are.
        recipes: YAML text of each; () = `Frame.recipe` is that of all.
        sample_classes: class of each sample of the cosine images, by member; () = `Frame.sample_classes` for all.
        constants: (K, ...) quantities that do not change, by name.
    """

    count: int
    recipes: tuple[str, ...] = ()
    sample_classes: tuple[tuple[int, ...], ...] = ()
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def shared_recipe(self) -> str:
        """The fields that all recipes share, with their values."""
        return shared_settings(self.recipes)


@dataclass
class MembersBuffer:
    """The observations of an ensemble so far: of any members in any order, the steps of each of them growing."""

    frame: Frame
    members: MembersFrame
    observations: list[MembersObservation] = field(default_factory=list)
    _last: dict[int, int] = field(default_factory=dict)

    def append(self, observation: MembersObservation) -> None:
        """Add an observation.

        Raises:
            InvalidInput: if a member is none of the ensemble, is there twice, or was observed at that step or later.
        """
        self.require_next(observation.step, observation.members)
        self._last |= dict.fromkeys(observation.members, observation.step)
        self.observations.append(observation)

    def require_next(self, step: int, members: Sequence[int]) -> None:
        """Raise `InvalidInput` unless these members may be observed at that step next."""
        once = len(set(members)) == len(members)
        require(once, "a member is observed once at a step", members, "pass each member once")
        known = range(self.members.count)
        for member in members:
            require(member in known, f"a member is one of 0 … {len(known) - 1}", member, "pass the numbers of rows")
            last = self.last_step(member)
            require(
                step > last,
                f"observed steps of a member grow (last of member {member}: {last})",
                step,
                "pass the number of updates applied so far",
            )

    def last_step(self, member: int) -> int:
        """The last observed step of a member, -1 before the first."""
        return self._last.get(member, -1)

    def dataset(self, stopped_at: Sequence[int] | None = None) -> xr.Dataset:
        """Build the record.

        Args:
            stopped_at: (K,) updates applied to each member; by default the last observed step, 0 without one.
        """
        frame = self.frame
        names = sorted({name for observation in self.observations for name in observation.values})
        items = [frame.quantity(name) for name in names]
        sizes = self._sizes(items)
        variables = {item.name: self._filled(item, sizes) for item in items}
        for name, value in self.members.constants.items():
            variables[name] = variable(frame.quantity(name), np.asarray(value, np.float64), leading=(MEMBER,))
        of_steps = [item for item in items if item.dims[0] == "step"]
        variables["valid"] = self._valid(of_steps)
        found = coordinates(frame, self._steps, self._image_steps, [item.name for item in of_steps], sizes)
        attrs = attributes(frame, variables)
        if self.members.recipes:
            attrs["recipe"] = self.members.shared_recipe
        return xr.Dataset(variables, coords=found | self._coordinates(stopped_at), attrs=attrs)

    @property
    def _steps(self) -> list[int]:
        return sorted({observation.step for observation in self.observations})

    @property
    def _image_steps(self) -> list[int]:
        return sorted({observation.step for observation in self._with_images()})

    def _with_images(self) -> list[MembersObservation]:
        images = image_quantities(self.frame)
        return [observation for observation in self.observations if images & observation.values.keys()]

    def _sizes(self, items: Iterable[Quantity]) -> dict[str, int]:
        held = {item: [o.values[item.name] for o in self.observations if item.name in o.values] for item in items}
        return sizes_of(self.frame, {item: [array.shape[1:] for array in arrays] for item, arrays in held.items()})

    def _filled(self, item: Quantity, sizes: Mapping[str, int]) -> xr.Variable:
        steps = self._image_steps if item.dims[0] == "image_step" else self._steps
        place = {step: index for index, step in enumerate(steps)}
        shape = (self.members.count, len(steps), *(sizes[dim] for dim in item.dims[1:]))
        data = np.full(shape, np.nan, kept_dtype(item))
        for observation in self.observations:
            value = observation.values.get(item.name)
            if value is not None:
                rows = data[:, place[observation.step]][(slice(None), *map(slice, value.shape[1:]))]
                rows[list(observation.members)] = np.ma.filled(value.astype(data.dtype, copy=False), np.nan)
        return variable(item, data, leading=(MEMBER,))

    def _valid(self, items: Sequence[Quantity]) -> xr.Variable:
        place = {step: index for index, step in enumerate(self._steps)}
        valid = np.zeros((self.members.count, len(items), len(place), len(self.frame.layers)), dtype=bool)
        for observation in self.observations:
            for index, item in enumerate(items):
                value = observation.values.get(item.name)
                if value is not None:
                    rows = valid[:, index, place[observation.step]]
                    rows[list(observation.members)] = measured_layers(item, value)
        return xr.Variable((MEMBER, "quantity", "step", "layer"), valid, VALID_ATTRIBUTES)

    def _coordinates(self, stopped_at: Sequence[int] | None) -> dict[str, tuple[object, object]]:
        count, steps = self.members.count, self._image_steps
        taken = np.zeros((count, len(steps)), dtype=bool)
        for observation in self._with_images():
            taken[list(observation.members), steps.index(observation.step)] = True
        stopped = [max(self.last_step(k), 0) for k in range(count)] if stopped_at is None else list(stopped_at)
        found: dict[str, tuple[object, object]] = {
            MEMBER: (MEMBER, np.arange(count)),
            "stopped_at": (MEMBER, np.array(stopped, dtype=np.int64)),
            "images_taken": ((MEMBER, "image_step"), taken),
        }
        if self.members.recipes:
            found["member_recipe"] = (MEMBER, np.array(self.members.recipes, dtype=object))
        if self.members.sample_classes:
            classes = np.array(self.members.sample_classes, dtype=np.int64)
            found["sample_class"] = ((MEMBER, "sample"), classes)
        return found
