"""What an exception says about itself, read without knowing or importing its client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Facts", "behind", "details_of", "headers_of", "read"]

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
    """

    status: int | None
    words: tuple[str, ...]
    code: str | None
    text: str


def read(error: BaseException) -> Facts:
    """The facts of one exception, its causes left aside."""
    status = _status(error)
    body = _body(error)
    words: list[str] = []
    text = ""
    if body is not None:
        inner = body.get("error", body)
        if isinstance(inner, Mapping):
            text = _collect(inner, words)
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
    code = next((word for word in words if not word.isdigit() and _WORD.fullmatch(word)), None)
    return Facts(status, tuple(word.lower() for word in words), code, text.lower())


def behind(error: BaseException) -> BaseException | None:
    """The exception that this one was made from, if it says so."""
    cause = error.__cause__
    if cause is None:
        cause = getattr(error, "original_exception", None)
    if cause is None and type(error).__module__.startswith("litellm."):
        cause = error.__context__  # LiteLLM maps errors without `from`
    return cause if isinstance(cause, BaseException) and cause is not error else None


def headers_of(error: BaseException) -> Mapping[str, str] | None:
    """The response's headers, looked up in any case; None if there are none."""
    for holder in (getattr(error, "response", None), error):
        headers = getattr(holder, "headers", None)
        if headers is None and isinstance(holder, Mapping):  # botocore
            metadata = holder.get("ResponseMetadata")
            headers = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
        if headers:
            return _any_case(headers)
    headers = getattr(error, "litellm_response_headers", None)
    return _any_case(headers) if headers else None


def details_of(error: BaseException) -> list[Any]:
    """Google's list of error details; empty if there is none."""
    body = _body(error)
    inner = body.get("error", body) if body is not None else None
    details = inner.get("details") if isinstance(inner, Mapping) else None
    return details if isinstance(details, list) else []


def _status(error: BaseException) -> int | None:
    for name in ("status_code", "status", "code", "http_status"):
        status = _as_status(getattr(error, name, None))
        if status is not None:
            return status
    response = getattr(error, "response", None)
    if response is None:
        return None
    if isinstance(response, Mapping):
        metadata = response.get("ResponseMetadata")
        return _as_status(metadata.get("HTTPStatusCode")) if isinstance(metadata, Mapping) else None
    return _as_status(getattr(response, "status_code", None)) or _as_status(getattr(response, "status", None))


def _as_status(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and 100 <= value <= 599 else None


def _body(error: BaseException) -> Mapping[str, Any] | None:
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        return body
    if body is None:
        body = _hidden_body(error)
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
    if isinstance(response, Mapping):  # botocore: {"Error": {"Code": ..., "Message": ...}}
        said = response.get("Error")
        if isinstance(said, Mapping):
            return {"code": said.get("Code"), "message": said.get("Message")}
    if type(error).__name__ == "HTTPStatusError":  # httpx; a stream that was not read raises
        try:
            return getattr(response, "content", None)
        except RuntimeError:
            return None
    first = error.args[0] if error.args else None
    return first if isinstance(first, Mapping) or (isinstance(first, str) and first[:1] == "{") else None


def _collect(said: Mapping[str, Any], words: list[str]) -> str:
    """Put the words of an error object in order of how much they tell; its message."""
    details = said.get("details")
    quotas = ""
    if isinstance(details, Mapping):
        _append(words, details.get("error_code"))
    elif isinstance(details, list):
        for detail in details[:16]:
            if isinstance(detail, Mapping):
                _append(words, detail.get("reason"))
                quotas += _quotas(detail)
    inner = said.get("innererror")
    if isinstance(inner, Mapping):
        _append(words, inner.get("code"))
    _append(words, said.get("code"), said.get("type"), said.get("status"))
    message = said.get("message")
    return f"{message} {quotas}" if isinstance(message, str) else quotas


def _quotas(detail: Mapping[str, Any]) -> str:
    violations = detail.get("violations")
    if not isinstance(violations, list):
        return ""
    return " ".join(str(one.get("quotaId", ""))[:200] for one in violations[:16] if isinstance(one, Mapping))


def _append(words: list[str], *values: Any) -> None:
    words.extend(value for value in values if isinstance(value, str) and value)


def _text(error: BaseException, attributes: Mapping[str, Any], text: str) -> str:
    if not text:
        said = attributes.get("message")
        if not isinstance(said, str):
            said = error.args[0] if error.args else ""
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
