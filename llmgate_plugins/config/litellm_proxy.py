"""The deployments of a gateway's file that has none of its own: those of the LiteLLM proxy it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from llmgate_plugins.config.document import Document, plain_document
from llmgate_plugins.config.reading import read_file

__all__ = ["models_beside", "plain_models", "with_models"]

PROXYS_FILE: Final = "config.yaml"
"""What LiteLLM's documentation calls a proxy's file."""
_KEY: Final = "model_list"


def models_beside(path: str | Path) -> Document | None:
    """The proxy's file beside this one; None if there is none, or if it has no deployments.

    Raises:
        ConfigurationError: It cannot be read, or is no YAML.
    """
    beside = Path(path).expanduser().with_name(PROXYS_FILE)
    if beside == Path(path).expanduser() or not beside.is_file():
        return None
    found = read_file(beside)
    return found if isinstance(found.value, Mapping) and _KEY in found.value else None


def plain_models(model_list: Sequence[Mapping[str, Any]]) -> Document:
    """Deployments in Python objects.

    Raises:
        ConfigurationError: They are nested deeper or hold more than a file may.
    """
    return plain_document({_KEY: model_list})


def with_models(document: Document, other: Document | None) -> Document:
    """The document with the other one's deployments, if it has none; each mistake keeps its file and line."""
    if other is None or not isinstance(document.value, Mapping) or _KEY in document.value:
        return document
    place = other.place.parts.get(_KEY)
    parts = document.place.parts
    if place is not None:
        parts = {**parts, _KEY: replace(place, file=other.file)}
    return replace(
        document,
        value={**document.value, _KEY: other.value[_KEY]},
        place=replace(document.place, parts=parts),
    )
