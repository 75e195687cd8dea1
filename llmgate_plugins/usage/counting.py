"""Counts tokens before anything is sent: offline, within a bounded time, exactly where it can be done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins.types import Deployment, Message, Request
from llmgate_plugins.usage.asking import sent_params
from llmgate_plugins.usage.attachments import attachment_tokens, most_attachment_tokens
from llmgate_plugins.usage.encodings import encoding_for, loaded, name_for
from llmgate_plugins.usage.estimating import estimate_tokens, read_beside

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["COUNTED_CHARACTERS", "count_tokens", "most_input"]

COUNTED_CHARACTERS: Final = 200_000
"""Characters that are counted at most; what is beyond has as many tokens as they have."""
HELD_CHARACTERS: Final = 20_000
"""The same for a worst case, which is needed before every attempt; what is beyond is bounded."""
_RUN: Final = 512
_LONG_RUN: Final = re.compile(rf"\S{{{_RUN + 1},}}|\s{{{_RUN + 1},}}")
"""Text without a boundary takes a table a time that grows with the square of its length."""
_PER_MESSAGE: Final = 4
_OPENAI: Final = frozenset({"openai", "azure", "azure_ai", "text-completion-openai"})
_LEAST_SPACES: Final = 12


def count_tokens(text: str | Iterable[Message], model: str = "", *, wait: bool = True) -> int:
    """Tokens of a text, or of messages with what goes around each.

    With the extra `tokens`, and a token table on this machine (LiteLLM ships some), exact for
    OpenAI's models and close for others; without, a quarter of the characters. Never asks the
    network. Of long texts the first `COUNTED_CHARACTERS` are counted.

    Args:
        text: Pictures and other attachments in messages count by their size.
        model: Whose table is used; one that is not OpenAI's is counted with GPT-4o's.
        wait: Wait for the table where it is not read yet: a few tenths of a second, once per
            process. False gives an estimate until it is there.
    """
    encoding = encoding_for(name_for(model) or "o200k_base", wait=wait)
    if isinstance(text, str):
        return _count(text, encoding)
    total = 0
    for message in text:
        total += _PER_MESSAGE
        content = message.content
        if isinstance(content, str):
            total += _count(content, encoding)
        else:
            for part in content:
                told = part.get("text")
                total += _count(told, encoding) if isinstance(told, str) else attachment_tokens(part)
        for call in message.tool_calls:
            total += _PER_MESSAGE + _count(call.name, encoding) + _count(call.arguments, encoding)
    return total + 3 if total else 0


def most_input(
    request: Request, deployment: Deployment | None = None, sent: Mapping[str, Any] | None = None
) -> int:
    """Tokens that a request has at most. Reads the messages.

    ASCII text in words has at most two tokens per three characters, any other text one per
    byte; each message has a few of its own. For a deployment of OpenAI's whose token table has been
    read (see `prepare_counting`) the text is counted instead.

    Args:
        sent: What `sent_params` says of both, where that is known already.
    """
    model = _model_of(deployment)
    encoding = _exact(deployment, model)
    left = HELD_CHARACTERS
    tokens = 0
    if sent is None:
        sent = request.params if deployment is None else sent_params(deployment, request)
    for text in _texts(request, sent):
        counted, left = _most(text, encoding, left)
        tokens += counted
    for message in request.messages:
        tokens += 16 * (1 + len(message.tool_calls))
        if not isinstance(message.content, str):
            tokens += sum(
                most_attachment_tokens(part, model)
                for part in message.content
                if not isinstance(part.get("text"), str)
            )
    tools: Any = sent.get("tools") or ()
    return tokens + 16 * len(tools) if isinstance(tools, Sequence) else tokens


def _texts(request: Request, params: Mapping[str, Any]) -> Iterable[str]:
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            for part in message.content:
                if isinstance(text := part.get("text"), str):
                    yield text
        for call in message.tool_calls:
            yield call.name
            yield call.arguments
    yield from (str(value) for value in read_beside(request, params) if value is not None)


def _model_of(deployment: Deployment | None) -> str:
    return str(deployment.info.get("base_model") or deployment.model) if deployment is not None else ""


def _exact(deployment: Deployment | None, model: str) -> Encoding | None:
    """The table that this deployment's model is known to count with, if it has been read."""
    if deployment is None or deployment.provider not in _OPENAI:
        return None
    name = name_for(model)
    return loaded(name) if name is not None else None


def _most(text: str, encoding: Encoding | None, left: int) -> tuple[int, int]:
    """(tokens at most, characters that may still be counted)."""
    if encoding is None or not text:
        return _most_unread(text), left
    head, tail = text[:left], text[left:]
    left -= len(head)
    runs = _LONG_RUN.findall(head)
    if runs:
        head = _LONG_RUN.sub("", head)
    # Where the text was cut, one piece became two, or two one: at most two tokens each.
    counted = len(encoding.encode_ordinary(head)) + 2 * (len(runs) + bool(tail))
    return counted + sum(map(_bytes, runs)) + _most_unread(tail), left


def _most_unread(text: str) -> int:
    if not text.isascii():
        return _bytes(text)
    spaces = text.count(" ") + text.count("\n")
    return -(-2 * len(text) // 3) if spaces * _LEAST_SPACES >= len(text) else len(text)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _count(text: str, encoding: Encoding | None) -> int:
    if encoding is None:
        return estimate_tokens(len(text))
    head = text[:COUNTED_CHARACTERS]
    if _LONG_RUN.search(head):
        head = _LONG_RUN.sub(_cut, head)
    tokens = len(encoding.encode_ordinary(head))
    if len(text) > COUNTED_CHARACTERS:
        tokens = -(-tokens * len(text) // COUNTED_CHARACTERS)
    return tokens


def _cut(run: re.Match[str]) -> str:
    """A run in pieces that a table reads at once; each break between them adds a token."""
    text = run[0]
    return "\n".join(text[at : at + _RUN] for at in range(0, len(text), _RUN))
