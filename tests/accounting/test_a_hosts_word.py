"""What is not counted by text: a host says what a call will use, and what it cost."""

from __future__ import annotations

from typing import Any

import pytest
from support.faces import ask, every_whole
from support.values import a_deployment, a_request

from llmgate_plugins import Context, Gateway, RequestDenied
from llmgate_plugins.plugins import Budget, Limits, Policies, Policy, TokenLimit
from llmgate_plugins.testing import ScriptedProvider, VirtualClock, VirtualSleeper
from llmgate_plugins.types import NANO, Deployment, Price, Quote, Request, Response, Usage

CENT = NANO // 100
PICTURE = Usage(charged=4 * CENT, charged_by="host")
TOKENS = Usage(input=10, image_output=1_000, charged=4 * CENT, charged_by="host")
OF_PICTURES = Price(input=5_000_000_000, image_output=40_000_000_000, source="litellm")
"""Of text that is written it names none."""
OF_TEXT = Price(input=5_000_000_000, source="litellm")
OURS = Price(input=1_000_000_000, output=2_000_000_000, source="config")


def quoting(probable: int, most: int) -> Request:
    def quote(_deployment: Deployment, _request: Request) -> Quote:
        told = [Usage(charged=one * CENT, charged_by="host") for one in (probable, most)]
        return Quote(*told)

    return a_request("a cat", operation="image_generation", quote=quote)


def drawing(step: Any, *plugins: object, price: Price | None = None) -> Gateway:
    clock = VirtualClock()
    return Gateway(
        [a_deployment("a", price=price)],
        transport=ScriptedProvider({"a": [step]}, default=None, usage=None),
        plugins=plugins,
        clock=clock,
        sleeper=VirtualSleeper(clock),
    )


def row_of(gateway: Gateway) -> dict[str, Any]:
    return gateway.services.ledger.attempts()[0]


@every_whole
@pytest.mark.parametrize(
    ("usage", "price", "cost", "source"),
    [
        (PICTURE, None, 4 * CENT, "host"),
        (PICTURE, OF_PICTURES, 4 * CENT, "host"),
        (PICTURE, OURS, 4 * CENT, "host"),
        (TOKENS, OF_PICTURES, 10 * 5_000 + 1_000 * 40_000, "litellm"),
        (TOKENS, OF_TEXT, 4 * CENT, "host"),
        (TOKENS, OURS, 10 * 1_000 + 1_000 * 2_000, "config"),
    ],
    ids=["no price", "no tokens", "ours, no tokens", "tokens", "a bucket without a price", "ours"],
)
def test_a_hosts_word_counts_where_tokens_do_not_tell(
    face: str, usage: Usage, price: Price | None, cost: int, source: str
) -> None:
    gateway = drawing(Response.of("", usage=usage), price=price)
    ask(face, gateway, a_request("a cat", operation="image_generation"))
    row = row_of(gateway)
    assert (row["cost_nano_usd"], row["price_source"], row["estimated"]) == (cost, source, False)


@every_whole
def test_what_a_host_expects_is_in_the_intent_and_booked_where_nobody_says_what_it_cost(face: str) -> None:
    gateway = drawing(Response.of("", usage=None))
    ask(face, gateway, quoting(probable=4, most=8))
    row = row_of(gateway)
    assert (row["estimate_nano_usd"], row["cost_nano_usd"]) == (4 * CENT, 4 * CENT)
    assert (row["price_source"], row["estimated"]) == ("host", True)


@every_whole
def test_a_picture_that_never_came_is_booked_as_expected(face: str) -> None:
    gateway = drawing(TimeoutError("silent"))
    ask(face, gateway, quoting(probable=4, most=8))
    row = row_of(gateway)
    assert (row["status"], row["cost_nano_usd"], row["estimated"]) == ("error", 4 * CENT, True)


@every_whole
def test_a_hard_budget_holds_what_a_host_says_that_it_costs_at_most(face: str) -> None:
    team = Context(team="art")
    budget = Budget("team", 7 * CENT, 86_400.0)
    gateway = drawing(Response.of("", usage=PICTURE), Limits([budget]))
    told = ask(face, gateway, quoting(probable=4, most=8), context=team)
    assert isinstance(told.error, RequestDenied)
    told = ask(face, gateway, quoting(probable=4, most=7), context=team)
    assert told.error is None
    assert row_of(gateway)["reserve_nano_usd"] == 7 * CENT
    state = gateway.services.state
    assert state.spent(budget.key("art"), window=budget.window) == (4 * CENT, 0)


@every_whole
def test_a_limit_of_tokens_goes_by_the_tokens_that_a_host_expects(face: str) -> None:
    def quote(_deployment: Deployment, _request: Request) -> Quote:
        return Quote(Usage(image_output=1_000), Usage(image_output=6_000))

    gateway = drawing(Response.of("", usage=TOKENS), Limits([TokenLimit("team", 5_000, 60.0)]))
    request = a_request("a cat", operation="image_generation", quote=quote)
    assert isinstance(ask(face, gateway, request, context=Context(team="art")).error, RequestDenied)


@every_whole
def test_of_an_answer_that_is_no_text_no_output_is_expected(face: str) -> None:
    gateway = drawing(TimeoutError("silent"), price=OURS)
    ask(face, gateway, a_request("x" * 40, operation="speech"))
    row = row_of(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 0, True)


@every_whole
def test_the_most_that_a_call_may_cost_is_held_against_what_its_host_expects(face: str) -> None:
    dear, cheap = (a_deployment(name, price=OURS) for name in ("dear", "cheap"))

    def quote(one: Deployment, _request: Request) -> Quote:
        told = Usage(charged={"dear": 6, "cheap": 2}[one.id] * CENT, charged_by="host")
        return Quote(told, told)

    gateway = Gateway(
        [dear, cheap],
        transport=ScriptedProvider(default=None, usage=None),
        plugins=[Policies({"default": Policy(max_price={"call": 0.05})})],
    )
    request = a_request("a cat", operation="image_generation", quote=quote)
    ask(face, gateway, request)
    (record,) = gateway.decisions
    assert record.served_by == "cheap"
    assert record.selections[0].dropped["dear"] == ("price", "Policies")
