"""Which alerts are told, how often, and what a channel that misbehaves does to others."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.channels import AsyncListener, BriefContract, Listener, gateway_with
from support.faces import FACES
from support.gateways import deployment
from support.patience import PATIENCE, until
from support.yardstick import in_empty_calls

from llmgate_plugins import Alert, Alerting, AlertUndelivered, ConfigurationError, Gateway, Secret, hookimpl
from llmgate_plugins.alerts import NO_ALERTS, Severity
from llmgate_plugins.plugins import LogChannel
from llmgate_plugins.testing import ScriptedProvider, VirtualClock, ask

HOUR = 3600.0


def alert(subject: str = "east", severity: Severity = "warning", **more: Any) -> Alert:
    return Alert(kind="ejected", subject=subject, summary="It fails.", severity=severity, **more)


def over(subject: str = "east") -> Alert:
    return Alert(kind="ejected", subject=subject, summary="It works again.", resolved=True, severity="info")


class Scene:
    """A gateway with one listener, and a clock that stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.listener = VirtualClock(), Listener()
        self.gateway = gateway_with(self.listener, clock=self.clock, **options)

    def report(self, *alerts: Alert, after: float = 0.0) -> None:
        self.clock.advance(after)
        for one in alerts:
            self.gateway.services.alerts.report(one)

    @property
    def told(self) -> list[str]:
        assert self.gateway.alerts.flush(PATIENCE)
        return self.listener.words


def test_an_alert_is_told_once_while_it_goes_on() -> None:
    scene = Scene()
    for _ in range(100):
        scene.report(alert(), after=60)
    assert scene.told == ["east warning"]


def test_an_alert_that_goes_on_is_told_again_after_hours() -> None:
    scene = Scene(repeat=HOUR)
    for _ in range(31):
        scene.report(alert(), after=240)
    assert scene.told == ["east warning"] * 3


def test_the_same_kind_of_another_subject_is_another_alert() -> None:
    scene = Scene()
    scene.report(alert("east"), alert("west"), alert("east"))
    assert scene.told == ["east warning", "west warning"]


def test_an_alert_that_becomes_worse_is_told_at_once_and_one_that_becomes_better_is_not() -> None:
    scene = Scene()
    scene.report(alert(severity="info"), alert(severity="critical"), alert(severity="warning"))
    assert scene.told == ["east info", "east critical"]


def test_its_end_is_told_once_as_severe_as_it_was() -> None:
    scene = Scene()
    scene.report(alert(severity="critical"), over(), over())
    assert scene.told == ["east critical", "east over"]
    assert [one.severity for one in scene.listener.alerts] == ["critical", "critical"]


def test_the_end_of_what_nobody_was_told_of_is_not_told() -> None:
    scene = Scene()
    scene.report(over())
    assert scene.told == []
    assert scene.gateway.alerts.recent == ()


def test_an_end_says_since_when_it_went_on() -> None:
    scene = Scene()
    began = scene.clock.time()
    scene.report(alert())
    scene.report(over(), after=90)
    assert scene.told == ["east warning", "east over"]
    first, last = scene.listener.alerts
    assert (first.since, first.at) == (began, began)
    assert (last.since, last.at) == (began, began + 90)


def test_every_notice_has_an_id_of_its_own() -> None:
    scene = Scene()
    scene.report(alert(), over(), alert("west"))
    assert len(scene.told) == len({one.id for one in scene.listener.alerts}) == 3


def test_what_comes_back_is_told_again_and_then_its_end_waits_for_a_minute() -> None:
    scene = Scene()
    scene.report(alert(), over())
    scene.report(alert(), over(), after=10)
    assert scene.told == ["east warning", "east over", "east warning"]
    scene.clock.advance(59)
    assert len(scene.told) == 3
    scene.clock.advance(2)
    assert scene.told[3:] == ["east over"]


