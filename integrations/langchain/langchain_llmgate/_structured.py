"""Parses a structured answer as the deployment that served it would have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_llmgate._report import KEY
from langchain_llmgate._tools import Structure, openai_tool

__all__ = ["ServedParser"]

ParserOf = Callable[[str], "Runnable[Any, Any] | None"]


class ServedParser(Runnable[AIMessage, Any]):
    """Hands each answer to the parser of the model that gave it. Streams stay streams.

    Args:
        structure: What was asked for.
        parser_of: Deployment id -> that deployment's own parser, or None if it is not known.
    """

    def __init__(self, structure: Structure, parser_of: ParserOf) -> None:
        self._structure = structure
        self._parser_of = parser_of

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        schema = self._structure.schema
        return schema if isinstance(schema, type) else dict[str, Any]

    def invoke(self, input: AIMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The structure in a whole answer."""
        return self._parser(input).invoke(input, config, **kwargs)

    async def ainvoke(self, input: AIMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The same for an event loop."""
        return await self._parser(input).ainvoke(input, config, **kwargs)

    def transform(
        self, input: Iterator[AIMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """The structure as it grows. The first chunk says who serves."""
        for first in input:
            yield from self._parser(first).transform(chain((first,), input), config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[AIMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """The same for an event loop."""
        async for first in input:
            async for part in self._parser(first).atransform(_chained(first, input), config, **kwargs):
                yield part

    def _parser(self, answer: BaseMessage) -> Runnable[Any, Any]:
        identity = (answer.response_metadata.get(KEY) or {}).get("deployment")
        return (identity and self._parser_of(identity)) or _general_parser(self._structure, answer)


async def _chained(first: AIMessage, rest: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    yield first
    async for message in rest:
        yield message


def _general_parser(structure: Structure, answer: BaseMessage) -> Runnable[Any, Any]:
    """For an answer that no deployment gave (a plugin's own): from its tool call, else as JSON."""
    schema = structure.schema
    is_model = isinstance(schema, type) and is_basemodel_subclass(schema)
    if isinstance(answer, AIMessage) and answer.tool_calls:
        if is_model:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        return JsonOutputKeyToolsParser(
            key_name=openai_tool(schema)["function"]["name"], first_tool_only=True
        )
    return PydanticOutputParser(pydantic_object=schema) if is_model else JsonOutputParser()
