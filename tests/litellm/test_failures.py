"""Each failure of a provider through a registered router: read right, asked again or not, booked."""

from __future__ import annotations

import litellm
import openai
import pytest
from litellm_llmgate._compat import since_1_109
from support.litellm_routers import FACES, ask, ends, entry, registered, rows
from support.patience import auntil

from llmgate_plugins import Gateway, hookimpl
from llmgate_plugins.plugins import Failover
from llmgate_plugins.testing import Fault, Reply

ANOTHER_KEY = "sk-another-0123456789abcdef"
OPENAI, ANTHROPIC = "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"
COMPATIBLE = ("groq/openai/gpt-oss-20b", "deepseek/deepseek-chat", "mistral/mistral-small-latest")
WHOLE, STREAMED = ("acompletion", "completion"), ("astream", "stream")

FINAL = {
    "quota": ("quota", litellm.RateLimitError),
    "authentication": ("authentication", litellm.AuthenticationError),
    "permission": ("permission", openai.APIError),  # which one differs by release
    "not_found": ("model_not_found", litellm.NotFoundError),
    "invalid_request": ("invalid_request", litellm.BadRequestError),
    "unprocessable": ("invalid_request", litellm.BadRequestError),
    "context_length": ("context_length", litellm.ContextWindowExceededError),
    "content_policy": ("content_policy", litellm.BadRequestError),
    "too_large": ("too_large", openai.APIError),
}
"""What is never asked again of the same deployment: its class, and LiteLLM's own error."""

PASSING = {
    "timeout": "timeout",
    "server": "server",
    "bad_gateway": "server",
    "unavailable": "overloaded",
    "overloaded": "overloaded",
    "connection": "connection",
    "reset": "connection",
}
"""What may be gone when asked again."""

NO_ANSWER = {
    "html": "bad_response",
    "empty": "bad_response",
    "malformed": "bad_response",
    "truncated": "bad_response",
    "done_only": "bad_response",
    "error_event": "server",
    "cut": "truncated",
    "reset_midstream": "connection",
}
"""What comes with a status of 200 in place of a whole answer, and is none."""

NO_STREAM = ("html", "json", "empty", "done_only", "error_object")
"""What comes with a status of 200 in place of a stream, and is none."""


def quick(*plugins: object) -> Gateway:
    """Retries without waiting."""
    failover = Failover(base=0, cap=0, throttle_base=0, throttle_cap=0)
    return Gateway(plugins=[*plugins, failover], deadline=20)


def fault(kind: str) -> Fault:
    """An error object with status 200 stands for itself; the others have their names."""
    return Fault("server", status=200) if kind == "error_object" else Fault(kind)


class ByName:
    @hookimpl
    def rank_deployments(self, deployments):
        return sorted(deployments, key=lambda deployment: deployment.id)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("kind", FINAL)
async def test_what_cannot_succeed_is_sent_once_and_is_litellms_own_error(sim, kind, face):
    bad = sim.provider("bad")
    bad.fail_always(Fault(kind))
    router, registration = registered([entry("fast", "bad", bad)], gateway=quick(), num_retries=3)
    error_class, expected = FINAL[kind]
    with pytest.raises(expected):
        await ask(face, router, "fast", num_retries=2)
    assert len(bad.requests) == 1
    (row,) = rows(registration)
    assert (row["status"], row["error_class"], row["cost_nano_usd"]) == ("error", error_class, 0)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("kind", PASSING)
async def test_what_may_pass_is_asked_again_by_the_gateway_alone(sim, kind, face):
    bad = sim.provider("bad")
    bad.fail_always(Fault(kind))
    router, registration = registered([entry("fast", "bad", bad)], gateway=quick(), num_retries=3)
    with pytest.raises(litellm.Timeout if kind == "timeout" else openai.APIStatusError):
        await ask(face, router, "fast", num_retries=2)
    found = rows(registration)
    assert [row["error_class"] for row in found] == [PASSING[kind]] * len(found)
    assert 2 <= len(found) == len(bad.requests) <= 4


