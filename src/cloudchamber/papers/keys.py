"""What makes two runs, or two measurements of a run, the same: keys made of content alone."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

from pydantic import BaseModel

from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber.papers.study import Study
from cloudchamber.training import Recipe


def content(config: BaseModel | Study) -> dict[str, Any]:
    """Return what a study says, or a recipe or section of it beyond the defaults, with the kind of every section.

    Fields that a later version adds, with defaults that change nothing, therefore leave the content as it is.

    >>> content(Recipe(steps=5))["steps"], "seed" in content(Recipe(steps=5))
    (5, False)
    """
    if isinstance(config, Study):
        return config.content()
    said: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            said[name] = content(value)
        elif name == "name" or value != field.get_default(call_default_factory=True):
            said[name] = value
    return said


def recipe_key(recipe: Recipe | Study) -> str:
    """Return the key of what is run: a hash of its content and of the record's schema."""
    return _hash({"recipe": content(recipe), "schema": SCHEMA_VERSION})


def measurement_key(measure: Callable[..., Any], settings: Mapping[str, Any]) -> str:
    """Return the key of what a function measures of a run: a hash of its compiled code and its settings.

    The code as it was loaded, not the text of its file, which may have been edited since.
    """
    code = _said(inspect.unwrap(measure).__code__)
    return _hash({"name": measure.__name__, "code": code, "settings": settings, "schema": SCHEMA_VERSION})


def _said(part: object) -> object:
    """What a compiled function says, without where it stands in its file; sets have no order of their own."""
    if isinstance(part, CodeType):
        return [part.co_code.hex(), part.co_names, part.co_varnames, [_said(item) for item in part.co_consts]]
    return sorted(map(repr, part)) if isinstance(part, frozenset) else repr(part)


def _hash(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
