"""Routers with routing plugins of LiteLLM's own: those still run first, and a denial of theirs holds."""

from __future__ import annotations

import litellm
import pytest
from support.litellm_routers import HELLO, Saw, ask, ends, entry, registered

from llmgate_plugins import Ranking, hookimpl


class RanksTheOtherWay:
    @hookimpl
    def rank_deployments(self, deployments):
        return Ranking(tuple(reversed(deployments)))


class OnlyMini:
    async def run(self, ctx):
        ctx.candidate_models = [name for name in ctx.candidate_models if name.endswith("mini")]
        return ctx


class Never:
    async def run(self, ctx):
        raise PermissionError("not here")


@pytest.mark.parametrize("face", ["acompletion", "astream"])
@pytest.mark.parametrize("ours", [(), (RanksTheOtherWay(),)])
async def test_litellms_routing_plugins_narrow_what_ours_see(sim, face, ours):
    entries = [
        entry("fast", "mini", sim.provider("mini")),
        entry("fast", "big", sim.provider("big"), model="openai/gpt-4o"),
    ]
    saw = Saw()
    router, registration = registered(entries, saw, *ours, plugins=[OnlyMini()])
    assert await ask(face, router, "fast")
    assert saw.candidates == [["mini"]]
    assert ends(registration) == [("mini", "success")]


@pytest.mark.parametrize("ours", [(), (RanksTheOtherWay(),)])
async def test_a_denial_of_litellms_routing_plugins_holds(sim, ours):
    one = sim.provider("one")
    router, _ = registered([entry("fast", "one", one)], *ours, plugins=[Never()], num_retries=0)
    with pytest.raises(PermissionError, match="not here"):
        await router.acompletion("fast", HELLO)
    with pytest.raises((ValueError, litellm.BadRequestError)):  # LiteLLM refuses these in sync calls
        router.completion("fast", HELLO)
    assert not one.requests


@pytest.mark.parametrize("face", ["acompletion", "astream"])
async def test_a_complexity_router_chooses_the_group_and_plugins_see_its_deployments(sim, face):
    small, large = sim.provider("small"), sim.provider("large")
    tiers = {"SIMPLE": "cheap", "MEDIUM": "cheap", "COMPLEX": "strong", "REASONING": "strong"}
    auto = {
        "model_name": "auto",
        "litellm_params": {
            "model": "auto_router/complexity_router",
            "complexity_router_config": {"tiers": tiers},
            "complexity_router_default_model": "cheap",
        },
        "model_info": {"id": "auto"},
    }
    saw = Saw()
    router, registration = registered(
        [auto, entry("cheap", "small", small), entry("strong", "large", large)], saw
    )
    assert await ask(face, router, "auto", [{"role": "user", "content": "Hi"}])
    assert saw.candidates == [["small"]]
    assert ends(registration) == [("small", "success")]
    assert len(small.requests) == 1
