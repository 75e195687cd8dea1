"""What is booked where a report is missing, too small or absurd, and what each attempt of a call costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.faces import STREAMS, WHOLE, ask, every_face, every_stream, every_whole
from support.values import DEAR, a_deployment

from llmgate_plugins import Gateway
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.testing import Fault, ScriptedProvider, Stream, VirtualClock, VirtualSleeper
from llmgate_plugins.testing.steps import Hang
from llmgate_plugins.types import Chunk, Message, Price, PriceTier, Request, Response, ToolCall, Usage
from llmgate_plugins.usage import USUAL_OUTPUT

CHEAP = Price(input=1_000_000_000, output=2_000_000_000)
WORDS = "x" * 400
"""A hundred tokens, by the estimate."""


def timeless() -> dict[str, Any]:
    """Waits between attempts take no time."""
    clock = VirtualClock()
    return {"clock": clock, "sleeper": VirtualSleeper(clock)}


def gate(*steps: Any, usage: Usage | None = None, **facts: Any) -> Gateway:
    facts = {"price": DEAR, "context_window": 10_000, **facts}
    provider = ScriptedProvider({"a": steps}, default=None, usage=usage)
    return Gateway([a_deployment("a", **facts)], transport=provider, **timeless())


def booked(gateway: Gateway) -> dict[str, Any]:
    return gateway.services.ledger.attempts()[-1]


@every_face
def test_an_answer_without_usage_is_estimated_and_not_free(face: str) -> None:
    gateway = gate(WORDS)
    ask(face, gateway, prompt="y" * 40)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 100, True)
    assert row["cost_nano_usd"] == 10 * 3_000 + 100 * 15_000


@every_face
@pytest.mark.parametrize("step", [WORDS, TimeoutError("silent")], ids=["no usage", "no answer"])
def test_where_nobody_says_how_it_was_served_it_was_as_asked_for(face: str, step: Any) -> None:
    tiers = (PriceTier(variant="priority", price=Price(input=6_000_000_000, output=30_000_000_000)),)
    price = Price(input=3_000_000_000, output=15_000_000_000, tiers=tiers)
    gateway = gate(step, price=price, params={"service_tier": "priority", "max_tokens": 100})
    ask(face, gateway, prompt="y" * 40)
    row = gateway.services.ledger.attempts()[0]
    tokens = row["input_tokens"], row["output_tokens"]
    assert (row["service_tier"], row["estimated"], row["input_tokens"]) == ("priority", True, 10)
    assert row["cost_nano_usd"] == tokens[0] * 6_000 + tokens[1] * 30_000
    assert row["estimate_nano_usd"] == 10 * 6_000 + 100 * 30_000


@every_face
def test_a_report_that_is_plausible_is_booked_as_it_is(face: str) -> None:
    gateway = gate(WORDS, usage=Usage(input=12, output=97))
    ask(face, gateway)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (12, 97, False)


@every_face
def test_no_output_for_text_that_was_delivered_is_not_believed(face: str) -> None:
    gateway = gate(WORDS, usage=Usage(input=12))
    ask(face, gateway)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (12, 100, True)


@every_face
def test_no_input_for_output_is_not_believed(face: str) -> None:
    gateway = gate(WORDS, usage=Usage(output=97))
    ask(face, gateway, prompt="y" * 40)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 97, True)


@every_face
@pytest.mark.parametrize("model", [5, ["m"], {"name": "m"}, ""])
def test_a_model_that_is_no_name_is_none(face: str, model: Any) -> None:
    gateway = gate(Stream(Chunk(text=WORDS, model=model)), price=replace(DEAR, source="litellm"))
    assert ask(face, gateway, prompt="y" * 40).text == WORDS
    assert booked(gateway)["cost_nano_usd"] == 10 * 3_000 + 100 * 15_000


@every_face
def test_what_a_hosts_own_cache_answered_stays_free(face: str) -> None:
    gateway = gate(Response.of(WORDS, usage=Usage()))
    ask(face, gateway)
    row = booked(gateway)
    assert (row["cost_nano_usd"], row["estimated"]) == (0, False)


@pytest.mark.parametrize("face", STREAMS)
def test_a_whole_stream_that_reports_only_its_last_piece_is_not_believed(face: str) -> None:
    """Some providers tell each piece's own token: input 713, output 1 (langchain-ai/langchain#30429)."""
    told = Usage(input=713, output=1)
    gateway = gate(Stream(*(Chunk(text="word " * 40, usage=told) for _ in range(4))), usage=told)
    ask(face, gateway)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (713, 200, True)


