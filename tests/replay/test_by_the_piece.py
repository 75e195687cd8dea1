"""What is not counted in tokens costs in a replay what it cost then."""

from __future__ import annotations

from pathlib import Path

from support.recorded_weeks import CONFIG

from llmgate_plugins import Gateway, Request
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.replay import replay
from llmgate_plugins.testing import ScriptedProvider
from llmgate_plugins.types import NANO, Response, Usage

DRAWN = Response.of("drawn", usage=Usage(charged=NANO // 25, charged_by="litellm"))


def test_a_picture_costs_what_it_cost(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'books.db'}"
    provider = ScriptedProvider({}, default=DRAWN, usage=None)
    opened = open_ledger(ledger)
    gateway = Gateway.from_config(CONFIG, transport=provider, ledger=opened, check_secrets=False)
    for _ in range(3):
        gateway.complete(Request(model="fast", operation="image_generation", params={"prompt": "a cat"}))
    gateway.close()
    told = replay(ledger, CONFIG)
    assert (told.calls, told.same) == (3, 3)
    assert told.original.cost == told.replayed.cost == 3 * NANO // 25
