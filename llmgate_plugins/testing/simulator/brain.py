"""What a simulated provider says when it was not told what to say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from llmgate_plugins.testing.simulator.question import Question, Reply, Tool
from llmgate_plugins.testing.simulator.schema import value_for

__all__ = ["think"]

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_NAME = re.compile(r"['\"`](\w+)['\"`]")
_DULL = frozenset({"get", "tool", "function", "the", "my", "call", "use", "for", "with"})


def think(question: Question) -> Reply:
    """A deterministic answer that does what the request asks for.

    A forced tool is called, a tool that the user's words suggest is called, a schema is
    filled, and otherwise the user's words are repeated. After tool results it answers
    in words that quote them.
    """
    thoughts = f"The user said: {question.text[:80]}" if question.thinking else ""
    calls = tuple((tool.name, _arguments(tool, question)) for tool in _wanted(question))
    if calls:
        return Reply(tool_calls=calls, reasoning=thoughts)
    if question.schema is not None:
        return Reply(text=_json(value_for(question.schema, question.text)), reasoning=thoughts)
    if question.json_mode:
        return Reply(text=_json(_loose_object(question)), reasoning=thoughts)
    return Reply(text=_words(question), reasoning=thoughts)


def _wanted(question: Question) -> Sequence[Tool]:
    if not question.tools or question.tool_choice == "none":
        return ()
    if question.tool_choice not in {"auto", "any"}:
        return [tool for tool in question.tools if tool.name == question.tool_choice]
    called = {call.name for message in question.turn for call in message.tool_calls}
    if question.tool_choice == "any":
        fresh = [tool for tool in question.tools if tool.name not in called] or list(question.tools)
        return [max(fresh, key=lambda tool: _suggests(question.text, tool))]
    if any(message.role == "tool" for message in question.turn):
        return ()  # the results are there: time to answer
    scores = {tool.name: _suggests(question.text, tool) for tool in question.tools}
    best = max(scores.values())
    if best < 0.5:
        return ()
    wanted = [tool for tool in question.tools if scores[tool.name] == best]
    return wanted if question.parallel else wanted[:1]


def _suggests(text: str, tool: Tool) -> float:
    """How much a text suggests a tool: 2 if it names it, else the share of its name's words."""
    if re.search(rf"\b{re.escape(tool.name)}\b", text):
        return 2.0
    said = text.lower()
    words = [word.lower() for word in _WORD.findall(tool.name)]
    telling = [word for word in words if word not in _DULL and len(word) > 2]
    return sum(word in said for word in telling) / len(telling) if telling else 0.0


def _arguments(tool: Tool, question: Question) -> dict[str, object]:
    value = value_for({"type": "object", **tool.schema}, question.text)
    return value if isinstance(value, dict) else {}


def _loose_object(question: Question) -> dict[str, str]:
    asked = " ".join(message.text for message in question.messages)
    names = list(dict.fromkeys(_NAME.findall(asked))) or ["answer"]
    return {name: f"{name} for: {question.text[:60]}" for name in names}


def _words(question: Question) -> str:
    results = [message.text for message in question.turn if message.role == "tool"]
    if results:
        return "The tool says: " + "; ".join(results)
    pictures = sum(
        part.get("type") not in {"text", "tool_result"}
        for message in question.messages[-1:]
        if not isinstance(message.content, str)
        for part in message.content
    )
    shown = f" (with {pictures} attachment{'s' * (pictures > 1)})" if pictures else ""
    return f"You said: {question.text}{shown}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
