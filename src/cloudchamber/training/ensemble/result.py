"""What training an ensemble returns."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import xarray as xr
from jaxtyping import Float, Int
from safetensors.torch import load, save
from torch import Tensor, nn

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput, require
from cloudchamber._core.files import write_bytes
from cloudchamber._core.storage import RECORD_NAME, open_record, save_record

ENSEMBLE_NAME = "ensemble.safetensors"
_NUMBERS = ("stopped_at", "loss", "loss_steps", "losses", "snapshot_steps")
_GROUPS = ("parameters", "fixed", "snapshots")


@dataclass(frozen=True, eq=False)
class Ensemble:
    """K trained members; the first axis is always the member.

    Attributes:
        parameters: by name, (K, ...), at the end: those that were trained.
        fixed: by name, (K, ...): buffers at the end, and parameters that were not trained.
        reasons: why each member stopped: "steps", "not_finite" (its loss is NaN or infinite), "loss", "loss_ratio", or
            the reason of another rule.
        stopped_at: (K,), updates applied.
        loss: (K,), the training loss before the last update; NaN without updates.
        loss_steps: (s,), the updates whose losses were kept.
        losses: (K, s), the training loss before those updates; NaN after a member's end.
        record: what was observed, with a leading `member` dimension.
        template: the architecture; None for one that was loaded without.
        snapshot_steps: (c,), the updates after which parameters were kept.
        snapshots: by name, (K, c, ...), the parameters then; NaN after a member's end.
    """

    parameters: dict[str, Tensor]
    fixed: dict[str, Tensor]
    reasons: tuple[str, ...]
    stopped_at: Int[Tensor, " k"]
    loss: Float[Tensor, " k"]
    loss_steps: Int[Tensor, " s"]
    losses: Float[Tensor, "k s"]
    record: xr.Dataset | None = None
    template: nn.Module | None = None
    snapshot_steps: Int[Tensor, " c"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    snapshots: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reasons)

    def member(self, k: int) -> nn.Module:
        """Return member k, counted from 0, as a module of its own.

        Raises:
            InvalidInput: if there is no such member, or the ensemble was loaded without its architecture.
        """
        require(-len(self) <= k < len(self), f"members are 0 … {len(self) - 1}", k, "choose one of them")
        if self.template is None:
            raise InvalidInput(
                "a member is made from its architecture; got an ensemble that was loaded without. "
                "Remedy: Ensemble.load(folder, template=model)."
            )
        module = copy.deepcopy(self.template)
        held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad():
            for name, values in {**self.parameters, **self.fixed}.items():
                held[name].copy_(values[k])
        return module

    def save(self, folder: Path | str) -> None:
        """Write it into a folder: `ensemble.safetensors` and, if observed, `record.nc`; each whole or not at all.

        Raises:
            FileAccess: if the folder cannot be written.
        """
        if self.record is not None:
            save_record(self.record, Path(folder) / RECORD_NAME)
        write_bytes(Path(folder) / ENSEMBLE_NAME, save(self._tensors()))

    @classmethod
    def load(cls, folder: Path | str, template: nn.Module | None = None) -> Ensemble:
        """Read what `save` wrote; nothing in it is executed, so the architecture is not in it.

        Args:
            folder: where.
            template: a model of the architecture, for `member`; it is copied.

        Raises:
            FileAccess: if there is no ensemble, or it cannot be read.
            DamagedFile: if the file is truncated or is none.
            InvalidInput: if the model has another architecture.
        """
        path, record = Path(folder) / ENSEMBLE_NAME, Path(folder) / RECORD_NAME
        tensors = _read(path)
        groups = {group: _group(tensors, group) for group in _GROUPS}
        return cls(
            parameters=groups["parameters"],
            fixed=groups["fixed"],
            snapshots=groups["snapshots"],
            snapshot_steps=tensors.get("snapshot_steps", torch.zeros(0, dtype=torch.long)),
            stopped_at=tensors["stopped_at"],
            loss=tensors["loss"],
            loss_steps=tensors["loss_steps"],
            losses=tensors["losses"],
            reasons=tuple(json.loads(bytes(tensors["reasons"].tolist()))),
            record=open_record(record) if record.is_file() else None,
            template=None if template is None else _checked(template, {**groups["parameters"], **groups["fixed"]}),
        )

    def _tensors(self) -> dict[str, Tensor]:
        """All of it but the record, with a checksum: the format has none."""
        tensors = {name: getattr(self, name).contiguous() for name in _NUMBERS}
        for group in _GROUPS:
            tensors |= {f"{group}/{name}": values.contiguous() for name, values in getattr(self, group).items()}
        tensors["reasons"] = torch.tensor(list(json.dumps(self.reasons).encode()), dtype=torch.uint8)
        return {**tensors, "checksum": _checksum(tensors)}


def _group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    start = f"{group}/"
    return {name.removeprefix(start): values for name, values in tensors.items() if name.startswith(start)}


def _checksum(tensors: Mapping[str, Tensor]) -> Tensor:
    checksum = 0
    for name in sorted(tensors):
        values = tensors[name]
        checksum = zlib.crc32(f"{name} {values.dtype} {tuple(values.shape)}".encode(), checksum)
        checksum = zlib.crc32(values.cpu().flatten().view(torch.uint8).numpy().tobytes(), checksum)
    return torch.tensor(checksum)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load(path.read_bytes())
        checksum = tensors.pop("checksum")
        if not torch.equal(checksum, _checksum(tensors)):
            raise ValueError("its checksum differs")
        return tensors
    except OSError as error:
        raise FileAccess(
            f"an ensemble's folder holds a readable {ENSEMBLE_NAME}; got: {error.strerror} ({path}). "
            "Remedy: check the path."
        ) from error
    except Exception as error:  # the bytes of a damaged file can make the reader raise anything
        raise DamagedFile(
            f"{path} must be a whole ensemble; got: {' '.join(str(error).split())[:200]}. Remedy: train it again."
        ) from error


def _checked(template: nn.Module, held: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a model of this architecture, in the precision of the ensemble."""
    state = {**dict(template.named_parameters()), **dict(template.named_buffers())}
    ours, theirs = ({name: value.shape for name, value in part.items()} for part in (dict(held), state))
    rule = "`template` is a model of the ensemble's architecture"
    require(theirs == {name: shape[1:] for name, shape in ours.items()}, rule, theirs, "pass one of the models")
    kinds = {value.dtype for value in held.values() if value.is_floating_point()}
    return copy.deepcopy(template).to(kinds.pop()) if len(kinds) == 1 else copy.deepcopy(template)
