"""The ledger of a sweep: a SQLite file with every finished chunk, each committed in one transaction."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cloudchamber._core.errors import CloudchamberError, DamagedFile, FileAccess, InvalidInput, require
from cloudchamber._core.files import make_folder
from cloudchamber.training.sweep.chunks import Outcome, Work

LEDGER_NAME = "ledger.sqlite"
FORMAT = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS chunk (
    work TEXT NOT NULL, key TEXT NOT NULL, errors TEXT NOT NULL, environment TEXT NOT NULL, seconds REAL NOT NULL,
    arrays BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (work, key)
) WITHOUT ROWID
"""
_ROW = "errors, environment, seconds, arrays, checksum"


class Ledger:
    """What came of the chunks of one work, by key. One process writes at a time; any number may read.

    Args:
        path: the file; it need not exist.
        work: name of the work: what another one made of the same chunk is not taken for its own.
    """

    def __init__(self, path: Path | str, work: str) -> None:
        self.path = Path(path)
        self._work = work

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process from writing while the block runs; the system lets go when a process dies.

        Raises:
            FileAccess: if another process holds it, or the folder cannot be written.
        """
        make_folder(self.path.parent)
        with self._explained_errors(), closing(_connect(self._lock, "rwc")) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise _in_use(self.path) if _code(error) == sqlite3.SQLITE_BUSY else error from error
            self._prepare()
            yield

    def commit(self, key: str, outcome: Outcome) -> None:
        """Add what came of a chunk, whole or not at all.

        Raises:
            FileAccess: if the disk is full or cannot be written.
        """
        row = _row(outcome)
        with self._transaction("rw") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._work, key, *row, _checksum(self._work, key, *row)),
            )

    def load(self) -> dict[str, Outcome]:
        """Read every outcome of the work; none if there is no file.

        Raises:
            DamagedFile: if the file is no ledger, or its content was changed.
        """
        if not self.path.is_file():
            return {}
        with self._transaction("ro") as connection:
            self._check(connection)
            found = connection.execute(f"SELECT key, {_ROW} FROM chunk WHERE work = ?", (self._work,)).fetchall()
        try:
            return {key: self._outcome(key, *row) for key, *row in found}
        except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damage(str(error)) from error

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _prepare(self) -> None:
        with self._transaction("rwc") as connection:
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            self._check(connection)

    def _check(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise InvalidInput(
                f"this version reads ledgers of format {FORMAT}; got {version} ({self.path}). "
                "Remedy: update cloudchamber."
            )

    def _outcome(self, key: str, *row: Any) -> Outcome:
        *content, checksum = row
        if checksum != _checksum(self._work, key, *content):
            raise ValueError(f"chunk {key[:12]} differs from its checksum")
        errors, environment, seconds, arrays = content
        return Outcome(_unpacked(arrays), tuple(json.loads(errors)), json.loads(environment), seconds)

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[sqlite3.Connection]:
        with self._explained_errors(), closing(_connect(self.path, mode)) as connection, connection:
            yield connection

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.DatabaseError) -> CloudchamberError:
        # The disk and its rights are operational errors; so are missing tables and broken text: the file's fault.
        if not isinstance(error, sqlite3.OperationalError) or _code(error) in (0, sqlite3.SQLITE_ERROR):
            return self._damage(str(error))
        return FileAccess(
            f"{self.path} must be a readable and writable ledger; got: {error}. "
            "Remedy: free the disk, then start the sweep again: it goes on where it was."
        )

    def _damage(self, reason: str) -> DamagedFile:
        return DamagedFile(
            f"{self.path} must be the whole ledger of a sweep; got: {' '.join(reason.split())[:200]}. "
            "Remedy: delete it and start the sweep again."
        )


def name_of(work: Work) -> str:
    """Return the name of a work in ledgers.

    Raises:
        InvalidInput: if it has none that would be the same in another process.
    """
    named = "<" not in getattr(work, "__qualname__", "<").replace("<locals>", "")
    require(named, "work is a function with a name", repr(work), "define it at the top level of a module")
    return f"{work.__module__}.{work.__qualname__}"


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    timeout = 0.0 if path.suffix == ".lock" else 60.0
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=timeout)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _in_use(path: Path) -> FileAccess:
    return FileAccess(
        f"one process writes a ledger at a time; got {path}, which another one is writing. "
        "Remedy: wait for it, or choose another folder."
    )


def _row(outcome: Outcome) -> tuple[str, str, float, bytes]:
    environment = json.dumps(outcome.environment, sort_keys=True)
    return json.dumps(outcome.errors), environment, outcome.seconds, _packed(outcome.arrays)


def _checksum(*content: object) -> int:
    # SQLite notices lost pages, but not changed bytes inside of one.
    checksum = 0
    for part in content:
        checksum = zlib.crc32(part if isinstance(part, bytes) else repr(part).encode(), checksum)
    return checksum


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    # The prefix keeps a name from being an argument of `savez`.
    np.savez(content, **{f"/{name}": array for name, array in arrays.items()})  # pyright: ignore[reportArgumentType]
    return content.getvalue()


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name[1:]: file[name] for name in file.files}
