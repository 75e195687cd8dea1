"""Messages without what another provider left in them: thoughts, cache markers, ids it would refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_llmgate._vocabulary import MARKERS, clean
from llmgate_plugins.foreign import fitting_id, is_foreign_part, tables

__all__ = ["History"]

OWN_NAMES: Final[Mapping[str, str]] = {
    "google_genai": "gemini",
    "google_vertexai": "gemini",
    "mistralai": "mistral",
    "bedrock_converse": "bedrock",
}
"""LangChain's name of a provider -> family, where the core's table has another name."""

CLIENTS_OWN: Final = frozenset({"anthropic", "mistral", "bedrock"})
"""Families whose LangChain clients give tool calls fitting ids by themselves."""


class History:
    """Fits a conversation to one model. What it leaves alone is the same object.

    Args:
        family: The provider's, as the core's tables call it.
        provider: For the sentences that tell what was changed.
        keeps_markers: Whether cache markers may stay.
    """

    def __init__(self, family: str, provider: str, *, keeps_markers: bool) -> None:
        self._family = family
        self._provider = provider
        self._keeps_markers = keeps_markers
        self._fits_ids = family in tables.IDS and family not in CLIENTS_OWN
        self._is_plain = keeps_markers and not family

    def fitted(self, messages: Sequence[BaseMessage], changes: list[str]) -> list[BaseMessage]:
        """The messages as the model takes them. Each kind of change is told in `changes`, in one sentence."""
        if self._is_plain:
            return list(messages)
        left = [
            self._without_foreign(message, changes) if type(message.content) is list else message
            for message in messages
        ]
        return [
            self._with_ids(message, changes)
            if self._fits_ids and isinstance(message, AIMessage | ToolMessage)
            else message
            for message in left
            if message is not None
        ]

    def _without_foreign(self, message: BaseMessage, changes: list[str]) -> BaseMessage | None:
        """None where nothing is left of it."""
        content: list[Any] = []
        own = self._is_own(message)
        for block in message.content:
            if not isinstance(block, dict):
                content.append(block)
            elif not own and is_foreign_part(block, self._family):
                self._tell(f"left out {block['type']} in messages", changes)
            else:
                plain = block if self._keeps_markers else clean(block)
                if plain is not block:
                    self._tell(f"left out {min(MARKERS)} in messages", changes)
                content.append(plain)
        if len(content) == len(message.content) and all(
            after is before for after, before in zip(content, message.content, strict=True)
        ):
            return message
        if not content and isinstance(message, AIMessage) and not message.tool_calls:
            return None
        return message.model_copy(update={"content": content})

    def _with_ids(self, message: AIMessage | ToolMessage, changes: list[str]) -> BaseMessage:
        update: dict[str, Any] = {}
        if isinstance(message, ToolMessage):
            made = fitting_id(message.tool_call_id, self._family)
            if made != message.tool_call_id:
                update["tool_call_id"] = made
        else:
            for name in ("tool_calls", "invalid_tool_calls"):
                calls = getattr(message, name)
                fitted = [{**call, "id": fitting_id(call["id"] or "", self._family)} for call in calls]
                if any(after["id"] != before["id"] for after, before in zip(fitted, calls, strict=True)):
                    update[name] = fitted
        if not update:
            return message
        self._tell("gave tool calls other ids", changes, "theirs")
        return message.model_copy(update=update)

    def _is_own(self, message: BaseMessage) -> bool:
        """Whether a model of this family gave it, so that all of it is the provider's own."""
        name = message.response_metadata.get("model_provider")
        return name is not None and OWN_NAMES.get(name, tables.FAMILIES.get(name)) == self._family

    def _tell(self, what: str, changes: list[str], which: str = "it") -> None:
        sentence = f"{what}: {self._provider} does not take {which}"
        if sentence not in changes:
            changes.append(sentence)
