"""Alerts by e-mail."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Final, Literal, get_args

from llmgate_plugins.addresses import is_here, mail_address
from llmgate_plugins.alerts import Alert, Severity
from llmgate_plugins.errors import AlertUndelivered
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.channels.persistence import Persistence
from llmgate_plugins.plugins.channels.wanted import Wanted
from llmgate_plugins.plugins.channels.wording import headline, lines, one_line
from llmgate_plugins.secrets import Secret
from llmgate_plugins.services import Services

__all__ = ["EmailChannel", "Security"]

Security = Literal["starttls", "tls", "none"]

PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
LONGEST_SUBJECT: Final = 200


class EmailChannel:
    """Sends alerts as plain text over SMTP.

    The beginning of an alert and its end are one thread in a mail program. Tried again where
    the server could not be reached or says so (4yz).

    Args:
        host: The mail server.
        sender: From whom: "llmgate <alerts@example.org>".
        recipients: To whom; one address or several.
        security: "starttls" (refused if the server cannot), "tls" from the first byte on, or
            "none", which is allowed to this machine only.
        port: None for the usual one: 587, 465 or 25.
        username, password: To log in with; None for no login.
        min_severity: The least severe that is sent: "info", "warning" or "critical".
        kinds: Kinds that are sent; empty for all.
        prefix: What the subject line begins with.
        timeout: Seconds until the server must have answered, each time it is asked.
        attempts: Tries in all.
        ca_file: Certificates to trust instead of the system's, as PEM.
        name: Of this plugin, where there are several.
        persistence: In place of `attempts`, with other waits.

    Raises:
        ValueError: An argument is none of those allowed.
    """

    def __init__(
        self,
        host: str,
        *,
        sender: str,
        recipients: str | Sequence[str],
        security: Security = "starttls",
        port: int | None = None,
        username: str | None = None,
        password: str | Secret | None = None,
        min_severity: Severity = "info",
        kinds: Sequence[str] = (),
        prefix: str = "[llmgate]",
        timeout: float = 10.0,
        attempts: int = 4,
        ca_file: str | None = None,
        name: str = "EmailChannel",
        persistence: Persistence | None = None,
    ) -> None:
        if security not in get_args(Security):
            raise ValueError(f"security must be one of {', '.join(get_args(Security))}, not {security!r}")
        if security == "none" and not is_here(host):
            raise ValueError(f"what is sent to {host} can be read on the way; write starttls or tls")
        if (username is None) is not (password is None):
            raise ValueError("username and password go together")
        self.name = name
        self.wanted = Wanted(min_severity, kinds)
        self.sender = mail_address(sender)
        self.recipients = tuple(
            map(mail_address, [recipients] if isinstance(recipients, str) else recipients)
        )
        if not self.recipients:
            raise ValueError("recipients is empty; name at least one")
        self._host, self._security = host, security
        self._port = PORTS[security] if port is None else whole("port", port)
        self._username = username
        self._password = Secret(password) if isinstance(password, str) else password
        self._prefix = prefix
        self._timeout = positive("timeout", timeout)
        self._ca_file = ca_file
        self._persistence = persistence or Persistence(attempts)

    @property
    def destination(self) -> str:
        """Tells it apart from others of its name, in processes that share a state or books."""
        return ", ".join((self._host, *self.recipients))

    @hookimpl
    def deliver_alert(self, alert: Alert, services: Services) -> None:
        """Send it, until the server has taken it."""
        if alert not in self.wanted:
            return
        message = self._message(alert, services.clock.time())
        self._persistence.deliver(lambda: self._send(message), alert, services)

    def _message(self, alert: Alert, now: float) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = _short(f"{self._prefix} {headline(alert)}")
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Date"] = format_datetime(datetime.fromtimestamp(alert.at or now, UTC))
        place = parseaddr(self.sender)[1].rpartition("@")[2]
        message["Message-ID"] = f"<{_word(alert.id)}@{place}>"
        message["References"] = f"<{_word(f'{alert.key}{alert.since}')}@{place}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        facts = "\n".join(f"{name}: {value}" for name, value in lines(alert))
        message.set_content(f"{headline(alert)}\n\n{facts}\n")
        return message

    def _send(self, message: EmailMessage) -> None:
        try:
            with self._connected() as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise self._undelivered(code, said) from None
        except smtplib.SMTPResponseException as error:
            raise self._undelivered(error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPServerDisconnected:
            raise AlertUndelivered(f"{self._host}: it hung up, or said nothing", passing=True) from None
        except smtplib.SMTPException as error:  # what one of the two cannot, as a way to log in
            raise AlertUndelivered(f"{self._host}: {_short(str(error))}") from None
        except ssl.SSLCertVerificationError as error:
            raise AlertUndelivered(
                f"{self._host}: its certificate is not good: {error.verify_message}"
            ) from None
        except OSError as error:  # timeouts among them
            raise AlertUndelivered(
                f"{self._host}: {error.strerror or type(error).__name__}", passing=True
            ) from None
        if refused:
            raise AlertUndelivered(
                f"{self._host} took it for {len(self.recipients) - len(refused)} of "
                f"{len(self.recipients)} recipients"
            )

    def _connected(self) -> smtplib.SMTP:
        if self._security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout, context=self._tls()
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        try:
            if self._security == "starttls":
                server.starttls(context=self._tls())
            if self._username is not None and self._password is not None:
                server.login(self._username, self._password.reveal())
        except BaseException:
            server.close()
            raise
        return server

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file)

    def _undelivered(self, code: int, said: bytes | str) -> AlertUndelivered:
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        passing = 400 <= code < 500
        return AlertUndelivered(f"{self._host} answered {code}: {_short(text)}", passing=passing)


def _short(text: str) -> str:
    """Fit for a header: one line, and not a long one."""
    line = one_line(text)
    return line if len(line) <= LONGEST_SUBJECT else f"{line[: LONGEST_SUBJECT - 1]}…"


def _word(text: str) -> str:
    """Fit to stand in a Message-ID, whatever the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
