"""Recipes as text: YAML files, `--set a.b=c`, and errors that name the field and what it may be."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cloudchamber._core.errors import FileAccess, InvalidRecipe
from cloudchamber.training.recipe import Recipe


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as the number that every user means; YAML 1.1 calls it a word."""


class _Dumper(yaml.SafeDumper):
    """Quotes the words that `_Loader` would read as numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def load_recipe(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: a YAML file with any part of a recipe; None = the default recipe.
        overrides: "field=value" with dotted fields; values are YAML. Setting a section's `name` to another kind
            starts that section anew with the defaults of the new kind; the other overrides then apply to it,
            whatever their order.

    Raises:
        FileAccess: if the file cannot be read.
        InvalidRecipe: if a field is unknown or its value is not allowed; every problem is named.

    >>> load_recipe(overrides=["optimizer.name=adam", "model.width=64"]).optimizer.beta1
    0.9
    """
    raw = {} if path is None else read_mapping(Path(path), "a recipe")
    return parse_recipe(assigned(raw, parse_overrides(overrides)))


def assigned(raw: Mapping[Any, Any], values: Mapping[str, Any]) -> dict[Any, Any]:
    """Return a part of a recipe with fields set, whatever their order; `raw` itself stays as it is.

    Args:
        raw: nested mappings.
        values: by dotted field. A `name` that differs from the section's starts that section anew.

    >>> assigned({"optimizer": {"name": "sgd", "lr": 0.1}}, {"optimizer.name": "adam", "seed": 3})
    {'optimizer': {'name': 'adam'}, 'seed': 3}
    """
    filled = _with_kinds(raw)
    paths = [tuple(field.split(".")) for field in values]
    # Whole sections first, then names: they decide which other fields there are.
    for path in sorted(paths, key=lambda path: (len(path), path[-1] != "name")):
        filled = _assigned(filled, path, values[".".join(path)])
    return filled


def parse_recipe(raw: Mapping[Any, Any]) -> Recipe:
    """Validate a nested mapping as a recipe.

    Raises:
        InvalidRecipe: naming every wrong field with what it may be.
    """
    try:
        return Recipe.model_validate(_with_kinds(raw))
    except ValidationError as error:
        problems = ". ".join(_problem(dict(item)) for item in error.errors())
        raise InvalidRecipe(
            f"{problems}. Remedy: `cloudchamber recipe` prints every field with its default."
        ) from error


def recipe_yaml(recipe: Recipe) -> str:
    """Return the whole recipe as YAML; `load_recipe` reads it back to an equal one."""
    return as_yaml(recipe.model_dump(mode="json"))


def as_yaml(value: Any) -> str:
    """Return plain values as YAML that is read back as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def known_fields() -> list[str]:
    """Return every field that a recipe of some kind has, dotted, sections included."""
    return sorted(set(_fields_in(Recipe, "")))


def _fields_in(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield prefix + name
        for inner in _kinds_in(field.annotation):
            yield from _fields_in(inner, f"{prefix}{name}.")


def _with_kinds(raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """Give each section that does not say its `name` the default one."""
    filled = dict(raw)
    for section, field in Recipe.model_fields.items():
        name = getattr(field.default, "name", None)
        if name is not None and isinstance(raw.get(section), dict):
            filled[section] = {"name": name, **raw[section]}
    return filled


def read_mapping(path: Path, what: str) -> dict[Any, Any]:
    """Read a YAML file of fields; an empty one has none.

    Args:
        path: the file.
        what: the file is, for the errors: "a recipe".

    Raises:
        FileAccess: if it cannot be read.
        InvalidRecipe: if it is no YAML, or no mapping.
    """
    try:
        content = _parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileAccess(
            f"{what} is a readable YAML file; got: {error.strerror} ({path}). Remedy: check the path."
        ) from error
    except ValueError as error:
        raise InvalidRecipe(f"{what} is YAML; got: {error}. Remedy: mend the file {path}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidRecipe(f"{what} is a mapping of fields; got {_shown(content)}. Remedy: mend the file {path}.")
    return content


def _parse_yaml(text: str) -> Any:
    """Parse YAML; whatever is wrong with it (yaml raises five kinds of errors) becomes a ValueError of one line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Read "field=value" texts, values being YAML.

    Raises:
        InvalidRecipe: if a text is not of that form.

    >>> parse_overrides(["optimizer.lr=1e-3", "observe.layers=[linear2]"])
    {'optimizer.lr': 0.001, 'observe.layers': ['linear2']}
    """
    values = {}
    for text in overrides:
        field, separator, value = text.partition("=")
        if not separator or not field.strip():
            raise InvalidRecipe(f"an override reads field=value; got {text!r}. Remedy: for example optimizer.lr=0.1.")
        values[field.strip()] = _value(text, value)
    return values


def _value(text: str, value: str) -> Any:
    try:
        return _parse_yaml(value)
    except ValueError as error:
        raise InvalidRecipe(f"an override's value is YAML; got {text!r} ({error}). Remedy: quote it.") from error


def _assigned(raw: Mapping[Any, Any], field: Sequence[str], value: Any) -> dict[Any, Any]:
    """Return `raw` with one field set; `raw` stays, since YAML aliases may use its parts twice."""
    first, *rest = field
    if not rest:
        return {**raw, first: value}
    section = raw.get(first)
    known = section if isinstance(section, dict) else {}
    if rest == ["name"] and known.get("name") != value:
        known = {}
    return {**raw, first: _assigned(known, rest, value)}


def _problem(item: Mapping[str, Any]) -> str:
    path, kind = _place(item["loc"])
    field = ".".join(path) or "the recipe"
    if item["type"] in ("extra_forbidden", "invalid_key"):
        return f"{field} is not a field; choose from {', '.join(sorted(kind.model_fields))}"
    if item["type"] == "union_tag_invalid":
        return f"{field}.name must be one of {item['ctx']['expected_tags']}; got {_shown(item['input'].get('name'))}"
    if item["type"] == "value_error":
        return f"{field}: {item['ctx']['error']}"
    return f"{field} {_rule(item, kind, path[-1:])}; got {_shown(item['input'])}"


def _rule(item: Mapping[str, Any], kind: type[BaseModel], last: Sequence[str]) -> str:
    if item["type"] in ("model_type", "model_attributes_type"):
        return "must be a section with fields of its own"
    field = kind.model_fields.get(last[0]) if last else None
    nullable = field is not None and type(None) in getattr(field.annotation, "__args__", ())
    return item["msg"].replace("Input should be", "must be") + (" or null" if nullable else "")


def _shown(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else reprlib.repr(value)


def _place(location: Iterable[int | str]) -> tuple[list[str], type[BaseModel]]:
    """Return the field as people write it, and the section that it is in.

    Where a section is of one of several kinds, pydantic puts the kind into the location; people do not.
    """
    path: list[str] = []
    section, inner = Recipe, [Recipe]
    for part in map(str, location):
        if len(inner) > 1:
            inner = [kind for kind in inner if part in getattr(kind.model_fields["name"].annotation, "__args__", ())]
            continue
        path.append(part)
        section = inner[0] if inner else section
        inner = _kinds_in(section.model_fields[part].annotation) if part in section.model_fields else []
    return path, section


def _kinds_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _kinds_in(part)]
