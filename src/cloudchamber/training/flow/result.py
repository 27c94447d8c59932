"""What a gradient flow returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.training.flow.driver import Trajectory


@dataclass(frozen=True)
class GradientFlow:
    """The gradient flow of a stack of K models; the first axis is always the member, also of one model.

    Attributes:
        stopped: why each member stopped: "loss_ratio", "loss", "time", "steps"; "stationary" (the velocity is exactly
            zero), "stalled" (no step however small is accepted), "not_finite" (NaN or infinity in loss or gradient).
        time: (K,), physical time at the end.
        loss: (K,), loss at the end.
        steps: (K,), accepted steps.
        refused_steps: (K,), steps that were tried again, smaller.
        times: (K, s), time at the start and after each accepted step, NaN after the end.
        losses: (K, s), the loss there.
        parameters: by name, (K, ...), at the end.
        snapshots: by name, (K, c, ...), at the times asked for, then at the loss ratios asked for; NaN where not
            reached.
        snapshot_times: (K, c).
        relative_distance: by name, (K,), `sup_t ‖θ_p(t) − θ_p(0)‖/‖θ_p(0)‖` over accepted steps; infinite for
            a parameter that starts at 0 and moves.
    """

    stopped: tuple[str, ...]
    time: Float[Tensor, " k"]
    loss: Float[Tensor, " k"]
    steps: Int[Tensor, " k"]
    refused_steps: Int[Tensor, " k"]
    times: Float[Tensor, "k s"]
    losses: Float[Tensor, "k s"]
    parameters: dict[str, Tensor]
    snapshots: dict[str, Tensor]
    snapshot_times: Float[Tensor, "k c"]
    relative_distance: dict[str, Tensor]

    def load_into(self, models: nn.Module | Sequence[nn.Module]) -> None:
        """Write the final parameters into models, in their own precision.

        Raises:
            InvalidInput: if there are not as many models as members, or one lacks a parameter.
        """
        stack = [models] if isinstance(models, nn.Module) else list(models)
        require(len(stack) == len(self.stopped), f"there are {len(self.stopped)} members", len(stack), "pass as many")
        with torch.no_grad():
            for place, model in enumerate(stack):
                held = dict(model.named_parameters())
                for name, values in self.parameters.items():
                    fits = name in held and held[name].shape == values.shape[1:]
                    require(fits, "models have the parameters of those that flowed", name, "pass the same architecture")
                    held[name].copy_(values[place])


def assemble(
    parts: Sequence[Trajectory],
    start: Tensor,
    names: Sequence[str],
    segments: Sequence[slice],
    shapes: Sequence[torch.Size],
) -> GradientFlow:
    """Put the chunks of a stack together, flat parameters by their names."""
    first = [torch.linalg.vector_norm(start[:, segment], dim=1).to(torch.float64) for segment in segments]
    moved = torch.cat([part.moved for part in parts])

    def named(theta: Tensor) -> dict[str, Tensor]:
        pairs = zip(names, segments, shapes, strict=True)
        return {name: theta[..., segment].reshape(*theta.shape[:-1], *shape) for name, segment, shape in pairs}

    times, losses = _padded(parts)
    return GradientFlow(
        stopped=tuple(reason for part in parts for reason in part.reasons),
        time=torch.cat([part.time for part in parts]),
        loss=torch.cat([part.loss for part in parts]),
        steps=torch.cat([part.accepted for part in parts]),
        refused_steps=torch.cat([part.refused for part in parts]),
        times=times,
        losses=losses,
        parameters=named(torch.cat([part.theta for part in parts])),
        snapshots=named(torch.cat([part.snapshots for part in parts])),
        snapshot_times=torch.cat([part.snapshot_times for part in parts]),
        relative_distance={name: moved[:, place] / first[place] for place, name in enumerate(names)},
    )


def _padded(parts: Sequence[Trajectory]) -> tuple[Tensor, Tensor]:
    """All histories as rows of one length."""
    counts = torch.cat([part.accepted for part in parts]) + 1
    table = torch.full((2, len(counts), int(counts.max())), torch.nan, dtype=torch.float64)
    before = 0
    for part in parts:
        members, times, losses = (torch.cat(column) for column in zip(*part.history, strict=True))
        order = members.argsort(stable=True)
        starts = (part.accepted + 1).cumsum(0) - (part.accepted + 1)
        place = torch.arange(len(order)) - starts[members[order]]
        table[0, before + members[order], place] = times[order]
        table[1, before + members[order], place] = losses[order]
        before += len(part.accepted)
    return table[0], table[1]
