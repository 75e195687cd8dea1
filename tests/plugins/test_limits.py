"""Limits of every kind and scope, told once and run on every face."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.faces import ask, every_face, every_stream
from support.gateways import PRICE, Scene, deployment, scene
from support.values import a_call, an_attempt

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    Context,
    Message,
    ProviderError,
    Request,
    RequestDenied,
    hookimpl,
)
from llmgate_plugins.plugins import (
    Budget,
    ConcurrencyLimit,
    Instead,
    Limits,
    Policies,
    RequestLimit,
    TokenLimit,
)
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.testing import Hang, Stream
from llmgate_plugins.types import Price
from llmgate_plugins.windows import Calendar, Fixed, Rolling

DAY = Calendar("day")
MINUTE = Fixed(60.0)
ADA = Context(user="ada", team="search", tenant="acme")
BOB = Context(user="bob", team="search", tenant="acme")
QUESTION = Request(
    model="fast", messages=(Message(role="user", content="hello there"),), params={"max_tokens": 20}
)
WORST = worst_cost(deployment("a"), QUESTION, assume_output=20)
DEAR = Price(input=50_000_000, output=100_000_000)
"""Fifty times as dear as the others."""


def down(status: int = 503) -> ProviderError:
    return ProviderError(f"status {status}", status=status)


def stands(s: Scene, key: str) -> tuple[int, int]:
    """(spent, held) of the one count whose key begins so."""
    (row,) = [row for row in s.gateway.limits if row.key.startswith(key)]
    return row.spent, row.held


class Look:
    """Notes how limits stand while an attempt is under way."""

    def __init__(self) -> None:
        self.gateway: Any = None
        self.seen: list[dict[str, tuple[int, int]]] = []

    @hookimpl
    def end_attempt(self) -> None:
        self.seen.append({row.kind: (row.spent, row.held) for row in self.gateway.limits})


@every_face
def test_all_of_it_is_held_while_an_attempt_is_under_way_and_settled_after(face: str) -> None:
    look = Look()
    limits = Limits(
        [
            Budget("team", 10 * WORST, DAY),
            RequestLimit("user", 5, MINUTE),
            TokenLimit("user", 1_000, DAY),
            ConcurrencyLimit("tenant", 3),
        ]
    )
    s = scene({"a": ["hello to you"]}, look, limits)
    look.gateway = s.gateway
    assert ask(face, s.gateway, QUESTION, context=ADA).text == "hello to you"
    tokens = worst_cost(
        deployment("a", price=Price(input=1_000_000, output=1_000_000)), QUESTION, assume_output=1
    )
    assert look.seen == [
        {"budget": (0, WORST), "requests": (0, 1), "tokens": (0, tokens), "concurrency": (0, 1)}
    ]
    (row,) = s.ledger.attempts()
    spent = row["cost_nano_usd"]
    used = sum(value for name, value in row.items() if name.endswith("_tokens") and name != "reserve_tokens")
    assert {one.kind: (one.spent, one.held) for one in s.gateway.limits} == {
        "budget": (spent, 0),
        "requests": (1, 0),
        "tokens": (used, 0),
        "concurrency": (0, 0),
    }
    assert (row["reserve_nano_usd"], row["reserve_tokens"]) == (WORST, tokens)
    assert row["expires"] is not None


@every_face
def test_a_denial_says_which_limit_how_much_when_and_what_to_do(face: str) -> None:
    s = scene({"a": ["fine"]}, Limits([RequestLimit("user", 2, MINUTE)]))
    for _ in range(2):
        assert ask(face, s.gateway, QUESTION, context=ADA).error is None
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert isinstance(told.error, RequestDenied)
    assert (told.error.code, told.error.plugin, told.record.status) == ("limit", "Limits", "denied")
    assert told.error.retry_at == MINUTE.bounds(s.clock.time())[1]
    text = str(told.error)
    assert text.startswith(
        "the limit of 2 requests per minute of user 'ada' is used up: nothing is left; it resets"
    )
    assert text.endswith("You can try again then, or have the limit raised")
    assert len(s.sent) == 2
    assert s.books_balance()
    assert ask(face, s.gateway, QUESTION, context=BOB).error is None
    s.clock.advance(60)
    assert ask(face, s.gateway, QUESTION, context=ADA).error is None


@every_face
def test_a_limit_of_who_calls_counts_calls_and_one_of_what_is_sent_counts_attempts(face: str) -> None:
    limits = Limits(
        [
            RequestLimit("user", 100, MINUTE),
            RequestLimit("alias", 100, MINUTE),
            RequestLimit("provider", 100, MINUTE),
            RequestLimit(["deployment", "user"], 100, MINUTE),
        ]
    )
    s = scene({"a": [down(), down()], "b": ["fine"]}, limits)
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert told.text == "fine"
    sent = len(told.tried)
    assert sent >= 2
    assert stands(s, "requests:user") == (1, 0)
    assert stands(s, "requests:alias") == (1, 0)
    assert stands(s, "requests:provider") == (sent, 0)
    each = {row.scope["deployment"]: row.spent for row in s.gateway.limits if "deployment" in row.scope}
    assert each == {name: told.tried.count(name) for name in ("a", "b")}


@every_face
def test_a_deployment_that_is_used_up_is_left_for_another(face: str) -> None:
    limits = Limits([Budget("deployment=a", WORST, DAY), RequestLimit("model=model-b", 1, MINUTE)])
    s = scene({"a": ["from a"], "b": ["from b"]}, limits)
    texts = [ask(face, s.gateway, QUESTION).text for _ in range(2)]
    assert texts == ["from a", "from b"]
    told = ask(face, s.gateway, QUESTION)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.reasons == {"a": "budget", "b": "limit"}
    assert told.error.retry_at == MINUTE.bounds(s.clock.time())[1]


@every_face
def test_where_a_dear_deployment_no_longer_fits_a_cheaper_one_is_tried(face: str) -> None:
    places = [deployment("dear", price=DEAR), deployment("cheap")]
    s = scene(
        {"dear": ["x"], "cheap": ["fine"]}, Limits([Budget("team", 3 * WORST, DAY)]), deployments=places
    )
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert (told.text, told.statuses) == ("fine", ["skipped", "success"])
    assert [outcome.skipped for _, outcome in told.record.attempts] == ["budget", None]


@every_face
def test_a_failover_is_priced_anew_and_not_sent_if_it_does_not_fit(face: str) -> None:
    places = [deployment("a"), deployment("dear", price=DEAR)]
    s = scene(
        {"a": [down()], "dear": ["never"]}, Limits([Budget("team", 3 * WORST, DAY)]), deployments=places
    )
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert isinstance(told.error, ProviderError)
    assert "dear" not in s.sent
    assert stands(s, "budget") == (sum(row["cost_nano_usd"] for row in s.ledger.attempts()), 0)


def cheap_and_dear(limits: Limits, *plugins: object) -> Scene:
    places = [deployment("dear", price=DEAR), deployment("cheap"), deployment("mini", alias="small")]
    return scene(
        {"dear": ["dear"], "cheap": ["cheap"], "mini": ["mini"]}, *plugins, limits, deployments=places
    )


@every_face
def test_a_call_that_does_not_fit_goes_on_under_another_policy(face: str) -> None:
    policies = Policies(
        {"default": {"ignore": ["cheap"]}, "thrifty": {"only": ["cheap", "mini"]}, "open": {}}
    )
    limits = Limits([Budget("team", 51 * WORST, DAY, on_exhausted=Instead(policy="thrifty"))])
    s = cheap_and_dear(limits, policies)
    free = Context(team="search", policy="open")
    assert ask(face, s.gateway, QUESTION, context=free).text == "dear"
    told = ask(face, s.gateway, QUESTION, context=free)
    assert (told.text, told.record.policy) == ("cheap", "thrifty")
    assert "goes on under policy 'thrifty'" in told.record.notes["limits"][0]["what"]
    again = ask(face, s.gateway, QUESTION, context=free)
    assert (again.text, again.tried, again.record.policy) == ("cheap", ["cheap"], "thrifty")
    # What its own policy rules out stays ruled out.
    bound = ask(face, s.gateway, QUESTION, context=Context(team="search"))
    assert isinstance(bound.error, AllDeploymentsUnavailable)


@every_face
def test_a_call_that_does_not_fit_goes_on_under_another_alias(face: str) -> None:
    s = cheap_and_dear(
        Limits([RequestLimit(["team", "alias=fast"], 1, DAY, on_exhausted=Instead(alias="small"))])
    )
    assert ask(face, s.gateway, QUESTION, context=ADA).text == "dear"
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert (told.text, [attempt.alias for attempt, _ in told.record.attempts]) == ("mini", ["fast", "small"])
    assert s.books_balance()


@every_face
def test_a_soft_limit_moves_calls_and_denies_none(face: str) -> None:
    s = cheap_and_dear(Limits([Budget("team", 1, DAY, hard=False, on_exhausted=Instead(alias="small"))]))
    answers = [ask(face, s.gateway, QUESTION, context=ADA) for _ in range(3)]
    assert [told.text for told in answers] == ["dear", "mini", "mini"]
    assert s.sent == ["dear", "mini", "mini"]


@every_face
def test_what_fits_nowhere_else_either_is_denied(face: str) -> None:
    s = cheap_and_dear(Limits([Budget("team", 1, DAY, on_exhausted=Instead(alias="small"))]))
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert isinstance(told.error, RequestDenied)
    assert (told.error.code, told.error.retry_at, s.sent) == ("budget", None, [])


@every_face
def test_a_limit_in_shadow_refuses_nothing_and_says_what_it_would_have_refused(face: str) -> None:
    s = scene({"a": ["fine"]}, Limits([RequestLimit("user", 1, MINUTE, shadow=True)]))
    first, second = (ask(face, s.gateway, QUESTION, context=ADA) for _ in range(2))
    assert (first.text, second.text, first.record.notes) == ("fine", "fine", {})
    (note,) = second.record.notes["limits"]
    assert (note["mode"], note["key"]) == ("shadow", "shadow-requests:user:60s:ada")
    assert note["what"].startswith("the limit of 1 request per minute of user 'ada' would have refused")
    assert second.record.to_dict()["notes"]["limits"] == [note]
    (row,) = s.gateway.limits
    assert (row.mode, row.spent, row.share, row.refused) == ("shadow", 2, 2.0, 1)


@every_face
def test_a_tighter_limit_may_stand_in_shadow_beside_the_one_that_holds(face: str) -> None:
    limits = Limits([RequestLimit("user", 2, MINUTE), RequestLimit("user", 1, MINUTE, shadow=True)])
    s = scene({"a": ["fine"]}, limits)
    told = [ask(face, s.gateway, QUESTION, context=ADA) for _ in range(3)]
    assert [one.error is None for one in told] == [True, True, False]
    assert [bool(one.record.notes) for one in told] == [False, True, False]


@every_face
def test_the_limit_for_one_stands_in_place_of_the_one_for_each(face: str) -> None:
    limits = Limits([RequestLimit("tenant", 1, DAY), RequestLimit("tenant=acme", 3, DAY)])
    s = scene({"a": ["fine"]}, limits)

    def passes(tenant: str | None) -> list[bool]:
        context = Context(tenant=tenant)
        return [ask(face, s.gateway, QUESTION, context=context).error is None for _ in range(4)]

    assert passes("acme") == [True, True, True, False]
    assert passes("other") == [True, False, False, False]
    assert passes(None) == [True, False, False, False]


@every_face
def test_a_tag_never_widens_what_it_is_limited_to(face: str) -> None:
    limits = Limits(
        [
            RequestLimit("team", 2, DAY),
            RequestLimit("tag:job", 1, DAY),
            RequestLimit("tag:job=vip", 100, DAY),
        ]
    )
    s = scene({"a": ["fine"]}, limits)

    def asked(job: str) -> Any:
        return ask(face, s.gateway, context=ADA, tags={"job": job}).error

    assert asked("vip") is None
    assert isinstance(asked("vip"), RequestDenied)
    assert asked("another") is None
    assert isinstance(asked("a third"), RequestDenied)


@every_face
def test_combinations_have_a_count_each(face: str) -> None:
    s = scene({"a": ["a"], "b": ["b"]}, Limits([RequestLimit(["model", "user"], 1, DAY)]))
    assert [ask(face, s.gateway, QUESTION, context=ADA).text for _ in range(2)] == ["a", "b"]
    assert isinstance(ask(face, s.gateway, QUESTION, context=ADA).error, AllDeploymentsUnavailable)
    assert ask(face, s.gateway, QUESTION, context=BOB).text == "a"


@every_face
def test_a_repeat_of_a_call_costs_nothing(face: str) -> None:
    s = scene({"a": ["fine"]}, Limits([RequestLimit("user", 1, DAY)]))
    for _ in range(3):
        assert s.gateway.complete(QUESTION, context=ADA, call_id="mine").text == "fine"
    assert stands(s, "requests") == (1, 0)
    assert isinstance(ask(face, s.gateway, QUESTION, context=ADA).error, RequestDenied)


@every_stream
def test_a_reader_who_leaves_gives_back_the_rest(face: str) -> None:
    limits = Limits(
        [Budget("team", 10 * WORST, DAY), ConcurrencyLimit("team", 1), TokenLimit("team", 900, DAY)]
    )
    s = scene({"a": [Stream("one ", "two ", "three ")]}, limits)
    told = ask(face, s.gateway, QUESTION, context=ADA, take=1)
    assert told.statuses == ["abandoned"]
    (row,) = s.ledger.attempts()
    assert stands(s, "budget") == (row["cost_nano_usd"], 0)
    assert 0 < row["cost_nano_usd"] < WORST
    assert stands(s, "concurrency") == (0, 0)
    assert stands(s, "tokens")[1] == 0
    assert ask(face, s.gateway, QUESTION, context=ADA).error is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_gives_back_the_rest(stream: bool) -> None:
    s = scene({"a": [Hang()]}, Limits([Budget("team", 10 * WORST, DAY), ConcurrencyLimit("team", 1)]))

    async def call() -> None:
        if stream:
            async for _ in s.gateway.astream(QUESTION, context=ADA):
                pass
        else:
            await s.gateway.acomplete(QUESTION, context=ADA)

    task = asyncio.create_task(call())
    while not s.ledger.attempts():
        await asyncio.sleep(0)
    assert stands(s, "concurrency") == (0, 1)
    assert isinstance(
        (await asyncio.gather(s.gateway.acomplete(QUESTION, context=ADA), return_exceptions=True))[0],
        RequestDenied,
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (stands(s, "concurrency"), stands(s, "budget")[1]) == ((0, 0), 0)
    assert stands(s, "budget")[0] == sum(row["cost_nano_usd"] for row in s.ledger.attempts())


async def test_a_call_that_was_sent_waits_for_a_slot_between_two_attempts() -> None:
    class Occupies:
        """Takes the slot while the first call is between two attempts."""

        name = "Occupies"

        def __init__(self) -> None:
            self.tasks: list[asyncio.Task[Any]] = []

        @hookimpl
        async def end_attempt(self, call: Any) -> None:
            if call.request.model == "fast":
                self.tasks.append(asyncio.create_task(s.gateway.acomplete("slow", "hi", context=ADA)))

    occupies = Occupies()
    places = [deployment("a"), deployment("b"), deployment("slow", alias="slow")]
    s = Scene(
        {"a": [down()], "b": ["fine"], "slow": [Hang()]},
        [occupies, Limits([ConcurrencyLimit("team", 1)])],
        deployments=places,
    )
    answer = await s.gateway.acomplete(QUESTION, context=ADA)
    assert answer.text == "fine"
    for task in occupies.tasks:
        task.cancel()
    results = await asyncio.gather(*occupies.tasks, return_exceptions=True)
    assert all(isinstance(one, RequestDenied | asyncio.CancelledError) for one in results)
    assert stands(s, "concurrency") == (0, 0)


def test_a_hedge_is_the_same_call() -> None:
    s = scene({"a": ["fine"]}, Limits([RequestLimit("user", 5, DAY), ConcurrencyLimit("user", 1)]))
    limits: Any = dict(s.gateway.plugins)["Limits"]
    call = a_call(QUESTION, ADA)
    first, hedge = an_attempt(deployment("a")), an_attempt(deployment("b"), 2, reason="hedge")
    services = s.gateway.services
    for attempt in (first, hedge):
        assert limits.begin_attempt(attempt, QUESTION, ADA, call, services) is None
    assert (stands(s, "requests"), stands(s, "concurrency")) == ((0, 1), (0, 1))


@every_face
def test_a_rolling_window_lets_go_of_the_old_bit_by_bit(face: str) -> None:
    s = scene({"a": ["fine"]}, Limits([RequestLimit("user", 2, Rolling(3_600.0))]))

    def passes() -> bool:
        return ask(face, s.gateway, QUESTION, context=ADA).error is None

    assert passes()
    s.clock.advance(1_800)
    assert (passes(), passes()) == (True, False)
    s.clock.advance(1_900)
    assert (passes(), passes()) == (True, False)


@every_face
def test_a_day_is_a_day_of_the_zone(face: str) -> None:
    berlin = Calendar("day", "Europe/Berlin")
    s = scene({"a": ["fine"]}, Limits([RequestLimit("user", 1, berlin)]))
    assert ask(face, s.gateway, QUESTION, context=ADA).error is None
    told = ask(face, s.gateway, QUESTION, context=ADA)
    assert isinstance(told.error, RequestDenied)
    assert "00:00 CE" in str(told.error)
    assert told.error.retry_at == berlin.bounds(s.clock.time())[1]
    s.clock.advance(berlin.bounds(s.clock.time())[1] - s.clock.time())
    assert ask(face, s.gateway, QUESTION, context=ADA).error is None


def test_keys_are_never_the_same_for_others() -> None:
    limit = RequestLimit(["team", "user"], 1, MINUTE)
    keys = {
        limit.key(*values) for values in [("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), (None, "c"), ("", "c")]
    }
    assert len(keys) == 5
    long = RequestLimit("user", 1, MINUTE)
    assert len(long.key("x" * 10_000)) < 300
    assert long.key("x" * 10_000) != long.key("x" * 9_999 + "y")


def test_what_nobody_priced_costs_nothing_and_is_let_through() -> None:
    unpriced = deployment("a", price=PRICE)
    object.__setattr__(unpriced, "price", None)
    s = scene({"a": ["fine"]}, Limits([Budget("global", 1, DAY)]), deployments=[unpriced])
    assert s.gateway.complete(QUESTION).text == "fine"


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: RequestLimit("team", 1, None), "needs a window"),
        (lambda: ConcurrencyLimit("team", 1, 60.0), "has no window"),
        (lambda: RequestLimit([], 1, 60.0), "scope"),
        (lambda: RequestLimit(["team", "team=a"], 1, 60.0), "scope"),
        (lambda: RequestLimit(["team", "global"], 1, 60.0), "scope"),
        (lambda: RequestLimit("tag:", 1, 60.0), "scope"),
        (lambda: RequestLimit("team=", 1, 60.0), "scope"),
        (lambda: RequestLimit("model", 1, 60.0, on_exhausted="cheapest"), "who calls"),
        (lambda: Instead(), "one of them"),
        (lambda: Instead(policy="a", alias="b"), "one of them"),
        (
            lambda: Limits([RequestLimit("team", 1, 60.0), RequestLimit("team", 2, 60.0)]),
            "another limit of requests",
        ),
        (lambda: Limits([RequestLimit("team=a", 1, 60.0)] * 2), "team 'a'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(made: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        made()
