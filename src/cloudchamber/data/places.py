"""Where data sets lie: the folder that the user names, the user's cache, then the network."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cloudchamber._core.errors import CloudchamberError, DamagedFile, FileAccess
from cloudchamber._core.files import cache_folder
from cloudchamber.data.download import checksum, fetch
from cloudchamber.data.sources import Origin, Source
from cloudchamber.data.subsets import Part

DATA_VARIABLE = "CLOUDCHAMBER_DATA"
_log = logging.getLogger("cloudchamber")


def data_folder() -> Path | None:
    """Return the folder that `$CLOUDCHAMBER_DATA` names, None where it is not set.

    Raises:
        FileAccess: if it names no folder.
    """
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FileAccess(f"{DATA_VARIABLE} names a folder; got {named!r}. Remedy: mend it, or unset it.")
    return folder


@dataclass(frozen=True)
class Found:
    """What a part of a data set is read from.

    Attributes:
        parquet: its file in `$CLOUDCHAMBER_DATA`; None = its public files are used.
        key: the checksum of what is read.
        text: the files and their checksums, for people.
    """

    parquet: Path | None
    key: str
    text: str

    def described(self, published: int, samples: int, note: str = "") -> str:
        """Return `text` with what is not as published, and warn where samples are missing."""
        count = "" if samples == published else f"{samples} samples, {published} as published"
        if count:
            _log.warning("%s: %s", self.text, count)
        return "; ".join(filter(None, (self.text, count, note)))


def find(source: Source, part: Part) -> Found:
    """Return what a part is read from: Parquet in `$CLOUDCHAMBER_DATA`, else its public files."""
    folder = data_folder()
    path = folder and folder / source.name / source.parquet_of(part)
    if path and path.is_file():
        key = checksum(path, "sha256")
        return Found(path, key, f"{source.name}/{path.name} ({key})")
    origins = source.origins_of(part)
    key = "+".join(origin.checksum for origin in origins)
    return Found(None, key, ", ".join(f"{origin.file} ({origin.checksum})" for origin in origins))


def archives(source: Source, part: Part) -> tuple[Path, ...]:
    """Return the public files of a part, checked: from `$CLOUDCHAMBER_DATA`, the cache, or the network.

    Raises:
        FileAccess: if they are nowhere; the message says where they were looked for.
        DamagedFile: if one has not the published checksum.
    """
    return tuple(_archive(source, part, origin) for origin in source.origins_of(part))


def archives_at_hand(source: Source, part: Part) -> bool:
    """Return whether all public files of a part are on this machine."""
    return all(any(path.is_file() for path in _candidates(source, origin)) for origin in source.origins_of(part))


def parquet_is_readable() -> bool:
    """Return whether the libraries of the extra `papers` are installed."""
    return find_spec("pyarrow") is not None and find_spec("PIL") is not None


def _candidates(source: Source, origin: Origin) -> list[Path]:
    named = data_folder()
    folders = [cache_folder() / "downloads" / source.name]
    return [folder / origin.file for folder in ([named / source.name] if named else []) + folders]


def _archive(source: Source, part: Part, origin: Origin) -> Path:
    *named, cached = _candidates(source, origin)
    for path in (path for path in named if path.is_file()):
        found = _checksum_like(path, origin)
        if found != origin.checksum:
            raise DamagedFile(
                f"{path} must have the published {origin.checksum}; got {found}. Remedy: download it again from "
                f"{origin.urls[0]}."
            )
        return path
    if cached.is_file():
        if _checksum_like(cached, origin) == origin.checksum:
            return cached
        _log.warning("%s is damaged and is downloaded again", cached)
    return _fetched(source, part, origin, cached.parent)


def _checksum_like(path: Path, origin: Origin) -> str:
    return checksum(path, origin.checksum.partition(":")[0])


def _fetched(source: Source, part: Part, origin: Origin, folder: Path) -> Path:
    try:
        return fetch(origin, folder)
    except CloudchamberError as error:
        looked = data_folder() or f"${DATA_VARIABLE}, which is not set"
        raise type(error)(
            f"The data set {source.name} is neither in {looked}, nor in {folder}, nor to be had from its source: "
            f"{error}. Remedy: connect to a network, or set {DATA_VARIABLE} to a folder that holds "
            f"{source.name}/{source.parquet_of(part)} or {source.name}/{origin.file} (from {origin.urls[0]})."
        ) from error
