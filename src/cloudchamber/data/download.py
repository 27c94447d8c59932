"""Public files from the network: whole, and with the published checksum, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from cloudchamber._core.errors import CloudchamberError, DamagedFile, FileAccess
from cloudchamber._core.files import atomic_path
from cloudchamber.data.sources import Origin

_BLOCK = 1 << 20
_SECONDS_WITHOUT_A_BYTE = 30
_log = logging.getLogger("cloudchamber")


def fetch(origin: Origin, folder: Path) -> Path:
    """Download a file into a folder, from the first of its addresses that gives it as published.

    Raises:
        DamagedFile: if what came has another checksum.
        FileAccess: if none of the addresses answers, or the folder cannot be written.
    """
    target = folder / origin.file
    failures: list[CloudchamberError] = []
    for url in origin.urls:
        try:
            _download(url, target, origin.checksum)
            return target
        except _Refused as error:
            failures.append(error)
    told = "; ".join(map(str, failures))
    kind = FileAccess if all(isinstance(failure, _NoAnswer) for failure in failures) else DamagedFile
    raise kind(f"{origin.file} must be downloaded with {origin.checksum}; got: {told}")


def checksum(path: Path, algorithm: str) -> str:
    """Return a file's checksum as "algorithm:digits".

    Raises:
        FileAccess: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
    except OSError as error:
        raise FileAccess(f"{path} must be readable; got: {error.strerror}. Remedy: check its permissions.") from error


class _Refused(CloudchamberError):
    """One address did not give the file."""


class _NoAnswer(_Refused):
    """It did not answer, or broke off."""


def _download(url: str, target: Path, expected: str) -> None:
    with atomic_path(target) as temporary:
        _log.info("downloading %s", url)
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=_SECONDS_WITHOUT_A_BYTE)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the connection, too
            raise _NoAnswer(f"{url}: {error}") from error
        with response, temporary.open("wb") as file:
            _copy(response, file, url)
        found = checksum(temporary, expected.partition(":")[0])
        if found != expected:
            raise _Refused(f"{url}: {found}")


def _copy(response: http.client.HTTPResponse, file: BinaryIO, url: str) -> None:
    expected, copied = response.length, 0
    while block := _read(response, url):
        file.write(block)
        copied += len(block)
    if expected is not None and copied < expected:
        raise _NoAnswer(f"{url}: broke off after {copied} of {expected} bytes")


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _NoAnswer(f"{url}: {error or type(error).__name__}") from error
