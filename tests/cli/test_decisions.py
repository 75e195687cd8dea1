"""A decision record as it is told to people."""

from __future__ import annotations

from support.faces import ask
from support.gateways import deployment, scene

from llmgate_plugins import Drop, Request, hookimpl
from llmgate_plugins.cli.decisions import explanation
from llmgate_plugins.plugins import Failover
from llmgate_plugins.testing import Fault
from llmgate_plugins.types import Message


class Rest:
    @hookimpl
    def narrow_deployments(self) -> Drop:
        return Drop({"tired": "resting"}, until={"tired": 1_800_000_000.0})


def test_it_says_who_was_left_out_until_when_and_what_was_changed_for_whom() -> None:
    group = [deployment("tired"), deployment("a", provider="anthropic", model="claude-haiku-4-5")]
    here = scene({"tired": ["no"], "a": ["yes"]}, Rest(), deployments=group)
    request = Request(model="fast", messages=(Message(role="user", content="?"),), params={"seed": 7})
    text = "\n".join(explanation(ask("sync", here.gateway, request).record))
    assert "-   tired             resting (Rest), until " in text
    assert "1. a: success after 0 ms" in text
    assert "      left out seed" in text
    assert max(map(len, text.splitlines())) <= 80


def test_it_says_why_failover_gave_up() -> None:
    here = scene({"a": [Fault("authentication")]})
    ask("sync", here.gateway)
    told = ask("sync", here.gateway)
    text = "\n".join(explanation(told.record))
    assert "bad_key (Health), until " in text
    here = scene({"a": [Fault("server")] * 9}, Failover(max_attempts=9))
    told = ask("sync", here.gateway)
    assert "  gave up: ejected" in explanation(told.record)


def test_notes_of_plugins_are_told_in_words_and_amounts_in_dollars() -> None:
    record = ask("sync", scene({"a": ["yes"]}).gateway).record
    choice = {"alias": "fast", "first": "b", "dropped": {}, "expected_nano_usd": 159_600}
    record.notes = {
        "shadow_policy": {"policy": "low", "selections": [choice]},
        "policies": ["vip", "thrifty"],
    }
    said = explanation(record)
    assert "  shadow_policy: policy low, selections alias fast, first b, expected $0.00016" in said
    assert "  policies: vip; thrifty" in said
