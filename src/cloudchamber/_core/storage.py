"""Records on disk: `record.nc` for a finished run, a SQLite journal while it grows."""

from __future__ import annotations

import io
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5netcdf
import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore

from cloudchamber._core.errors import CloudchamberError, DamagedFile, FileAccess, require
from cloudchamber._core.files import write_bytes
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.schema import SCHEMA_VERSION, Frame

RECORD_NAME = "record.nc"
JOURNAL_NAME = "journal.sqlite"

_SEAL = struct.Struct("<12sI")
_SEALED = b"cloudchamber"

MIGRATIONS: dict[int, Callable[[xr.Dataset], xr.Dataset]] = {}
"""For each older schema version, the function that makes the next version's record of it."""


def save_record(record: xr.Dataset, path: Path | str) -> None:
    """Write a record as netCDF (engine h5netcdf), whole or not at all, with a checksum behind its end.

    Raises:
        FileAccess: if the folder cannot be written.
    """
    compressed = {name: {"zlib": True, "complevel": 4} for name in record if record[name].ndim > 2}
    content = io.BytesIO()  # HDF5 itself crashes the process when the disk is full
    with h5netcdf.File(content, "w") as file:
        record.dump_to_store(H5NetCDFStore(file), encoding=compressed)
    seal = _seal(content.getbuffer())
    content.seek(0, io.SEEK_END)
    content.write(seal)
    write_bytes(path, content.getbuffer())


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
        return _migrate(_read_netcdf(path), path)
    except CloudchamberError:
        raise
    except PermissionError as error:
        raise FileAccess(f"{path} must be readable; got: {error}. Remedy: change its permissions.") from error
    except Exception as error:  # there is no end to what a foreign or damaged file makes HDF5 and xarray raise
        raise DamagedFile(
            f"{path} must be a whole netCDF file; got: {' '.join(str(error).split())[:200]}. "
            "Remedy: delete it and open the run's folder, whose journal holds the same data."
        ) from error


def _read_netcdf(path: Path) -> xr.Dataset:
    content = path.read_bytes()
    end = len(content) - _SEAL.size
    if end > 0 and _SEAL.unpack_from(content, end)[0] == _SEALED and content[end:] != _seal(content[:end]):
        # Left to itself, HDF5 does not notice changed bytes, and may never return.
        raise ValueError("its checksum differs")
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        return dataset.load()


def _seal(content: bytes | memoryview) -> bytes:
    return _SEAL.pack(_SEALED, zlib.crc32(content))


def _open_folder(folder: Path) -> xr.Dataset:
    record, journal = folder / RECORD_NAME, Journal(folder / JOURNAL_NAME)
    if record.is_file():
        opened = open_record(record)
        # A run that was resumed and then killed has an older record beside its journal.
        return opened if opened.step.max(initial=-1) >= journal.last_step() else journal.load().dataset()
    if journal.path.is_file():
        return journal.load().dataset()
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
        not version > SCHEMA_VERSION,
        f"this version reads records up to schema {SCHEMA_VERSION}",
        version,
        "update cloudchamber",
    )
    if version != SCHEMA_VERSION and version not in MIGRATIONS:
        raise DamagedFile(f"{path} must have a schema that there was; got {version}. Remedy: open another record.")
    for older in range(int(version), SCHEMA_VERSION):
        record = MIGRATIONS[older](record)
    return record


_TABLES = """
CREATE TABLE IF NOT EXISTS frame (content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS observation (
    step INTEGER NOT NULL, quantity TEXT NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL,
    data BLOB NOT NULL, mask BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (step, quantity)
);
"""
_ACCESS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""What SQLite reports when the disk or its rights are to blame, not the file."""


class Journal:
    """The record of a run while it grows: one transaction per observed step, safe against being killed."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def start(self, frame: Frame) -> None:
        """Begin an empty journal for a run; an older one at the same path is emptied.

        Raises:
            FileAccess: if the file cannot be written.
        """
        with self._transaction(create=True) as connection:
            connection.executescript(_TABLES)
            connection.execute("DELETE FROM observation")
            connection.execute("DELETE FROM frame")
            connection.execute("INSERT INTO frame VALUES (?)", (frame.to_json(),))

    def append(self, observation: Observation) -> None:
        """Commit one observation."""
        rows = [_row(observation.step, name, array) for name, array in observation.values.items()]
        with self._transaction() as connection:
            connection.executemany("INSERT INTO observation VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def truncate(self, last_step: int) -> None:
        """Forget the observations after `last_step`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM observation WHERE step > ?", (last_step,))

    def load(self) -> RecordBuffer:
        """Read everything that was committed.

        Raises:
            DamagedFile: if the file is no journal or was never begun.
        """
        try:
            with self._transaction() as connection:
                frame = connection.execute("SELECT content FROM frame").fetchone()
                rows = connection.execute("SELECT * FROM observation ORDER BY step, quantity").fetchall()
            return _buffer(frame, rows)
        except (ValueError, TypeError, KeyError) as error:
            raise self._damage(str(error)) from error

    def last_step(self) -> int:
        """Return the last step that was committed; -1 if there is none, or no whole journal."""
        try:
            with self._transaction() as connection:
                (step,) = connection.execute("SELECT MAX(step) FROM observation").fetchone()
        except (DamagedFile, FileAccess):
            return -1
        return step if isinstance(step, int) else -1

    @contextmanager
    def _transaction(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        mode = "rwc" if create else "rw"
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.DatabaseError) -> CloudchamberError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _ACCESS:
            return self._damage(str(error))
        return FileAccess(
            f"{self.path} must be a readable and writable journal; got: {error}. "
            "Remedy: free the disk or choose another folder."
        )

    def _damage(self, reason: str) -> DamagedFile:
        return DamagedFile(
            f"{self.path} must be the whole journal of a run; got: {' '.join(reason.split())[:200]}. "
            "Remedy: start the run again in a new folder."
        )


def _buffer(frame: tuple[str] | None, rows: Iterable[tuple]) -> RecordBuffer:
    if frame is None:
        raise ValueError("no run was begun in it")
    values: dict[int, dict[str, np.ma.MaskedArray]] = {}
    for row in rows:
        step, name, *_ = row
        values.setdefault(step, {})[name] = _array(row)
    buffer = RecordBuffer(Frame.from_json(frame[0]))
    for step, arrays in values.items():
        buffer.append(Observation(step, arrays))
    return buffer


def _row(step: int, name: str, array: np.ma.MaskedArray) -> tuple:
    mask = np.packbits(np.ma.getmaskarray(array))
    content = (step, name, array.dtype.str, repr(list(array.shape)), array.data.tobytes(), mask.tobytes())
    return (*content, _checksum(content))


def _array(row: tuple) -> np.ma.MaskedArray:
    *content, checksum = row
    if _checksum(content) != checksum:
        raise ValueError("an array differs from its checksum")
    _, _, dtype, shape, data, mask = content
    size = [int(part) for part in shape.strip("[]").split(",") if part.strip()]
    values = np.frombuffer(data, dtype=dtype).reshape(size)
    bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), count=values.size)
    return np.ma.MaskedArray(values, bits.reshape(size).astype(bool))


def _checksum(content: Iterable[object]) -> int:
    # SQLite notices lost pages, but not changed bytes inside of one.
    checksum = 0
    for part in content:
        checksum = zlib.crc32(part if isinstance(part, bytes) else str(part).encode(), checksum)
    return checksum
