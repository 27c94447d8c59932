"""Recipes as text: YAML files, `--set a.b=c`, and errors that name the field and what it may be."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from cloudchamber._core.errors import FileAccess, InvalidRecipe
from cloudchamber.training.recipe import Recipe


def load_recipe(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: a YAML file with any part of a recipe; None = the default recipe.
        overrides: "field=value" with dotted fields; values are YAML. Setting a section's `name` starts that
            section anew with the defaults of the new kind; the other overrides then apply to it.

    Raises:
        FileAccess: if the file cannot be read.
        InvalidRecipe: if a field is unknown or its value is not allowed; every problem is named.

    >>> load_recipe(overrides=["optimizer.name=adam", "model.width=64"]).optimizer.beta1
    0.9
    """
    raw = {} if path is None else _read(Path(path))
    for field, value in _parsed(overrides):
        _assign(raw, field, value)
    return parse_recipe(raw)


def parse_recipe(raw: Mapping[str, Any]) -> Recipe:
    """Validate a nested mapping as a recipe.

    Raises:
        InvalidRecipe: naming every wrong field with what it may be.
    """
    try:
        return Recipe.model_validate(_with_kinds(raw))
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item)) for item in error.errors())
        raise InvalidRecipe(
            f"{problems}. Remedy: `cloudchamber recipe` prints every field with its default."
        ) from error


def recipe_yaml(recipe: Recipe) -> str:
    """Return the whole recipe as YAML; `load_recipe` reads it back to an equal one."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _with_kinds(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Give each section that does not say its `name` the default one."""
    filled = dict(raw)
    for section, field in Recipe.model_fields.items():
        name = getattr(field.default, "name", None)
        if name is not None and isinstance(raw.get(section), dict):
            filled[section] = {"name": name, **raw[section]}
    return filled


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileAccess(
            f"a recipe is a readable YAML file; got: {error.strerror} ({path}). Remedy: check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        summary = " ".join(str(error).split())
        raise InvalidRecipe(f"a recipe is YAML; got: {summary}. Remedy: mend the file {path}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidRecipe(f"a recipe is a mapping of fields; got {type(content).__name__}. Remedy: mend {path}.")
    return content


def _parsed(overrides: Iterable[str]) -> list[tuple[list[str], Any]]:
    pairs = []
    for text in overrides:
        field, separator, value = text.partition("=")
        if not separator or not field.strip():
            raise InvalidRecipe(f"an override reads field=value; got {text!r}. Remedy: for example optimizer.lr=0.1.")
        pairs.append((field.strip().split("."), _value(text, value)))
    # Names first: a section's name decides which other fields it has.
    return sorted(pairs, key=lambda pair: pair[0][-1] != "name")


def _value(text: str, value: str) -> Any:
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InvalidRecipe(f"an override's value is YAML; got {text!r}. Remedy: quote it.") from error
    return _number(parsed)


def _number(parsed: Any) -> Any:
    # YAML 1.1 reads 1e-3 as a word; every user means a number.
    if isinstance(parsed, str):
        try:
            return float(parsed)
        except ValueError:
            return parsed
    return parsed


def _assign(raw: dict[str, Any], field: list[str], value: Any) -> None:
    *sections, last = field
    for section in sections:
        inner = raw.get(section)
        raw[section] = copy.copy(inner) if isinstance(inner, dict) else {}
        raw = raw[section]
    if last == "name" and raw.get("name") != value:
        raw.clear()
    raw[last] = value


def _problem(item: dict[str, Any]) -> str:
    tagged = [str(part) for part in item["loc"]]
    section = _section(tagged)
    field = ".".join(section.path)
    received = item["input"]
    if item["type"] == "extra_forbidden":
        return f"unknown field {field}; allowed here: {', '.join(section.fields)}"
    if item["type"].startswith("union_tag"):
        return f"{field}.name must be one of {item['ctx'].get('expected_tags', 'its kinds')}; got {received!r}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{field or 'the recipe'}: {message}; got {received!r}"


class _Section(NamedTuple):
    path: list[str]
    fields: list[str]


def _section(location: list[str]) -> _Section:
    """Walk the recipe's fields: pydantic puts the kind of a section ("sgd") into the location, people do not."""
    path: list[str] = []
    kinds: list[type[BaseModel]] = [Recipe]
    for part in location:
        named = [kind for kind in kinds if _is_kind(kind, part)]
        if named and not any(part in kind.model_fields for kind in kinds):
            kinds = named
            continue
        path.append(part)
        annotations = [kind.model_fields[part].annotation for kind in kinds if part in kind.model_fields]
        kinds = [kind for annotation in annotations for kind in _kinds_in(annotation)] or kinds
    return _Section(path, sorted({field for kind in kinds for field in kind.model_fields}))


def _kinds_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _kinds_in(part)]


def _is_kind(kind: type[BaseModel], name: str) -> bool:
    field = kind.model_fields.get("name")
    return field is not None and name in getattr(field.annotation, "__args__", ())
