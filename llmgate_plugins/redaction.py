"""Errors from a provider's client carry the request that was sent: take the credentials out of them."""

from __future__ import annotations

import base64
import contextlib
import copy
import logging
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final

from llmgate_plugins.errors import LLMGateError
from llmgate_plugins.masking import MASK, SHORTEST, scrub

__all__ = ["RedactingFilter", "redact_error", "redact_logs"]

IN_REQUESTS: Final = re.compile(
    r".*(?:auth|api[-_]?key|token|secret|password|cookie|signature).*", re.IGNORECASE
)
"""Request headers that hold a credential. Generous: nobody misses a header of a failed request."""
IN_DATA: Final = re.compile(
    r"(?:proxy-)?authorization|(?:set-)?cookie|password|private[-_]key|(?:client[-_])?secret"
    r"|(?:[\w-]*[-_])?(?:api[-_]?key|secret[-_](?:access[-_])?key|subscription-key)"
    r"|(?:[\w-]*[-_])?(?:access|refresh|session|security|id|bearer|auth|ad)[-_]token",
    re.IGNORECASE,
)
"""Names in bodies and response headers that hold one. Strict: `max_tokens` must stay."""
IN_URL: Final = re.compile(
    r"([?&](?:key|api[-_]?key|access_token|token|sig)=)([^&#\s'\"]+)|(//)([^/@\s'\"]+)(?=@)", re.IGNORECASE
)
DEEPEST: Final = 8
MOST_ERRORS: Final = 1000
DRIVERS: Final = tuple(
    ("llmgate_plugins._driving.drivers", name) for name in ("drive", "adrive", "aanswer_of")
)
HIDDEN_IN: Final = (
    *("body", "debug_info", "detail", "doc", "filename", "filename2", "headers", "llm_provider_message"),
    *(
        "message",
        "msg",
        "object",
        "reason",
        "request",
        "request_info",
        "response",
        "strerror",
        "text",
        "value",
    ),
)
"""Attributes that may not stand in the error's `__dict__`."""


def redact_error(error: BaseException) -> None:
    """Mask credentials in an error, its causes and what it was raised in; in place.

    Request headers, URLs, texts, notes and bodies are masked: of everything that was
    revealed in this process, and of what the failed request itself carried, so that keys
    of clients that the application made are found too. The local variables of the frames
    it came through are dropped (files and line numbers stay), so that neither a log, a
    pickle nor an error tracker that shows locals can give a key away. The error's
    `request` and `response` become copies; nothing that may be in use is changed.

    A cause that refuses to be changed (an `ExceptionGroup` keeps its message) is replaced by
    an `LLMGateError` of the same words. Never raises. The type stays, and so do the status
    and whatever else is no secret.
    """
    errors = list(_linked(error))
    credentials = frozenset(value for one in errors for value in _credentials(one) if len(value) >= SHORTEST)
    redaction = _Redaction(credentials)
    for one in errors:
        with contextlib.suppress(Exception):  # an error class of somebody else's may refuse anything
            _forget_locals(one.__traceback__)
        redaction.redact(one)
    for one in errors:
        redaction.replace_causes(one)


class RedactingFilter(logging.Filter):
    """Masks secrets in what is logged. Add it to a handler, or to a logger for what is logged there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass; one with a secret in it as finished text."""
        told = record.getMessage()
        masked = scrub(told)
        if masked != told:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = scrub("".join(traceback.format_exception(record.exc_info[1])).rstrip())
        return True


CLIENTS: Final = (
    *("openai._base_client", "openai._response", "anthropic._base_client", "anthropic._response"),
    *(
        f"{name}.{part}"
        for name in ("httpcore", "httpcore2")
        for part in ("connection", "http11", "http2", "proxy")
    ),
    *("httpx", "httpx2", "LiteLLM", "LiteLLM Router", "LiteLLM Proxy"),
)
"""Loggers of providers' clients. At DEBUG they write requests and responses, headers included."""
_FILTER: Final = RedactingFilter()


def redact_logs(names: Iterable[str] = CLIENTS) -> None:
    """Put a `RedactingFilter` on these loggers; once on each, however often it is called."""
    for name in names:
        logging.getLogger(name).addFilter(_FILTER)


