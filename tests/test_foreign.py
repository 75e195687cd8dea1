"""A request as the next provider takes it: translated where that is honest, else left out, always told."""

from __future__ import annotations

import timeit
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.values import a_deployment

from llmgate_plugins.foreign import budget_of, effort_of, fit_request, fitting_id, tables
from llmgate_plugins.messages import from_message, to_messages
from llmgate_plugins.types import Deployment, Endpoint, LazyMessages, Message, Request

USUAL_MODELS = {
    "openai": "gpt-4o",
    "azure": "prod",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "bedrock": "amazon.nova-pro-v1:0",
    "groq": "llama-3.3-70b-versatile",
    "mistral": "mistral-large-latest",
    "openrouter": "openai/gpt-4o",
    "hosted_vllm": "my-model",
    "xai": "grok-4",
}


def at(provider: str, model: str | None = None, **fields: Any) -> Deployment:
    return a_deployment(provider=provider, model=model or USUAL_MODELS[provider], **fields)


def fitted(deployment: Deployment, **params: Any) -> tuple[Mapping[str, Any], list[str]]:
    request, changes = fit_request(
        Request(model="fast", messages=(Message(role="user"),), params=params), deployment
    )
    return request.params, list(changes)


def said(deployment: Deployment, *messages: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    request, changes = fit_request(Request(model="fast", messages=to_messages(messages)), deployment)
    return [from_message(message) for message in request.messages], list(changes)


# ------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("provider", "word", "value"),
    [
        ("openai", "top_k", 5),
        ("openai", "safety_settings", []),
        ("azure", "cache_control", {"type": "ephemeral"}),
        ("anthropic", "seed", 1),
        ("anthropic", "logprobs", True),
        ("anthropic", "n", 2),
        ("anthropic", "prediction", {}),
        ("gemini", "store", True),
        ("gemini", "verbosity", "low"),
        ("bedrock", "logit_bias", {}),
        ("groq", "top_logprobs", 2),
        ("groq", "thinking", {"type": "enabled", "budget_tokens": 2_000}),
        ("mistral", "stream_options", {}),
        ("mistral", "safety_identifier", "x"),
    ],
)
def test_what_a_provider_would_refuse_is_left_out_and_told(provider: str, word: str, value: Any) -> None:
    params, changes = fitted(at(provider), temperature=0.2, **{word: value})
    assert params == {"temperature": 0.2}
    assert changes == [f"left out {word}: {provider} does not take it"]


@pytest.mark.parametrize(
    ("provider", "params"),
    [
        ("openai", {"seed": 1, "logprobs": True, "n": 2, "store": True, "metadata": {"a": "b"}, "user": "u"}),
        ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "service_tier": "auto"}),
        ("anthropic", {"top_k": 5, "metadata": {"user_id": "u"}, "parallel_tool_calls": False}),
        ("anthropic", {"tools": [{"name": "x", "cache_control": {"type": "ephemeral"}}]}),
        ("gemini", {"safety_settings": [], "top_k": 3, "seed": 1}),
        ("groq", {"seed": 1, "reasoning_format": "parsed", "service_tier": "flex"}),
        ("mistral", {"random_seed": 1, "safe_prompt": True}),
        ("openrouter", {"top_k": 1, "min_p": 0.1, "transforms": [], "cache_control": {}}),
        ("hosted_vllm", {"top_k": 1, "min_p": 0.1, "guided_json": {}, "thinking": {}, "seed": 1}),
    ],
)
def test_what_is_the_providers_own_stays(provider: str, params: dict[str, Any]) -> None:
    request = Request(model="fast", params=params)
    assert fit_request(request, at(provider)) == (request, ())
    assert fit_request(request, at(provider))[0] is request


@pytest.mark.parametrize("provider", USUAL_MODELS)
def test_a_word_that_no_table_knows_passes(provider: str) -> None:
    assert fitted(at(provider), brand_new_word=1) == ({"brand_new_word": 1}, [])


def test_thinking_becomes_an_effort_where_the_model_thinks() -> None:
    params, changes = fitted(at("openai", "gpt-5"), thinking={"type": "enabled", "budget_tokens": 4_000})
    assert params == {"reasoning_effort": "medium"}
    assert changes == ["thinking became reasoning_effort=medium for openai"]


def test_an_effort_that_was_given_as_well_wins() -> None:
    params, _ = fitted(
        at("openai", "gpt-5"), thinking={"type": "enabled", "budget_tokens": 4_000}, reasoning_effort="high"
    )
    assert params == {"reasoning_effort": "high"}


