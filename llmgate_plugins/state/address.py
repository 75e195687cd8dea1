"""Where a shared state is: one URL, with our own options apart from those of redis-py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.masking import conceal

__all__ = ["SCHEMES", "Address", "parse_address"]

SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+sentinel": "redis",
    "rediss+sentinel": "rediss",
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
}
"""Scheme -> what redis-py calls it."""

_EXAMPLE: Final = "redis://HOST:6379/0"
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|)")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """A server, or a group of them, and how it is used.

    Attributes:
        url: As redis-py reads it; may hold a password.
        kind: "server", "sentinel" or "cluster".
        hosts: (host, port) of each sentinel, or node of a cluster to begin with.
        master: The name of the master that sentinels know.
        namespace: Begins every key; gateways with the same one share their limits.
        timeout: Seconds for a connection, and for an answer.
        workers: Processes that share the limits, for their shares while it is down.
        shown: What may be shown: no user, no password, no options.
    """

    url: str
    kind: str
    hosts: tuple[tuple[str, int], ...]
    master: str
    namespace: str
    timeout: float
    workers: int
    shown: str

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def parse_address(url: str) -> Address:
    """Read an address; connects to nothing.

    Raises:
        ConfigurationError: What is wrong, and what to write instead. No password is shown.
    """
    try:
        parts = urlsplit(url.strip())
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _wrong("cannot be read", f"write {_EXAMPLE}; escape what is special in a password") from None
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise _wrong(f"{scheme!r} is not known", f"there are: memory, {', '.join(SCHEMES)}")
    kind = scheme.partition("+")[2] or "server"
    namespace = options.pop("namespace", "llmgate")
    if not _NAMESPACE.fullmatch(namespace):
        raise _wrong(
            "has a namespace that is not one", "use up to 64 letters, digits and _ . : -, as ?namespace=prod"
        )
    timeout = _seconds(options.pop("timeout", "50ms"))
    workers = options.pop("workers", "1")
    if not workers.isdecimal() or int(workers) < 1:
        raise _wrong("has workers that are no number above 0", "write ?workers=4")
    for name in options:
        if not (name.startswith("ssl_") or name in ("db", "protocol", "client_name")):
            raise _wrong(
                f"has an option {name!r} that is not known",
                "there are: timeout, namespace, workers, db, client_name, protocol, and ssl_...",
            )
    hosts = () if scheme == "unix" else _hosts(parts.netloc, kind)
    if scheme == "unix" and not parts.path.strip("/"):
        raise _wrong("names no socket", "write unix:///run/redis.sock?db=0")
    path, master = parts.path, ""
    if kind == "sentinel":
        master, _, database = path.strip("/").partition("/")
        if not master:
            raise _wrong("names no master", "write redis+sentinel://HOST:26379,HOST2:26379/MASTER/0")
        path = f"/{database}"
    if scheme != "unix" and path.strip("/") and not path.strip("/").isdecimal():
        raise _wrong("has a database that is no number", f"write {_EXAMPLE}")
    user, at, _ = parts.netloc.rpartition("@")
    if parts.password:
        conceal(unquote(parts.password))
    first = "" if scheme == "unix" else "{}:{}".format(*hosts[0])
    query = f"?{urlencode(options)}" if options else ""
    where = ",".join(f"{host}:{port}" for host, port in hosts)
    return Address(
        url=f"{SCHEMES[scheme]}://{user}{at}{first}{path}{query}",
        kind=kind,
        hosts=hosts,
        master=master,
        namespace=namespace,
        timeout=timeout,
        workers=int(workers),
        shown=f"{scheme}://{where}{parts.path}",
    )


def _hosts(netloc: str, kind: str) -> tuple[tuple[str, int], ...]:
    default = 26379 if kind == "sentinel" else 6379
    found: list[tuple[str, int]] = []
    for one in netloc.rpartition("@")[2].split(","):
        try:
            parts = urlsplit(f"//{one}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _wrong("has a port that is not one", f"write {_EXAMPLE}") from None
        if not host:
            raise _wrong("names no host", f"write {_EXAMPLE}")
        found.append((f"[{host}]" if ":" in host else host, port or default))
    if len(found) > 1 and kind == "server":
        raise _wrong("names several hosts", "write redis+sentinel:// or redis+cluster:// for a group")
    return tuple(found)


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else 0.0
    if not 0 < seconds <= 60:
        raise _wrong("has a timeout that is none", "write ?timeout=50ms, at most 60s")
    return seconds


def _wrong(what: str, remedy: str) -> ConfigurationError:
    # The address itself is not shown: it may hold a password.
    return ConfigurationError(f"the address of the state {what}; {remedy}")
