"""A plan: what is to be done to a run, why, and what trials on copies said; applied and undone step by step."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import fill

import torch
from torch import nn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.control.remedy import Remedy
from cloudchamber.control.snapshot import Snapshot
from cloudchamber.control.trial import Trial


class Plan:
    """What `rescue` proposes. Nothing is done before `apply`; `undo` puts back what was there, exactly.

    Attributes:
        verdict: "nothing to do", "train on", "rescue" or "no remedy".
        reason: why, in words.
        remedies: the steps, in their order; none unless the verdict is "rescue".
        trials: what was tried on copies, in its order.

    >>> import torch
    >>> from cloudchamber.control.remedy import Setting
    >>> model = torch.nn.Linear(2, 1)
    >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> faster = Setting("larger steps", "lr", (1.0,), "Use a learning rate of 1 (it was 0.1).")
    >>> plan = Plan(model, sgd, "rescue", "The run is stuck.", [faster], [])
    >>> plan.apply()
    >>> sgd.param_groups[0]["lr"]
    1.0
    >>> plan.undo()
    >>> sgd.param_groups[0]["lr"]
    0.1
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        verdict: str,
        reason: str,
        remedies: Sequence[Remedy],
        trials: Sequence[Trial],
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self.verdict, self.reason = verdict, reason
        self.remedies, self.trials = tuple(remedies), tuple(trials)
        self._before: list[Snapshot] = []

    @property
    def applied(self) -> int:
        """How many of the steps are done."""
        return len(self._before)

    def apply(self) -> None:
        """Do the steps that are not done yet; if one fails, all is put back as it was before this call.

        Raises:
            InvalidInput: if there is nothing left to do.
        """
        if self.applied == len(self.remedies):
            raise InvalidInput(
                f"a plan is applied when it has steps left; got {self.verdict!r} with {self.applied} of "
                f"{len(self.remedies)} steps done. Remedy: look at its `verdict` first."
            )
        done = self.applied
        try:
            while self.applied < len(self.remedies):
                self._before.append(Snapshot.of(self._model, self._optimizer))
                self.remedies[self.applied - 1].apply(self._model, self._optimizer)
        except BaseException:
            self._undo_to(done)
            raise

    def undo(self, steps: int | None = None) -> None:
        """Put back what was there before the last `steps` steps (None = all), bit for bit; training since is lost.

        Raises:
            InvalidInput: if not as many are done.
        """
        count = self.applied if steps is None else steps
        if not 0 < count <= self.applied:
            raise InvalidInput(
                f"a plan undoes steps that are done, {self.applied} here; got {count}. Remedy: call `apply` first."
            )
        self._undo_to(self.applied - count)

    def _undo_to(self, done: int) -> None:
        while self.applied > done:
            self._before.pop().restore()

    def __str__(self) -> str:
        rows = [fill(f"[{self.verdict}] {self.reason}", 110, subsequent_indent=" " * 4, break_on_hyphens=False)]
        rows += [_row(f"step {number}", remedy.words) for number, remedy in enumerate(self.remedies, 1)]
        rows += [_row("tried", str(trial)) for trial in self.trials]
        return "\n".join(rows)

    def __repr__(self) -> str:
        return f"<Plan: {self.verdict}: {', '.join(remedy.name for remedy in self.remedies) or 'no steps'}>"

    def _repr_html_(self) -> str:
        steps = "".join(f"<li>{escape(remedy.words)}</li>" for remedy in self.remedies)
        tried = "".join(f"<li>{escape(str(trial))}</li>" for trial in self.trials)
        return (
            f"<h4>{escape(self.verdict)}</h4><p>{escape(self.reason)}</p><ol>{steps}</ol><p>Tried</p><ul>{tried}</ul>"
        )


def _row(name: str, text: str) -> str:
    return fill(text, 110, initial_indent=f"    {name:<8} ", subsequent_indent=" " * 13, break_on_hyphens=False)