def test_thinking_switched_off_is_left_out() -> None:
    assert fitted(at("openai", "gpt-5"), thinking={"type": "disabled"})[0] == {}


@pytest.mark.parametrize("word", ["thinking", "reasoning_effort"])
def test_a_model_that_does_not_think_is_not_told_to(word: str) -> None:
    value = {"type": "enabled", "budget_tokens": 2_000} if word == "thinking" else "low"
    known = at("anthropic", "claude-3-5-haiku", capabilities=frozenset({"tools"}))
    for one in (at("openai"), known):
        assert fitted(one, **{word: value}) == ({}, [f"left out {word}: {one.model} does not think"])


def test_capabilities_that_are_known_only_in_part_leave_the_effort_alone() -> None:
    partly = at("azure", capabilities=frozenset({"tools"}), info={"supports_function_calling": True})
    assert fitted(partly, reasoning_effort="low") == ({"reasoning_effort": "low"}, [])


def test_openrouter_is_told_the_budget_in_its_own_words() -> None:
    params, changes = fitted(at("openrouter"), thinking={"type": "enabled", "budget_tokens": 2_000})
    assert params == {"reasoning": {"max_tokens": 2_000}}
    assert changes == ["thinking became reasoning={'max_tokens': 2000} for openrouter"]
    assert fitted(at("openrouter"), thinking={"type": "disabled"})[1] == []


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_openrouters_reasoning_becomes_an_effort(provider: str) -> None:
    thinker = at(provider, "o3" if provider == "openai" else None, capabilities=frozenset({"reasoning"}))
    assert fitted(thinker, reasoning={"effort": "low"})[0] == {"reasoning_effort": "low"}


def test_a_host_may_choose_openais_other_endpoint_by_reasoning() -> None:
    lazy = LazyMessages([{"role": "user", "content": "hi"}], lambda raw: to_messages([raw])[0])
    request = Request(model="fast", messages=lazy, params={"reasoning": {"effort": "low", "summary": "auto"}})
    assert fit_request(request, at("openai", "gpt-5")) == (request, ())


def test_words_with_another_name_are_renamed() -> None:
    params, changes = fitted(at("mistral"), seed=7, max_completion_tokens=9)
    assert params == {"random_seed": 7, "max_tokens": 9}
    assert changes == [
        "max_completion_tokens became max_tokens for mistral",
        "seed became random_seed for mistral",
    ]


def test_reasoning_models_refuse_sampling() -> None:
    params, changes = fitted(at("openai", "gpt-5-mini"), temperature=0.2, top_p=0.5, stop=["x"], max_tokens=9)
    assert params == {"max_tokens": 9}
    assert [change.split(":")[0] for change in changes] == [
        "left out temperature",
        "left out top_p",
        "left out stop",
    ]
    for model in ("gpt-4o", "gpt-5.1", "gpt-5-chat-latest"):
        assert fitted(at("openai", model), temperature=0.2, top_p=0.5, stop=["x"])[1] == []


def test_a_temperature_of_one_is_taken_everywhere() -> None:
    for one in (at("openai", "o3"), at("anthropic", "claude-opus-4-7")):
        assert fitted(one, temperature=1) == ({"temperature": 1}, [])


def test_two_words_that_do_not_go_together() -> None:
    params, changes = fitted(at("anthropic"), temperature=0.2, top_p=0.5)
    assert params == {"temperature": 0.2}
    assert changes == ["left out top_p: claude-sonnet-4-5 does not take it beside temperature"]


@pytest.mark.parametrize("asked", [{"reasoning_effort": "low"}, {"thinking": {"type": "adaptive"}}])
def test_sampling_is_left_out_beside_thinking(asked: dict[str, Any]) -> None:
    params, changes = fitted(at("anthropic"), temperature=0.2, top_k=4, **asked)
    assert params == asked
    assert len(changes) == 2
    assert fitted(at("anthropic"), temperature=0.2, reasoning_effort="none")[1] == []


def test_anthropic_takes_a_users_id_and_no_other_metadata() -> None:
    params, changes = fitted(at("anthropic"), metadata={"user_id": "u", "team": "t"})
    assert params == {"metadata": {"user_id": "u"}}
    assert changes == ["left out all of metadata but user_id: anthropic does not take it"]
    assert fitted(at("anthropic"), metadata={"team": "t"})[0] == {}


