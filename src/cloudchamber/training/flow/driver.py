"""Integrate a gradient flow: each member of a stack with its own time and step, until it meets a rule to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.training.flow.state import Field, Method, Point, Theta, lengths
from cloudchamber.training.flow.stops import Progress, Stop, Time

_SAFETY = 0.9
_SHRINK, _GROW = 0.2, 5.0
_REFUSED = 0.25
_FIRST_CHANGE = 0.01
_LARGEST_STEP = 1e30
_REFUSALS = 60
_ROUNDING = 16


@dataclass(frozen=True)
class Wanted:
    """What to keep of the way: parameters at these times, and when the loss first is at these parts of the first."""

    times: Float[Tensor, " t"]
    ratios: Float[Tensor, " r"]

    @property
    def count(self) -> int:
        """How many snapshots."""
        return len(self.times) + len(self.ratios)


@dataclass
class Trajectory:
    """What became of all members; NaN for what was not reached. History rows are accepted steps in order."""

    theta: Theta
    time: Tensor
    loss: Tensor
    first_loss: Tensor
    accepted: Tensor
    refused: Tensor
    moved: Float[Tensor, "k s"]
    reasons: list[str]
    snapshots: Float[Tensor, "k c p"]
    snapshot_times: Float[Tensor, "k c"]
    history: list[tuple[Int[Tensor, " a"], Tensor, Tensor]]


def integrate(
    field: Field, start: Theta, members: Int[Tensor, " k"], method: Method, stops: Sequence[Stop], wanted: Wanted
) -> Trajectory:
    """Return the gradient flow of all members from their parameters at time 0.

    A step is accepted if its estimated error is tolerated, all is finite, and the loss has not grown by more than
    rounding: gradient flow never raises the loss. Otherwise it is tried again, smaller.

    Args:
        field: the right-hand side.
        start: (k, p), θ(0).
        members: (k,), the numbers by which the field knows them.
        method: how to step.
        stops: rules, checked in order after every accepted step and at the start.
        wanted: what to keep of the way.
    """
    flow = _Flow(field, start, members, method, stops, wanted)
    while len(flow.active):
        flow.step()
    return flow.result


class _Flow:
    """The members still under way (`active`: their places in the result), and the result so far."""

    def __init__(
        self, field: Field, start: Theta, members: Tensor, method: Method, stops: Sequence[Stop], wanted: Wanted
    ) -> None:
        self._field, self._method, self._stops, self._wanted = field, method, stops, wanted
        self._members, self._origin = members, start
        self._point = method.look(field, start, members)
        count = len(start)
        self.active = torch.arange(count)
        self.result = _nothing_yet(start, self._point, wanted, len(field.segments))
        self._size = _first_size(self._point, field)
        self._time = torch.zeros(count, dtype=torch.float64)
        self._refusals = torch.zeros(count, dtype=torch.long)
        ends = [stop.time for stop in stops if isinstance(stop, Time)]
        self._marks = torch.cat([wanted.times, torch.tensor([*ends, torch.inf], dtype=torch.float64)]).unique()
        self._record(torch.ones(count, dtype=torch.bool))

    def step(self) -> None:
        """Try one step with every active member, and let go of those that are done."""
        until = self._marks[torch.searchsorted(self._marks, self._time, right=True)]
        free = torch.minimum(self._size, self._method.limit(self._field, self._point)).clamp(max=_LARGEST_STEP)
        clipped = free >= until - self._time
        size = torch.where(clipped, until - self._time, free)
        reached, error = self._method.advance(self._field, self._point, size, self._members)
        fine = self._fine(reached) & error.isfinite()
        accepted = fine & (error <= 1)
        proposed = size * self._factor(error, fine, accepted)
        self._size = torch.where(accepted & clipped, torch.maximum(self._size, proposed), proposed)
        self._time = torch.where(accepted, torch.where(clipped, until, self._time + size), self._time)
        stuck = accepted & (size <= 1e-15 * self._time)
        self._refusals = torch.where(accepted & ~stuck, 0, self._refusals + 1)
        self._point = self._point.merge(accepted, reached) if bool(accepted.any()) else self._point
        self.result.accepted[self.active] += accepted
        self.result.refused[self.active] += ~accepted
        self._record(accepted, reached)

    def _fine(self, reached: Point) -> Tensor:
        """Whether the loss is finite and has not grown."""
        rounding = _ROUNDING * torch.finfo(reached.loss.dtype).eps * self.result.first_loss[self.active].abs()
        return reached.loss <= self._point.loss + rounding.to(reached.loss)

    def _factor(self, error: Tensor, fine: Tensor, accepted: Tensor) -> Tensor:
        """By how much the next step is larger."""
        factor = (_SAFETY * error ** (-1 / (self._method.order + 1))).clamp(_SHRINK, _GROW)
        factor = torch.where(fine, factor, _REFUSED)
        return torch.where(accepted, factor, factor.clamp(max=_SAFETY))

    def _record(self, accepted: Tensor, reached: Point | None = None) -> None:
        """Write down what the accepted steps reached, and who is done."""
        result, point, active = self.result, self._point, self.active
        result.history.append((active[accepted], self._time[accepted], point.loss[accepted].to(torch.float64)))
        result.time[active], result.loss[active] = self._time, point.loss.to(torch.float64)
        self._keep(accepted)
        away = lengths(point.theta - self._origin, self._field.segments)
        result.moved[active] = torch.maximum(result.moved[active], away)
        done = self._done(reached)
        if bool(done.any()):
            self._let_go(done)

    def _keep(self, accepted: Tensor) -> None:
        """Take the snapshots that are due."""
        taken = self.result.snapshot_times[self.active].isfinite()
        ratios = (self._point.loss / self.result.first_loss[self.active].to(self._point.loss))[:, None]
        due = torch.cat([self._time[:, None] == self._wanted.times, ratios <= self._wanted.ratios], 1)
        rows, slots = (due & ~taken & accepted[:, None]).nonzero(as_tuple=True)
        self.result.snapshots[self.active[rows], slots] = self._point.theta[rows]
        self.result.snapshot_times[self.active[rows], slots] = self._time[rows]

    def _done(self, reached: Point | None) -> Tensor:
        """Which members are done; writes down why."""
        point, result = self._point, self.result
        speed = torch.linalg.vector_norm(point.velocity, torch.inf, dim=1)
        finite = point.loss.isfinite() & speed.isfinite()
        progress = Progress(
            self._time, point.loss, result.first_loss[self.active].to(point.loss), result.accepted[self.active]
        )
        reasons = [("not_finite", ~finite)]
        reasons += [(stop.reason, stop.met(progress)) for stop in self._stops]
        reasons += [("stationary", speed == 0)]
        if reached is not None:
            lost = self._refusals >= _REFUSALS
            broken = ~(reached.loss.isfinite() & reached.velocity.isfinite().all(1))
            reasons += [("not_finite", lost & broken), ("stalled", lost)]
        done = torch.zeros_like(finite)
        for reason, met in reasons:
            for row in (met & ~done).nonzero()[:, 0].tolist():
                result.reasons[int(self.active[row])] = reason
            done |= met
        return done

    def _let_go(self, done: Tensor) -> None:
        """Keep only the members that are not done."""
        self.result.theta[self.active[done]] = self._point.theta[done]
        left = (~done).nonzero()[:, 0]
        self._point, self._origin = self._point.take(left), self._origin[left]
        self.active, self._members = self.active[left], self._members[left]
        self._time, self._size, self._refusals = self._time[left], self._size[left], self._refusals[left]


def _nothing_yet(start: Theta, point: Point, wanted: Wanted, segments: int) -> Trajectory:
    count, first = len(start), point.loss.to(torch.float64)
    return Trajectory(
        theta=start.clone(),
        time=torch.zeros(count, dtype=torch.float64),
        loss=first.clone(),
        first_loss=first,
        accepted=torch.zeros(count, dtype=torch.long),
        refused=torch.zeros(count, dtype=torch.long),
        moved=torch.zeros(count, segments, dtype=torch.float64),
        reasons=[""] * count,
        snapshots=start.new_full((count, wanted.count, start.shape[1]), torch.nan),
        snapshot_times=torch.full((count, wanted.count), torch.nan, dtype=torch.float64),
        history=[],
    )


def _first_size(point: Point, field: Field) -> Tensor:
    """A step that changes no parameter tensor by more than a hundredth (or, if all are zero, the loss)."""
    theta, speed = lengths(point.theta, field.segments), lengths(point.velocity, field.segments)
    relative_time = torch.where((theta > 0) & (speed > 0), theta / speed, torch.inf).amin(1)
    falling = point.loss.abs().to(torch.float64) / speed.square().sum(1)
    size = _FIRST_CHANGE * torch.where(relative_time.isfinite(), relative_time, falling)
    return torch.where(size.isfinite() & (size > 0), size, _FIRST_CHANGE)
