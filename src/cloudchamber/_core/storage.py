"""Records on disk: `record.nc` for a finished run, a SQLite journal while it grows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr

from cloudchamber._core.errors import DamagedFile, FileAccess, require
from cloudchamber._core.files import atomic_path
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.schema import SCHEMA_VERSION, Frame

RECORD_NAME = "record.nc"
JOURNAL_NAME = "journal.sqlite"

MIGRATIONS: dict[int, Callable[[xr.Dataset], xr.Dataset]] = {}
"""For each older schema version, the function that makes the next version's record of it."""


def save_record(record: xr.Dataset, path: Path | str) -> None:
    """Write a record as netCDF (engine h5netcdf), whole or not at all.

    Raises:
        FileAccess: if the folder cannot be written.
    """
    compressed = {name: {"zlib": True, "complevel": 4} for name in record if record[name].ndim > 2}
    with atomic_path(path) as temporary:
        record.to_netcdf(temporary, engine="h5netcdf", encoding=compressed)


def open_record(path: Path | str) -> xr.Dataset:
    """Open the record of a run, and bring it to the present schema.

    Args:
        path: a `record.nc`, or a run folder. A run that was killed has only its journal; that is read then.

    Returns:
        The record, in memory; no file stays open.

    Raises:
        FileAccess: if there is no record at `path`.
        DamagedFile: if the file is truncated or is not a record.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise FileAccess(f"a record is a file or a run folder; got: nothing at {path}. Remedy: check the path.")
    if path.name == JOURNAL_NAME:
        return Journal(path).load().dataset()
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            record = dataset.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DamagedFile(
            f"{path} must be a whole netCDF file; got: {error}. "
            f"Remedy: delete it and open the run's folder, whose journal holds the same data."
        ) from error
    return _migrate(record, path)


def _open_folder(folder: Path) -> xr.Dataset:
    for name in (RECORD_NAME, JOURNAL_NAME):
        if (folder / name).is_file():
            return open_record(folder / name)
    raise FileAccess(
        f"a run folder holds {RECORD_NAME} or {JOURNAL_NAME}; got: neither in {folder}. "
        "Remedy: name the folder that `cloudchamber run` printed."
    )


def _migrate(record: xr.Dataset, path: Path) -> xr.Dataset:
    version = record.attrs.get("schema_version")
    if version is None:
        raise DamagedFile(
            f"{path} must be a record of cloudchamber; got a netCDF file without schema_version. "
            "Remedy: open the record.nc of a run."
        )
    require(
        int(version) <= SCHEMA_VERSION,
        f"this version reads records up to schema {SCHEMA_VERSION}",
        int(version),
        "update cloudchamber",
    )
    for older in range(int(version), SCHEMA_VERSION):
        record = MIGRATIONS[older](record)
    return record


_TABLES = """
CREATE TABLE IF NOT EXISTS frame (content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS observation (
    step INTEGER NOT NULL, quantity TEXT NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL,
    data BLOB NOT NULL, mask BLOB NOT NULL, PRIMARY KEY (step, quantity)
);
"""


class Journal:
    """The record of a run while it grows: one transaction per observed step, safe against being killed."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def start(self, frame: Frame) -> None:
        """Begin an empty journal for a run; an older one at the same path is emptied.

        Raises:
            FileAccess: if the file cannot be written.
        """
        with self._transaction() as connection:
            connection.executescript(_TABLES)
            connection.execute("DELETE FROM observation")
            connection.execute("DELETE FROM frame")
            connection.execute("INSERT INTO frame VALUES (?)", (frame.to_json(),))

    def append(self, observation: Observation) -> None:
        """Commit one observation."""
        rows = [
            (observation.step, name, array.dtype.str, repr(list(array.shape)), *_blobs(array))
            for name, array in observation.values.items()
        ]
        with self._transaction() as connection:
            connection.executemany("INSERT INTO observation VALUES (?, ?, ?, ?, ?, ?)", rows)

    def truncate(self, last_step: int) -> None:
        """Forget the observations after `last_step`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM observation WHERE step > ?", (last_step,))

    def load(self) -> RecordBuffer:
        """Read everything that was committed.

        Raises:
            DamagedFile: if the file is no journal or was never begun.
        """
        with self._transaction() as connection:
            frame = connection.execute("SELECT content FROM frame").fetchone()
            rows = connection.execute("SELECT * FROM observation ORDER BY step, quantity").fetchall()
        if frame is None:
            raise DamagedFile(f"{self.path} must hold a run's frame; got an empty journal. Remedy: run again.")
        values: dict[int, dict[str, np.ma.MaskedArray]] = {}
        for step, name, dtype, shape, data, mask in rows:
            values.setdefault(step, {})[name] = _masked(dtype, shape, data, mask)
        buffer = RecordBuffer(Frame.from_json(frame[0]))
        for step, arrays in values.items():
            buffer.append(Observation(step, arrays))
        return buffer

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise FileAccess(
                f"{self.path} must be a readable and writable journal; got: {error}. "
                "Remedy: free the disk or choose another folder."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DamagedFile(
                f"{self.path} must be a SQLite journal; got: {error}. Remedy: start the run again in a new folder."
            ) from error


def _blobs(array: np.ma.MaskedArray) -> tuple[bytes, bytes]:
    return array.data.tobytes(), np.packbits(np.ma.getmaskarray(array)).tobytes()


def _masked(dtype: str, shape: str, data: bytes, mask: bytes) -> np.ma.MaskedArray:
    size = [int(part) for part in shape.strip("[]").split(",") if part.strip()]
    values = np.frombuffer(data, dtype=dtype).reshape(size)
    bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), count=values.size)
    return np.ma.MaskedArray(values, bits.reshape(size).astype(bool))
