"""A kept connection that is gone is nobody's illness; a deployment that always hangs up is ill."""

from __future__ import annotations

import pytest
from support.faces import FACES, ask
from support.gateways import Scene, scene

from llmgate_plugins import ProviderError
from llmgate_plugins.plugins import Health
from llmgate_plugins.plugins.health import Ailment, HealthRow

STALE = ProviderError("Server disconnected", code="stale_connection")

every_face = pytest.mark.parametrize("face", FACES)


def ills(here: Scene) -> list[HealthRow]:
    health = next(plugin for _, plugin in here.gateway.plugins if isinstance(plugin, Health))
    return health.report(here.clock.monotonic())


@every_face
def test_it_is_opened_anew_at_once_and_does_not_count(face: str) -> None:
    here = scene({"a": [STALE, "ok"] * 8, "b": ["b"]})
    for _ in range(8):
        assert ask(face, here.gateway).text == "ok"
    assert ills(here) == []
    assert here.sleeper.slept == []


@every_face
def test_one_that_hangs_up_on_the_fresh_connection_too_is_ejected(face: str) -> None:
    here = scene({"a": [STALE], "b": ["b"]})
    for _ in range(6):
        assert ask(face, here.gateway).text == "b"
    assert [row.ailment for row in ills(here)] == [Ailment.TRANSPORT]
    assert here.sent[-2:] != ["a", "b"]
    assert here.books_balance()
