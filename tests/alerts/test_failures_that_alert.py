"""What health and failures have to tell: ejections, dead keys, alarms; each with its end."""

from __future__ import annotations

import pytest
from support.channels import BriefContract, Listener
from support.faces import FACES
from support.gateways import Scene, deployment

from llmgate_plugins import Endpoint, Gateway, ProviderError, Secret, StorageError, hookimpl
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.plugins import FailureAlarms, Health
from llmgate_plugins.plugins.health.alerting import alert_of
from llmgate_plugins.plugins.health.breaker import State
from llmgate_plugins.plugins.health.reporting import HealthChange
from llmgate_plugins.plugins.health.scopes import Ailment
from llmgate_plugins.services import Settlement
from llmgate_plugins.testing import Fault, ScriptedProvider, VirtualClock, ask
from llmgate_plugins.types import Scope

WELL = ["fine"] * 100


def told(scene: Scene, listener: Listener) -> list[tuple[str, str, str, bool]]:
    assert scene.gateway.alerts.flush(10)
    return [(one.kind, one.subject, one.severity, one.resolved) for one in listener.alerts]


@pytest.mark.parametrize("face", FACES)
def test_a_deployment_that_is_ejected_is_told_and_that_it_is_back(face: str) -> None:
    listener = Listener()
    scene = Scene({"east": [Fault("server")] * 5 + WELL, "west": WELL}, [listener], seed=1)
    for _ in range(8):
        assert ask(face, scene.gateway).text == "fine"
    assert told(scene, listener) == [("ejected", "east/overload", "warning", False)]
    assert listener.alerts[0].summary == "Deployment east is left out: it answers with errors."
    assert listener.alerts[0].facts["reason"] == "ejected_overload"
    assert listener.alerts[0].facts["until"] > scene.clock.time()  # type: ignore[operator]
    for _ in range(10):
        scene.clock.advance(10)
        ask(face, scene.gateway)
    assert told(scene, listener)[1:] == [("ejected", "east/overload", "warning", True)]
    assert scene.gateway.alerts.ongoing == ()


@pytest.mark.parametrize("fault", ["authentication", "quota"])
def test_a_key_that_is_dead_is_critical_and_told_under_its_reference(fault: str) -> None:
    listener = Listener()
    east = deployment("east", endpoint=Endpoint(api_key=Secret("env:KEY_OF_EAST")))
    scene = Scene(
        {"east": [Fault(fault), *WELL], "west": WELL},
        [listener],
        [east, deployment("west")],
    )
    ask("sync", scene.gateway)
    ailment = {"authentication": "key", "quota": "money"}[fault]
    assert told(scene, listener) == [("credential_dead", f"env:KEY_OF_EAST/{ailment}", "critical", False)]
    scene.clock.advance(4000)
    ask("sync", scene.gateway)
    assert told(scene, listener)[1:] == [("credential_dead", f"env:KEY_OF_EAST/{ailment}", "critical", True)]


def test_a_rate_limit_is_no_alert() -> None:
    listener = Listener()
    scene = Scene({"east": [Fault("rate_limit", retry_after=5)], "west": WELL}, [listener])
    ask("sync", scene.gateway)
    assert told(scene, listener) == []


def test_looking_at_health_loses_no_alert() -> None:
    listener, health = Listener(), Health()
    scene = Scene({"east": [Fault("server")] * 5 + WELL, "west": WELL}, [listener, health], seed=1)
    for _ in range(8):
        ask("sync", scene.gateway)
    scene.clock.advance(4000)  # nobody came to probe it, so it is forgotten
    health.report(scene.clock.monotonic())
    assert [one[3] for one in told(scene, listener)] == [False, True]


