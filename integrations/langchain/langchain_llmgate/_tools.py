"""Tools and answer formats as they are bound: OpenAI's vocabulary outside, what they were made of inside.

What is bound looks like OpenAI's `tools` and `response_format` to everybody who reads it
(LangChain's core, traces, cache keys, plugins), and the serving deployment's own model
translates from the originals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

__all__ = ["AnswerFormat", "BoundTools", "Structure", "Tool", "openai_tool", "same_tools", "structure_of"]

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


class Structure:
    """What `with_structured_output` was asked for, until the serving deployment carries it out.

    Attributes:
        method: None for the serving model's own default.
        options: Further arguments (`strict`, `tools`), those that were given.
        key: Equal for equal structures, and the same in every process.
    """

    __slots__ = ("key", "method", "options", "schema")

    def __init__(self, schema: Any, method: str | None, options: Mapping[str, Any]) -> None:
        self.schema = schema
        self.method = method
        self.options = dict(options)
        self.key = _dumped([method, self.options, openai_tool(schema), type(schema).__name__])

    def __repr__(self) -> str:
        return f"Structure({self.key})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and other.key == self.key and other._class is self._class

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def _class(self) -> Any:
        """Schemas given as classes are parsed into them, so that equal ones are not the same."""
        return self.schema if isinstance(self.schema, type) else None


class BoundTools(list[dict[str, Any]]):
    """Tools in the OpenAI format that remember what they were made of. A list to everybody else.

    Attributes:
        raw: The tools as they were bound, in the same order.
        strict: As given to `bind_tools`, or None.
        structure: Set if this is a structured answer by way of a tool call.
        key: Equal for equal tools.
    """

    def __init__(
        self, tools: Sequence[Tool], *, strict: bool | None = None, structure: Structure | None = None
    ) -> None:
        super().__init__(openai_tool(tool, strict) for tool in tools)
        self.raw = tuple(tools)
        self.strict = strict
        self.structure = structure
        self.key = (
            _dumped([*self, strict]),
            tuple(id(tool) for tool in self.raw if not isinstance(tool, dict)),
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies (of traces, of cache entries) are plain lists; tools themselves need not be copyable."""
        return (list, (list(self),))


class AnswerFormat(dict[str, Any]):
    """A `response_format` in OpenAI's shape that remembers the structure it was made of."""

    def __init__(self, structure: Structure) -> None:
        if structure.method == "json_mode":
            super().__init__(type="json_object")
        else:
            function = openai_tool(structure.schema)["function"]
            described = {"name": function["name"], "schema": function.get("parameters", {})}
            super().__init__(type="json_schema", json_schema=described)
        self.structure = structure

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (dict, (dict(self),))


def same_tools(asked: BoundTools, left: Sequence[Mapping[str, Any]]) -> BoundTools:
    """The tools that a plugin left, each with its original if it was among those bound."""
    origin: Final = {id(tool): raw for tool, raw in zip(asked, asked.raw, strict=True)}
    return BoundTools(
        [origin.get(id(tool), dict(tool)) for tool in left], strict=asked.strict, structure=asked.structure
    )


def openai_tool(tool: Any, strict: bool | None = None) -> dict[str, Any]:
    """In the OpenAI format; a provider's own built-in tool, which has none, as it is."""
    if isinstance(tool, dict):
        try:
            return convert_to_openai_tool(tool, strict=strict)
        except (TypeError, ValueError):
            return dict(tool)
    return convert_to_openai_tool(tool, strict=strict)


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_named, ensure_ascii=False)


def _named(value: Any) -> str:
    """For what JSON has no form: the name of its type, never an address."""
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def structure_of(words: Mapping[str, Any]) -> Structure | None:
    """The structured answer that a call's words ask for, if they do."""
    for key in ("response_format", "tools"):
        structure = getattr(words.get(key), "structure", None)
        if isinstance(structure, Structure):
            return structure
    return None
