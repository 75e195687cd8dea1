"""The proxy's hooks by themselves: which router they attach to, and whom they believe."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import litellm
import litellm.proxy
import pytest
from litellm_llmgate.carrying import proxy_context
from litellm_llmgate.proxy import ProxyGateway, context_of
from support.litellm_routers import ends, entry

from llmgate_plugins import ConfigurationError, Context, Gateway


@pytest.fixture
def server(monkeypatch):
    """Stands in for the proxy's module, which holds the router."""
    module = ModuleType("litellm.proxy.proxy_server")
    module.llm_router = None
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(litellm.proxy, "proxy_server", module, raising=False)
    return module


async def test_it_waits_for_the_router_and_follows_a_new_one(sim, server):
    hooks = ProxyGateway(Gateway(), "llmgate.yaml")
    assert hooks.attach() is None
    for name in ("first", "second"):
        server.llm_router = litellm.Router(model_list=[entry("fast", name, sim.provider(name))])
        await hooks.async_pre_call_hook(SimpleNamespace(user_id="ada"), None, {}, "acompletion")
        assert proxy_context.get() == Context(user="ada")
        registration = hooks.registration
        assert hooks.attach() is registration
        await server.llm_router.acompletion("fast", [{"role": "user", "content": "Hello"}])
    assert ends(registration) == [("first", "success"), ("second", "success")]
    proxy_context.set(None)


def test_a_subclass_is_refused_because_litellm_would_not_run_its_hooks():
    class Mine(ProxyGateway):
        pass

    with pytest.raises(ConfigurationError, match="every request would pass unseen"):
        Mine(Gateway(), "llmgate.yaml")


def test_who_is_calling_is_what_the_key_says_and_not_what_the_request_says():
    key = SimpleNamespace(
        org_id="acme",
        team_id="search",
        user_id="ada",
        key_alias="ci",
        end_user_id="mallory",
        metadata={"llmgate": {"region": "us"}},
        team_metadata={
            "llmgate": {"region": "eu", "data_class": "pii", "priority": 3, "team": "admins", "x": 1}
        },
    )
    assert context_of(key) == Context(
        tenant="acme",
        team="search",
        user="ada",
        region="eu",
        data_class="pii",
        priority=3,
        extra={"key_alias": "ci"},
    )
    assert context_of(SimpleNamespace()) == Context()


@pytest.mark.parametrize("told", [None, {"call_id": "c", "deployment": "one", "attempts": 2}])
async def test_the_call_is_named_in_the_headers_of_the_response(told):
    hooks = ProxyGateway(Gateway(), "llmgate.yaml")
    response = SimpleNamespace(_hidden_params={"llmgate": told} if told else {})
    headers = await hooks.async_post_call_response_headers_hook({}, None, response)
    expected = {"x-llmgate-call-id": "c", "x-llmgate-deployment": "one", "x-llmgate-attempts": "2"}
    assert headers == (expected if told else None)


async def test_a_call_whose_answer_is_a_plain_dictionary_is_named_too(sim, server):
    hooks = ProxyGateway(Gateway(), "llmgate.yaml")
    one = entry("fast", "one", sim.provider("one"), model="anthropic/claude-haiku-4-5")
    server.llm_router = litellm.Router(model_list=[one])
    await hooks.async_pre_call_hook(SimpleNamespace(user_id="ada"), None, {}, "anthropic_messages")
    said = [{"role": "user", "content": "Hello"}]
    answer = await server.llm_router.aanthropic_messages(model="fast", messages=said, max_tokens=9)
    assert type(answer) is dict
    headers = await hooks.async_post_call_response_headers_hook({}, None, answer)
    record = hooks.gateway.decisions[-1]
    assert headers["x-llmgate-call-id"] == record.call_id
    assert (headers["x-llmgate-deployment"], headers["x-llmgate-attempts"]) == ("one", "1")
    proxy_context.set(None)


async def test_the_headers_say_why_in_words_that_a_header_can_hold():
    told = {
        "call_id": "c",
        "deployment": "one",
        "attempts": 1,
        "policy": "eu-süd\r\nx: y",
        "policy_version": "3",
        "rule": "rule 1",
        "experiments": {"tone": "b", "size": "a"},
        "dropped": {"region": 12},
    }
    hooks = ProxyGateway(Gateway(), "llmgate.yaml")
    response = SimpleNamespace(_hidden_params={"llmgate": told})
    headers = await hooks.async_post_call_response_headers_hook({}, None, response)
    assert headers["x-llmgate-policy"] == "eu-s\\xfcd  x: y"
    assert (headers["x-llmgate-policy-version"], headers["x-llmgate-rule"]) == ("3", "rule 1")
    assert headers["x-llmgate-experiments"] == "tone=b, size=a"
    assert headers["x-llmgate-dropped"] == "region=12"
