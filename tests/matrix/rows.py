"""The rows of the matrix: what goes wrong with a provider, and all that must be seen of it."""

# ruff: noqa: E501 - one line per row

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmgate_plugins.testing import Fault, Reply
from llmgate_plugins.types import ToolCall

from .expectations import Differs, Expect, Row
from .surfaces import STREAMS, WHOLE

__all__ = ["ROWS"]

SAID = "The sea is wide and blue, says a."
BLINK = dict.fromkeys(("first_token", "shortest", "longest", "whole", "gap", "connect"), 0.8)
"""Limits for what is waited for in earnest: on a busy machine, too, who is well answers within them."""
NAMED = "LiteLLM's own name for it"
FOLLOWED = "the client follows the redirect, without the key; what comes from there decides"
UNSEEN = "the client shows no choices, so it counts as empty"
DEEP = "the client has read the JSON before the gateway sees it"
NO_TEXT = "the client reads nothing from it, so it counts as empty and another is asked"
MADE_UP = "LiteLLM makes up a finish reason, so it counts as cut and another is asked"
NO_IDS = "the client does not show the ids of events"


def named(error: str, why: str = NAMED) -> Mapping[str, Differs]:
    """LiteLLM raises this one."""
    return {"litellm": Differs(why, {"told": error})}


def both(why: str, **changes: Any) -> Mapping[str, Differs]:
    """LangChain and LiteLLM differ in the same way."""
    return dict.fromkeys(("langchain", "litellm"), Differs(why, changes))


PATIENT = {"first_token": 20.0, "longest": 20.0, "whole": 20.0}


def row(id: str, what: str, at: Any, told: str, tries: str, books: str, health: str = "", **more: Any) -> Row:
    expected: Mapping[str, Any] = {
        name: more.pop(name)
        for name in ("slept", "tokens", "finish", "served", "paid", "most")
        if name in more
    }
    return Row(
        id=id,
        what=what,
        at=at,
        expect=Expect(told=told, tries=tries, books=books, health=health, **expected),
        **more,
    )


# fmt: off
TPM = "Request too large for gpt-4o-mini on tokens per min (TPM): Limit 30000, Requested 50000."
TPD = "Rate limit reached for gpt-4o-mini on tokens per day (TPD): Limit 100000, Used 100000."
QUICK, THRICE = (0.0, 0.5), (0.0, 1.5)

BEFORE_ANY_ANSWER = (
    row("F01", "connection refused", "refused", "b", "a:connection b", "0 A", "a transport closed"),
    row("F01-alone", "the same, no sibling", "refused", "APIConnectionError", "a:connection a:connection a:connection", "0 0 0", "a transport closed", alone=True, slept=THRICE, tokens=0.8, differs=named("InternalServerError")),
    row("F02", "reset before any byte", Fault("reset"), "b", "a:connection b", "U A", "a transport closed"),
    row("F02-alone", "the same once, no sibling", [Fault("reset")], "a", "a:connection a", "U A", "a transport closed", alone=True, slept=QUICK),
    row("F03", "name that leads nowhere", "unknown host", "b", "a:connection b", "0 A", "a transport closed"),
    row("F04", "certificate of nobody", "bad certificate", "b", "a:connection b", "0 A", "a certificate ejected"),
    row("F04-alone", "the same, no sibling", "bad certificate", "APIConnectionError", "a:connection", "0", "a certificate ejected", alone=True, differs=named("InternalServerError")),
    row("F05", "connect timeout", "never accepts", "b", "a:timeout b", "0 A", "a transport closed", patience={**PATIENT, "connect": 0.5}),
    row("F06", "no connection left in our own pool", "full pool", "APITimeoutError", "a:local", "0", ""),
    row("F07", "no first byte in time", Fault("stall"), "b", "a:timeout b", "U A", "a slow closed", patience=BLINK),
    row("F08", "kept connection closed by the server", [Fault("connection")], "a", "a:connection a", "0 A", ""),
    row("F09", "proxy says 407", Fault("server", status=407, body={}), "APIStatusError", "a:local", "0", "", differs=named("APIError")),
    row("F10", "deadline already spent", None, "DeadlineExceeded", "", "", "", deadline=1e-9),
)

