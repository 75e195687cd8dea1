"""Makes connections to the server of an address, by redis-py."""

from __future__ import annotations

from typing import Any, Protocol

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from llmgate_plugins.state.address import Address

__all__ = ["Connection", "Dialer", "dialer_of"]


class Connection(Protocol):
    """What is needed of a connection of redis-py."""

    def connect(self) -> None:
        """Connect, log in, choose the database."""

    def disconnect(self) -> None:
        """Let go of the socket."""

    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None:
        """Send bytes."""

    def can_read(self, timeout: float) -> bool:
        """Whether something came within so many seconds, or the other end has closed it."""

    def read_response(self) -> Any:
        """The next answer; raises an error that the server answered."""


class Dialer(Protocol):
    """Where connections come from."""

    def dial(self) -> Connection:
        """A connection that is not connected yet."""

    def close(self) -> None:
        """Let go of everything."""


def dialer_of(address: Address, key: str) -> Dialer:
    """For this address; in a cluster, to the node of this key."""
    # Nothing is sent twice behind our back: what may be repeated is decided where it is known.
    options = {
        "socket_timeout": address.timeout,
        "socket_connect_timeout": address.timeout,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    if address.kind == "sentinel":
        return _Sentinels(address, options)
    if address.kind == "cluster":
        return _Cluster(address, key, options)
    return _Server(address, options)


class _Server:
    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        self._pool = ConnectionPool.from_url(address.url, **options)

    def dial(self) -> Connection:
        made: Connection = self._pool.make_connection()
        return made

    def close(self) -> None:
        self._pool.disconnect()


class _Sentinels:
    """Asks the sentinels, at each connection, who is master now."""

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        import redis.sentinel

        sentinel: Any = redis.sentinel  # its classes have no types
        own = ConnectionPool.from_url(address.url, **options)
        kept = {name: value for name, value in own.connection_kwargs.items() if name not in ("host", "port")}
        hosts = [(host.strip("[]"), port) for host, port in address.hosts]
        self._pool = sentinel.SentinelConnectionPool(
            address.master,
            sentinel.Sentinel(hosts, sentinel_kwargs={**options}),
            ssl=own.connection_class.__name__ == "SSLConnection",
            **kept,
        )

    def dial(self) -> Connection:
        made: Connection = self._pool.make_connection()
        return made

    def close(self) -> None:
        self._pool.disconnect()


class _Cluster:
    """Asks the cluster, at each connection, which node has the keys now: they share one slot."""

    def __init__(self, address: Address, key: str, options: dict[str, Any]) -> None:
        self._options = options
        self._key = key
        self._hosts = address.hosts
        self._url = address.url
        self._cluster: Any = None

    def dial(self) -> Connection:
        import redis.cluster

        cluster: Any = redis.cluster  # its classes have no types
        self.close()
        own = ConnectionPool.from_url(self._url, **self._options)
        kept = {
            name: value
            for name, value in own.connection_kwargs.items()
            if name not in ("host", "port", "db", "retry")
        }
        nodes = [cluster.ClusterNode(host.strip("[]"), port) for host, port in self._hosts]
        if own.connection_class.__name__ == "SSLConnection":
            kept["ssl"] = True
        self._cluster = cluster.RedisCluster(startup_nodes=nodes, **kept)
        node = self._cluster.get_node_from_key(self._key)
        made: Connection = node.redis_connection.connection_pool.make_connection()
        return made

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None
