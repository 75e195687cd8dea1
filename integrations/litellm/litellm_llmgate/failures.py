"""What a provider said, or did not say, where LiteLLM made it a status 500 of its own."""

from __future__ import annotations

from collections.abc import Iterator
from json import JSONDecodeError
from typing import Final

import httpx
import openai
from litellm.exceptions import APIConnectionError, InternalServerError, MidStreamFallbackError

__all__ = ["name_cause"]

MADE_UP: Final = 500
"""The status that LiteLLM gives to whatever had none."""
NO_ANSWER: Final = "Empty or invalid response from LLM endpoint"
"""LiteLLM's words for an HTML page or an empty body."""
CUT: Final = ("incomplete chunked read", "complete message body")
"""httpx's words for an answer that ends too early."""
VAGUE: Final = frozenset({"server_error", "api_error", "internal_error", "internal_server_error", "error"})
DEPTH: Final = 8


def name_cause(error: Exception) -> None:
    """Write into an error's `code` what LiteLLM's own status hides: that there was no JSON, or an
    error in mid-stream.

    What a provider has said with a status, and what became of the connection, can be seen already.
    """
    if not isinstance(error, InternalServerError | APIConnectionError) or error.status_code != MADE_UP:
        return
    if getattr(error, "code", None):
        return
    code = _code(error)
    if code is not None:
        error.code = code


def _code(error: Exception) -> str | None:
    if NO_ANSWER in str(error):
        return "bad_response"
    for cause in _behind(error):
        if isinstance(cause, httpx.TimeoutException):
            return "timeout"
        if isinstance(cause, httpx.RemoteProtocolError) and any(words in str(cause) for words in CUT):
            return "truncated"
        if isinstance(cause, openai.APIConnectionError):
            continue  # newer clients wrap whatever ends a stream in one
        if isinstance(cause, httpx.HTTPError | openai.APIStatusError):
            if type(cause).__module__.startswith(("httpx", "openai")):
                return None  # says so itself
        elif isinstance(cause, openai.APIError):
            return _told(cause)
        elif isinstance(cause, JSONDecodeError | UnicodeDecodeError):
            return "bad_response"
    return None


def _told(event: openai.APIError) -> str:
    """What a provider says in an error that it sends in the middle of a stream."""
    said = event.code or event.type
    return str(said) if said and said not in VAGUE else "server"


def _behind(error: BaseException) -> Iterator[BaseException]:
    """What an error was made from, nearest first. LiteLLM raises without `from`."""
    seen = {id(error)}
    for _ in range(DEPTH):
        # A stream's error names its wrapper as its cause, and that wrapper has the cause as its context.
        cause = error.__context__ if isinstance(error, MidStreamFallbackError) else None
        cause = cause or error.__cause__ or error.__context__
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause
        error = cause
