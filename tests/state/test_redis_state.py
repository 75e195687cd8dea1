"""The shared state: the rules of every state, on a real Redis and a real Valkey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.server_clock import ServerClock
from support.servers import RedisServer
from support.state_conformance import DAY, ManualClock, StateConformance, lease_of, settled

from llmgate_plugins.services import Refusal, Reservation
from llmgate_plugins.state.redis import RedisState


@pytest.fixture
def clock(server: RedisServer) -> ManualClock:
    return ServerClock(server)


@pytest.fixture
def state(opened: Callable[..., RedisState], clock: ManualClock) -> RedisState:
    return opened(clock=clock, server_time=clock.time)


class TestRedisState(StateConformance):
    """Every rule of `State`."""


def test_what_no_counter_can_hold_holds_nothing_of_what_was_asked_for_with_it(state: RedisState) -> None:
    def both(amount: int) -> object:
        hard = Reservation(key="hard", amount=5, limit=100, window=DAY)
        soft = Reservation(key="soft", amount=amount, limit=10, window=DAY, enforced=False)
        return settled(state.reserve([hard, soft], ttl=60))

    lease_of(both(2**63 - 2**32))
    assert isinstance(both(2**33), Refusal)
    lease_of(both(1))
    assert settled(state.spent("hard", window=DAY)) == (0, 10)