@pytest.mark.parametrize(
    ("scope", "ailment", "kind", "severity"),
    [
        (Scope.DEPLOYMENT, Ailment.SLOW, "ejected", "warning"),
        (Scope.DEPLOYMENT, Ailment.MODEL, "ejected", "warning"),
        (Scope.DEPLOYMENT, Ailment.CERTIFICATE, "ejected", "critical"),
        (Scope.DEPLOYMENT, Ailment.MONEY, "credential_dead", "critical"),
        (Scope.CREDENTIAL, Ailment.KEY, "credential_dead", "critical"),
        (Scope.PROVIDER, Ailment.TRANSPORT, "provider_down", "critical"),
    ],
)
def test_severity_follows_from_who_must_do_something(
    scope: Scope, ailment: Ailment, kind: str, severity: str
) -> None:
    def change(before: State, after: State) -> HealthChange:
        return HealthChange(
            scope=scope, name="x", ailment=ailment, before=before, after=after, reason="r", until=5.0
        )

    began = alert_of(change(State.CLOSED, State.EJECTED), 100.0)
    assert began is not None
    assert (began.kind, began.severity, began.facts["until"]) == (kind, severity, 105.0)
    for after in (State.SLOW_START, State.CLOSED):
        over = alert_of(change(State.PROBING, after), 100.0)
        assert over is not None
        assert (over.key, over.resolved) == (began.key, True)
    for before, after in [
        (State.EJECTED, State.HALF_OPEN),
        (State.HALF_OPEN, State.PROBING),
        (State.SLOW_START, State.CLOSED),
        (State.CLOSED, State.THROTTLED),
        (State.THROTTLED, State.CLOSED),
    ]:
        assert alert_of(change(before, after), 100.0) is None


def test_every_ailment_has_words() -> None:
    for ailment in Ailment:
        change = HealthChange(
            scope=Scope.DEPLOYMENT,
            name="x",
            ailment=ailment,
            before=State.CLOSED,
            after=State.EJECTED,
            reason="r",
            until=None,
        )
        assert alert_of(change, 0.0) is not None


@pytest.mark.parametrize("face", FACES)
def test_a_proxy_of_our_own_that_refuses_is_an_alarm_until_there_is_an_answer(face: str) -> None:
    listener = Listener()
    refused = ProviderError("redirected", status=302)
    scene = Scene({"east": [refused, refused, *WELL]}, [listener])
    for _ in range(2):
        ask(face, scene.gateway)
    assert told(scene, listener) == [("failure_alarm", "east", "critical", False)]
    assert ask(face, scene.gateway).text == "fine"
    assert told(scene, listener)[1:] == [("failure_alarm", "east", "critical", True)]


class Failing:
    """A plugin that fails while it is told to."""

    name = "Failing"

    def __init__(self) -> None:
        self.fails = True

    @hookimpl
    def end_attempt(self) -> None:
        if self.fails:
            raise RuntimeError("no disk")


@pytest.mark.parametrize("face", FACES)
def test_a_plugin_that_fails_beside_a_call_is_told_until_it_works(face: str) -> None:
    listener, failing = Listener(), Failing()
    scene = Scene({"east": WELL}, [listener, failing])
    for fails in (True, True, False, False):
        failing.fails = fails
        assert ask(face, scene.gateway).text == "fine"
    assert told(scene, listener) == [
        ("plugin_failed", "Failing", "warning", False),
        ("plugin_failed", "Failing", "warning", True),
    ]
    assert listener.alerts[0].summary == (
        "Plugin Failing fails in end_attempt, and calls go on without it (RuntimeError); the log says more."
    )


@pytest.mark.parametrize("face", FACES)
def test_books_that_cannot_be_written_are_critical(face: str) -> None:
    class Full(MemoryLedger):
        full = True

        def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
            if self.full:
                raise StorageError("the disk is full")
            return super().settle_attempt(call_id, number, settlement)

    listener, ledger = Listener(), Full()
    gateway = Gateway(
        [deployment("east")],
        plugins=[listener],
        transport=ScriptedProvider(),
        clock=VirtualClock(),
        ledger=ledger,
    )
    assert ask(face, gateway).text == "ok"
    ledger.full = False
    assert ask(face, gateway).text == "ok"
    assert gateway.alerts.flush(10)
    assert [(one.kind, one.severity, one.resolved) for one in listener.alerts] == [
        ("ledger_unavailable", "critical", False),
        ("ledger_unavailable", "critical", True),
    ]


class TestFailureAlarms(BriefContract):
    def make_plugin(self) -> FailureAlarms:
        return FailureAlarms()