REFUSALS = (
    row("F11", "400 invalid request", Fault("invalid_request"), "BadRequestError", "a:invalid_request", "0", ""),
    row("F11-422", "422", Fault("unprocessable"), "UnprocessableEntityError", "a:invalid_request", "0", "", differs=named("BadRequestError")),
    row("F11-415", "415", Fault("invalid_request", status=415), "APIStatusError", "a:invalid_request", "0", ""),
    row("F12", "context too long, no larger window", Fault("context_length"), "BadRequestError", "a:context_length", "0", ""),
    row("F12-larger", "context too long, b has a larger window", Fault("context_length"), "b", "a:context_length b", "0 A", "", model_b="gpt-4.1"),
    row("F13", "400 content policy", Fault("content_policy"), "BadRequestError", "a:content_policy", "0", ""),
    row("F14", "429 money spent", Fault("quota"), "b", "a:quota b", "0 A", "key-a money ejected"),
    row("F14-alone", "the same, no other account", Fault("quota"), "RateLimitError", "a:quota", "0", "key-a money ejected", alone=True),
    row("F15", "401 bad key", Fault("authentication"), "b", "a:authentication b", "0 A", "key-a key ejected"),
    row("F15-alone", "the same, no other key", Fault("authentication"), "AuthenticationError", "a:authentication", "0", "key-a key ejected", alone=True),
    row("F16", "402 payment required", Fault("quota", status=402), "b", "a:quota b", "0 A", "key-a money ejected"),
    row("F17", "403 key may not", Fault("permission", code="insufficient_permissions"), "b", "a:permission b", "0 A", "key-a key ejected"),
    row("F18", "403 region", Fault("permission", code="unsupported_country_region_territory"), "b", "a:region b", "0 A", "a model ejected"),
    row("F19", "404 model", Fault("not_found"), "b", "a:model_not_found b", "0 A", "a model ejected"),
    row("F20", "404 path", Fault("not_found", body="<html><h1>404 Not Found</h1></html>"), "b", "a:model_not_found b", "0 A", "a model ejected"),
    row("F21", "408", Fault("timeout"), "b", "a:timeout b", "U A", "a slow closed"),
    row("F22", "409, gone when asked again", [Fault("conflict")], "a", "a:conflict a", "0 A", "", slept=QUICK),
    row("F22-always", "409 each time", Fault("conflict"), "ConflictError", "a:conflict a:conflict a:conflict", "0 0 0", "", slept=THRICE, tokens=2.0, differs=named("APIError")),
    row("F23", "410 retired model", Fault("not_found", status=410, code="model_decommissioned"), "b", "a:model_not_found b", "0 A", "a model ejected"),
    row("F24", "413 too large", Fault("too_large"), "APIStatusError", "a:too_large", "0", ""),
    row("F25", "429 with Retry-After: 2", Fault("rate_limit", retry_after=2), "b", "a:rate_limit b", "0 A", "a throttle throttled"),
    row("F25-alone", "the same once, no sibling", [Fault("rate_limit", retry_after=2)], "a", "a:rate_limit a", "0 A", "", alone=True, slept=(2.0, 2.2)),
    row("F26", "429 with Retry-After: 3600", Fault("rate_limit", retry_after=3600), "b", "a:rate_limit b", "0 A", "a throttle throttled"),
    row("F26-alone", "the same, no sibling", Fault("rate_limit", retry_after=3600), "RateLimitError", "a:rate_limit", "0", "a throttle throttled", alone=True),
    row("F26-garbage", "429 with Retry-After: -1", Fault("rate_limit", retry_after="-1"), "b", "a:rate_limit b", "0 A", "a throttle throttled"),
    row("F27", "429 for the day", Fault("rate_limit", message=TPD), "b", "a:quota b", "0 A", "a money ejected"),
    row("F28", "429 more than a minute holds", Fault("rate_limit", message=TPM), "b", "a:too_large b", "0 A", ""),
    row("F29", "500", Fault("server"), "b", "a:server b", "0 A", "a overload closed"),
    row("F29-alone", "500 each time, no sibling", Fault("server"), "InternalServerError", "a:server a:server a:server", "0 0 0", "a overload closed", alone=True, slept=THRICE, tokens=2.0),
    row("F30", "502 html", Fault("bad_gateway"), "b", "a:server b", "0 A", "a overload closed"),
    row("F31", "503", Fault("unavailable"), "b", "a:overloaded b", "0 A", "a overload closed"),
    row("F32", "504", Fault("server", status=504, body={}), "b", "a:timeout b", "U A", "a overload closed"),
    row("F33", "529 the provider is overloaded", Fault("overloaded", status=529, code="overloaded_error"), "b", "a:overloaded b", "0 A", "openai overload closed"),
    row("F34", "302 with a target elsewhere", Fault("server", status=302, headers={"location": "elsewhere"}), "APIStatusError", "a:local", "0", "", differs=both(FOLLOWED, told="b", tries="a:authentication b", books="0 A", health="key-a key ejected")),
    row("F35", "500 with x-should-retry: false", Fault("server", headers={"x-should-retry": "false"}), "InternalServerError", "a:server", "0", "a overload closed", alone=True),
    row("F35-true", "400 with x-should-retry: true, once", [Fault("invalid_request", headers={"x-should-retry": "true"})], "a", "a:invalid_request a", "0 A", "", alone=True, slept=QUICK),
    row("F36", "418, a status nobody knows", Fault("server", status=418, body={}), "APIStatusError", "a:unknown", "U", "", differs=named("APIError")),
)

