"""The section `plugins`: which plugins of other packages may be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.deployment_config import Name, Text
from llmgate_plugins.config.section import Section
from llmgate_plugins.config.shielding import Free, shield

__all__ = ["PluginConfig"]


class PluginConfig(Section):
    """A plugin that may be loaded from an installed package. A plain name is short for {name: ...}."""

    name: Name = Field(description="Name of its entry point in the group `llmgate`.")
    dist: Name | None = Field(None, description="The distribution it must come from.")
    version: Text | None = Field(
        None, description='The version that distribution must have: "1.2.0" or ">=1.2,<2".'
    )
    options: Mapping[str, Free] = Field(
        default_factory=dict, description="What it is made with; secrets as references."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and len(value) == 1 and not cls.model_fields.keys() & value.keys():
            told = "{name: ..., options: {...}}"
            raise PydanticCustomError("plugin", "has a plugin's name as a key; write {told}", {"told": told})
        options = value.get("options") if isinstance(value, Mapping) else None
        if isinstance(options, Mapping):
            return {**value, "options": shield("", options)}
        return value
