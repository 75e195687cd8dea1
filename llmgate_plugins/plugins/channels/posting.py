"""One POST over HTTP: to an address that is fixed, within a time, never redirected."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Final

from llmgate_plugins.addresses import WebAddress, web_address
from llmgate_plugins.classification.waiting import retry_after
from llmgate_plugins.errors import AlertUndelivered, ProviderError
from llmgate_plugins.plugins.arguments import positive
from llmgate_plugins.secrets import Secret

__all__ = ["Post"]

MOST_READ: Final = 4_096
"""Bytes of an answer that are looked at."""
SHOWN: Final = 100


class Post:
    """Sends to one address.

    Args:
        url: The address, or a reference to it: it may be a secret as a whole. Only its host
            is ever shown. `https`, or `http` to this machine.
        timeout: Seconds for one try.
        insecure: Also `http` to other machines.
        ca_file: Certificates to trust instead of the system's, as PEM.

    Raises:
        ValueError: That is no such address.
    """

    def __init__(
        self, url: str | Secret, *, timeout: float, insecure: bool = False, ca_file: str | None = None
    ) -> None:
        self.url = url if isinstance(url, Secret) else Secret(url)
        self.timeout = positive("timeout", timeout)
        self._insecure = insecure
        self._ca_file = ca_file
        if self.url.reference is None:
            self._address()

    @property
    def destination(self) -> str:
        """The reference to the address, or else the address, which may be a secret."""
        return self.url.reference or self.url.reveal()

    def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send it once.

        Raises:
            AlertUndelivered: It did not arrive, or was refused.
        """
        address = self._address()
        connection = self._connection(address)
        late = threading.Event()
        timer = threading.Timer(self.timeout, _hang_up(connection, late))
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", address.target, body, {"user-agent": "llmgate", **headers})
            answer = connection.getresponse()
            said = answer.read(MOST_READ)
        except (OSError, http.client.HTTPException) as error:
            in_time = not late.is_set() and not isinstance(error, TimeoutError)
            what = _words(error) if in_time else f"no answer within {self.timeout:g} s"
            raise AlertUndelivered(f"{address.host}: {what}", passing=True) from None
        finally:
            timer.cancel()
            connection.close()
        if not 200 <= answer.status < 300:
            raise _refused(address, answer, said)

    def _connection(self, address: WebAddress) -> http.client.HTTPConnection:
        if not address.tls:
            return http.client.HTTPConnection(address.host, address.port, timeout=self.timeout)
        context = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(address.host, address.port, timeout=self.timeout, context=context)

    def _address(self) -> WebAddress:
        """Read anew each time, so that an address given by reference is looked up when it is needed."""
        return web_address(self.url.reveal(), insecure=self._insecure)


def _hang_up(connection: http.client.HTTPConnection, late: threading.Event) -> Callable[[], None]:
    """The timeout of a socket counts anew with each byte; this ends it all."""

    def hang_up() -> None:
        late.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    return hang_up


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__


def _refused(address: WebAddress, answer: http.client.HTTPResponse, said: bytes) -> AlertUndelivered:
    status = answer.status
    passing = status in (408, 425, 429) or status >= 500
    headers = {name.lower(): value for name, value in answer.getheaders()}
    wait = retry_after(ProviderError("", status=status, headers=headers)) if passing else None
    text = said.decode("utf-8", "replace").strip()
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())[:SHOWN]
    kind = "redirects, which is not followed" if 300 <= status < 400 else "answered"
    shown = f": {line}" if line and not line.startswith("<") else ""
    return AlertUndelivered(f"{address.host} {kind} {status}{shown}", passing=passing, wait=wait)
