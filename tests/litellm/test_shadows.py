"""Copies of a router's calls go past the router: same provider, none of its callers, none of its spend."""

from __future__ import annotations

import pytest
from support.litellm_routers import FACES, ask, entry, registered

from llmgate_plugins import Gateway
from llmgate_plugins.plugins.shadow import Shadow, ShadowTraffic
from llmgate_plugins.testing import Fault


@pytest.mark.parametrize("face", FACES)
async def test_a_call_of_the_router_is_copied_to_another_group(sim, face):
    real, candidate = sim.provider("real"), sim.provider("candidate")
    real.reply("Hello there.")
    candidate.reply("Hello there, too.")
    gateway = Gateway(plugins=[ShadowTraffic([Shadow(name="new", to="next", similarity=True)])])
    router, _ = registered([entry("fast", "one", real), entry("next", "two", candidate)], gateway=gateway)
    assert await ask(face, router, "fast") == "Hello there."
    assert gateway.follow_ups.wait(10)
    (copy,) = [record for record in gateway.decisions if record.shadow_of is not None]
    assert (copy.served_by, copy.problems) == ("two", [])
    assert copy.attempts[-1][1].cost > 0
    assert 0 < copy.notes["shadow"]["similarity"] < 1
    (asked,), (copied,) = real.requests, candidate.requests
    assert copied.body["messages"] == asked.body["messages"]
    assert (len(real.requests), len(candidate.requests)) == (1, 1)


@pytest.mark.parametrize("face", FACES)
async def test_a_copy_that_fails_is_no_failure_of_the_routers(sim, face):
    real, candidate = sim.provider("real"), sim.provider("candidate")
    real.reply("Hello there.")
    candidate.fail_always(Fault("server"))
    gateway = Gateway(plugins=[ShadowTraffic([Shadow(name="new", to="next")])])
    router, _ = registered([entry("fast", "one", real), entry("next", "two", candidate)], gateway=gateway)
    assert await ask(face, router, "fast") == "Hello there."
    assert gateway.follow_ups.wait(10)
    assert len(candidate.requests) == 1, "one attempt, and LiteLLM retries nothing"
    assert [record.status for record in gateway.decisions if record.shadow_of] == ["error"]