SNAPSHOT = "gpt-4o-2024-05-13"
BROKEN_CALL = ToolCall(id="call_1", name="look_up", arguments='{"place": "Par')
TWINS = (ToolCall(id="call_1", name="fly", arguments="{}"), ToolCall(id="call_1", name="swim", arguments="{}"))

WHOLE_ANSWERS = tuple(
    row(*fields, **({"modes": WHOLE} | more))
    for fields, more in (
        (("F37", "broken JSON, 200", Fault("malformed"), "b", "a:bad_response b", "U A", "a overload closed"), {}),
        (("F38", "body shorter than told", Fault("cut"), "b", "a:truncated b", "U A", "a transport closed"), {}),
        (("F39", "HTML, 200", Fault("html"), "b", "a:bad_response b", "U A", "a overload closed"), {}),
        (("F40", "an error object, 200", Fault("server", status=200), "b", "a:server b", "0 A", "a overload closed"), {}),
        (("F41", "no choices", Fault("no_choices"), "b", "a:bad_response b", "U A", "a overload closed"), {"differs": both(UNSEEN, tries="a:empty_response b", health="a quality closed")}),
        (("F42", "an answer with nothing in it", Reply(text=""), "b", "a:empty_response b", "A A", "a quality closed"), {}),
        (("F43", "finish_reason length", Reply(text=SAID, finish_reason="length"), "a", "a", "A", ""), {"finish": "length"}),
        (("F44", "finish_reason content_filter", Reply(text=SAID, finish_reason="content_filter"), "a", "a", "A", ""), {"finish": "content_filter"}),
        (("F45", "a refusal", Reply(refusal=SAID), "a", "a", "A", ""), {"finish": "content_filter", "differs": both("the refusal stands beside the text, where the client puts it", told="nothing", finish="stop")}),
        (("F46", "a tool call of broken JSON", Reply(text=SAID, tool_calls=(BROKEN_CALL,)), "a", "a", "A", ""), {}),
        (("F47", "unknown tools with the same id", Reply(text=SAID, tool_calls=TWINS), "a", "a", "A", ""), {}),
        (("F48", "no usage", Fault("no_usage"), "a", "a", "E", ""), {}),
        (("F49", "usage that cannot be", Fault("odd_usage"), "a", "a", "E", ""), {"most": 7_000_000_000, "note": "counts are clamped to what the model's window holds, and marked"}),
        (("F50", "a dearer snapshot served", Reply(text=SAID, model=SNAPSHOT), "a", "a", "A", ""), {"model_a": "gpt-4o", "served": SNAPSHOT, "paid": SNAPSHOT}),
        (("F50-other", "quite another model served", Reply(text=SAID, model="gpt-4.1"), "a", "a", "A", ""), {"served": "gpt-4.1", "paid": "gpt-4.1"}),
        (("F51", "JSON 150 levels deep", Fault("deep"), "b", "a:bad_response b", "U A", "a overload closed"), {"differs": both(DEEP, told="a", tries="a", books="A", health="")}),
    )
)

