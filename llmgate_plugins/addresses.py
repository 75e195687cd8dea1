"""Addresses that alerts are sent to: what is one, and what may be sent there in the open."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import urlsplit

__all__ = ["WebAddress", "is_here", "mail_address", "web_address"]


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Where to connect, and what to ask for there.

    Attributes:
        target: Path and query. Often a secret.
    """

    tls: bool
    host: str
    port: int
    target: str


def web_address(url: str, *, insecure: bool = False) -> WebAddress:
    """The parts of an address that may be posted to. What is wrong is said without its path.

    Args:
        insecure: Also `http` to other machines than this one.

    Raises:
        ValueError: It is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the address cannot be read; write https://host/path") from None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the address must be https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"a user or password stands in the address of {host}; leave it out")
    tls = parts.scheme == "https"
    if not tls and not insecure and not is_here(host):
        raise ValueError(
            f"what is sent to {host} over http can be read on the way; write https, or insecure: true"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError(f"the address at {host} has characters that must be percent-encoded")
    return WebAddress(tls, host, port or (443 if tls else 80), target)


def mail_address(text: str) -> str:
    """The text, if it is one mailbox: "ops@example.org" or "Ops <ops@example.org>".

    Raises:
        ValueError: It is none.
    """
    mailbox = parseaddr(text)[1]
    user, at, host = mailbox.rpartition("@")
    if not (user and at and host) or not text.isprintable() or any(one.isspace() for one in mailbox):
        raise ValueError(f"{text!r} is no e-mail address")
    return text


def is_here(host: str) -> bool:
    """Whether that is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
