"""What an exception says about itself, read without knowing or importing its client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Facts", "behind", "headers_of", "is_mapped", "read"]

TEXT_LIMIT: Final = 2_000
"""Characters of a message that are looked at; the cause stands at its beginning."""
BODY_LIMIT: Final = 65_536
"""The longest body that is decoded here, in characters."""

_EMBEDDED: Final = re.compile(r'"(?:code|type|status|reason|error_code)"\s*:\s*"([\w.\-]{2,64})"')
"""Words in JSON that a client put into its message. A quote inside a JSON string is
escaped, so that text which a user wrote does not match."""
_WORD: Final = re.compile(r"[\w.\-]{2,64}", re.ASCII)


class Facts(NamedTuple):
    """What was found.

    Attributes:
        status: HTTP status.
        words: Codes and types, the most telling first.
        code: The provider's own code, as written; a type where there is no code.
        text: The message, lower case, shortened.
        delay: How long Google's `RetryInfo` asks to wait ("37s").
    """

    status: int | None
    words: tuple[str, ...]
    code: str | None
    text: str
    delay: str | None


def read(error: BaseException) -> Facts:
    """The facts of one exception, its causes left aside."""
    status = _status(error)
    body = _body(error)
    words: list[str] = []
    text = ""
    delay = None
    if body is not None:
        inner = body.get("error", body)
        if isinstance(inner, (dict, Mapping)):
            text, delay = _collect(inner, words)
            if status is None or status == 200:
                status = _as_status(inner.get("code")) or status
        elif isinstance(inner, str):
            words.append(inner)
            text = inner
        if inner is not body:
            _append(words, body.get("code"), body.get("type"))
    attributes = error.__dict__
    if attributes:
        _append(words, attributes.get("error_code"), attributes.get("code"), attributes.get("type"))
    text = _text(error, attributes, text)
    if body is None and status != 422 and '"' in text:  # 422 likes to quote the request
        words.extend(_EMBEDDED.findall(text))
    if not words:
        return Facts(status, (), None, text.lower(), delay)
    return Facts(status, tuple([word.lower() for word in words]), _code(words), text.lower(), delay)


def _code(words: list[str]) -> str | None:
    for word in words:
        if word != "error" and not word.isdigit() and _WORD.fullmatch(word):
            return word
    return None


def behind(error: BaseException) -> BaseException | None:
    """The exception that this one was made from, if it says so."""
    cause = error.__cause__
    if cause is None:
        cause = getattr(error, "original_exception", None)
    if cause is None and is_mapped(error):
        cause = error.__context__
    if not isinstance(cause, BaseException) or cause is error:
        return None
    # What runs out of time in an event loop is cancelled: that is how, not why.
    return None if type(cause).__name__ == "CancelledError" else cause


def is_mapped(error: BaseException) -> bool:
    """Whether LiteLLM made it from another one, which it does without `from`."""
    return type(error).__module__.startswith("litellm.")


def headers_of(error: BaseException) -> Mapping[str, str] | None:
    """The response's headers, looked up in any case; None if there are none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        metadata = response.get("ResponseMetadata")
        headers = metadata.get("HTTPHeaders") if isinstance(metadata, dict) else None
    else:
        headers = getattr(response, "headers", None)
    headers = headers or getattr(error, "headers", None) or getattr(error, "litellm_response_headers", None)
    return _any_case(headers) if headers else None


def _status(error: BaseException) -> int | None:
    for name in ("status_code", "status", "code", "http_status"):
        status = _as_status(getattr(error, name, None))
        if status is not None:
            return status
    response = getattr(error, "response", None)
    if response is None:
        return None
    if isinstance(response, dict):
        metadata = response.get("ResponseMetadata")
        return _as_status(metadata.get("HTTPStatusCode")) if isinstance(metadata, dict) else None
    return _as_status(getattr(response, "status_code", None)) or _as_status(getattr(response, "status", None))


def _as_status(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and 100 <= value <= 599 else None


def _body(error: BaseException) -> Mapping[str, Any] | None:
    body = getattr(error, "body", None)
    if body is None:
        body = _hidden_body(error)
        if body is None:
            return None
    if isinstance(body, (dict, Mapping)):
        return body
    if isinstance(body, (str, bytes)) and len(body) <= BODY_LIMIT and body[:1] in ("{", "[", b"{", b"["):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return None
    if isinstance(body, list) and body:
        body = body[0]
    return body if isinstance(body, Mapping) else None


def _hidden_body(error: BaseException) -> Any:
    """The body where a client keeps it when not in `body`."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore: {"Error": {"Code": ..., "Message": ...}}
        said = response.get("Error")
        if isinstance(said, dict):
            return {"code": said.get("Code"), "message": said.get("Message")}
    elif response is not None and type(error).__name__ == "HTTPStatusError":  # httpx
        try:
            return response.content
        except RuntimeError:  # a stream that was not read
            return None
    first = error.args[0] if error.args else None
    if isinstance(first, str):
        return first if first[:1] == "{" else None
    return first if isinstance(first, dict) else None


def _collect(said: Mapping[str, Any], words: list[str]) -> tuple[str, str | None]:
    """Gather the words of an error object, the most telling first; its message and delay."""
    message = said.get("message")
    text = message if isinstance(message, str) else ""
    delay = None
    details = said.get("details")
    if isinstance(details, Mapping):  # Anthropic
        _append(words, details.get("error_code"))
    elif isinstance(details, list):  # Google
        for detail in details[:16]:
            if isinstance(detail, Mapping):
                _append(words, detail.get("reason"))
                text = f"{text} {_quotas(detail)}"
                delay = detail.get("retryDelay") or delay
    inner = said.get("innererror")
    if isinstance(inner, Mapping):  # Azure
        _append(words, inner.get("code"))
    _append(words, said.get("code"), said.get("type"), said.get("status"))
    return text, delay if isinstance(delay, str) else None


def _quotas(detail: Mapping[str, Any]) -> str:
    violations = detail.get("violations")
    if not isinstance(violations, list):
        return ""
    return " ".join(str(one.get("quotaId", ""))[:200] for one in violations[:16] if isinstance(one, Mapping))


def _append(words: list[str], *values: Any) -> None:
    for value in values:
        if isinstance(value, str) and value:
            words.append(value)  # noqa: PERF401 - a comprehension costs more for two or three


def _text(error: BaseException, attributes: Mapping[str, Any], text: str) -> str:
    if not text:
        said = attributes.get("message")
        if not isinstance(said, str):
            said = error.args[0] if error.args else ""
            if isinstance(said, BaseException):  # requests
                said = str(said)
        text = said if isinstance(said, str) else ""
        if not text and isinstance(error, OSError):
            text = error.strerror or ""
    return text[:TEXT_LIMIT]


def _any_case(headers: Any) -> Mapping[str, str] | None:
    if not hasattr(headers, "get"):
        return None
    if type(headers) is dict:
        return {str(name).lower(): value for name, value in headers.items()}
    return headers  # type: ignore[no-any-return]  # a client's own, which ignores case