@pytest.mark.parametrize("face", STREAMS)
def test_a_stream_that_breaks_is_booked_at_what_it_delivered_and_not_at_what_it_began_with(face: str) -> None:
    """Anthropic's first event tells one output token (maximhq/bifrost#3709)."""
    first = Chunk(text="y" * 2_000, usage=Usage(input=35, output=1))
    gateway = gate(Stream(first, "y" * 2_000, then=Fault("reset")))
    assert ask(face, gateway).error is not None
    row = booked(gateway)
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("error", 35, 1_000)
    assert row["estimated"]


@pytest.mark.parametrize("face", STREAMS)
def test_usage_that_came_with_the_end_counts_though_the_line_breaks_after_it(face: str) -> None:
    last = Chunk(finish_reason="stop", usage=Usage(input=35, output=90))
    gateway = gate(Stream(WORDS, last, then=Fault("reset")))
    assert ask(face, gateway).error is not None
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (35, 90, False)


def leave_by_break(gateway: Gateway) -> None:
    for chunk in gateway.stream("fast", "y" * 40):
        if chunk.text:
            break


def leave_by_cancelling(gateway: Gateway) -> None:
    async def read() -> None:
        async for _ in gateway.astream("fast", "y" * 40):
            pass

    async def run() -> None:
        task = asyncio.ensure_future(read())
        while not gateway.services.ledger.attempts():
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_cancelling])
def test_who_leaves_a_stream_pays_for_what_was_delivered(leave: Callable[[Gateway], None]) -> None:
    """The bypass of theopenco/llmgateway#3331: read, and hang up before the usage comes."""
    gateway = gate(Stream(WORDS, Hang()))
    leave(gateway)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 100, True)
    assert row["cost_nano_usd"] == 10 * 3_000 + 100 * 15_000


CALL = ToolCall(id="1", name="save", arguments=WORDS[4:])


@every_face
@pytest.mark.parametrize("usage", [None, Usage(input=10)], ids=["nothing told", "no output told"])
def test_a_tool_call_is_booked_like_text_where_nobody_says_what_it_took(
    face: str, usage: Usage | None
) -> None:
    gateway = gate(Response.of("", usage=usage).replace(source=Message(role="assistant", tool_calls=(CALL,))))
    ask(face, gateway, prompt="y" * 40)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 100, True)


@every_face
def test_of_several_answers_all_are_booked_where_nobody_says_what_they_took(face: str) -> None:
    gateway = gate(WORDS, params={"n": 3})
    ask(face, gateway, prompt="y" * 40)
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 300, True)


@every_stream
@pytest.mark.parametrize(
    "said", [{"reasoning": WORDS}, {"tool_calls": (CALL,)}], ids=["thoughts", "tool call"]
)
@pytest.mark.parametrize("began_with", [None, Usage(input=10, output=1)], ids=["nothing told", "one told"])
def test_a_broken_stream_is_booked_at_its_thoughts_and_tool_calls_too(
    face: str, said: Any, began_with: Usage | None
) -> None:
    gateway = gate(Stream(Chunk(**said, usage=began_with), then=Fault("reset")))
    assert ask(face, gateway, prompt="y" * 40).error is not None
    row = booked(gateway)
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 100, True)


def test_who_leaves_while_the_model_thinks_pays_for_its_thoughts() -> None:
    gateway = gate(Stream(Chunk(reasoning=WORDS), Hang()))
    for _ in gateway.stream("fast", "y" * 40):
        break
    row = booked(gateway)
    assert (row["status"], row["output_tokens"], row["estimated"]) == ("abandoned", 100, True)


@pytest.mark.parametrize("face", WHOLE)
@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (Usage(input=9_000_000, output=50), {"input": 10_000, "output": 50}),
        (Usage(input=50, output=9_000_000), {"input": 50, "output": 10_000}),
        (
            Usage(cached_input=9_000, input=9_000, output=50),
            {"input": 9_000, "cached_input": 1_000, "output": 50},
        ),
        (Usage(input=50, output=50, reasoning=99_999), {"input": 50, "output": 50, "reasoning": 9_950}),
    ],
)
def test_more_than_the_window_holds_is_cut_to_it(
    face: str, reported: Usage, expected: dict[str, int]
) -> None:
    gateway = gate(WORDS, usage=reported)
    ask(face, gateway)
    outcome = gateway.decisions[-1].attempts[0][1]
    assert outcome.usage == Usage(**expected, estimated=True)
    assert outcome.cost == DEAR.cost(outcome.usage)


def test_what_the_request_could_need_is_more_than_a_window_that_is_told_too_small() -> None:
    """Many answers, each as long as it may be, hold together more than one window."""
    for answers, believed in ((8, 40_000), (2, 10_000)):
        gateway = gate(WORDS, usage=Usage(input=50, output=40_000), max_output=5_000)
        gateway.complete("fast", "hello", n=answers)
        assert booked(gateway)["output_tokens"] == believed