def test_tiers_of_service_are_told_apart() -> None:
    assert fitted(at("anthropic"), service_tier="default")[0] == {"service_tier": "standard_only"}
    assert fitted(at("anthropic"), service_tier="flex")[0] == {}


def test_markers_on_tools_go_only_to_who_knows_them() -> None:
    tool = {"type": "function", "function": {"name": "x"}, "cache_control": {"type": "ephemeral"}}
    params, changes = fitted(at("openai"), tools=[tool, {"type": "function", "function": {"name": "y"}}])
    assert params["tools"] == [{"type": "function", "function": {"name": n}} for n in "xy"]
    assert changes == ["left out cache_control in tools: openai does not take it"]
    assert "cache_control" in tool


def test_what_configuration_allows_is_sent() -> None:
    for one in (
        at("openai", params={"allowed_openai_params": ["top_k"]}),
        at("openai", endpoint=Endpoint(options={"allowed_openai_params": ["top_k"]})),
    ):
        assert fitted(one, top_k=5, min_p=0.1)[0] == {"top_k": 5}


def test_behind_another_address_openai_is_only_a_wire() -> None:
    elsewhere = Endpoint(base_url="http://vllm.internal/v1")
    assert fitted(at("openai", "llama-3", endpoint=elsewhere), top_k=5)[1] == []
    assert fitted(at("openai", "gpt-oss-120b", endpoint=elsewhere), top_k=5)[1] == []
    assert fitted(at("openai", "gpt-4o", endpoint=elsewhere), top_k=5)[1] != []
    at_home = Endpoint(base_url="https://eu.api.openai.com/v1")
    assert fitted(at("openai", "llama-3", endpoint=at_home), top_k=5)[1] != []


def test_claude_is_claude_wherever_it_runs() -> None:
    assert fitted(at("vertex_ai", "claude-sonnet-4-5"), seed=1)[0] == {}
    assert fitted(at("vertex_ai", "gemini-2.5-pro"), seed=1)[0] == {"seed": 1}


def test_grok_refuses_penalties() -> None:
    assert fitted(at("xai"), presence_penalty=0.0)[0] == {}
    assert fitted(at("xai", "grok-3"), presence_penalty=0.1)[0] == {"presence_penalty": 0.1}


def test_only_chats_are_fitted() -> None:
    request = Request(model="fast", params={"input": "x", "user": "u", "seed": 1}, operation="embedding")
    assert fit_request(request, at("mistral")) == (request, ())


def test_efforts_and_budgets_are_each_others_inverse() -> None:
    for effort, tokens in tables.BUDGETS:
        assert effort_of({"type": "enabled", "budget_tokens": tokens}) == effort
        assert budget_of(effort) == tokens
    assert budget_of("high", most=5_000) == 4_999
    assert budget_of("low", most=1_000) is None
    assert budget_of("none") is None
    assert effort_of({"effort": "max"}) == "high"


@given(
    st.sampled_from(sorted(USUAL_MODELS)),
    st.dictionaries(
        st.sampled_from([*tables.TAKEN_BY, "temperature", "reasoning_effort", "max_completion_tokens"]),
        st.one_of(st.none(), st.integers(0, 9_000), st.text(max_size=3), st.just({"type": "enabled"})),
    ),
)
def test_fitting_is_done_once_and_loses_nothing_in_silence(provider: str, params: dict[str, Any]) -> None:
    before = dict(params)
    once, changes = fitted(at(provider), **params)
    again, more = fitted(at(provider), **once)
    assert params == before
    assert (again, more) == (once, [])
    for word in before.keys() - once.keys():
        assert any(word in change for change in changes)


# ------------------------------------------------------------ messages

SIGNED = {"type": "thinking", "thinking": "hm", "signature": "sig"}
CACHED = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}


def test_thoughts_of_another_provider_leave_the_history() -> None:
    history = [
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": [SIGNED, {"type": "text", "text": "so"}]},
        {"role": "assistant", "content": [SIGNED]},
    ]
    messages, changes = said(at("openai"), *history)
    assert messages == [history[0], {"role": "assistant", "content": [{"type": "text", "text": "so"}]}]
    assert changes == ["left out thinking in messages: openai does not take it"]
    assert said(at("anthropic"), *history) == (history, [])


def test_anthropic_takes_only_what_was_signed() -> None:
    unsigned = {"type": "thinking", "thinking": "hm"}
    messages, changes = said(
        at("anthropic"), {"role": "assistant", "content": [unsigned, {"type": "text", "text": "so"}]}
    )
    assert messages[0]["content"] == [{"type": "text", "text": "so"}]
    assert changes == ["left out thinking in messages: anthropic does not take it"]