@pytest.mark.parametrize("face", WHOLE)
@pytest.mark.parametrize("kind", NO_ANSWER)
async def test_what_is_no_answer_is_never_a_success(sim, kind, face):
    bad, good = sim.provider("bad"), sim.provider("good")
    bad.fail_always(Fault(kind))
    good.reply("Hello there.")
    entries = [entry("fast", "bad", bad), entry("fast", "good", good)]
    router, registration = registered(entries, gateway=quick(ByName()))
    assert await ask(face, router, "fast") == "Hello there."
    first, second = rows(registration)
    assert (first["status"], first["error_class"]) == ("error", NO_ANSWER[kind])
    assert second["status"] == "success"


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, "groq/openai/gpt-oss-20b", "deepseek/deepseek-chat"])
@pytest.mark.parametrize("face", STREAMED)
async def test_what_is_no_stream_is_never_a_success(sim, face, model):
    for kind in NO_STREAM:
        bad, good = sim.provider(f"bad-{kind}"), sim.provider(f"good-{kind}")
        bad.fail_always(fault(kind))
        good.reply("Hello there.")
        entries = [entry("fast", "bad", bad, model=model), entry("fast", "good", good)]
        router, registration = registered(entries, gateway=quick(ByName()))
        assert await ask(face, router, "fast") == "Hello there.", kind
        assert ends(registration) == [("bad", "error"), ("good", "success")], kind
        assert len(bad.requests) == 1, kind


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
async def test_an_answer_with_nothing_in_it_is_tried_elsewhere_and_else_given_out(sim, face, model):
    empty, good = sim.provider("empty"), sim.provider("good")
    empty.reply(Reply(text=""))
    good.reply("Hello there.")
    entries = [entry("fast", "empty", empty, model=model), entry("fast", "good", good)]
    router, registration = registered(entries, gateway=quick(ByName()))
    assert await ask(face, router, "fast") == "Hello there."
    assert [row["error_class"] for row in rows(registration)] == ["empty_response", None]
    router, registration = registered(entries[:1], gateway=quick())
    assert await ask(face, router, "fast") in ("", "None")
    assert {row["error_class"] for row in rows(registration)} == {"empty_response"}


@pytest.mark.parametrize("face", WHOLE)
async def test_a_refusal_is_an_answer_and_not_asked_for_elsewhere(sim, face):
    one, other = sim.provider("one"), sim.provider("other")
    one.reply(Reply(refusal="I cannot help with that."))
    entries = [entry("fast", "one", one), entry("fast", "other", other)]
    router, registration = registered(entries, gateway=quick(ByName()))
    await ask(face, router, "fast")
    assert ends(registration) == [("one", "success")]
    assert not other.requests


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("model", "header"),
    [
        (OPENAI, "x-ratelimit-remaining-requests"),
        (ANTHROPIC, "anthropic-ratelimit-requests-remaining"),
    ],
)
async def test_what_a_refusal_says_of_rate_limits_is_told_to_plugins(sim, face, model, header):
    one = sim.provider("one")
    one.script(Fault("server", headers={header: "7"}))
    watch = Watching()
    router, _ = registered([entry("fast", "one", one, model=model)], gateway=quick(watch))
    await ask(face, router, "fast")
    assert watch.outcomes[0].quota.remaining["requests"] == 7
    assert watch.outcomes[1].quota.remaining["requests"] > 7


@pytest.mark.parametrize("face", FACES)
async def test_what_an_answer_says_of_rate_limits_is_told_to_plugins(sim, face):
    one = sim.provider("one")
    one.throttle(50)
    watch = Watching()
    router, _ = registered([entry("fast", "one", one)], gateway=quick(watch))
    await ask(face, router, "fast")
    quota = watch.outcomes[0].quota
    assert quota.limits["requests"] == 50
    assert quota.remaining["requests"] == 49


class Watching:
    """Keeps how attempts ended."""

    def __init__(self) -> None:
        self.outcomes = []

    @hookimpl
    def end_attempt(self, outcome):
        self.outcomes.append(outcome)


