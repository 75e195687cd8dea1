"""One request and its answer on their way through the HTTP client: timed, measured, headers kept."""

from __future__ import annotations

import socket
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final, NoReturn

from llmgate_plugins.classification import classify, quota_from
from llmgate_plugins.errors import DeadlineExceeded
from llmgate_plugins.limits import Quota
from llmgate_plugins.transports.alarm import ALARM
from llmgate_plugins.transports.answer_bytes import AnswerBytes
from llmgate_plugins.transports.time_allowed import TimeAllowed
from llmgate_plugins.types import Attempt, ErrorClass

__all__ = ["CURRENT", "STALE", "Exchange"]

CURRENT: ContextVar[Exchange | None] = ContextVar("llmgate_exchange", default=None)
"""The exchange whose request this thread or task is sending."""

STALE: Final = "stale_connection"
"""The code of an error that a kept connection brought, closed by the provider while it lay idle."""

_SHORTEST: Final = 0.001
"""A timeout of 0 means "do not wait" to a socket, and is another error."""
_AFTERWORD: Final = 2.0
"""Seconds that are waited for what follows a finish reason: the usage and the end mark."""
_FOREVER: Final = float("inf")
_TELLING: Final = frozenset({b"content-encoding", b"content-type", b"date"})
_JSON: Final = b"application/json"
_WAITED: Final = frozenset({ErrorClass.TIMEOUT, ErrorClass.LOCAL})
"""Waiting for the provider, or for a connection of one's own to be free."""
_LOST: Final = frozenset({ErrorClass.CONNECTION, ErrorClass.TIMEOUT, ErrorClass.TRUNCATED})


