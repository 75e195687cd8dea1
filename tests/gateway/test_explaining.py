"""What would become of a request: the same as what becomes of it, and nothing comes of asking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.values import DEAR

from llmgate_plugins import Context, Gateway, Request, Response, UnknownCall, hookimpl
from llmgate_plugins.decisions import Drop
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.foresight import Explanation, Objection
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.plugins import (
    Budget,
    Failover,
    LedgerAccounting,
    Limits,
    Policies,
    RequestLimit,
)
from llmgate_plugins.plugins.limits import Instead
from llmgate_plugins.types import Message, Price

EU = Context(team="search", region="eu")
TEAM = Context(team="search")


def told(gateway: Gateway, context: Context | None = None, how: str = "sync", **named: Any) -> Explanation:
    if how == "sync":
        return gateway.explain("fast", "hi", context=context, **named)
    return asyncio.run(gateway.aexplain("fast", "hi", context=context, **named))


@every_face
@pytest.mark.parametrize("how", ["sync", "async"])
def test_what_is_foretold_is_what_happens(face: str, how: str) -> None:
    group = [deployment("us", region="us"), deployment("eu-a", region="eu"), deployment("eu-b", region="eu")]
    here = scene(
        {one.id: ["yes"] for one in group}, Policies({"default": {"prefer": "cheapest"}}), deployments=group
    )
    before = told(here.gateway, EU, how)
    assert here.sent == []
    record = ask(face, here.gateway, context=EU, prompt="hi").record
    (expected,), (happened,) = before.record.selections, record.selections
    assert expected.to_dict() == happened.to_dict()
    assert (before.first, before.eligible) == (record.served_by, True)
    assert (before.record.policy, before.record.status, before.record.attempts) == ("default", "open", [])


def test_asking_sends_reserves_books_learns_and_remembers_nothing() -> None:
    budget = Budget("team", 10**12, 86_400.0)
    gone: list[str] = []

    class Watches:
        @hookimpl
        def end_call(self) -> None:
            gone.append("end_call")

        @hookimpl
        def begin_attempt(self) -> None:
            gone.append("begin_attempt")

    here, twin = (scene({"a": ["yes"]}, Limits([budget]), LedgerAccounting()) for _ in range(2))
    watched = scene({"a": ["yes"]}, Watches())
    for _ in range(3):
        assert told(here.gateway, TEAM).first == told(watched.gateway).first == "a"
    assert (here.sent, gone, here.gateway.decisions, here.ledger.calls()) == ([], [], (), [])
    assert here.state.spent(budget.key("search"), window=budget.window) == (0, 0)
    first, second = (ask("sync", one.gateway).record for one in (here, twin))
    assert first.call_id == second.call_id  # nothing was drawn


def test_a_denial_is_told_with_who_and_why() -> None:
    class Denies:
        @hookimpl
        def admit_request(self) -> None:
            raise RequestDenied("not on a Sunday", code="sunday")

    here = scene({"a": ["yes"]}, Denies())
    one = told(here.gateway)
    assert (one.eligible, one.first, one.record.status) == (False, None, "denied")
    assert (one.record.denied_by, one.record.reason) == ("Denies", "sunday")
    assert one.record.error == "RequestDenied: not on a Sunday"


def test_a_plugin_that_fails_and_a_model_that_is_not_there_are_told() -> None:
    class Fails:
        @hookimpl
        def narrow_deployments(self) -> Drop:
            raise KeyError("oops")

    one = told(scene({"a": ["yes"]}, Fails()).gateway)
    assert (one.eligible, one.record.status, one.record.denied_by) == (False, "error", "Fails")
    one = scene({"a": ["yes"]}).gateway.explain("slow", "hi")
    assert one.record.error is not None
    assert one.record.error.startswith("UnknownModel")


def test_an_answer_of_a_plugin_is_told() -> None:
    class Cached:
        @hookimpl
        def admit_request(self) -> Response:
            return Response.of("cached")

    one = told(scene({"a": ["yes"]}, Cached()).gateway)
    assert (one.eligible, one.first, one.record.status, one.record.denied_by) == (
        True,
        None,
        "answered",
        "Cached",
    )


def test_fallbacks_are_told_as_well() -> None:
    group = [deployment("a"), deployment("b", alias="strong")]
    here = scene({"a": [], "b": []}, deployments=group, fallbacks={"fast": ["strong"]})
    one = told(here.gateway)
    assert ([selection.alias for selection in one.record.selections], list(one)) == (
        ["fast", "strong"],
        ["a", "b"],
    )


@pytest.mark.parametrize("how", ["sync", "async"])
def test_limits_say_what_they_would_refuse_and_hold_nothing(how: str) -> None:
    limits = Limits(
        [
            Budget("team", 5, 86_400.0),
            RequestLimit("deployment=b", 1, 60.0),
            RequestLimit("tenant", 1, 60.0, on_exhausted=Instead(alias="fast")),
            Budget("project", 5, 86_400.0, shadow=True),
        ]
    )
    group = [deployment("a", price=DEAR), deployment("b", price=Price())]
    here = scene({"a": ["yes"] * 9, "b": ["yes"] * 9}, limits, Failover(), deployments=group)
    one = told(here.gateway, Context(team="t", project="p", tenant="acme"), how)
    (found,) = one.foreseen
    assert (found.deployment, found.plugin) == ("a", "Limits")
    assert (found.objection.action, found.objection.reason) == ("deny", "budget")
    assert one.first == "b"
    ask("sync", here.gateway, context=Context(tenant="acme"))
    after = told(here.gateway, Context(tenant="acme"), how)
    assert ("b", "skip") in {(one.deployment, one.objection.action) for one in after.foreseen}
    elsewhere = {one.deployment for one in after.foreseen if one.objection.action == "elsewhere"}
    assert elsewhere == {"a", "b"}


def test_where_processes_share_books_alone_these_say_what_was_spent(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    budget = [Budget("team", 10_000_000, 86_400.0 * 365)]
    spending = scene(
        {"a": ["yes"] * 3}, Limits(budget), LedgerAccounting(), deployments=[deployment("a", price=DEAR)]
    )
    object.__setattr__(spending.gateway.services, "ledger", SqlLedger(url))
    other = Gateway(
        [deployment("a", price=DEAR)], plugins=[Limits(budget)], ledger=SqlLedger(url), clock=spending.clock
    )
    question = Request(
        model="fast", messages=(Message(role="user", content="hi"),), params={"max_tokens": 10}
    )
    assert other.explain(question, context=TEAM).first == "a"
    while ask("sync", spending.gateway, question, context=TEAM).error is None:
        pass
    one = other.explain(question, context=TEAM)
    assert (one.first, one.foreseen[0].objection.reason) == (None, "budget")
    assert "the ledger says" in one.unknown[-1]
    other.close()
    spending.gateway.close()


def test_a_plugin_that_cannot_foresee_is_a_problem_and_no_more() -> None:
    class Broken:
        def foresee(self, *_: Any) -> Sequence[Objection]:
            raise ValueError("no")

        @hookimpl
        def begin_attempt(self) -> None: ...

    one = told(scene({"a": ["yes"]}, Broken()).gateway)
    assert one.first == "a"
    assert one.record.problems == [("Broken", "foresee", "ValueError: no")]


def test_lots_are_drawn_as_the_named_call_draws_them() -> None:
    group = [deployment(f"d{number}", weight=1.0) for number in range(5)]
    here = scene(
        {one.id: ["yes"] * 20 for one in group},
        Policies({"default": {"prefer": "weighted"}}),
        deployments=group,
    )
    for _ in range(5):
        record = ask("sync", here.gateway).record
        assert told(here.gateway, call_id=record.call_id).first == record.served_by


def test_a_past_call_is_found_by_its_id_or_the_beginning_of_it(tmp_path: Path) -> None:
    here = scene({"a": ["yes"] * 3}, LedgerAccounting())
    records = [ask("sync", here.gateway).record for _ in range(3)]
    here.clock.advance(86_400.0)
    gateway = here.gateway
    last = records[-1]
    assert gateway.explain(last.call_id).record is last
    gateway._decisions.clear()
    assert gateway.explain(last.call_id).record.to_dict() == last.to_dict()
    assert gateway.recall(last.call_id[:-4]).call_id == last.call_id
    with pytest.raises(UnknownCall, match="several calls begin") as several:
        gateway.recall(last.call_id[:8])
    assert set(several.value.alike) == {one.call_id for one in records}
    for wrong in ("", "nothing"):
        with pytest.raises(UnknownCall):
            gateway.recall(wrong)


def test_an_explanation_is_plain_json_values() -> None:
    here = scene({"a": ["yes"]}, Limits([Budget("team", 1, 60.0)]), deployments=[deployment("a", price=DEAR)])
    plain = told(here.gateway, TEAM).to_dict()
    assert (plain["eligible"], plain["first"], plain["foreseen"][0]["reason"]) == (False, None, "budget")
    assert plain["decision"]["selections"][0]["considered"] == ["a"]
    assert all(isinstance(one, str) for one in plain["unknown"])
