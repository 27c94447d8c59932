"""Checkpoints: all that a run needs to go on to the bit-identical result. Loading never executes code."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cloudchamber._core.errors import DamagedFile, FileAccess
from cloudchamber._core.files import write_bytes
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
        random = [generator.get_state() for generator in session.generators]
        return cls(step, session.model.state_dict(), session.optimizer.state_dict(), random)

    def restore(self, session: Session) -> None:
        """Put the state into a session of the same recipe.

        Raises:
            DamagedFile: if it is that of another model.
        """
        try:
            session.model.load_state_dict(self.model)
            session.optimizer.load_state_dict(self.optimizer)
            for generator, state in zip(session.generators, self.random, strict=True):
                generator.set_state(state)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise _damage(CHECKPOINT_NAME, error) from error

    def save(self, folder: Path) -> None:
        """Write it into a run folder, whole or not at all.

        Raises:
            FileAccess: if it cannot be written.
        """
        content = io.BytesIO()  # torch hides the reason when it writes into a full disk itself
        torch.save(vars(self), content)
        write_bytes(folder / CHECKPOINT_NAME, content.getbuffer())

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """Read the checkpoint of a run folder; None if there is none.

        Raises:
            FileAccess: if it cannot be read.
            DamagedFile: if it is truncated or is no checkpoint.
        """
        path = folder / CHECKPOINT_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileAccess(f"{path} must be readable; got: {error.strerror}. Remedy: check its rights.") from error
        try:
            return cls(**_unpacked(content))
        except Exception as error:  # the bytes of a damaged file can make the readers raise anything
            raise _damage(path, error) from error


def _damage(path: Path | str, error: Exception) -> DamagedFile:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DamagedFile(
        f"{path} must be a whole checkpoint of this run; got: {reason}. "
        "Remedy: delete it and resume: the run then starts again from step 0."
    )


def _unpacked(content: bytes) -> dict[str, Any]:
    damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()  # torch does not compare checksums
    if damaged is not None:
        raise ValueError(f"{damaged} in it is damaged")
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