class Exchange:
    """What the client's hooks and the transport know of one attempt.

    Args:
        patient: Whether somebody else (an event loop's driver) limits the wait for a
            first token and for the next chunk.

    Attributes:
        headers: Those of the response that say something here, in lower case; None before
            they came.
    """

    __slots__ = (
        "_attempt",
        "_begun",
        "_bytes",
        "_connected",
        "_end",
        "_expired",
        "_first",
        "_gap",
        "_limits",
        "_since",
        "_socket",
        "headers",
    )

    def __init__(
        self, attempt: Attempt, allowed: TimeAllowed, received: AnswerBytes, *, patient: bool
    ) -> None:
        now = monotonic()
        self._attempt = attempt
        self._limits = allowed
        self._bytes = received
        self._end = _FOREVER if allowed.total is None else now + allowed.total
        self._first = _FOREVER if allowed.first is None or patient else now + allowed.first
        self._gap = _FOREVER if allowed.gap is None or patient else allowed.gap
        self._begun = self._connected = False
        self._since: float | None = None
        self._socket: Any = None
        self._expired: float | None = None
        self.headers: dict[bytes, bytes] | None = None

    def check_time(self) -> None:
        """Nothing is sent when the time is over.

        Raises:
            DeadlineExceeded: It is.
        """
        if self._limits.total is not None and self._limits.total <= 0:
            raise DeadlineExceeded("the call's time was over before the request was sent")

    # ------------------------------------------------------------ as the alarm sees it

    def due(self, now: float) -> float:
        """When the read that is under way has lasted too long."""
        if not self._begun:
            return min(self._first, self._end)
        return min((now if self._since is None else self._since) + self._gap, self._end)

    def go_off(self, now: float) -> None:
        """End it. The reader finds the connection closed."""
        self._expired = now
        with suppress(OSError):  # closed already
            # Of the plain socket, also where TLS is spoken: its own `shutdown` alters
            # an object that the reading thread is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    # ------------------------------------------------------------ as the client sees it

    def timeout(self, name: str) -> float | None:
        """Seconds for what the client begins to wait for now."""
        limits, now = self._limits, monotonic()
        left = (self._end if self._begun else min(self._end, self._first)) - now
        if name == "connect":
            self._connected = True
            seconds = left if limits.connect is None else min(left, limits.connect)
        elif name == "pool":
            seconds = left
        elif self._socket is not None:  # the alarm knows better, and can change its mind
            seconds = _FOREVER if limits.read is None else limits.read
        else:
            seconds = left if limits.read is None else min(left, limits.read)
        return None if seconds == _FOREVER else max(seconds, _SHORTEST)

    def answered(self, response: Any) -> None:
        """The response's headers have come; each is looked at once, since looking one up is dear."""
        told: dict[bytes, bytes] = {}
        for name, value in response.headers.raw:
            name = name.lower()
            if name in _TELLING or b"ratelimit" in name:
                told[name] = value
        self.headers = told
        self._bytes.begin(
            is_document=response.status_code != 200 or told.get(b"content-type", b"").startswith(_JSON),
            packed=told.get(b"content-encoding", b"").lower() == b"gzip",
        )
        if self._bytes.unpacks:
            del response.headers["content-encoding"]

    def watch(self, response: Any) -> None:
        """From here on the alarm ends what lasts too long, if there is a socket of this exchange alone."""
        network = response.extensions.get("network_stream")
        if network is None or response.extensions.get("http_version") == b"HTTP/2":
            return
        self._socket = network.get_extra_info("socket")
        if self._socket is not None:
            ALARM.set(self)

    def waiting(self) -> None:
        """The wait for bytes begins."""
        self._since = monotonic()

    def came(self, data: bytes) -> bytes:
        """Bytes have come; returns what is to be read of them."""
        self._since = None
        return self._bytes.take(data)

    def ended(self) -> bytes:
        """All bytes have come; returns what is still to be read."""
        self._since = None
        return self._bytes.end()

    # ------------------------------------------------------------ as the transport sees it

    def begun(self) -> None:
        """The answer's content has begun: from now on the gap between chunks counts."""
        if not self._begun:
            self._begun = True
            if self._socket is not None and self._gap < _FOREVER:
                ALARM.set(self)

    def finished(self) -> float:
        """The model has finished; returns the seconds that what follows is waited for."""
        self._begun = True
        self._gap = min(self._gap, _AFTERWORD)
        if self._socket is not None and self._expired is None:
            ALARM.set(self)
        return self._gap

    def over(self) -> None:
        """Nothing more will be read; the connection may serve others."""
        if self._socket is not None:
            ALARM.clear(self)
            self._socket = None

    def check_whole(self) -> None:
        """A stream that the alarm cut can look as if it had ended.

        Raises:
            TimeoutError, DeadlineExceeded: It was cut.
        """
        if self._expired is not None:
            self._out_of_time(self._expired)

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection is gone, rather than the answer wrong."""
        return self._expired is not None or classify(error).error_class in _LOST

    def raise_for(self, error: Exception) -> NoReturn:
        """Raise what the client's error means here, or the error itself.

        Raises:
            DeadlineExceeded: The call's time was over.
            TimeoutError: The deployment's was.
            ProviderError: The answer is one that nobody should read.
        """
        if self._bytes.refused is not None:
            raise self._bytes.refused from None
        self.check_whole()
        now = monotonic()
        if now >= self._end - _SHORTEST and classify(error).error_class in _WAITED:
            self._out_of_time(now)
        if not self._connected and self.headers is None and _is_of_connection(error):
            error.code = STALE  # type: ignore[attr-defined]
        raise error

    def _out_of_time(self, now: float) -> NoReturn:
        if now >= self._end - _SHORTEST:
            raise DeadlineExceeded("the call's time was over while the provider worked") from None
        raise TimeoutError(f"{self._attempt.deployment.id} kept silent for too long") from None

    def quota(self) -> Quota | None:
        """What the response's headers say of rate limits; None if nothing."""
        if self.headers is None or self.headers.keys() <= _TELLING:
            return None
        return quota_from(
            {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers.items()}
        )


def _is_of_connection(error: Exception) -> bool:
    return classify(error).error_class in (ErrorClass.CONNECTION, ErrorClass.TRUNCATED)
