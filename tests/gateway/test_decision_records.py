"""Decision records: everything that was decided, bounded, and the same when they are read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import ask, every_face
from support.gateways import scene

from llmgate_plugins import Context, DecisionRecord, Deployment, Request, Response, hookimpl
from llmgate_plugins.decisions import Drop, Ranking, Skip
from llmgate_plugins.ledger.plain import dump_json
from llmgate_plugins.plugins import Failover, LedgerAccounting, Policies
from llmgate_plugins.selections import MOST_NAMED, Dropped, Selection
from llmgate_plugins.testing import Fault, Slow
from llmgate_plugins.types import Attempt


class Sieve:
    """Drops each deployment by the number in its id; always with the same answer."""

    def __init__(self, every: int, reason: str) -> None:
        self.name, self.every, self.reason = f"Sieve{every}", every, reason
        self.drop: Drop | None = None

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment]) -> Drop:
        if self.drop is None:
            gone = (one.id for one in deployments if int(one.id[1:]) % self.every)
            self.drop = Drop(dict.fromkeys(gone, self.reason), {"d1": 5.0})
        return self.drop


class Backwards:
    """Ranks the last first, with a score for each."""

    @hookimpl
    def rank_deployments(self, deployments: Sequence[Deployment]) -> Ranking:
        order = deployments[::-1]
        scores = {one.id: float(place) for place, one in enumerate(order)}
        state = {one.id: {"samples": 7} for one in order[:3]}
        return Ranking(order, scores=scores, reason="backwards", parts={"cheapest": scores}, state=state)


class Refuses:
    """Will not have one deployment sent to."""

    @hookimpl
    def begin_attempt(self, attempt: Attempt) -> Skip | None:
        return Skip("full") if attempt.deployment.id == "a" else None


class NotD:
    @hookimpl
    def narrow_deployments(self) -> Drop:
        return Drop({"d": "retired"})


@every_face
def test_a_record_says_who_dropped_ranked_skipped_and_served(face: str) -> None:
    here = scene(
        {"a": ["no"], "b": [Fault("rate_limit", retry_after=3.0), "no"], "c": [Slow(0.5, "yes")], "d": []},
        NotD(),
        Refuses(),
        Failover(max_attempts=3),
    )
    ask(face, here.gateway, context=Context(team="search", region=None))
    (record,) = here.gateway.decisions
    (selection,) = record.selections
    assert selection.dropped == {"d": ("retired", "NotD")}
    assert (selection.order, selection.number, selection.eligible) == (("a", "b", "c"), 4, 3)
    (first, skipped), (_, failed), (_, answered) = record.attempts
    assert (first.deployment.id, skipped.skipped, skipped.skipped_by) == ("a", "full", "Refuses")
    assert (failed.failure.error_class, answered.status) == ("rate_limit", "success")
    assert DecisionRecord.from_dict(through_json(record)).to_dict() == record.to_dict()


def through_json(record: DecisionRecord) -> Any:
    return json.loads(json.dumps(record.to_dict()))


@pytest.mark.parametrize("number", [10, 32, 33, 10_000])
def test_a_record_is_bounded_however_many_deployments_there_are(number: int) -> None:
    script = {f"d{one}": ["yes"] for one in range(number)}
    here = scene(script, Sieve(2, "odd"), Sieve(3, "by three"), Backwards())
    ask("sync", here.gateway)
    (selection,) = here.gateway.decisions[-1].selections
    told = selection.to_dict()
    odd = number // 2
    by_three = sum(one % 2 == 0 and one % 3 != 0 for one in range(number))
    assert told["total"] == selection.number == number
    assert told["reasons"] == {"odd": odd, "by three": by_three}
    assert selection.eligible == number - odd - by_three
    assert min(number, 20) <= len(told["considered"]) <= MOST_NAMED
    assert len(told["order"]) == min(selection.eligible, MOST_NAMED)
    assert set(told["dropped"]) | set(told["scores"]) == set(told["considered"])
    assert told["considered"][0] == (told["order"][0] if number > MOST_NAMED else "d0")
    assert {why["reason"] for why in told["dropped"].values()} == {"odd", "by three"}
    assert len(json.dumps(told)) < 8_000
    again = Selection.from_dict(json.loads(json.dumps(told)))
    assert again.to_dict() == told
    assert (again.number, again.eligible, again.reasons) == (number, selection.eligible, selection.reasons)


def test_what_many_calls_share_is_worked_out_once() -> None:
    script = {f"d{one}": ["yes"] * 3 for one in range(200)}
    here = scene(script, Sieve(2, "odd"), Sieve(3, "by three"))
    for _ in range(3):
        ask("sync", here.gateway)
    first, *others = (record.selections[0] for record in here.gateway.decisions)
    assert isinstance(first.dropped, Dropped)
    assert all(one.dropped is first.dropped and one.considered is first.considered for one in others)
    assert first.dropped.counts is first.dropped.counts


texts = st.text(max_size=12)
named = st.dictionaries(texts, texts, max_size=3)
outcomes = st.sampled_from(
    [["ok"], [Fault("overloaded"), "ok"], [Fault("authentication")], [Fault("timeout")]]
)


@settings(max_examples=40, deadline=None)
@given(
    script=st.lists(outcomes, min_size=1, max_size=4),
    tags=named,
    notes=st.dictionaries(texts, st.dictionaries(texts, st.integers(), max_size=2), max_size=2),
    rule=st.none() | texts,
    experiments=named,
    shadow_of=st.none() | texts,
)
def test_what_is_read_back_tells_the_same(
    script: list[list[Any]],
    tags: dict[str, str],
    notes: dict[str, Any],
    rule: str | None,
    experiments: dict[str, str],
    shadow_of: str | None,
) -> None:
    here = scene({f"d{place}": one for place, one in enumerate(script)}, Failover(), LedgerAccounting())
    ask("sync", here.gateway, context=Context(team="x", priority=0, extra={"desk": "7"}))
    record = replace(
        here.gateway.decisions[-1],
        tags=tags,
        notes=notes,
        rule=rule,
        experiments=experiments,
        units=dict.fromkeys(experiments, "ab"),
        shadow_of=shadow_of,
    )
    told = record.to_dict()
    again = DecisionRecord.from_dict(json.loads(json.dumps(told))).to_dict()
    assert again == told | {
        name: told[name] or DecisionRecord.__dataclass_fields__[name].default
        for name in ("rule", "shadow_of")
    }


@every_face
def test_the_ledgers_decision_is_the_record_again(face: str) -> None:
    here = scene({"a": [Fault("rate_limit")], "b": ["yes"]}, NotD(), Failover(), LedgerAccounting())
    ask(face, here.gateway, context=Context(team="search", priority=0))
    (record,) = here.gateway.decisions
    (row,) = here.ledger.calls()
    again = DecisionRecord.from_row(row)
    assert dump_json(again.to_dict()) == dump_json(record.to_dict())


def test_of_a_call_that_recovery_closed_there_is_what_the_row_says() -> None:
    row = {"call_id": "c1", "model": "fast", "at": 5.0, "status": "unknown", "decision": {}, "shape": None}
    record = DecisionRecord.from_row(row)
    assert (record.call_id, record.model, record.at, record.status) == ("c1", "fast", 5.0, "unknown")


def test_the_policies_that_held_stand_in_each_choice() -> None:
    here = scene({"a": ["yes"]}, Policies({"default": {"version": "7"}, "eu": {}}))
    ask("sync", here.gateway)
    (selection,) = here.gateway.decisions[-1].selections
    assert (selection.policy, selection.policy_version, selection.policies) == ("default", "7", ("default",))


@every_face
def test_an_answer_names_its_call_and_a_record_says_why_in_brief(face: str) -> None:
    policies = Policies({"default": {"version": "7"}})
    here = scene({"a": ["yes"], "d": []}, policies, NotD())
    record = ask(face, here.gateway).record
    assert record.brief() == {"policy": "default", "policy_version": "7", "dropped": {"retired": 1}}
    assert DecisionRecord(call_id="c", model="fast", at=0.0).brief() == {}


def test_a_whole_answer_has_the_id_of_its_call() -> None:
    class Cached:
        @hookimpl
        def admit_request(self, request: Request) -> Response | None:
            return CANNED if request.tags else None

    here = scene({"a": ["yes"]}, Cached())
    answer = here.gateway.complete("fast", "hi")
    assert answer.call_id == here.gateway.decisions[-1].call_id
    canned = here.gateway.complete("fast", "hi", tags={"from": "cache"})
    assert canned.call_id == here.gateway.decisions[-1].call_id
    assert CANNED.call_id is None  # one answer may be given to many


CANNED = Response.of("as ever")
