"""Messages as the next provider takes them: without another one's thoughts, markers and ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from llmgate_plugins.foreign import tables
from llmgate_plugins.foreign.profile import Profile
from llmgate_plugins.types import Message, ToolCall

__all__ = ["are_plain", "fit_messages", "fitting_id", "is_foreign_part"]

MARK: Final = "cache_control"
DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def fit_messages(
    messages: Sequence[Message], profile: Profile, provider: str, changes: list[str]
) -> Sequence[Message]:
    """The messages as this provider takes them; the same object where nothing is to be changed."""
    if are_plain(messages):
        return messages
    said: dict[str, None] = {}
    fitted = [_fitted(message, profile, provider, said) for message in messages]
    if not said:
        return messages
    changes.extend(said)
    return tuple(message for message in fitted if message is not None)


def are_plain(messages: Sequence[Message]) -> bool:
    """Whether the messages are text alone, with nothing that a provider could object to."""
    for message in messages:
        if type(message.content) is not str or message.native is not None or message.tool_calls:
            return False
    return True


def is_foreign_part(part: Mapping[str, Any], family: str) -> bool:
    """Whether a content part holds what another provider's model thought.

    Anthropic takes thoughts that it has signed; Mistral's own thoughts are lists.
    """
    kind = part.get("type")
    if kind in tables.PARTS.get(family, ()):
        return True
    if kind != "thinking":
        return False
    if family == "anthropic":
        return not part.get("signature")
    return family == "mistral" and isinstance(part.get("thinking"), str)


def fitting_id(given: str, family: str) -> str:
    """The id of a tool call in a form that the family takes: always the same for the same id."""
    rule = tables.IDS.get(family)
    if rule is None or not given or rule[0].fullmatch(given):
        return given
    number, made = int.from_bytes(sha256(given.encode()).digest()), ""
    for _ in range(rule[1]):
        number, digit = divmod(number, len(DIGITS))
        made += DIGITS[digit]
    return made


def _fitted(message: Message, profile: Profile, provider: str, said: dict[str, None]) -> Message | None:
    """The message, a changed copy, or None where nothing is left of it."""
    changes: dict[str, Any] = {}
    if not isinstance(message.content, str):
        content = _parts(message.content, profile, provider, said)
        if content is not message.content:
            changes["content"] = content
    if isinstance(message.native, Mapping) and (fields := _foreign_fields(message, profile)):
        changes["native"] = {name: value for name, value in message.native.items() if name not in fields}
        for name in sorted(fields):
            said[f"left out {name} in messages: {provider} does not take it"] = None
        if "name" in fields:
            changes["name"] = None
    if (message.tool_calls or message.tool_call_id is not None) and (ids := _ids(message, profile.family)):
        changes.update(ids)
        said[f"gave tool calls other ids: {provider} does not take theirs"] = None
    if not changes:
        return message
    fitted = replace(message, **changes)
    empty = not fitted.content and not fitted.tool_calls and fitted.role == "assistant"
    return None if empty and message.content else fitted


def _parts(
    content: tuple[Mapping[str, Any], ...], profile: Profile, provider: str, said: dict[str, None]
) -> tuple[Mapping[str, Any], ...]:
    kept: list[Mapping[str, Any]] = []
    changed = False
    for part in content:
        if is_foreign_part(part, profile.family):
            said[f"left out {part['type']} in messages: {provider} does not take it"] = None
            changed = True
        elif not profile.marked and MARK in part:
            said[f"left out {MARK} in messages: {provider} does not take it"] = None
            kept.append({name: value for name, value in part.items() if name != MARK})
            changed = True
        else:
            kept.append(part)
    return tuple(kept) if changed else content


def _foreign_fields(message: Message, profile: Profile) -> set[str]:
    """Fields of the original message that would be refused."""
    fields = {*tables.MESSAGE_FIELDS.get(profile.family, ())}
    if not profile.marked:
        fields.add(MARK)
    if message.role == "tool":
        fields.discard("name")
    return {name for name in fields if name in message.native}


def _ids(message: Message, family: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    calls: list[ToolCall] = []
    for call in message.tool_calls:
        made = fitting_id(call.id, family)
        calls.append(call if made == call.id else replace(call, id=made))
    if any(after is not before for after, before in zip(calls, message.tool_calls, strict=True)):
        changes["tool_calls"] = tuple(calls)
    if message.tool_call_id is not None:
        made = fitting_id(message.tool_call_id, family)
        if made != message.tool_call_id:
            changes["tool_call_id"] = made
    return changes
