"""Reads Anthropic requests, and refuses what does not fit, in Anthropic's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from llmgate_plugins.testing.simulator.anthropic_rules import check
from llmgate_plugins.testing.simulator.anthropic_schema import Counted, Messages
from llmgate_plugins.testing.simulator.question import Question, Tool
from llmgate_plugins.testing.simulator.refused import Refused, worst
from llmgate_plugins.types import Message, ToolCall

__all__ = ["read_count", "read_messages"]

Body = TypeVar("Body", bound=Counted)


def read_messages(body: Any) -> Question:
    """The question in a message request.

    Raises:
        Refused: The real API would refuse it.
    """
    return _question(_validated(Messages, body), body)


def read_count(body: Any) -> Question:
    """The question in a count-tokens request.

    Raises:
        Refused: The real API would refuse it.
    """
    return _question(_validated(Counted, body), body)


def _validated(kind: type[Body], body: Any) -> Body:
    try:
        asked = kind.model_validate(body)
    except ValidationError as error:
        raise _refused(error, body) from None
    check(asked)
    return asked


def _question(asked: Counted, body: Mapping[str, Any]) -> Question:
    choice = asked.tool_choice
    form = asked.output_format or (asked.output_config and asked.output_config.format)
    system = body.get("system")
    first = (
        [Message(role="system", content=system if isinstance(system, str) else tuple(system))]
        if system
        else []
    )
    return Question(
        model=asked.model,
        messages=(*first, *(part for raw in body["messages"] for part in _messages(raw))),
        tools=tuple(
            Tool(name=tool["name"], description=tool.get("description") or "", schema=tool["input_schema"])
            for tool in body.get("tools") or ()
            if "input_schema" in tool
        ),
        tool_choice="auto" if choice is None else str(choice.name) if choice.type == "tool" else choice.type,
        parallel=not (choice and choice.disable_parallel_tool_use),
        schema=form.schema_ if form else None,
        thinking=asked.thinking is not None and asked.thinking.type in {"enabled", "adaptive"},
        stop=tuple(getattr(asked, "stop_sequences", None) or ()),
        max_tokens=getattr(asked, "max_tokens", None),
        stream=bool(getattr(asked, "stream", None)),
        include_usage=True,
        body=body,
    )


def _messages(raw: Mapping[str, Any]) -> list[Message]:
    """One wire message as neutral ones: each tool result stands alone, before the words."""
    content = raw["content"]
    if isinstance(content, str):
        return [Message(role=raw["role"], content=content)]
    results = [block for block in content if block["type"] == "tool_result"]
    uses = [block for block in content if block["type"] == "tool_use"]
    rest = tuple(block for block in content if block["type"] not in {"tool_result", "tool_use", "thinking"})
    found = [
        Message(role="tool", content=_result_text(block), tool_call_id=block["tool_use_id"])
        for block in results
    ]
    if rest or uses or not results:
        calls = tuple(
            ToolCall(id=use["id"], name=use["name"], arguments=json.dumps(use["input"]), index=index)
            for index, use in enumerate(uses)
        )
        found.append(Message(role=raw["role"], content=rest, tool_calls=calls))
    return found


def _result_text(block: Mapping[str, Any]) -> str:
    content = block.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _refused(error: ValidationError, body: Any) -> Refused:
    """What is wrong, in Anthropic's words, which are pydantic's."""
    path, problem = worst(error, body)
    where = ".".join(map(str, path))
    what = {"missing": "Field required", "extra_forbidden": "Extra inputs are not permitted"}.get(
        problem["type"], problem["msg"].replace(" using _kind_of()", " using 'type'")
    )
    return Refused(f"{where}: {what}" if where else what)
