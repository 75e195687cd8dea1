"""What is to be known of an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.types import Chunk, Message, Response, Usage

__all__ = ["Asked", "Endpoint", "Media", "Reading", "Worded", "failure", "of", "put"]

Reading: TypeAlias = Iterator[tuple[Chunk, bool]]
"""What a piece of a stream says, and whether anything of the answer is in it."""


class Asked(NamedTuple):
    """What is asked of an endpoint whose money is not by the tokens of a text.

    Attributes:
        texts: What is said.
        params: As they are sent.
        kwargs: What LiteLLM was called with: the files.
        model: The provider's name of it.
        most: Whether it is to be as much as it may be, and not as is to be expected.
    """

    texts: tuple[str, ...]
    params: Mapping[str, Any]
    kwargs: Mapping[str, Any]
    model: str
    most: bool

    @property
    def text(self) -> str:
        """All that is said."""
        return "\n".join(self.texts)


class Media(Protocol):
    """One whose answers LiteLLM prices by other things than tokens of text."""

    @property
    def call_type(self) -> str:
        """LiteLLM's word for it."""

    def usage_in(self, answer: Any) -> Usage | None:
        """Tokens that it used, as reported; None where none are told."""

    def expected(self, asked: Asked) -> Iterator[Any]:
        """Answers as they are to be expected, of which LiteLLM can say what they cost; the first that
        has a price counts. An answer that is None is told by the text alone."""


class Worded(Protocol):
    """One whose answers have words."""

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


class Endpoint(Worded, Protocol):
    """One whose answers can come in pieces."""

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
