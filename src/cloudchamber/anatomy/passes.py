"""The forward and backward passes of a training step, as passive observation sees them, and who is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.anatomy.calls import NOTHING, Call, Seen, overwritten, version_of
from cloudchamber.anatomy.derivatives import Place
from cloudchamber.anatomy.following import Follower
from cloudchamber.anatomy.lean import Notes
from cloudchamber.anatomy.plan import Plan
from cloudchamber.anatomy.recording import Recorder
from cloudchamber.anatomy.snapshot import GRADIENT_FIELDS, GRADIENT_OF, STORED_FIELDS, LayerSnapshot
from cloudchamber.anatomy.tracker import is_in_backward

FIELDS_OF_PASSES = STORED_FIELDS | GRADIENT_FIELDS | {"weight"}
CHANGED = "its layers were not called as in the passes before"
TWICE = "more than one backward pass went through its graph"
INSIDE = "its forward pass differentiates itself"
NEVER = "no backward pass went through it"


@runtime_checkable
class Sink(Protocol):
    """Is told tensors the moment they exist; it keeps none of them, and changes none."""

    def forward(self, number: int, key: str, field: str, tensor: Tensor) -> None:
        """Take inputs, outputs or features of a layer in forward pass `number` (which may turn out not to count)."""
        ...

    def gradient(self, number: int, key: str, field: str, tensor: Tensor) -> None:
        """Take a gradient of a layer; it belongs to forward pass `number`."""
        ...

    def together(self, number: int, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take many tensors of a forward pass that counts, by field and layer; they may be part of its graph."""
        ...


@dataclass(slots=True, eq=False)
class TrainingPass:
    """One forward pass, and the backward pass through it.

    Attributes:
        number: which forward pass in the block it is.
        samples: number of samples.
        whole: whether it is a call of the whole model, not of some of its modules.
        run: what its hooks saw.
        plan: what is known about the model's passes; None while this is learned.
        gradients: what arrived, with its version, by place; None where the gradient is not held.
        broken: why it does not count, or "".
        handles: hooks of its tensors.
    """

    number: int
    samples: int
    whole: bool
    run: Recorder | Follower | Notes
    plan: Plan | None
    gradients: dict[Place, tuple[Tensor, int] | None] = field(default_factory=dict)
    broken: str = ""
    handles: list[RemovableHandle] = field(default_factory=list)

    @property
    def learning(self) -> bool:
        """Whether it follows every function, and may see what turns out to be no feature."""
        return isinstance(self.run, Recorder)

    def superseded(self, number: int, name: str, seen: Seen) -> bool:
        """Whether what was seen was a function on the way to the feature only."""
        call = self.run.calls[number]
        return isinstance(call, Call) and getattr(call, name) is not seen

    @property
    def reason(self) -> str:
        """Why it does not count, or ""."""
        return self.broken or ("" if self.gradients and self.plan is not None else NEVER)

    def arrived(self, place: Place, gradient: Tensor, *, hold: bool) -> None:
        """Note a gradient; it is held as it is, not as an alias: torch then knows that it is not free to be reused."""
        if place in self.gradients:
            self.broken = self.broken or TWICE
        self.gradients[place] = (gradient, version_of(gradient)) if hold else None

    def held_gradients(self) -> dict[Place, Tensor]:
        """Return the gradients that nobody changed in place."""
        held = {place: entry for place, entry in self.gradients.items() if entry is not None}
        return {place: tensor.detach() for place, (tensor, version) in held.items() if version_of(tensor) == version}

    def forget_overwritten(self) -> frozenset[Place]:
        """Forget values that were overwritten in place, against the plan; return their places."""
        if self.plan is None or isinstance(self.run, Recorder):
            return frozenset()
        found = overwritten(self.run.calls) - self.plan.copied
        for number, name in found:
            call = self.run.calls[number]
            if isinstance(call, Call):
                setattr(call, name, NOTHING)
        return found


def held_only(snapshot: LayerSnapshot, held: frozenset[str]) -> LayerSnapshot:
    """Return a snapshot without the fields that are not held."""
    return replace(snapshot, **dict.fromkeys((FIELDS_OF_PASSES) - held))


def joined(passes: Sequence[Mapping[str, LayerSnapshot]]) -> dict[str, LayerSnapshot]:
    """Return one snapshot per layer of those of several passes: their samples one after the other."""
    if len(passes) == 1:
        return dict(passes[0])
    keys = passes[0] if passes else {}
    return {key: _joined([found[key] for found in passes]) for key in keys if all(key in found for found in passes)}


def _joined(snapshots: Sequence[LayerSnapshot]) -> LayerSnapshot:
    names = [each.name for each in fields(LayerSnapshot) if each.name in STORED_FIELDS | GRADIENT_FIELDS]
    columns = {name: [getattr(snapshot, name) for snapshot in snapshots] for name in names}
    whole = {
        name: None if any(value is None for value in values) else torch.cat(values) for name, values in columns.items()
    }
    return replace(snapshots[-1], **whole)


def require_uncompiled(modules: tuple[nn.Module, ...]) -> None:
    """Refuse modules that are compiled: they call no hooks that come later.

    Raises:
        Unsupported: if one is.
    """
    compiled = [m for m in modules if m._compiled_call_impl is not None or "_orig_mod" in m._modules]
    if compiled:
        raise Unsupported(
            f"a training pass is seen of a model that is not compiled; got {type(compiled[0]).__name__}, which is. "
            "Remedy: observe it on a probe, or train it uncompiled."
        )


def is_seen() -> bool:
    """Whether what is computed now is part of a forward pass that can be differentiated."""
    return (
        torch.is_grad_enabled()
        and not is_in_backward()  # where checkpointed parts are computed once more
        and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore
    )


@cache
def asked_of(held: frozenset[str], streamed: frozenset[str]) -> tuple[frozenset[str], bool]:
    """Return of what gradients are asked for, and whether they only tell that a backward pass was made.

    Raises:
        InvalidInput: if a field is none that training passes show.
    """
    wanted = held | streamed
    require(
        wanted <= FIELDS_OF_PASSES and streamed <= STORED_FIELDS | GRADIENT_FIELDS,
        f"a field that training passes show is one of {sorted(FIELDS_OF_PASSES)}, and a weight is not streamed",
        sorted(wanted),
        "observe other fields on a probe",
    )
    asked = frozenset(name for name, gradient in GRADIENT_OF.items() if gradient in wanted)
    return asked or frozenset({"outputs"}), not asked
