"""A caller who asks for an endless answer, or for endlessly many: it is booked and limited as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment
from support.servers import RedisServer

from llmgate_plugins import Context, Gateway, Message, Price, Request
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Limits, RequestLimit
from llmgate_plugins.state import open_state
from llmgate_plugins.testing import ScriptedProvider

PRICE = Price(input=150_000_000_000, output=600_000_000_000)  # 150 and 600 USD per million tokens
DAY = 86_400.0


def gateway(folder: Path, state: str, *limits: Any) -> Gateway:
    return Gateway(
        [deployment("a", price=PRICE)],
        plugins=[Limits(limits)],
        transport=ScriptedProvider(default="hello"),
        ledger=open_ledger(f"sqlite:///{folder / 'books.db'}"),
        state=open_state(state),
    )


@every_face
@pytest.mark.parametrize("asked", [{"max_tokens": 10**18}, {"n": 10**15, "max_tokens": 10**15}])
def test_what_it_cost_stands_in_the_books(tmp_path: Path, face: str, asked: dict[str, int]) -> None:
    with gateway(tmp_path, "memory") as one:
        request = Request(model="fast", messages=(Message(role="user", content="hello"),), params=asked)
        assert ask(face, one, request).error is None
        one.services.ledger.flush()
        (row,) = one.services.ledger.attempts()
        assert row["cost_nano_usd"] > 0
        assert row["reserve_nano_usd"] < 2**63


def test_nothing_stays_held_of_its_other_limits(tmp_path: Path, fresh_redis: RedisServer) -> None:
    limits = (
        RequestLimit("team", limit=9, window=DAY),
        ConcurrencyLimit("team", limit=2),
        Budget("team", limit=10**12, window=DAY, hard=False),
    )
    search = Context(team="search")
    with gateway(tmp_path, f"{fresh_redis.url}?timeout=2s", *limits) as one:
        for _ in range(3):
            one.complete("fast", "hello", context=search, max_tokens=10**18, n=10**9)
        shown: dict[str, tuple[int, int]] = {row.kind: (row.spent, row.held) for row in one.limits}
    assert (shown["requests"], shown["concurrency"]) == ((3, 0), (0, 0))
    assert shown["budget"][0] > 0
