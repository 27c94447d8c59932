"""Checkpoints: all that a run needs to go on to the bit-identical result. Loading never executes code."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cloudchamber._core.errors import DamagedFile
from cloudchamber._core.files import atomic_path
from cloudchamber.training.session import Session

CHECKPOINT_NAME = "checkpoint/state.pt"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` updates."""

    step: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    random: list[torch.Tensor]

    @classmethod
    def of(cls, session: Session, step: int) -> Checkpoint:
        """Take the state of a session."""
        random = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if _on_cuda(session) else [])]
        return cls(step, session.model.state_dict(), session.optimizer.state_dict(), random)

    def restore(self, session: Session) -> None:
        """Put the state into a session of the same recipe."""
        session.model.load_state_dict(self.model)
        session.optimizer.load_state_dict(self.optimizer)
        torch.set_rng_state(self.random[0])
        if _on_cuda(session):
            torch.cuda.set_rng_state_all(self.random[1:])

    def save(self, folder: Path) -> None:
        """Write it into a run folder, whole or not at all."""
        with atomic_path(folder / CHECKPOINT_NAME) as temporary:
            torch.save(vars(self), temporary)

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """Read the checkpoint of a run folder; None if there is none.

        Raises:
            DamagedFile: if it is truncated or is no checkpoint.
        """
        path = folder / CHECKPOINT_NAME
        if not path.is_file():
            return None
        try:
            return cls(**torch.load(path, weights_only=True))
        except (
            RuntimeError,
            pickle.UnpicklingError,
            EOFError,
            TypeError,
            ValueError,
            KeyError,
            OSError,
        ) as error:
            reason = str(error).splitlines()[0]
            raise DamagedFile(
                f"{path} must be a whole checkpoint; got: {reason}. "
                "Remedy: delete it and resume: the run then starts again from step 0."
            ) from error


def _on_cuda(session: Session) -> bool:
    return torch.device(session.recipe.device).type == "cuda"
