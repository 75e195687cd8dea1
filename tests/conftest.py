"""Real servers for every suite, and how the tests are spread over processes.

A server is started by the first test that asks, and stopped when all have run.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.servers import PostgresServer, RedisServer
    from xdist.scheduler import LoadScopeScheduling

# Every process of the tests, and the many interpreters that they start, would compile whatever it
# imports: by that alone LiteLLM takes three seconds longer. Let them keep what they compile.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

AUTHORITY = Path(__file__).parent / "support" / "authority.pem"
"""One certificate. The hundred and forty of the web take each client 40 ms of CPU to load, and all
that tests ask is on 127.0.0.1."""


ONE_AT_A_TIME = (
    "tests/fleet/",
    "tests/litellm/test_proxy.py",
    "tests/litellm/test_proxy_policies.py",
    "tests/state/test_outages.py",
    "tests/docs/test_notebooks.py",
    "tests/cli/test_demo.py",
    "tests/langchain/test_time_limits.py",
    "tests/test_transport_time.py",
)
"""What starts many processes, or watches real time: all of it runs in one process, and first."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process per core for all tests; for some of them one, which needs no start."""
    some = config.args_source is not config.ArgsSource.TESTPATHS or config.option.keyword
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if some or cores == 1 or config.option.capture == "no" else min(cores, 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """A file's tests stay together, for the servers and imports that they share."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # by number of tests, which says little about their time
    return ByFile(config, log)


def group_of(nodeid: str) -> str:
    """Tests of one group run in one process, one after the other."""
    if nodeid.startswith(ONE_AT_A_TIME):
        return "one at a time"
    file, _, name = nodeid.partition("::")
    if file == "tests/matrix/test_matrix.py":  # large: a group for each surface
        return f"{file} {name.rpartition('-')[2]}"
    return file


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Campaigns take the time they take. The longest groups come first, so that all processes end at
    about the same time."""
    for item in items:
        if item.get_closest_marker("campaign") is not None:
            item.add_marker(pytest.mark.timeout(0))
    if hasattr(config, "workerinput"):
        items.sort(
            key=lambda item: (
                not item.nodeid.startswith(ONE_AT_A_TIME),
                not item.nodeid.startswith(("tests/matrix", "tests/langchain", "tests/security")),
            )
        )


def pytest_configure(config: pytest.Config) -> None:
    theirs = os.environ.get("SSL_CERT_FILE")
    if theirs not in (None, str(AUTHORITY)):
        os.environ["OUTER_SSL_CERT_FILE"] = str(theirs)  # for what is installed by a test
    os.environ["SSL_CERT_FILE"] = str(AUTHORITY)
    if find_spec("hypothesis") is not None:  # it is not there in every environment
        from hypothesis import HealthCheck, settings

        # Every run tries the same examples, however busy the machine is; campaigns search for others.
        same = "not campaign" in config.option.markexpr
        patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
        settings.register_profile("llmgate", derandomize=same, **patient)
        settings.load_profile("llmgate")


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _routers_hear_of_no_other_modules_calls() -> Iterator[None]:
    from support.litellm_callbacks import callbacks_as_before

    with callbacks_as_before():
        yield


@pytest.fixture(scope="session")
def _redis_for_all() -> Iterator[RedisServer]:
    from support.servers import RedisServer  # its clients are not there in every environment

    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture
def redis_server(_redis_for_all: RedisServer) -> RedisServer:
    """A Redis without any key. Many tests share it: leave it running; see `fresh_redis`."""
    _redis_for_all.flush()
    return _redis_for_all


@pytest.fixture
def fresh_redis() -> Iterator[RedisServer]:
    """A Redis for this test alone: to be stopped, killed, paused, replicated."""
    from support.servers import RedisServer  # its clients are not there in every environment

    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _valkey_for_all() -> Iterator[RedisServer]:
    from support.servers import RedisServer  # its clients are not there in every environment

    server = RedisServer("valkey").start()
    yield server
    server.close()


@pytest.fixture
def valkey_server(_valkey_for_all: RedisServer) -> RedisServer:
    """A Valkey without any key, which many tests share."""
    _valkey_for_all.flush()
    return _valkey_for_all


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that many tests share: leave it running; see `fresh_postgres`."""
    from support.servers import PostgresServer  # its clients are not there in every environment

    server = PostgresServer().start()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database for this test alone."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def fresh_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for this test alone: to be stopped, killed, paused."""
    from support.servers import PostgresServer  # its clients are not there in every environment

    server = PostgresServer().start()
    yield server
    server.close()
