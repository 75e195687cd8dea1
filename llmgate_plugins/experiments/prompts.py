"""What an arm does to the messages: another system prompt, a template around what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from llmgate_plugins.types import Message, Request

__all__ = ["PLACE", "Prompt"]

PLACE: Final = "{prompt}"
"""Where a template has what the user wrote."""

Place = Literal["instead", "before", "after"]
_SYSTEM: Final = ("system", "developer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A change of what is asked.

    What the user wrote is put into a template as it is, once: nothing in it is read as a template.

    Attributes:
        system: A system prompt.
        place: Whether it stands "instead" of the caller's own, "before" or "after" it.
        template: Text around the last message of the user, which stands at "{prompt}".

    Raises:
        ValueError: It makes no sense.
    """

    system: str | None = None
    place: Place = "instead"
    template: str | None = None

    def __post_init__(self) -> None:
        if self.place not in get_args(Place):
            raise ValueError(f"place must be one of {', '.join(get_args(Place))}, not {self.place!r}")
        if self.system is None and self.template is None:
            raise ValueError("a prompt needs system or template")
        if self.template is not None and self.template.count(PLACE) != 1:
            raise ValueError(f"a template says {PLACE} once, where the user's words belong")

    @property
    def touches(self) -> frozenset[str]:
        """What it changes: "system", "template"."""
        return frozenset(name for name in ("system", "template") if getattr(self, name) is not None)

    def applied(self, request: Request) -> Request:
        """The request with this prompt."""
        messages: Sequence[Message] = tuple(request.messages)
        if self.template is not None:
            messages = _around_last(messages, *self.template.split(PLACE))
        if self.system is not None:
            messages = _with_system(messages, self.system, self.place)
        return request.replace(messages=messages)


def _with_system(messages: Sequence[Message], text: str, place: Place) -> tuple[Message, ...]:
    """Only the caller's system prompt at the beginning is its own; one in the midst belongs there.

    Two become one message: not every provider takes two."""
    end = next((at for at, one in enumerate(messages) if one.role not in _SYSTEM), len(messages))
    own, rest = messages[:end], messages[end:]
    if not own or place == "instead":
        return (Message(role="system", content=text), *rest)
    if place == "before":
        return (_around(own[0], f"{text}\n\n", ""), *own[1:], *rest)
    return (*own[:-1], _around(own[-1], "", f"\n\n{text}"), *rest)


def _around_last(messages: Sequence[Message], before: str, after: str) -> tuple[Message, ...]:
    for at in range(len(messages) - 1, -1, -1):
        one = messages[at]
        if one.role == "user":
            return (*messages[:at], _around(one, before, after), *messages[at + 1 :])
    return tuple(messages)


def _around(message: Message, before: str, after: str) -> Message:
    content = message.content
    if isinstance(content, str):
        return replace(message, content=f"{before}{content}{after}")
    parts = [{"type": "text", "text": text} for text in (before, after)]
    around = (parts[0], *content, parts[1])
    kept = tuple(part for part in around if part.get("type") != "text" or part.get("text"))
    return replace(message, content=kept)