@pytest.mark.parametrize("period", [2.0, 20.0, 100.0, 400.0])
def test_what_comes_and_goes_for_a_day_is_told_a_few_times(period: float) -> None:
    scene = Scene(repeat=48 * HOUR)
    for _ in range(int(24 * HOUR / period)):
        scene.report(alert(), after=period / 2)
        scene.report(over(), after=period / 2)
        scene.gateway.alerts.flush()
    assert len(scene.told) <= 12
    scene.clock.advance(HOUR)
    assert scene.told[-1] == "east over", "the last word is how it is now"


def test_what_comes_back_after_hours_is_a_new_alert_with_an_end_at_once() -> None:
    scene = Scene()
    for _ in range(3):
        scene.report(alert(), over(), after=2 * HOUR)
    assert scene.told == ["east warning", "east over"] * 3


def test_an_end_that_is_held_back_is_told_without_further_reports() -> None:
    scene = Scene()
    scene.report(alert(), over(), alert(), over(), after=1)
    scene.clock.advance(61)
    until(lambda: len(scene.listener.alerts) == 4)
    assert scene.listener.words[-1] == "east over"


def test_what_was_told_and_what_goes_on_can_be_looked_at() -> None:
    scene = Scene()
    scene.report(alert("east"), alert("west", "critical"), over("east"))
    assert [one.subject for one in scene.gateway.alerts.ongoing] == ["west"]
    assert [(one.subject, one.resolved) for one in scene.gateway.alerts.recent] == [
        ("east", False),
        ("west", False),
        ("east", True),
    ]
    assert scene.gateway.alerts.channels == ("Listener",)


# ------------------------------------------------------------ channels that misbehave


def test_a_channel_that_fails_stops_no_other_and_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, sound = Listener("Broken", RuntimeError("no route")), Listener("Sound")
    gateway = gateway_with(broken, sound)
    gateway.alerts.report(alert())
    assert gateway.alerts.flush()
    assert sound.words == ["east warning"]
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == [
        "Broken could not deliver the alert ('ejected', 'east'): RuntimeError: no route"
    ]
    assert gateway.alerts.failed == 1


def test_the_end_is_not_told_to_a_channel_that_could_not_tell_the_beginning() -> None:
    broken = Listener(error=RuntimeError("no route"))
    gateway = gateway_with(broken)
    gateway.alerts.report(alert())
    gateway.alerts.flush()
    broken.error = None
    gateway.alerts.report(over())
    gateway.alerts.flush()
    assert broken.words == ["east warning"]


AWAY = AlertUndelivered("nobody answers", passing=True)


def test_what_did_not_arrive_is_sent_again_when_the_channel_is_back() -> None:
    scene = Scene()
    scene.listener.error = AWAY
    scene.report(alert("east", "critical"), alert("west"))
    assert not scene.gateway.alerts.flush(PATIENCE)
    scene.listener.error = None
    scene.listener.alerts.clear()
    scene.report(after=601)
    until(lambda: len(scene.listener.alerts) == 2)
    assert sorted(scene.told) == ["east critical", "west warning"]
    assert scene.gateway.alerts.failed == 0
    scene.report(over(), over("west"))
    assert scene.told[2:] == ["east over", "west over"]


def test_a_channel_out_of_reach_is_left_alone_longer_and_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmgate_plugins._alerting.outbox.POLL", 0.01)
    scene = Scene()
    scene.listener.error = AWAY
    scene.report(alert())
    for tries, pause in enumerate((60, 120, 240, 480, 600, 600), start=1):
        until(lambda tries=tries: caplog.text.count("sent again later") == tries)
        scene.report(after=pause - 1)
        time.sleep(0.1)
        assert len(scene.listener.alerts) == tries
        scene.report(after=2)


