"""A cluster, sentinels, a socket of the file system, TLS: states that are more than an address."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.receivers import certificate
from support.servers import BadLine, RedisServer
from support.state_conformance import ask_seeded, hold, lease_of, settled

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import Unseeded
from llmgate_plugins.state.redis import RedisState

Connect = Callable[..., RedisState]


class Node(RedisServer):
    """The one node of a cluster, with all slots; also reached by a socket."""

    def command(self) -> Sequence[str]:
        socket = str(self.directory / "socket")
        return [*super().command(), "--cluster-enabled", "yes", "--unixsocket", socket]


class Watch(RedisServer):
    """A sentinel of one master, "main"."""

    def __init__(self, kind: str, master: RedisServer) -> None:
        super().__init__(kind)  # type: ignore[arg-type]
        self._master = master

    def command(self) -> Sequence[str]:
        file = self.directory / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor main 127.0.0.1 {self._master.port} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        return [super().command()[0], str(file), "--sentinel"]


@pytest.fixture(params=["redis", "valkey"])
def node(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    node = Node(request.param).start()
    for first in range(0, 16_384, 4_096):
        node.client.execute_command("CLUSTER", "ADDSLOTS", *range(first, first + 4_096))
    node.wait(
        lambda: b"cluster_state:ok" in node.client.execute_command("CLUSTER", "INFO"), "is not complete"
    )
    yield node
    node.close()


def test_all_keys_of_a_namespace_are_on_one_node_of_a_cluster(node: RedisServer, connect: Connect) -> None:
    state = connect(f"redis+cluster://127.0.0.1:{node.port}?timeout=2s")
    lease = lease_of(hold(state, "budget", 30, 100))
    assert settled(state.settle(lease, {"budget": 20}))
    settled(state.put("a", b"1"))
    assert settled(state.add("c", ttl=60)) == 1
    assert settled(state.spent("budget", window=86_400)) == (20, 0)
    slots = {node.client.execute_command("CLUSTER", "KEYSLOT", key) for key in node.client.keys("*")}  # type: ignore[union-attr]
    assert len(slots) == 1


def test_a_state_behind_a_socket_of_the_file_system(node: RedisServer, connect: Connect) -> None:
    state = connect(f"unix://{node.directory}/socket?timeout=2s&namespace=here")
    assert settled(state.settle(lease_of(hold(state, "budget", 30, 100)), {"budget": 20}))


def test_a_state_behind_tls_is_used_with_a_good_certificate_and_a_password_only(
    own_server: RedisServer, connect: Connect, tmp_path: Path
) -> None:
    own = certificate(tmp_path)
    own_server.client.config_set("requirepass", "p@ss/w:rd")
    with BadLine(own_server, own.server_context()) as line:
        address = f"rediss://:p%40ss%2Fw%3Ard@localhost:{line.port}/0?timeout=2s"
        state = connect(f"{address}&ssl_ca_certs={own.file}")
        assert settled(state.settle(lease_of(hold(state, "budget", 30, 100)), {"budget": 20}))
        with pytest.raises(StorageError, match="cannot be reached") as caught:
            settled(connect(address).spent("budget"))
        assert "p@ss" not in repr(caught.value)
    own_server.client.config_set("requirepass", "")


def test_sentinels_lead_to_the_next_master(own_server: RedisServer, connect: Connect) -> None:
    replica = own_server.replica()
    watch = Watch(own_server._kind, own_server).start()
    try:
        watch.wait(
            lambda: bool(watch.client.execute_command("SENTINEL", "REPLICAS", "main")), "sees no replica"
        )
        state = connect(f"redis+sentinel://127.0.0.1:{watch.port}/main/0?timeout=500ms")
        lease_of(hold(state, "budget", 30, 100))
        own_server.kill()
        end = time.monotonic() + 60
        while True:
            try:
                answer = ask_seeded(state, "budget")
            except StorageError:
                assert time.monotonic() < end
                time.sleep(0.1)
            else:
                break
        assert isinstance(answer, Unseeded), "the replica may not have had everything"
    finally:
        watch.close()
        replica.close()
