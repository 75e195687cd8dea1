"""How each provider on OpenAI's wire is asked to go on from a given beginning of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from llmgate_plugins.transports.openai_providers import address_of
from llmgate_plugins.types import EMPTY, Attempt, Chunk, Deployment

__all__ = ["Echo", "address_for_prefill", "echo_of", "with_prefill"]


@dataclass(frozen=True, slots=True)
class Way:
    """How it is asked for.

    Attributes:
        message: Words in the assistant's message, the last of the conversation.
        body: Words in the body.
        path: The path of the API that knows them; None for the usual one.
        echoes: Whether the answer says the given beginning again.
    """

    message: Mapping[str, Any] = EMPTY
    body: Mapping[str, Any] = EMPTY
    path: str | None = None
    echoes: bool = False


_PREFIX: Final = {"prefix": True}
_PARTIAL: Final = {"partial": True}
_CONTINUE: Final = {"continue_final_message": True, "add_generation_prompt": False}

WAYS: Final[Mapping[str, Way]] = {
    "codestral": Way(_PREFIX, echoes=True),
    "dashscope": Way(_PARTIAL),
    "deepseek": Way(_PREFIX, path="/beta"),
    "hosted_vllm": Way(body=_CONTINUE),
    "mistral": Way(_PREFIX, echoes=True),
    "moonshot": Way(_PARTIAL),
    "vllm": Way(body=_CONTINUE),
}
"""Whoever is not named goes on from an assistant's message at the end as it is, or not at
all; a deployment says which by its capability `assistant_prefill`."""

_USUAL: Final = Way()


def with_prefill(body: dict[str, Any], attempt: Attempt) -> None:
    """Add to a body what asks the model to go on from `attempt.prefill`."""
    way = WAYS.get(attempt.deployment.provider, _USUAL)
    body["messages"] = [
        *body["messages"],
        {"role": "assistant", "content": attempt.prefill, **way.message},
    ]
    body.update(way.body)


def address_for_prefill(deployment: Deployment) -> str | None:
    """The base URL of the API that goes on; None where it is the usual one."""
    way = WAYS.get(deployment.provider, _USUAL)
    address = address_of(deployment) if way.path is not None else ""
    parts = urlsplit(address)
    if parts.path.rstrip("/") not in ("", "/v1") or not address:
        return None
    return urlunsplit((parts.scheme, parts.netloc, way.path or "", "", ""))


def echo_of(attempt: Attempt) -> Echo | None:
    """What takes the beginning out of the answer, for a provider that says it again."""
    way = WAYS.get(attempt.deployment.provider, _USUAL)
    return Echo(attempt.prefill) if way.echoes and attempt.prefill is not None else None


class Echo:
    """Leaves out the beginning that an answer says again. What differs from it stays as it is."""

    __slots__ = ("_said", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._said = ""

    def without(self, chunk: Chunk) -> Chunk:
        """The chunk without what belongs to the beginning."""
        if not self._text:
            return chunk
        said = self._said + chunk.text
        if self._text.startswith(said):
            self._said = said
            if len(said) == len(self._text):
                self._text = ""
            return replace(chunk, text="")
        rest = said[len(self._text) :] if said.startswith(self._text) else said
        self._text = ""
        return replace(chunk, text=rest)

    def without_in(self, text: str) -> str:
        """The same for a whole text."""
        return text.removeprefix(self._text)
