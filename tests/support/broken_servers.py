"""Servers on 127.0.0.1 that fail a client before there is an answer, each in its own way."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = [
    "COMPLETION",
    "certificate_of_nobody",
    "hangs_up",
    "hangs_up_later",
    "no_server",
    "proxy_that_refuses",
    "silent",
]

COMPLETION = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWaDoalGcFMYpafkJ
9jKSXZOQbUN93lXNvbJWko4yi0uhRANCAAQaz4Vo7ygHoU/BGBH4UpQrc2x9157d
6zntClCD6fDi+Cbm7DDX3OTsXH3L78iZbseQyRsScLtWSEtLzhggcrp4
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUTJtkfkhHX7Xtb6smCczuqA8kH+UwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE1NDU1OVoYDzIxMjYxMDMw
MTU0NTU5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQaz4Vo7ygHoU/BGBH4UpQrc2x9157d6zntClCD6fDi+Cbm7DDX3OTs
XH3L78iZbseQyRsScLtWSEtLzhggcrp4o1MwUTAdBgNVHQ4EFgQUO9QpLSEWFH5a
+Z/feiPbO7gwPj4wHwYDVR0jBBgwFoAUO9QpLSEWFH5a+Z/feiPbO7gwPj4wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEArGG6R/1PKCdGNAdtsDRf
GxlDXEyy9eUkrnPtu5XCZWMCIQCOhyezvtPmns/f6ea3wg0b8z05BR3fAP9qa9SY
jrjbAg==
-----END CERTIFICATE-----
"""
"""For tests alone: a certificate that nobody trusts, with its key."""


@contextlib.contextmanager
def _serving(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            handle(connection)

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for connection in held:
            connection.close()


def _read_request(connection: socket.socket) -> None:
    """All of it: a connection closed before is reset, which is another failure."""
    told = connection.recv(65_536)
    while told and b"\r\n\r\n" not in told:
        told += connection.recv(65_536)
    head, _, body = told.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65_536)
    while b"chunked" in head and not body.endswith(b"0\r\n\r\n"):
        body += connection.recv(65_536)


@contextlib.contextmanager
def no_server() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def hangs_up() -> contextlib.AbstractContextManager[str]:
    """Reads the request and closes the connection."""

    def handle(connection: socket.socket) -> None:
        _read_request(connection)
        connection.close()

    return _serving(handle)


def hangs_up_later() -> contextlib.AbstractContextManager[str]:
    """Answers the first request of a connection, and closes it when the second comes."""

    def handle(connection: socket.socket) -> None:
        _read_request(connection)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(COMPLETION) + COMPLETION)
        _read_request(connection)
        connection.close()

    return _serving(handle)


def silent() -> contextlib.AbstractContextManager[str]:
    """Takes connections and says nothing."""
    return _serving(lambda _connection: None)


def proxy_that_refuses() -> contextlib.AbstractContextManager[str]:
    """A proxy that wants to know who is asking."""

    def handle(connection: socket.socket) -> None:
        _read_request(connection)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        connection.close()

    return _serving(handle)


@contextlib.contextmanager
def certificate_of_nobody(directory: Path) -> Iterator[str]:
    """A server whose certificate nobody vouches for."""
    pem = directory / "self-signed.pem"
    pem.write_text(SELF_SIGNED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True).close()

    with _serving(handle) as address:
        yield address