def test_mistrals_own_thoughts_are_lists() -> None:
    own = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    messages, _ = said(at("mistral"), {"role": "assistant", "content": [own, SIGNED]})
    assert messages[0]["content"] == [own]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"])
@pytest.mark.parametrize("provider", ["openai", "groq", "mistral"])
def test_thoughts_beside_the_content_leave_as_well(provider: str, field: str) -> None:
    messages, changes = said(at(provider), {"role": "assistant", "content": "so", field: "hm"})
    assert messages == [{"role": "assistant", "content": "so"}]
    assert changes == [f"left out {field} in messages: {provider} does not take it"]
    kept = {"role": "assistant", "content": "so", field: "hm"}
    assert said(at("hosted_vllm"), kept) == ([kept], [])


def test_markers_in_messages_go_only_to_who_knows_them() -> None:
    messages, changes = said(at("openai"), {"role": "system", "content": [CACHED]})
    assert messages == [{"role": "system", "content": [{"type": "text", "text": "long"}]}]
    assert changes == ["left out cache_control in messages: openai does not take it"]
    for provider in ("anthropic", "openrouter", "gemini", "bedrock"):
        assert said(at(provider), {"role": "system", "content": [CACHED]})[1] == []


@pytest.mark.parametrize(
    ("provider", "given_id"),
    [("mistral", "call_abc123"), ("anthropic", "functions.search:0"), ("openai", "x" * 64)],
)
def test_ids_of_tool_calls_change_in_pairs(provider: str, given_id: str) -> None:
    call = {"id": given_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages, changes = said(
        at(provider),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_call_id": given_id},
    )
    made = messages[0]["tool_calls"][0]["id"]
    assert made == messages[1]["tool_call_id"] != given_id
    assert tables.IDS[provider][0].fullmatch(made)
    assert changes == [f"gave tool calls other ids: {provider} does not take theirs"]


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(sorted(tables.IDS)))
def test_made_ids_fit_and_are_told_apart(one: str, other: str, family: str) -> None:
    made = fitting_id(one, family)
    assert tables.IDS[family][0].fullmatch(made)
    assert fitting_id(made, family) == made
    assert (made == fitting_id(other, family)) == (one == other) or fitting_id(other, family) == one


def test_groq_takes_no_names() -> None:
    messages, changes = said(at("groq"), {"role": "user", "content": "hi", "name": "ann"})
    assert messages == [{"role": "user", "content": "hi"}]
    assert changes == ["left out name in messages: groq does not take it"]


def test_lazy_messages_are_never_read() -> None:
    def read(raw: Any) -> Message:
        raise AssertionError("read")

    lazy = LazyMessages([{"role": "assistant", "content": [SIGNED]}], read)
    request, changes = fit_request(Request(model="fast", messages=lazy, params={"top_k": 1}), at("openai"))
    assert request.messages is lazy
    assert changes == ["left out top_k: openai does not take it"]


# ------------------------------------------------------------ calls


@every_face
def test_each_attempt_says_what_was_changed_for_it(face: str) -> None:
    s = scene(
        {"one": [ConnectionError("gone")], "other": ["hello"]},
        deployments=[
            deployment("one", provider="openai", model="gpt-4o"),
            deployment("other", provider="anthropic", model="claude-sonnet-4-5"),
        ],
    )
    request = Request(
        model="fast",
        messages=to_messages("hi"),
        params={"seed": 1, "max_tokens": 5},
        stream=face in ("stream", "astream"),
    )
    told = ask(face, s.gateway, request)
    assert told.text == "hello"
    attempts = told.record.to_dict()["attempts"]
    assert [one["adapted"] for one in attempts] == [[], ["left out seed: anthropic does not take it"]]
    assert [dict(request.params) for _, request in s.provider.sent] == [
        {"seed": 1, "max_tokens": 5},
        {"max_tokens": 5},
    ]


def test_a_request_without_foreign_words_costs_next_to_nothing() -> None:
    request = Request(
        model="fast",
        messages=(Message(role="user", content="hi"),),
        params={"temperature": 0.2, "max_tokens": 9},
    )
    where = at("anthropic")
    best = min(timeit.repeat(lambda: fit_request(request, where), number=2_000, repeat=7)) / 2_000
    assert best < 5e-6  # 0.4 us on an idle machine
