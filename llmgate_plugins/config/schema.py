"""The JSON Schema of the configuration file, for editors."""

from __future__ import annotations

from typing import Any

from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.litellm_settings import FOREIGN_SECTIONS

__all__ = ["config_schema"]


def config_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. Accepts LiteLLM files too, sections without a meaning here included."""
    schema = GatewayConfig.model_json_schema(mode="validation")
    for name, what in FOREIGN_SECTIONS.items():
        schema["properties"][name] = {"description": f"{what}; no meaning here, ignored.".capitalize()}
    # A plain name is short for {name: ...}; the reader turns it before pydantic looks.
    plugins = schema["properties"]["plugins"]
    plugins["items"] = {"anyOf": [{"type": "string", "minLength": 1}, plugins["items"]]}
    # LiteLLM's own settings pass, whatever they are: they are ignored with a note.
    for name in ("RouterSettings", "LiteLLMSettings"):
        schema["$defs"][name]["additionalProperties"] = True
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llmgate.yaml",
        **{key: value for key, value in schema.items() if key != "title"},
    }
