# ruff: noqa: S101 - pytest asserts
"""What the speed limit promises."""

from __future__ import annotations

import pytest
from llmgate_speedlimit import SpeedLimit

from llmgate_plugins import Context, Deployment, Gateway, RequestDenied
from llmgate_plugins.testing import FACES, PluginContract, ScriptedProvider, VirtualClock, ask


class TestSpeedLimit(PluginContract):
    """What every plugin must hold to, failures, cancellations and threads included."""

    def make_plugin(self) -> SpeedLimit:
        return SpeedLimit(per_minute=60)


def gateway_with(plugin: SpeedLimit, clock: VirtualClock) -> Gateway:
    deployment = Deployment(id="east", alias="fast", provider="scripted", model="m")
    return Gateway([deployment], plugins=[plugin], transport=ScriptedProvider(), clock=clock)


@pytest.mark.parametrize("face", FACES)
def test_a_team_that_is_too_fast_is_denied_until_the_next_minute(face: str) -> None:
    clock = VirtualClock()
    gateway = gateway_with(SpeedLimit(per_minute=1), clock)
    search = Context(team="search")
    assert ask(face, gateway, context=search).text == "ok"
    denied = ask(face, gateway, context=search).error
    assert isinstance(denied, RequestDenied)
    assert denied.code == "speed"
    clock.advance(60)
    assert ask(face, gateway, context=search).text == "ok"


def test_teams_do_not_slow_each_other_down() -> None:
    gateway = gateway_with(SpeedLimit(per_minute=1), VirtualClock())
    for team in ("search", "mail"):
        assert ask("sync", gateway, context=Context(team=team)).text == "ok"


def test_a_critical_call_always_passes() -> None:
    gateway = gateway_with(SpeedLimit(per_minute=1), VirtualClock())
    for _ in range(3):
        assert ask("sync", gateway, context=Context(team="search", priority=3)).text == "ok"
