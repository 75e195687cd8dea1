"""An application names a call; a plugin gives a repeat the first answer, at no cost."""

from __future__ import annotations

import asyncio
from datetime import datetime

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm_llmgate.per_call import call_id_of, proxy_key
from support.litellm_routers import FACES, HELLO, ask, entry, registered, rows
from support.patience import auntil

from llmgate_plugins import RequestDenied, hookimpl
from llmgate_plugins.plugins import Idempotency
from llmgate_plugins.testing import Fault
from llmgate_plugins.types import Response


class Remembers:
    """Gives a named call that is repeated its first answer."""

    def __init__(self) -> None:
        self.answers: dict[str, Response] = {}

    @hookimpl
    def admit_request(self, call):
        return self.answers.get(call.id) if call.named else None

    @hookimpl
    def review_response(self, response, call):
        if call.named:
            self.answers.setdefault(call.id, response)


NAMED = {"llmgate_call_id": "order-17", "feature": "shop"}


@pytest.fixture
def events():
    """What LiteLLM books."""

    class Booked(CustomLogger):
        def __init__(self):
            super().__init__()
            self.costs = []
            # LiteLLM tells of calls late, those of other tests among them; its times have no zone.
            self.since = datetime.now()  # noqa: DTZ005

        def log_success_event(self, kwargs, response_obj, start_time, end_time):
            if start_time >= self.since:
                self.costs.append(kwargs.get("response_cost"))

        async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
            if start_time >= self.since:
                self.costs.append(kwargs.get("response_cost"))

    booked = Booked()
    litellm.callbacks.append(booked)
    return booked


@pytest.mark.parametrize("face", FACES)
async def test_a_repeat_is_given_the_first_answer_and_books_nothing(sim, face, events):
    one = sim.provider("one")
    one.reply("Hello there.")
    router, registration = registered([entry("fast", "one", one)], Remembers())
    for _ in range(3):
        assert await ask(face, router, "fast", metadata=dict(NAMED)) == "Hello there."
        await auntil(lambda: events.costs)
        await asyncio.sleep(0.1)  # time for more, which must not come
    assert len(one.requests) == 1
    (row,) = rows(registration)
    assert (row["call_id"], row["tags"]) == ("order-17", {"feature": "shop"})
    assert len(events.costs) == 1
    assert [record.status for record in registration.gateway.decisions] == ["success", "answered", "answered"]


@pytest.mark.parametrize("face", FACES)
async def test_the_built_in_plugin_remembers_across_faces_of_a_router(sim, face):
    one = sim.provider("one")
    one.reply("Hello there.")
    router, registration = registered([entry("fast", "one", one)], Idempotency())
    for _ in range(2):
        assert await ask(face, router, "fast", metadata=dict(NAMED)) == "Hello there."
    assert len(one.requests) == 1
    with pytest.raises(RequestDenied):
        await ask(face, router, "fast", [{"role": "user", "content": "Another."}], metadata=dict(NAMED))
    assert (len(one.requests), len(rows(registration))) == (1, 1)


@pytest.mark.parametrize("sync", [False, True])
async def test_a_repeats_answer_is_litellms_kind_and_says_that_it_is_free(sim, sync):
    one = sim.provider("one")
    one.reply("Hello there.")
    router, _ = registered([entry("fast", "one", one)], Remembers())

    async def asked(**params):
        params["metadata"] = dict(NAMED)
        if sync:
            return router.completion("fast", HELLO, **params)
        return await router.acompletion("fast", HELLO, **params)

    first = await asked()
    again = await asked()
    assert isinstance(again, litellm.ModelResponse)
    assert (again.id, again.usage) == (first.id, first.usage)
    assert (again._hidden_params["cache_hit"], again._hidden_params["response_cost"]) == (True, 0.0)
    assert first._hidden_params["response_cost"] > 0
    stream = await asked(stream=True)
    assert isinstance(stream, litellm.CustomStreamWrapper)
    assert (stream._hidden_params["cache_hit"], stream._hidden_params["response_cost"]) == (True, 0.0)


@pytest.mark.parametrize("face", FACES)
async def test_a_group_that_is_fallen_back_to_is_a_call_of_its_own(sim, face):
    dead, other = sim.provider("dead"), sim.provider("other")
    dead.fail_always(Fault("not_found"))
    router, registration = registered(
        [entry("fast", "dead", dead), entry("strong", "other", other, api_key="sk-another-0123456789abcdef")],
        Remembers(),
        fallbacks=[{"fast": ["strong"]}],
        num_retries=0,
        disable_cooldowns=True,
    )
    for _ in range(2):
        assert await ask(face, router, "fast", metadata=dict(NAMED))
    assert [row["call_id"] for row in rows(registration)][:2] == ["order-17", "order-17/strong"]
    assert len(other.requests) == 1


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("wrong", ["", 7, "x" * 256])
async def test_what_is_no_id_is_the_callers_mistake(sim, face, wrong):
    router, registration = registered([entry("fast", "one", sim.provider("one"))], num_retries=2)
    with pytest.raises(RequestDenied, match="llmgate_call_id must be text of 1 to 255 characters") as caught:
        await ask(face, router, "fast", metadata={"llmgate_call_id": wrong})
    assert caught.value.status_code == 400
    assert rows(registration) == []


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", ["llmgate_callid", "llmgateCallId", "llmgate_context"])
async def test_a_misspelt_word_of_llmgates_own_is_the_callers_mistake(sim, face, name):
    router, registration = registered([entry("fast", "one", sim.provider("one"))], num_retries=2)
    with pytest.raises(RequestDenied, match=f"'{name}' is not known.* llmgate_call_id and") as caught:
        await ask(face, router, "fast", metadata={name: "order-17"})
    assert caught.value.status_code == 400
    assert rows(registration) == []


def test_in_the_proxy_an_id_counts_within_its_key_alone():
    asked = {"model": "fast", "metadata": dict(NAMED)}
    ids = set()
    for key in ("key one", "key two", "key on"):
        token = proxy_key.set(key)
        try:
            ids.add(call_id_of(asked))
            assert call_id_of(asked) in ids
        finally:
            proxy_key.reset(token)
    assert len(ids) == 3
    assert all(len(one) == 64 for one in ids)
    assert call_id_of(asked) == "order-17"