BROKE = "StreamInterrupted"

STREAMED_ANSWERS = tuple(
    row(*fields, **({"modes": STREAMS} | more))
    for fields, more in (
        (("F52", "an error is the first event", Fault("error_event", after=0), "b", "a:server b", "0 A", "a overload closed"), {}),
        (("F53", "an error in mid-stream", Fault("error_event", after=3), BROKE, "a:server", "E", "a overload closed"), {}),
        (("F54", "the same as Anthropic says it", Fault("error_event", after=3, code="overloaded_error"), BROKE, "a:overloaded", "E", "openai overload closed"), {}),
        (("F55", "a broken line in mid-stream", Fault("malformed", after=3), BROKE, "a:bad_response", "E", "a overload closed"), {}),
        (("F56", "a clean end without a finish reason", Fault("truncated", after=3), BROKE, "a:truncated", "E", "a transport closed"), {}),
        (("F57", "a finish reason, no [DONE]", Fault("no_done"), "a", "a", "A", ""), {}),
        (("F58", "cut in mid-stream", Fault("cut", after=3), BROKE, "a:truncated", "E", "a transport closed"), {}),
        (("F59", "reset in mid-stream", Fault("reset_midstream", after=3), BROKE, "a:connection", "E", "a transport closed"), {}),
        (("F60", "a gap that is too long", Fault("stall", after=3), BROKE, "a:timeout", "E", "a slow closed"), {"patience": BLINK, "differs": {"litellm/stream": Differs("in a thread LiteLLM tells it as a status 500 of a server", {"health": "a overload closed"})}}),
        (("F61", "a drip past the deadline", Fault("drip", seconds=0.3), BROKE, "a:timeout", "E", ""), {"deadline": 1.8}),
        (("F62", "no chunks at all", Fault("empty"), "b", "a:empty_response b", "U A", "a quality closed"), {"differs": {"litellm": Differs(MADE_UP, {"tries": "a:truncated b", "health": "a transport closed"})}}),
        (("F62-done", "nothing but [DONE]", Fault("done_only"), "b", "a:empty_response b", "U A", "a quality closed"), {"differs": {"litellm": Differs(MADE_UP, {"tries": "a:truncated b", "health": "a transport closed"})}}),
        (("F63", "JSON in place of a stream", Fault("json"), "a", "a", "A", ""), {"differs": {"langchain": Differs(NO_TEXT, {"told": "b", "tries": "a:empty_response b", "books": "U A", "health": "a quality closed"}), "litellm": Differs(MADE_UP, {"told": "b", "tries": "a:truncated b", "books": "U A", "health": "a transport closed"})}}),
        (("F64", "HTML in place of a stream", Fault("html"), "b", "a:bad_response b", "U A", "a overload closed"), {"differs": {"langchain": Differs(NO_TEXT, {"tries": "a:empty_response b", "health": "a quality closed"}), "litellm": Differs(MADE_UP, {"tries": "a:truncated b", "health": "a transport closed"})}}),
        (("F65", "each event twice", Fault("duplicate"), "a", "a", "A", ""), {"differs": both(NO_IDS, told="each word twice")}),
        (("F65-finish", "two finish reasons", Fault("duplicate_finish"), "a", "a", "A", ""), {}),
        (("F66", "usage told twice", Fault("usage_twice"), "a", "a", "A", ""), {}),
        (("F66-none", "no usage", Fault("no_usage"), "a", "a", "E", ""), {}),
        (("F67", "odd lines, comments, split characters", Fault("odd_lines"), "a", "a", "A", ""), {}),
        (("F68", "the same piece for ever", Fault("repeat"), BROKE, "a:bad_response", "E", "a overload closed"), {"differs": {"langchain": Differs("chunks are handed on without a look into them", {"told": "one word 150 times", "tries": "a", "health": ""}), "litellm": Differs("LiteLLM stops it itself, as a server error", {"tries": "a:server"})}}),
    )
)

# fmt: on

ROWS: tuple[Row, ...] = (*BEFORE_ANY_ANSWER, *REFUSALS, *WHOLE_ANSWERS, *STREAMED_ANSWERS)
