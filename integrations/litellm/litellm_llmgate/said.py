"""What is said in a call of LiteLLM's: read as messages, and written back where a policy changed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litellm_llmgate.endpoints.google import messages_in
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.messages import from_message, to_message
from llmgate_plugins.types import LazyMessages, Message, Request

__all__ = ["said_in", "say"]

PLACES: Final[Mapping[str, str]] = {
    "chat": "messages",
    "generate_content": "contents",
    "image_edit": "prompt",
    "image_generation": "prompt",
    "messages": "messages",
    "moderation": "input",
    "responses": "input",
    "speech": "input",
    "text": "prompt",
    "transcription": "prompt",
    "video_generation": "prompt",
}
"""Operation -> the argument that holds what is said."""

_LISTS: Final = frozenset({"moderation", "text"})
"""Where that may be a list of texts, each for itself."""
_UNREAD: Final = frozenset({"type", "id", "call_id", "status"})
"""What no model reads of an item of the Responses API."""


def said_in(operation: str, kwargs: Mapping[str, Any]) -> Sequence[Message]:
    """The conversation, the prompt, the words to be spoken, or the question and the documents."""
    if operation == "rerank":
        given = kwargs.get("documents")
        documents = map(_text_of, given if isinstance(given, list | tuple) else ())
        return [Message(role="user", content=text) for text in (str(kwargs.get("query") or ""), *documents)]
    said = kwargs.get(PLACES.get(operation, ""))
    if operation == "generate_content":
        return messages_in(said)
    if isinstance(said, str):
        said = [{"role": "user", "content": said}]
    elif operation in _LISTS and isinstance(said, Sequence):
        said = [_asked(one) for one in said if isinstance(one, str | Mapping)]
    return LazyMessages(said, _message) if isinstance(said, Sequence) and said else ()


def say(asked: Request, admitted: Request, kwargs: dict[str, Any]) -> None:
    """Put what a policy made of it in its place.

    Raises:
        ConfigurationError: This endpoint has no place for that.
    """
    messages, operation = admitted.messages, asked.operation
    place = PLACES.get(operation, "")
    said = kwargs.get(place)
    if place == "messages":
        kwargs[place] = [_native(message) for message in messages]
    elif isinstance(said, str) and len(messages) == 1:
        kwargs[place] = messages[0].text
    elif operation in _LISTS and said and _are_texts(said) and len(messages) == len(said):
        kwargs[place] = [message.text for message in messages]
    elif operation == "rerank" and len(messages) == len(asked.messages) and _are_texts(kwargs["documents"]):
        kwargs["query"], *kwargs["documents"] = [message.text for message in messages]
    else:
        raise ConfigurationError(
            f"a policy changed the messages of a {operation!r} call, which has no place for them; let the "
            "policy leave such calls alone, or deny them"
        )


def _are_texts(said: Any) -> bool:
    return isinstance(said, list | tuple) and all(isinstance(one, str) for one in said)


def _asked(one: Any) -> Mapping[str, Any]:
    return {"role": "user", "content": one if isinstance(one, str) else [one]}


def _text_of(document: Any) -> str:
    """A document's text, or all of its fields."""
    if not isinstance(document, Mapping):
        return str(document)
    return str(document.get("text") or " ".join(map(str, document.values())))


def _message(native: Any) -> Message:
    plain = native if isinstance(native, Mapping) else native.model_dump(exclude_none=True)
    if isinstance(plain.get("role"), str):
        return to_message(plain)
    # The Responses API also lists calls, their results and thoughts, none of which has a role.
    output = plain.get("output")
    if isinstance(output, Mapping):
        output = (output,)
    if isinstance(output, Sequence) and not isinstance(output, str):
        return Message(role="user", content=tuple(output), native=native)
    said = [str(value) for name, value in plain.items() if name not in _UNREAD]
    return Message(role="user", content=" ".join(said), native=native)


def _native(message: Message) -> Any:
    """The host's own message where nothing changed."""
    native = message.native
    if native is not None and _message(native) == message:
        return native
    return from_message(message)
