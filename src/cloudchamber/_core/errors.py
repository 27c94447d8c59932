"""Errors that state the rule, the value received and what to do."""

from __future__ import annotations


class CloudchamberError(Exception):
    """Base of every error that cloudchamber raises on purpose."""


class InvalidInput(CloudchamberError, ValueError):
    """An argument breaks a rule; the message names the rule, the value and the remedy."""


class InvalidRecipe(InvalidInput):
    """A recipe has an unknown field or a value that is not allowed."""


class DamagedFile(CloudchamberError):
    """A file is truncated or is not what its name says."""


class FileAccess(CloudchamberError, OSError):
    """A file or folder cannot be read or written."""


class Unsupported(CloudchamberError, TypeError):
    """The model or its call does something that cloudchamber cannot observe."""


def require(condition: bool, rule: str, received: object, remedy: str) -> None:
    """Raise `InvalidInput` unless `condition` holds.

    Args:
        condition: what must be true.
        rule: the rule in words, as a full clause ("`every` must be at least 1").
        received: the offending value.
        remedy: what the caller can do, as an imperative clause.

    Raises:
        InvalidInput: if `condition` is false.

    >>> require(2 > 1, "two is more than one", 2, "count again")
    """
    if not condition:
        raise InvalidInput(f"{rule}; got {received}. Remedy: {remedy}.")
