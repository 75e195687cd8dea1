"""Addresses of states: what is understood, and what is said of what is not."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest
from support.state_conformance import ManualClock

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.state import MemoryState, RedisState, check_state, open_state
from llmgate_plugins.state.address import parse_address


def test_memory_is_opened_by_its_name() -> None:
    assert isinstance(open_state(), MemoryState)
    assert isinstance(open_state("memory://", clock=ManualClock()), MemoryState)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1/0",
        "valkey://127.0.0.1:1",
        "rediss://user:pw@127.0.0.1:1/0?ssl_cert_reqs=none",
        "unix:///tmp/none.sock?db=1",
        "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main/0",
        "redis+cluster://127.0.0.1:1",
    ],
)
def test_a_shared_state_is_opened_by_its_address_and_connects_when_it_is_asked(url: str) -> None:
    state = open_state(url)
    assert isinstance(state, RedisState)
    assert "pw" not in repr(state)
    state.close()
    state.close()


def test_options_are_read() -> None:
    address = parse_address("redis://h/2?timeout=200ms&namespace=prod&workers=4&ssl_check_hostname=1")
    assert (address.timeout, address.namespace, address.workers) == (0.2, "prod", 4)
    assert address.url == "redis://h:6379/2?ssl_check_hostname=1"
    plain = parse_address("redis://h")
    assert (plain.timeout, plain.namespace, plain.workers) == (0.05, "llmgate", 1)


def test_sentinels_are_read() -> None:
    address = parse_address("redis+sentinel://u:p@a:1,b/main/3")
    assert (address.hosts, address.master) == ((("a", 1), ("b", 26379)), "main")
    assert address.url == "redis://u:p@a:1/3"
    assert address.shown == "redis+sentinel://a:1,b:26379/main/3"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "there are: memory, redis"),
        ("memroy", "there are: memory, redis"),
        ("memory://x", "there are: memory, redis"),
        ("http://u:canary@h", "there are: memory, redis"),
        ("redis://u:canary@", "names no host"),
        ("redis://u:canary@h:port", "a port that is not one"),
        ("redis://u:canary@h/zero", "database"),
        ("redis://u:canary@a,b", "several hosts"),
        ("redis://u:canary@h?timeout=0s", "timeout"),
        ("redis://u:canary@h?timeout=canary", "timeout"),
        ("redis://u:canary@h?workers=none", "workers"),
        ("redis://u:canary@h?workers=0", "workers"),
        ("redis://u:canary@h?namespace=a{b}", "namespace"),
        ("redis://u:canary@h?time=5s", "'time' that is not known; there are: timeout"),
        ("redis://u:canary@[h", "cannot be read"),
        ("redis+sentinel://u:canary@h", "names no master"),
        ("unix://", "names no socket"),
    ],
)
def test_a_wrong_address_is_told_with_a_remedy_and_without_its_password(url: str, said: str) -> None:
    for read in (open_state, check_state):
        with pytest.raises(ConfigurationError) as caught:
            read(url)
        assert said in str(caught.value)
        shown = "".join(traceback.format_exception(caught.value))
        assert "canary" not in shown.replace("u:canary@h?timeout=canary", "")


def test_without_the_package_redis_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from llmgate_plugins.state import open_state\n"
        "try: open_state('redis://h')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("ConfigurationError")
    assert "llmgate-plugins[redis]" in said


def test_memory_alone_loads_no_client_of_redis() -> None:
    code = "import sys, llmgate_plugins.state as s; s.open_state(); print('redis' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"