class _Redaction:
    """One pass over the errors of one failure.

    Args:
        credentials: What the failed requests carried.
    """

    def __init__(self, credentials: frozenset[str]) -> None:
        self._credentials = credentials
        self._copies: dict[int, tuple[Any, Any]] = {}

    def redact(self, error: BaseException) -> None:
        """Mask what one error holds."""
        with contextlib.suppress(Exception):
            error.args = tuple(self._masked(argument) for argument in error.args)
        state: dict[str, Any] = {}
        with contextlib.suppress(Exception):
            state = vars(error)
        for name, value in list(state.items()):
            with contextlib.suppress(Exception):
                state[name] = self._part(name, value, IN_DATA)
        for name in HIDDEN_IN:
            with contextlib.suppress(Exception):
                value = getattr(error, name, None)
                masked = self._masked(value)
                if masked is not value:
                    setattr(error, name, masked)

    def replace_causes(self, error: BaseException) -> None:
        """Put others in place of causes that still say what they should not."""
        for link in ("__cause__", "__context__"):
            with contextlib.suppress(Exception):
                linked = getattr(error, link)
                told = f"{type(linked).__name__}: {linked}"
                masked = self._text(told)
                if linked is not None and masked is not told:
                    quiet = error.__suppress_context__
                    setattr(error, link, LLMGateError(masked).with_traceback(linked.__traceback__))
                    error.__suppress_context__ = quiet

    def _masked(self, value: Any, depth: int = DEEPEST) -> Any:
        """The value with secrets masked; the very same object if there were none."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray):
            masked = self._text(text := value.decode(errors="surrogateescape"))
            return value if masked is text else type(value)(masked.encode(errors="surrogateescape"))
        if isinstance(value, Mapping) and type(value).__name__ != "Headers":
            told = (
                {key: self._named(str(key), inner, depth - 1) for key, inner in value.items()}
                if depth
                else {}
            )
            return told if any(told.get(key) is not inner for key, inner in value.items()) else value
        if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_replace"):
            listed = [self._masked(inner, depth - 1) if depth else MASK for inner in value]
            changed = any(new is not old for new, old in zip(listed, value, strict=True))
            return type(value)(listed) if changed else value
        if hasattr(value, "headers") and not isinstance(value, BaseException | type):
            return self._exchange(value)
        return value

    def _named(self, name: str, value: Any, depth: int = DEEPEST) -> Any:
        if isinstance(value, str | bytes) and IN_DATA.fullmatch(name) and value:
            return MASK if isinstance(value, str) else MASK.encode()
        return self._masked(value, depth)

    def _text(self, text: str) -> str:
        masked = IN_URL.sub(lambda found: (found[1] or found[3]) + MASK, scrub(text, also=self._credentials))
        return text if masked == text else masked

    def _exchange(self, exchange: Any) -> Any:
        """A copy of a request or a response without credentials; None where it cannot be copied."""
        if id(exchange) in self._copies:
            return self._copies[id(exchange)][1]
        answered = hasattr(exchange, "status_code") or hasattr(exchange, "status")
        hidden = IN_DATA if answered else IN_REQUESTS
        try:
            if hasattr(exchange, "_replace"):  # a named tuple, as of aiohttp
                parts = {name: self._part(name, part, hidden) for name, part in exchange._asdict().items()}
                return exchange._replace(**parts)
            copied = copy.copy(exchange)
            self._copies[id(exchange)] = exchange, copied
            state = vars(copied)
            for name, value in list(state.items()):
                state[name] = self._part(name, value, hidden)
        except Exception:  # noqa: BLE001 - what cannot be cleaned is left out
            self._copies[id(exchange)] = exchange, None
            return None
        return copied

    def _part(self, name: str, value: Any, hidden: re.Pattern[str]) -> Any:
        if name.endswith("headers") and value is not None:
            return self._headers(value, hidden)
        if name.strip("_") == "cookies":
            return {}
        if name.strip("_") in ("url", "real_url") and not isinstance(value, str):
            text = str(value)
            masked = self._text(text)
            return value if masked is text else type(value)(masked)
        return self._named(name, value)

    def _headers(self, headers: Any, hidden: re.Pattern[str]) -> Any:
        """A copy with masks. Of a response too: a provider may send back what it was sent."""
        copied = headers.copy() if hasattr(headers, "copy") else copy.deepcopy(headers)
        for name in list(copied):
            text = str(copied[name])
            masked = MASK if hidden.fullmatch(str(name)) else self._text(text)
            if masked is not text:
                del copied[name]
                copied[name] = masked
        return copied


def _linked(error: BaseException) -> Iterator[BaseException]:
    """The error, and whatever other errors hang on it."""
    seen: dict[int, BaseException] = {}
    pending: list[Any] = [error]
    while pending and len(seen) < MOST_ERRORS:
        one = pending.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen[id(one)] = one
        yield one
        with contextlib.suppress(Exception):
            pending += [one.__cause__, one.__context__, *one.args, *getattr(one, "exceptions", ())]
        with contextlib.suppress(Exception):
            pending += vars(one).values()


def _credentials(error: BaseException) -> Iterator[str]:
    """What the failed request carried: in headers that are there for it, in its URL."""
    for holder in (error, _part_of(error, "response"), _part_of(error, "request_info")):
        request = holder if holder is not error and not hasattr(holder, "request") else None
        request = request or _part_of(holder, "request")
        headers = _part_of(request, "headers")
        with contextlib.suppress(Exception):
            for name in headers or ():
                if IN_REQUESTS.fullmatch(str(name)):
                    yield from _words(str(headers[name]))
        for found in IN_URL.finditer(str(_part_of(request, "url") or "")):
            yield from (found[2] or found[4]).split(":")


def _part_of(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - httpx raises where a response has no request
        return None


def _words(header: str) -> Iterable[str]:
    """A credential, and what is in it: "Bearer key", "Basic" with "user:password" in base64."""
    scheme, _, rest = header.partition(" ")
    if not rest:
        return (header,)
    if scheme.lower() != "basic":
        return (rest,)
    with contextlib.suppress(ValueError):
        return (rest, *base64.b64decode(rest).decode(errors="replace").split(":"))
    return (rest,)


def _forget_locals(trace: TracebackType | None) -> None:
    """Clear the frames of this call that have ended.

    An error object that is raised by many calls collects the frames of all of them; those
    of another call may only be waiting, and clearing them would end it. They begin where
    a second driver shows up.
    """
    drivers = 0
    while trace is not None:
        frame = trace.tb_frame
        drivers += (frame.f_globals.get("__name__"), frame.f_code.co_name) in DRIVERS
        if drivers > 1:
            return
        with contextlib.suppress(RuntimeError):  # it is running
            frame.clear()
        trace = trace.tb_next