RECOGNISED = {
    "content_policy": "Your request was rejected as a result of the safety system. content_policy_violation"
}
"""LiteLLM goes by what the message says, not by the code."""


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("kind", "setting"),
    [("context_length", "context_window_fallbacks"), ("content_policy", "content_policy_fallbacks")],
)
async def test_litellms_fallbacks_for_one_kind_of_failure_go_to_their_group_once(sim, kind, setting, face):
    small, large, other = sim.provider("small"), sim.provider("large"), sim.provider("other")
    small.fail_always(Fault(kind, message=RECOGNISED.get(kind)))
    large.reply("Hello there.")
    router, registration = registered(
        [entry("fast", "small", small), entry("big", "large", large), entry("strong", "other", other)],
        gateway=quick(),
        fallbacks=[{"fast": ["strong"]}],
        num_retries=2,
        **{setting: [{"fast": ["big"]}]},
    )
    assert await ask(face, router, "fast") == "Hello there."
    assert ends(registration) == [("small", "error"), ("large", "success")]
    assert not other.requests


@pytest.mark.parametrize("face", FACES)
async def test_a_group_that_litellm_falls_back_to_is_asked_once(sim, face):
    dead, dead_too = sim.provider("dead"), sim.provider("dead-too")
    dead.fail_always(Fault("authentication"))
    dead_too.fail_always(Fault("quota"))
    router, registration = registered(
        [entry("fast", "dead", dead), entry("strong", "dead-too", dead_too, api_key=ANOTHER_KEY)],
        gateway=quick(),
        fallbacks=[{"fast": ["strong"]}],
        num_retries=2,
    )
    with pytest.raises(litellm.AuthenticationError):
        await ask(face, router, "fast")
    assert (len(dead.requests), len(dead_too.requests), len(rows(registration))) == (1, 1, 2)


@pytest.mark.parametrize("face", FACES)
async def test_what_litellm_has_cooled_down_is_no_candidate_and_then_one_again(sim, face):
    dead, good = sim.provider("dead"), sim.provider("good")
    dead.script(Fault("authentication"))
    entries = [entry("fast", "dead", dead), entry("fast", "good", good, api_key=ANOTHER_KEY)]
    without_health = Gateway(plugins=[ByName(), Failover()], defaults=False)
    router, registration = registered(entries, gateway=without_health, cooldown_time=60)
    await ask(face, router, "fast")
    await cooled_down(router, "dead")
    await ask(face, router, "fast")
    assert len(dead.requests) == 1
    (second,) = registration.gateway.decisions[-1].selections
    assert "dead" not in second.considered
    cooldowns = cooldowns_of(router)
    getattr(cooldowns, "cooldown_store", cooldowns.cache).flush_cache()  # as if its time were over
    await ask(face, router, "fast")
    assert len(dead.requests) == 2


async def cooled_down(router, *ids: str) -> None:
    """LiteLLM notes failures in the background."""
    await auntil(lambda: all(cooling(router, id) for id in ids))


def cooling(router, id: str) -> bool:
    return bool(cooldowns_of(router).get_active_cooldowns(model_ids=[id], parent_otel_span=None))


def cooldowns_of(router):
    return router.health().cooldowns if since_1_109(router) else router.cooldown_cache


@pytest.mark.parametrize("face", FACES)
async def test_when_litellm_has_cooled_down_all_its_own_error_says_so_and_nothing_is_sent(sim, face):
    one, two = sim.provider("one"), sim.provider("two")
    for provider in (one, two):
        provider.fail_always(Fault("authentication"))
    entries = [entry("fast", "one", one), entry("fast", "two", two, api_key=ANOTHER_KEY)]
    router, _ = registered(entries, gateway=quick(ByName()), cooldown_time=30)
    with pytest.raises(litellm.AuthenticationError):
        await ask(face, router, "fast")
    await cooled_down(router, "one", "two")
    before = len(one.requests) + len(two.requests)
    with pytest.raises(Exception, match=r"(?i)no deployments available|cooldown"):
        await ask(face, router, "fast")
    assert len(one.requests) + len(two.requests) == before
