"""Real servers on this machine that alerts are sent to: HTTP, HTTPS and SMTP."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Certificate", "Letter", "Mailbox", "Posted", "Receiver", "certificate", "mailbox", "receiver"]


@dataclass
class Posted:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and what is answered, the last answer again and again.

    `answers`: a status, (status, headers), (status, headers, text), or seconds of silence.
    """

    url: str
    answers: Sequence[Any] = (200,)
    posted: list[Posted] = field(default_factory=list)

    def next_answer(self) -> Any:
        return self.answers[min(len(self.posted), len(self.answers)) - 1]


@contextmanager
def receiver(*answers: Any, tls: Certificate | None = None) -> Iterator[Receiver]:
    """An HTTP server in threads."""
    told = Receiver("", answers or (200,))
    leaving = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.posted.append(Posted(self.path, headers, body))
            answer = told.next_answer()
            if isinstance(answer, float):
                leaving.wait(answer)
                return
            if answer == "drip":
                while not leaving.wait(0.02):
                    self.wfile.write(b"H")
            status, further, text = (*(answer if isinstance(answer, tuple) else (answer,)), {}, "")[:3]
            self.send_response(status)
            for name, value in further.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that hangs up is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.server_context().wrap_socket(server.socket, server_side=True)
    told.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        leaving.set()
        server.shutdown()
        server.server_close()


@dataclass
class Letter:
    """One e-mail as the server took it."""

    sender: str
    recipients: Sequence[str]
    message: EmailMessage
    encrypted: bool
    login: str | None


class Mailbox:
    """What an SMTP server took, and what it says meanwhile.

    Attributes:
        answers: What is said to each letter in turn instead of "250 OK"; None for that.
        refused: Recipients that are not taken.
    """

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.answers: list[str | None] = []
        self.refused: set[str] = set()
        self.port = 0
        self.tries = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.tries += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            return answer
        self.letters.append(
            Letter(
                envelope.mail_from,
                envelope.rcpt_tos,
                message_from_bytes(envelope.content, policy=policy.default),  # type: ignore[arg-type]
                session.ssl is not None
                or isinstance(server.transport.get_extra_info("sslcontext"), ssl.SSLContext),
                session.auth_data.login.decode() if session.authenticated else None,
            )
        )
        return "250 OK"


class _Controller(Controller):
    """At a port that the system chooses."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def mailbox(
    *,
    starttls: Certificate | None = None,
    tls: Certificate | None = None,
    login: tuple[str, str] | None = None,
) -> Iterator[Mailbox]:
    """An SMTP server on this machine; a login is taken over an encrypted line only."""
    box = Mailbox()

    def authenticate(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = login is not None and (data.login.decode(), data.password.decode()) == login
        return AuthResult(success=good, handled=good, auth_data=data)

    controller = _Controller(
        box,
        hostname="127.0.0.1",
        port=0,
        ssl_context=tls.server_context() if tls else None,
        tls_context=starttls.server_context() if starttls else None,
        require_starttls=starttls is not None,
        authenticator=authenticate if login else None,
        auth_required=login is not None and tls is None,  # which it holds for no TLS at all
        auth_require_tls=tls is None,
    )
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


@dataclass
class Certificate:
    """Of 127.0.0.1 and localhost, signed by itself."""

    file: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def certificate(folder: Path) -> Certificate:
    """A new one, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    found = Certificate(folder / "certificate.pem", folder / "key.pem")
    found.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return found