def test_what_is_over_before_the_channel_is_back_is_not_told_at_all() -> None:
    scene = Scene()
    scene.listener.error = AWAY
    scene.report(alert(), alert("west"))
    assert not scene.gateway.alerts.flush(PATIENCE)
    scene.report(over())
    scene.listener.error = None
    scene.listener.alerts.clear()
    assert scene.told == ["west warning"]
    scene.report(alert())
    assert scene.told == ["west warning", "east warning"]


@pytest.mark.parametrize("error", [AWAY, RuntimeError("a mistake")])
def test_its_end_is_told_where_it_was_told_before_it_became_worse(error: Exception) -> None:
    scene = Scene()
    scene.report(alert())
    assert scene.told == ["east warning"]
    scene.listener.error = error
    scene.report(alert("east", "critical"))
    scene.gateway.alerts.flush(PATIENCE)
    scene.listener.error = None
    scene.report(over())
    assert scene.told[-1] == "east over"


def test_an_alert_that_never_arrives_is_given_up_after_a_day(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.listener.error = AWAY
    scene.report(alert())
    scene.gateway.alerts.flush(PATIENCE)
    scene.report(after=24 * HOUR)
    scene.gateway.alerts.flush(PATIENCE)
    assert scene.gateway.alerts.failed == 1
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert "sent again later" in said[0]
    assert "sent again later" not in said[-1]
    assert scene.gateway.alerts.flush(PATIENCE)


def test_a_gateway_that_is_closed_tries_once_more_and_waits_for_no_pause() -> None:
    scene = Scene()
    scene.listener.error = AWAY
    scene.report(alert(), alert("west"))
    scene.gateway.alerts.flush(PATIENCE)
    scene.listener.alerts.clear()
    began = time.monotonic()
    scene.gateway.close()
    assert time.monotonic() - began < 4
    assert sorted(scene.listener.words) == ["east warning", "west warning"]
    assert scene.gateway.alerts.failed == 2


def test_a_channel_that_hangs_holds_up_neither_reports_nor_other_channels() -> None:
    gate = threading.Event()
    hanging, sound = Listener("Hanging", gate=gate), Listener("Sound")
    gateway = gateway_with(hanging, sound)
    for number in range(100):
        gateway.alerts.report(alert(f"one-{number}"))  # it waits for nobody: one hangs until we say so
    until(lambda: (len(sound.alerts), len(hanging.alerts)) == (100, 1))
    gate.set()
    assert gateway.alerts.flush(PATIENCE)
    assert len(hanging.alerts) == 100


def test_of_too_many_the_oldest_of_the_least_severe_are_left_out_and_counted() -> None:
    gate = threading.Event()
    slow = Listener(gate=gate)
    gateway = gateway_with(slow, waiting=3)
    gateway.alerts.report(alert("first"))
    until(lambda: slow.alerts)
    for subject, severity in [
        ("a", "info"),
        ("b", "critical"),
        ("c", "info"),
        ("d", "warning"),
        ("e", "info"),
    ]:
        gateway.alerts.report(alert(subject, severity))  # type: ignore[arg-type]
    gateway.alerts.report(over("a"))
    gate.set()
    assert gateway.alerts.flush(PATIENCE)
    assert slow.words == ["first warning", "b critical", "d warning", "e info"]
    assert gateway.alerts.dropped == 2


def test_an_async_channel_is_told_on_the_private_loop() -> None:
    listener = AsyncListener()
    gateway = gateway_with(listener)
    gateway.alerts.report(alert())
    assert gateway.alerts.flush(PATIENCE)
    assert listener.words == ["east warning"]


def test_a_channel_may_report_an_alert_itself_without_end() -> None:
    class Complaining(Listener):
        @hookimpl
        def deliver_alert(self, alert: Alert, services: Any) -> None:  # type: ignore[override]
            self.alerts.append(alert)
            services.alerts.report(Alert(kind="channel", subject="me", summary="I was told of an alert."))

    complaining = Complaining()
    gateway = gateway_with(complaining)
    gateway.alerts.report(alert())
    while not gateway.alerts.flush(PATIENCE):
        pass
    assert complaining.words == ["east warning", "me warning"]


# ------------------------------------------------------------ reporting


@pytest.mark.parametrize("wrong", [None, "text", Alert(kind="x", subject="y", summary="z", severity="fatal")])  # type: ignore[arg-type]
def test_a_report_that_makes_no_sense_raises_nothing(wrong: Any) -> None:
    gateway = gateway_with(Listener())
    gateway.alerts.report(wrong)
    assert gateway.alerts.ongoing == gateway.alerts.recent == ()


def test_alerts_may_be_reported_from_threads_and_loops_at_once() -> None:
    listener = Listener()
    gateway = gateway_with(listener)

    async def from_a_loop() -> None:
        for number in range(200):
            gateway.alerts.report(alert(f"{number % 50}"))
            await asyncio.sleep(0)

    def from_a_thread(_: int) -> None:
        for number in range(200):
            gateway.alerts.report(alert(f"{number % 50}"))

    with ThreadPoolExecutor(8) as pool:
        told = pool.map(from_a_thread, range(8))
        asyncio.run(from_a_loop())
        list(told)
    assert gateway.alerts.flush(PATIENCE)
    assert sorted(one.subject for one in listener.alerts) == sorted(str(number) for number in range(50))


def test_a_repeat_costs_hardly_anything() -> None:
    gateway = gateway_with(Listener())
    again = alert()
    gateway.alerts.report(again)
    report = gateway.services.alerts.report
    assert in_empty_calls(lambda: report(again)) < 200, "about 40, which is 2 microseconds"


def test_what_is_remembered_has_a_limit() -> None:
    gateway = gateway_with()
    for number in range(10_500):
        gateway.alerts.report(alert(str(number)))
    assert len(gateway.alerts.ongoing) == 10_000
    assert len(gateway.alerts.recent) == 200


def test_a_secret_that_was_revealed_stands_in_no_alert() -> None:
    key = Secret("sk-canary-0123456789")
    key.reveal()
    listener = Listener()
    gateway = gateway_with(listener)
    gateway.alerts.report(
        Alert(
            kind="x",
            subject="y",
            summary="refused: sk-canary-0123456789",
            facts={"k": "sk-canary-0123456789"},
        )
    )
    gateway.alerts.flush()
    assert "canary" not in repr(listener.alerts)


def test_without_a_gateway_nobody_is_told() -> None:
    NO_ALERTS.report(alert())


# ------------------------------------------------------------ the end of things


def test_closing_a_gateway_tells_what_waits_and_what_is_held_back() -> None:
    scene = Scene()
    scene.report(alert(), over(), alert(), over())
    scene.gateway.close()
    assert scene.listener.words == ["east warning", "east over", "east warning", "east over"]
    scene.report(alert("west"))
    scene.gateway.close()
    assert len(scene.listener.words) == 4


def test_closing_waits_for_a_channel_that_hangs_no_longer_than_it_may(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()
    gateway = gateway_with(Listener("Hanging", gate=gate))
    gateway.alerts.report(alert())
    began = time.monotonic()
    gateway.alerts.close(0.1)
    assert time.monotonic() - began < PATIENCE
    assert "not told within 0.1 s: {'Hanging': 1}" in caplog.text
    gate.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_tells_its_own_alerts_and_not_its_parents() -> None:
    gate = threading.Event()
    listener = Listener(gate=gate)
    gateway = gateway_with(listener)
    gateway.alerts.report(alert("parent"))
    gateway.alerts.report(alert("waiting"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            listener.alerts.clear()
            listener.gate = None
            gateway.alerts.report(alert("parent"))
            gateway.alerts.report(over("parent"))
            gateway.alerts.report(alert("child"))
            gateway.alerts.flush(PATIENCE)
            os.write(writing, ",".join(listener.words).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reading) as answer:
        assert answer.read() == "child warning"
    gate.set()
    assert gateway.alerts.flush(PATIENCE)
    assert listener.words == ["parent warning", "waiting warning"]


def test_threads_end_when_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmgate_plugins._alerting.outbox.IDLE", 0.05)
    listener = Listener("Resting")
    gateway = gateway_with(listener)
    for subject in ("east", "west"):
        gateway.alerts.report(alert(subject))
        assert gateway.alerts.flush(PATIENCE)
        until(lambda: not any("Resting" in one.name for one in threading.enumerate()))
    assert listener.words == ["east warning", "west warning"]


def test_a_gateway_that_told_alerts_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmgate_plugins._alerting.outbox.IDLE", 0.05)
    gateway = gateway_with(Listener())
    gateway.alerts.report(alert())
    gateway.alerts.flush()
    alerting = weakref.ref(gateway.alerts)
    del gateway

    def is_gone() -> bool:
        gc.collect()
        return alerting() is None

    until(is_gone)


def test_a_gateway_whose_channel_is_away_can_be_forgotten() -> None:
    def told() -> weakref.ref[Gateway]:
        gateway = gateway_with(Listener("Away", AlertUndelivered("nobody answers", passing=True)))
        gateway.alerts.report(alert())
        assert not gateway.alerts.flush(PATIENCE)
        return weakref.ref(gateway)

    gateway = told()
    until(lambda: gc.collect() >= 0 and gateway() is None)
    until(lambda: "llmgate-alerts-Away" not in {thread.name for thread in threading.enumerate()})


def test_two_gateways_cannot_share_one_alerting() -> None:
    shared = Alerting()
    Gateway(alerts=shared)
    with pytest.raises(ConfigurationError, match="one gateway"):
        Gateway(alerts=shared)


@pytest.mark.parametrize("wrong", [{"repeat": 0}, {"waiting": 0}, {"repeat": float("nan")}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        Alerting(**wrong)


# ------------------------------------------------------------ beside calls


@pytest.mark.parametrize("face", FACES)
def test_an_alert_from_a_hook_changes_no_answer_whatever_its_channels_do(face: str) -> None:
    class Alarmed:
        @hookimpl
        def end_attempt(self, services: Any) -> None:
            services.alerts.report(alert())

    gate = threading.Event()
    gateway = Gateway(
        [deployment("east")],
        plugins=[Alarmed(), Listener("Broken", RuntimeError("no")), Listener("Hanging", gate=gate)],
        transport=ScriptedProvider(),
        clock=VirtualClock(),
    )
    told = ask(face, gateway)
    assert (told.text, told.error, told.record.problems) == ("ok", None, [])
    gate.set()
    gateway.close()
    assert gateway.alerts.recent[0].kind == "ejected"


def test_the_log_is_told_by_every_gateway(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "llmgate.alerts")
    gateway = Gateway()
    gateway.alerts.report(alert(severity="critical"))
    gateway.alerts.report(over())
    gateway.close()
    lines = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "llmgate.alerts"]
    assert lines == [
        ("CRITICAL", "Critical: It fails. (ejected: east)"),
        ("INFO", "Resolved: It works again. (ejected: east)"),
    ]
    record = next(one for one in caplog.records if one.name == "llmgate.alerts")
    assert record.alert["subject"] == "east"  # type: ignore[attr-defined]


def test_no_name_adds_a_line_to_the_log_or_speaks_to_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "llmgate.alerts")
    gateway = Gateway()
    name = "team:x\nCRITICAL llmgate.alerts: all is lost\x1b[2J\u202e"
    gateway.alerts.report(Alert(kind="ejected", subject=name, summary=f"{name} is out of money."))
    gateway.close()
    (line,) = [one.getMessage() for one in caplog.records if one.name == "llmgate.alerts"]
    assert line.isprintable()


class TestLogChannel(BriefContract):
    def make_plugin(self) -> LogChannel:
        return LogChannel(min_severity="warning")
