"""A plugin's word on what a failure is, before the tables'."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from support.faces import ask, every_face, every_stream
from support.gateways import deployment, scene
from support.plugins import raising

from llmgate_plugins import (
    Attempt,
    ErrorClass,
    Failure,
    GiveUp,
    NextDeployment,
    Outcome,
    ProviderError,
    Request,
    Scope,
    hookimpl,
)
from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Recovery
from llmgate_plugins.testing import Stream

REGION = Failure(error_class=ErrorClass.REGION, scope=Scope.MODEL, code="house_rule", retry_after=3.0)
"""What no table would make of a 500."""


def broken() -> ProviderError:
    return ProviderError("boom", status=500)


class Judge:
    """Says what a failure is."""

    def __init__(self, opinion: Callable[[BaseException], Failure | None], name: str = "Judge") -> None:
        self.opinion, self.name = opinion, name
        self.asked: list[tuple[str, str]] = []

    @hookimpl
    def classify_error(self, error: BaseException, attempt: Attempt) -> Failure | None:
        self.asked.append((attempt.deployment.id, str(error)))
        return self.opinion(error)


class AsyncJudge:
    name = "AsyncJudge"

    @hookimpl
    async def classify_error(self) -> Failure | None:
        return REGION


class Ear:
    """Hears of every failure, wherever it is told."""

    name = "Ear"

    def __init__(self) -> None:
        self.ended: list[Failure | None] = []
        self.recovered: list[Failure | None] = []

    @hookimpl
    def end_attempt(self, outcome: Outcome) -> None:
        self.ended.append(outcome.failure)

    @hookimpl
    def recover_attempt(self, outcome: Outcome) -> Recovery:
        self.recovered.append(outcome.failure)
        return NextDeployment()


@every_face
def test_a_plugins_opinion_wins_and_is_told_everywhere(face: str) -> None:
    judge, ear = Judge(lambda _: REGION), Ear()
    s = scene({"a": [broken()], "b": ["ok"]}, judge, ear)
    told = ask(face, s.gateway)
    assert told.text == "ok"
    assert judge.asked == [("a", "boom")]
    assert (ear.ended, ear.recovered) == ([REGION, None], [REGION])
    assert told.record.attempts[0][1].failure is REGION
    shown = told.record.to_dict()["attempts"][0]
    assert (shown["error_class"], shown["scope"], shown["code"]) == ("region", "model", "house_rule")
    rows = sorted(s.ledger.attempts(), key=lambda row: row["number"])
    assert [row["error_class"] for row in rows] == ["region", None]


@every_face
def test_what_it_says_decides_what_is_done(face: str) -> None:
    never = Failure(error_class=ErrorClass.INVALID_REQUEST, scope=Scope.REQUEST)
    s = scene({"a": [broken()], "b": ["ok"]}, Judge(lambda _: never))
    told = ask(face, s.gateway)
    assert isinstance(told.error, ProviderError)
    assert s.sent == ["a"]


@every_face
def test_without_an_opinion_the_tables_decide(face: str) -> None:
    ear = Ear()
    s = scene({"a": [broken()], "b": ["ok"]}, Judge(lambda _: None), ear)
    ask(face, s.gateway)
    assert ear.ended[0] == Failure(error_class=ErrorClass.SERVER, scope=Scope.DEPLOYMENT, status=500)


@every_face
def test_the_first_opinion_is_the_last_word(face: str) -> None:
    later = Judge(lambda _: pytest.fail("asked"), "later")
    s = scene({"a": [broken()]}, Judge(lambda _: None, "none"), Judge(lambda _: REGION, "first"), later)
    assert ask(face, s.gateway).record.attempts[0][1].failure is REGION
    assert later.asked == []


@every_face
def test_one_that_raises_is_reported_and_the_tables_decide(face: str) -> None:
    s = scene({"a": [broken()], "b": ["ok"]}, raising("classify_error", ZeroDivisionError("oops"), "judge"))
    told = ask(face, s.gateway)
    assert told.text == "ok"
    failure = told.record.attempts[0][1].failure
    assert failure is not None
    assert failure.error_class is ErrorClass.SERVER
    (problem,) = told.record.problems
    assert problem[:2] == ("judge", "classify_error")
    assert "oops" in problem[2]


@every_face
def test_an_answer_of_the_wrong_type_is_reported_too(face: str) -> None:
    opinion: Any = lambda _: "region"  # noqa: E731
    s = scene({"a": [broken()], "b": ["ok"]}, Judge(opinion))
    told = ask(face, s.gateway)
    assert told.text == "ok"
    assert told.record.problems[0][:2] == ("Judge", "classify_error")
    assert "str" in told.record.problems[0][2]


@every_face
def test_one_that_is_async_is_heard_in_every_call(face: str) -> None:
    s = scene({"a": [broken()], "b": ["ok"]}, AsyncJudge())
    assert ask(face, s.gateway).record.attempts[0][1].failure == REGION


@every_face
def test_one_that_answers_later_is_waited_for(face: str) -> None:
    def later(_: BaseException) -> Any:
        answer: Future[Failure] = Future()
        answer.set_result(REGION)
        return answer

    s = scene({"a": [broken()], "b": ["ok"]}, Judge(later))
    assert ask(face, s.gateway).record.attempts[0][1].failure is REGION


@every_stream
def test_a_stream_that_breaks_in_the_middle_is_judged_too(face: str) -> None:
    judge = Judge(lambda _: REGION)
    s = scene({"a": [Stream("one ", "two", then=broken())]}, judge)
    told = ask(face, s.gateway)
    assert told.text == "one two"
    assert told.record.attempts[0][1].failure is REGION
    assert judge.asked == [("a", "boom")]


@every_face
def test_an_attempt_that_succeeds_is_no_question(face: str) -> None:
    judge = Judge(lambda _: pytest.fail("asked"))
    s = scene({"a": ["ok"]}, judge)
    assert ask(face, s.gateway).text == "ok"
    assert judge.asked == []


@every_face
def test_every_failed_attempt_is_asked_about_once(face: str) -> None:
    judge = Judge(lambda _: None)
    s = scene({"a": [broken()], "b": [broken()], "c": ["ok"]}, judge)
    assert ask(face, s.gateway).text == "ok"
    assert [id for id, _ in judge.asked] == ["a", "b"]


@every_face
def test_it_sees_who_asks_for_what(face: str) -> None:
    seen: list[tuple[Any, ...]] = []

    class Curious:
        name = "Curious"

        @hookimpl
        def classify_error(
            self, error: BaseException, attempt: Attempt, request: Request, context: Context, call: Call
        ) -> None:
            seen.append((type(error), attempt.number, request.model, context.team, call.record.call_id))

    s = scene({"a": [broken()]}, Curious(), defaults=False)
    told = ask(face, s.gateway, context=Context(team="search"))
    assert seen == [(ProviderError, 1, "fast", "search", told.record.call_id)]


@every_face
def test_it_does_not_see_a_key(face: str) -> None:
    canary = "sk-canary-0123456789abcdef0123456789"
    seen: list[str] = []

    def look(error: BaseException) -> None:
        seen.append(repr(error) + str(error.__dict__))

    error = broken()
    error.headers = {"authorization": f"Bearer {canary}"}  # type: ignore[assignment]
    s = scene({"a": [error]}, Judge(look), deployments=[deployment("a")])
    ask(face, s.gateway)
    assert seen
    assert canary not in seen[0]


@every_face
def test_a_failover_of_ones_own_acts_on_a_class_of_ones_own(face: str) -> None:
    class House:
        name = "House"

        @hookimpl
        def classify_error(self, error: BaseException) -> Failure | None:
            return REGION if "boom" in str(error) else None

        @hookimpl
        def recover_attempt(self, outcome: Outcome) -> Recovery | None:
            failure = outcome.failure
            return GiveUp("house_rule") if failure is not None and failure.code == "house_rule" else None

    s = scene({"a": [broken()], "b": ["ok"]}, House())
    told = ask(face, s.gateway)
    assert isinstance(told.error, ProviderError)
    assert told.record.reason == "house_rule"
    assert s.sent == ["a"]
