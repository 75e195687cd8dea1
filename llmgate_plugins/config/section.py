"""What every section of the file has in common: unknown keys are refused, nothing changes once read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Section"]


class Section(BaseModel):
    """A part of the configuration file. Frozen; errors never quote what was written."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        arbitrary_types_allowed=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, value: Any) -> Any:
        # A key with nothing behind it, as when everything under it is commented out.
        if isinstance(value, Mapping):
            return {key: inner for key, inner in value.items() if inner is not None}
        return value