@every_face
def test_each_attempt_is_charged_to_its_own_deployment_at_its_own_price(face: str) -> None:
    provider = ScriptedProvider(
        {"a": [Stream(then=Fault("timeout"))], "b": [WORDS]}, default=None, usage=Usage(input=100, output=100)
    )
    dear, cheap = a_deployment("a", price=DEAR), a_deployment("b", price=CHEAP)
    gateway = Gateway([dear, cheap], transport=provider, **timeless())
    ask(face, gateway, prompt="y" * 40)
    record = gateway.decisions[-1]
    *failed, served = gateway.services.ledger.attempts()
    lost = 10 * 3_000 + (0 if face in STREAMS else USUAL_OUTPUT * 15_000)
    assert served["cost_nano_usd"] == 100 * 1_000 + 100 * 2_000
    assert all(row["deployment"] == "a" and row["cost_nano_usd"] in (0, lost) for row in failed)
    assert record.cost == sum(row["cost_nano_usd"] for row in (*failed, served))
    assert record.cost_per_1k == -(-record.cost * 1_000 // record.usage.total)


@every_face
def test_a_refusal_that_was_never_billed_costs_nothing_and_is_not_counted_twice(face: str) -> None:
    provider = ScriptedProvider(
        {"a": [Fault("rate_limit")], "b": [WORDS]}, default=None, usage=Usage(input=100, output=100)
    )
    gateway = Gateway([a_deployment("a", price=DEAR), a_deployment("b", price=CHEAP)], transport=provider)
    ask(face, gateway)
    rows = gateway.services.ledger.attempts()
    assert [row["cost_nano_usd"] for row in rows] == [0, 300_000]
    assert gateway.services.ledger.calls()[-1]["cost_nano_usd"] == 300_000


def test_the_record_tells_what_a_call_and_each_attempt_cost_per_thousand_tokens() -> None:
    gateway = gate(WORDS, usage=Usage(input=600, output=400))
    gateway.complete("fast", "hello")
    told = gateway.decisions[-1].to_dict()
    per_1k = 600 * 3_000 + 400 * 15_000
    assert told["cost_per_1k_nano_usd"] == per_1k
    assert told["attempts"][0]["cost_per_1k_nano_usd"] == per_1k
    assert told["attempts"][0]["price_source"] == "config"


def test_nothing_used_has_no_cost_per_thousand_tokens() -> None:
    gateway = gate(Fault("authentication"))
    with pytest.raises(Exception, match="key"):
        gateway.complete("fast", "hello")
    assert gateway.decisions[-1].cost_per_1k is None


CUT = [Fault("timeout"), Fault("reset"), Fault("connection")]


@every_whole
@pytest.mark.parametrize("fault", CUT, ids=lambda one: one.kind)
@pytest.mark.parametrize(
    ("params", "written"),
    [({}, USUAL_OUTPUT), ({"max_tokens": 700}, 700), ({"max_tokens": 50, "n": 3}, 150)],
    ids=["unbounded", "bounded", "several"],
)
def test_a_whole_answer_that_never_came_is_booked_as_expected_and_counts_against_its_budget(
    face: str, fault: Fault, params: dict[str, int], written: int
) -> None:
    limits = Limits([Budget("global", 10**15, 1e9)])
    provider = ScriptedProvider({"a": [Stream(then=fault)]}, default=None)
    gateway = Gateway([a_deployment("a", price=DEAR)], transport=provider, plugins=[limits], **timeless())
    asked = Request(model="fast", messages=(Message(role="user", content="y" * 40),), params=params)
    assert ask(face, gateway, asked).error is not None
    rows = gateway.services.ledger.attempts()
    for row in rows:
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, written, True)
        assert row["cost_nano_usd"] == 10 * 3_000 + written * 15_000
        assert row["cost_nano_usd"] <= row["reserve_nano_usd"], "what was held is enough for it"
    (standing,) = limits.report()
    assert (standing.spent, standing.held) == (sum(row["cost_nano_usd"] for row in rows), 0)


@every_stream
def test_a_stream_that_brought_nothing_is_booked_at_its_input(face: str) -> None:
    gateway = Gateway(
        [a_deployment("a", price=DEAR)],
        transport=ScriptedProvider({"a": [Stream(then=Fault("reset"))]}, default=None),
        **timeless(),
    )
    assert ask(face, gateway, prompt="y" * 40).error is not None
    for row in gateway.services.ledger.attempts():
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (10, 0, True)


@every_whole
def test_a_request_that_reached_nobody_costs_nothing(face: str) -> None:
    gateway = Gateway(
        [a_deployment("a", price=DEAR)],
        transport=ScriptedProvider({"a": [ConnectionRefusedError("nobody there")]}, default=None),
        **timeless(),
    )
    assert ask(face, gateway).error is not None
    assert {row["cost_nano_usd"] for row in gateway.services.ledger.attempts()} == {0}
