"""Servers that tests run against can be stopped, killed, paused and replaced, and go when the tests go."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.patience import PATIENCE, until
from support.servers import BadLine, PostgresServer, RedisServer


def test_what_one_test_left_in_redis_the_next_does_not_find(redis_server: RedisServer) -> None:
    assert redis_server.client.dbsize() == 0
    redis_server.client.set("left", 1)


@pytest.mark.parametrize("keep", [True, False])
def test_redis_stops_and_starts_on_the_same_port_with_or_without_its_data(
    fresh_redis: RedisServer, keep: bool
) -> None:
    fresh_redis.client.set("a", 1)
    fresh_redis.stop(keep=keep)
    with pytest.raises(redis.ConnectionError):
        fresh_redis.client.ping()
    fresh_redis.start()
    assert fresh_redis.client.exists("a") == keep


def test_a_paused_redis_accepts_and_says_nothing(fresh_redis: RedisServer) -> None:
    fresh_redis.pause()
    never = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=fresh_redis.port, socket_timeout=0.05, retry=never) as client,
        pytest.raises(redis.TimeoutError),
    ):
        client.ping()
    fresh_redis.resume()
    assert fresh_redis.client.ping()


def test_a_replica_that_is_promoted_lacks_what_was_written_after(fresh_redis: RedisServer) -> None:
    fresh_redis.client.set("before", 1)
    replica = fresh_redis.replica()
    try:
        assert replica.client.get("before") == b"1"
        replica.promote()
        fresh_redis.client.set("after", 1)
        fresh_redis.kill()
        assert replica.client.get("after") is None
        replica.client.set("new", 1)
    finally:
        replica.close()


def test_a_bad_line_is_slow_then_cut_then_leads_elsewhere(
    fresh_redis: RedisServer, redis_server: RedisServer
) -> None:
    fresh_redis.client.set("who", "one")
    redis_server.client.set("who", "other")
    never = Retry(NoBackoff(), 0)
    with BadLine(fresh_redis) as line, redis.Redis(port=line.port, socket_timeout=1.0, retry=never) as client:
        assert client.get("who") == b"one"
        line.delay = 5.0
        with pytest.raises(redis.TimeoutError):
            client.get("who")
        line.mend()
        assert client.get("who") == b"one"
        line.cut()
        with pytest.raises(redis.ConnectionError):
            client.get("who")
        line.mend()
        line.lead_to(redis_server)
        with contextlib.suppress(redis.ConnectionError):  # the connection that was cut
            client.get("who")
        assert client.get("who") == b"other"


def test_commands_are_counted(fresh_redis: RedisServer) -> None:
    fresh_redis.forget_commands()
    fresh_redis.client.set("a", 1)
    fresh_redis.client.get("a")
    fresh_redis.client.get("a")
    counted = fresh_redis.commands()
    assert (counted["set"], counted["get"]) == (1, 2)


def test_valkey_is_valkey(valkey_server: RedisServer) -> None:
    assert valkey_server.client.info("server")["server_name"] == "valkey"


def test_every_test_has_a_database_of_its_own(postgres_server: PostgresServer) -> None:
    first, second = postgres_server.database(), postgres_server.database()
    assert first != second
    with postgres_server.connect(first.rsplit("/", 1)[1]) as connection:
        connection.execute("CREATE TABLE rows (a int)")
    with (
        postgres_server.connect(second.rsplit("/", 1)[1]) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        connection.execute("SELECT * FROM rows")
    postgres_server.drop(first)
    postgres_server.drop(second)


def test_postgresql_keeps_what_it_acknowledged_through_kill_9(fresh_postgres: PostgresServer) -> None:
    with fresh_postgres.connect("postgres") as connection:
        connection.execute("CREATE TABLE rows AS SELECT 1 AS a")
    fresh_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        fresh_postgres.connect("postgres")
    fresh_postgres.start()
    with fresh_postgres.connect("postgres") as connection:
        assert connection.execute("SELECT a FROM rows").fetchall() == [(1,)]


def test_a_paused_postgresql_stands_still(fresh_postgres: PostgresServer) -> None:
    with fresh_postgres.connect("postgres") as connection:
        fresh_postgres.pause()
        answer = threading.Thread(target=connection.execute, args=("SELECT 1",), daemon=True)
        answer.start()
        answer.join(0.1)
        assert answer.is_alive()
        fresh_postgres.resume()
        answer.join(PATIENCE)
        assert not answer.is_alive()


def test_servers_do_not_outlive_tests_that_are_killed() -> None:
    program = (
        "import sys, time; from support.servers import RedisServer; server = RedisServer().start();"
        "print(server.pid, server.directory, flush=True); time.sleep(60)"
    )
    tests = str(Path(__file__).parents[1])
    killed = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": tests}
    )
    assert killed.stdout is not None
    pid, directory = killed.stdout.readline().decode().split()
    os.kill(int(pid), signal.SIGSTOP)  # even so
    killed.kill()
    killed.communicate()
    until(lambda: not Path(directory).exists())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
