"""A call's span is where the router was asked, on every face; its attempts are below it."""

from __future__ import annotations

import asyncio

import litellm
import pytest
from opentelemetry import trace
from support.litellm_routers import FACES, HELLO, ask, entry, registered
from support.patience import auntil
from support.telemetry import Listener

from llmgate_plugins import hookimpl
from llmgate_plugins.testing import Fault


def current():
    return trace.get_current_span().get_span_context().span_id


class DeadFirst:
    @hookimpl
    def rank_deployments(self, deployments):
        return sorted(deployments, key=lambda deployment: deployment.id != "dead")


@pytest.mark.parametrize("face", FACES)
async def test_one_trace_across_a_failover_with_the_attempt_current_while_it_is_sent(sim, face):
    told, saw = Listener(), []
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_always(Fault("server"))
    entries = [entry("fast", "dead", dead), entry("fast", "alive", alive)]
    router, registration = registered(entries, told.plugin, DeadFirst())
    litellm.input_callback = [lambda _: saw.append(current())]
    with told.inside() as outer:
        assert await ask(face, router, "fast")
        assert trace.get_current_span() is outer
    call = told.call
    assert call.parent.span_id == outer.get_span_context().span_id
    assert [span.attributes["llmgate.deployment"] for span in told.attempts] == ["dead", "alive"]
    assert {span.context.trace_id for span in told.spans} == {outer.get_span_context().trace_id}
    assert saw == [span.context.span_id for span in told.attempts]
    assert call.attributes["gen_ai.provider.name"] == "openai"
    assert call.attributes["gen_ai.response.id"]
    assert call.attributes["server.address"] == "127.0.0.1"
    assert registration.gateway.decisions[-1].trace_id == f"{call.context.trace_id:032x}"


async def test_a_stream_that_is_left_ends_its_span(sim):
    told = Listener()
    sim.provider("one").reply("one two three four five six")
    router, _ = registered([entry("fast", "one", sim.provider("one"))], told.plugin)
    stream = await router.acompletion("fast", HELLO, stream=True)
    await anext(stream)
    await stream.aclose()
    assert told.call.attributes["llmgate.call.status"] == "abandoned"
    assert told.total("llmgate.calls", llmgate__call__status="abandoned") == 1


async def test_a_task_that_is_cancelled_ends_its_span(sim):
    told = Listener()
    hangs = sim.provider("one")
    hangs.fail_always(Fault("stall"))
    router, _ = registered([entry("fast", "one", hangs)], told.plugin)
    task = asyncio.ensure_future(router.acompletion("fast", HELLO))
    await auntil(lambda: hangs.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.call.attributes["llmgate.call.status"] == "cancelled"


async def test_a_router_has_it_without_being_told(sim):
    router, registration = registered([entry("fast", "one", sim.provider("one"))])
    assert registration.gateway.plugins[0][0] == "Telemetry"
    assert await ask("acompletion", router, "fast")
