"""Tools and structured answers, bound once and translated for whichever deployment serves."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough

from langchain_llmgate._fleet import Fleet
from langchain_llmgate._runs import GateRuns
from langchain_llmgate._structured import ServedParser
from langchain_llmgate._tools import AnswerFormat, BoundTools, Structure, Tool

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway

__all__ = ["GateBinding"]

METHODS: Final = (None, "json_schema", "function_calling", "json_mode")


class GateBinding(GateRuns):
    """What may be bound to a gate."""

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools. Each deployment is given them in its own provider's words.

        Args:
            tools: Whatever `bind_tools` of other chat models takes.
            tool_choice: "auto", "any", "none", a tool's name, or a provider's own shape.
            strict: Have the arguments follow the schemas exactly, where a provider can.
            kwargs: Further arguments of each call (`parallel_tool_calls`, `response_format`, ...).
        """
        words: dict[str, Any] = {"tools": BoundTools(tools, strict=strict), **kwargs}
        if tool_choice:
            words["tool_choice"] = tool_choice
        return self.bind(**words)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model with answers of a given structure, asked for and parsed as the serving provider does it.

        Args:
            schema: A Pydantic class, a TypedDict class, a JSON schema or an OpenAI tool.
            include_raw: Answer with `raw`, `parsed` and `parsing_error`.
            method: "json_schema", "function_calling" or "json_mode"; None for each
                provider's own default. A provider that does not have the method asks for
                a tool call.
            strict: Follow the schema exactly, where a provider can.
            kwargs: Further arguments of the providers' `with_structured_output`.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, not {method!r}")
        options = kwargs if strict is None else {**kwargs, "strict": strict}
        structure = Structure(schema, method, options)
        words: dict[str, Any] = {}
        if method == "function_calling":
            words["tools"] = BoundTools([schema], strict=strict, structure=structure)
            words["tool_choice"] = "any"
        else:
            words["response_format"] = AnswerFormat(structure)
        traced = {"kwargs": {"method": method or "json_schema", **options}, "schema": schema}
        llm = self.bind(**words, ls_structured_output_format=traced)
        parser = ServedParser(structure, lambda name: _parser(self.gateway, self.fleet, name, structure))
        if not include_raw:
            return llm | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _parser(
    gateway: Gateway, fleet: Fleet, deployment_id: str, structure: Structure
) -> Runnable[Any, Any] | None:
    deployment = gateway.deployments.get(deployment_id)
    return None if deployment is None else fleet.leaf(deployment).parser(structure)
