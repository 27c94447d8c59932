"""Base of every part of a recipe: unknown fields are refused, values are frozen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator


class Config(BaseModel):
    """A validated, frozen, serialisable value; nothing but a whole float (1e3 for 1000) is converted."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_floats_are_integers(cls, fields: object) -> object:
        return {name: _whole(value) for name, value in fields.items()} if isinstance(fields, dict) else fields


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
