"""What is to be known of an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.types import Chunk, Message, Response, Usage

__all__ = ["Endpoint", "Reading", "failure", "of", "put"]

Reading: TypeAlias = Iterator[tuple[Chunk, bool]]
"""What a piece of a stream says, and whether anything of the answer is in it."""


class Endpoint(Protocol):
    """One shape of answers."""

    def usage_in(self, answer: Any) -> Usage | None:
        """What it used, as reported; None where that is not told."""

    def message_in(self, answer: Any) -> Message:
        """What this answer says. Of several choices the first."""

    def changed(self, answer: Any, message: Message) -> Any:
        """A copy that says this: all its words where the first of them stood, and only these calls."""

    def made(self, response: Response, model: str, name: str) -> Any:
        """A plugin's answer in this shape.

        Args:
            model: The model that was asked.
            name: Tells answers apart.
        """

    def reader(self) -> Callable[[Any], Reading]:
        """Reads the pieces of one stream, one after the other.

        Raises:
            ProviderError: A piece says that the answer has failed.
        """


def of(thing: Any, name: str) -> Any:
    """A field of a mapping or of an object; None if it has none."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def put(thing: Any, name: str, value: Any) -> None:
    """Set it."""
    if isinstance(thing, dict):
        thing[name] = value
    else:
        setattr(thing, name, value)


def failure(told: Any) -> ProviderError:
    """What an event says that tells of a failure; Google's has a status as `code`, and a word as `status`."""
    code, status = of(told, "code") or of(told, "type"), None
    if isinstance(code, int):
        code, status = of(told, "status"), code
    message = of(told, "message") or "the stream says that the answer has failed"
    return ProviderError(str(message), status=status, code=None if code is None else str(code), body=told)
