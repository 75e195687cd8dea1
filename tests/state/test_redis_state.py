"""The shared state: the rules of every state, on a real Redis and a real Valkey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.server_clock import ServerClock
from support.servers import RedisServer
from support.state_conformance import ManualClock, StateConformance

from llmgate_plugins.state.redis import RedisState


@pytest.fixture
def clock(server: RedisServer) -> ManualClock:
    return ServerClock(server)


@pytest.fixture
def state(opened: Callable[..., RedisState], clock: ManualClock) -> RedisState:
    return opened(clock=clock, server_time=clock.time)


class TestRedisState(StateConformance):
    """Every rule of `State`."""
