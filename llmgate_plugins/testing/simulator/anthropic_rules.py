"""The rules of the Messages API that no schema can say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmgate_plugins.testing.simulator.anthropic_schema import (
    Counted,
    CustomTool,
    Messages,
    Text,
    ToolResult,
    ToolUse,
    Turn,
)
from llmgate_plugins.testing.simulator.refused import Refused

__all__ = ["check"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")


def check(asked: Counted) -> None:
    """Refuse a request that has the right shape and still makes no sense.

    Raises:
        Refused: The real API would refuse it.
    """
    _check_history(asked)
    _check_tools(asked)
    if isinstance(asked, Messages):
        _check_thinking(asked)


def _check_history(asked: Counted) -> None:
    messages = asked.messages
    if not messages:
        raise Refused("messages: at least one message is required")
    if messages[0].role == "assistant":
        raise Refused('messages.0: the first message must use the "user" role')
    waiting: list[str] = []
    for index, message in enumerate(messages):
        blocks = message.content if isinstance(message.content, list) else []
        _check_content(message, index, last=index == len(messages) - 1)
        results = [block.tool_use_id for block in blocks if isinstance(block, ToolResult)]
        _check_results(waiting, results, index)
        if message.role == "assistant" and index and messages[index - 1].role == "assistant":
            continue
        waiting = [block.id for block in blocks if isinstance(block, ToolUse)]
    if waiting:
        _check_results(waiting, [], len(messages))
    last = messages[-1]
    if last.role == "assistant" and _text_at_the_end(last).endswith((" ", "\n", "\t")):
        raise Refused("messages: final assistant content cannot end with trailing whitespace")


def _text_at_the_end(message: Turn) -> str:
    if isinstance(message.content, str):
        return message.content
    last = message.content[-1] if message.content else None
    return last.text if isinstance(last, Text) else ""


def _check_content(message: Turn, index: int, *, last: bool) -> None:
    if not message.content and not (last and message.role == "assistant"):
        raise Refused(
            f"messages.{index}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    if isinstance(message.content, str):
        return
    for block in message.content:
        if isinstance(block, Text) and not block.text:
            raise Refused(f"messages.{index}: text content blocks must be non-empty")
        if isinstance(block, ToolUse) and not _ID.fullmatch(block.id):
            raise Refused(
                f"messages.{index}.content: tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            )
        if isinstance(block, ToolResult) and message.role != "user":
            raise Refused(f"messages.{index}: `tool_result` blocks can only be in `user` messages")
        if isinstance(block, ToolUse) and message.role != "assistant":
            raise Refused(f"messages.{index}: `tool_use` blocks can only be in `assistant` messages")


def _check_results(waiting: Sequence[str], results: Sequence[str], index: int) -> None:
    strange = [result for result in results if result not in waiting]
    if strange:
        raise Refused(
            f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{strange[0]}. Each `tool_result` block must have a corresponding `tool_use` block in the "
            "previous message."
        )
    missing = [one for one in waiting if one not in results]
    if missing:
        raise Refused(
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` "
            "block in the next message."
        )


def _check_tools(asked: Counted) -> None:
    names: set[str] = set()
    for index, tool in enumerate(asked.tools or ()):
        if not isinstance(tool, CustomTool):
            continue
        if not _NAME.fullmatch(tool.name):
            raise Refused(
                f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        if tool.name in names:
            raise Refused("tools: Tool names must be unique.")
        names.add(tool.name)
    choice = asked.tool_choice
    if choice is None:
        return
    if not asked.tools:
        raise Refused("tool_choice: tool_choice may only be specified while providing tools")
    if choice.type == "tool" and choice.name is None:
        raise Refused("tool_choice.tool.name: Field required")
    if choice.type == "tool" and choice.name not in names:
        raise Refused(f"tool_choice: Tool '{choice.name}' not found in provided tools")


def _check_thinking(asked: Messages) -> None:
    thinking = asked.thinking
    if thinking is None or thinking.type != "enabled":
        return
    if thinking.budget_tokens is None:
        raise Refused("thinking.enabled.budget_tokens: Field required")
    if thinking.budget_tokens >= asked.max_tokens:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if asked.temperature not in {None, 1}:
        raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
    if asked.tool_choice is not None and asked.tool_choice.type in {"any", "tool"}:
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")
