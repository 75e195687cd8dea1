"""What traces, usage counters and caches make of a call through a gate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import LEAVES, fake, leaf

from llmgate_plugins import Context, Request, hookimpl, use_context
from llmgate_plugins.plugins import Policies, Weighted
from llmgate_plugins.testing import Fault, SimulatedProvider


class Tracer(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


@pytest.fixture
def cache() -> Iterator[InMemoryCache]:
    made = InMemoryCache()
    set_llm_cache(made)
    yield made
    set_llm_cache(None)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_trace_names_the_deployment_that_served(
    entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("server"))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider), leaf("anthropic", other)]})
    tracer = Tracer()

    ENTRANCES[entrance](gate, "hello", {"callbacks": [tracer]})

    (run,) = tracer.runs
    assert run.run_type in ("llm", "chat_model")
    assert run.child_runs == []
    assert run.extra is not None
    metadata = run.extra["metadata"]
    assert metadata["ls_provider"] == "anthropic"
    assert metadata["ls_model_name"] == "claude-haiku-4-5"
    assert metadata["ls_gateway_info"]["deployment"] == "fast/anthropic-claude-haiku-4-5"
    assert metadata["ls_gateway_info"]["attempt"] == 2
    assert metadata["lc_versions"]["langchain-llmgate"]


def test_the_trace_key_never_reaches_the_message() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})

    assert "lc_gateway_metadata" not in gate.invoke("hello").response_metadata
    assert all("lc_gateway_metadata" not in chunk.response_metadata for chunk in gate.stream("hello"))


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_usage_is_counted_once_and_under_the_served_model(
    kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("server"))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider, model="gpt-4o"), leaf(kind, other)]})
    counter = UsageMetadataCallbackHandler()

    first = ENTRANCES[entrance](gate, "hello", {"callbacks": [counter]})
    ENTRANCES[entrance](gate, "hello", {"callbacks": [counter]})

    ((model, usage),) = counter.usage_metadata.items()
    assert model.split("/")[-1].startswith(("gpt-4o-mini", "claude-haiku-4-5"))
    assert usage["total_tokens"] == 2 * first.usage_metadata["total_tokens"]


def test_usage_metadata_is_the_inner_models_own() -> None:
    assert ChatLLMGate.from_models({"fast": [fake()]}).invoke("hello").usage_metadata == {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
    }


# ------------------------------------------------------------ LangChain's cache


@pytest.mark.parametrize("entrance", ["invoke", "ainvoke", "batch", "abatch"])
def test_the_second_call_is_answered_from_langchains_cache(entrance: str, cache: InMemoryCache) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]})

    answers = [ENTRANCES[entrance](gate, "hello") for _ in range(2)]

    assert [one.text for one in answers] == ["hello", "hello"]
    assert len(inner.asked) == 1
    assert [record.status for record in gate.gateway.decisions] == ["success", "answered"]


def test_a_cached_structure_is_still_parsed(cache: InMemoryCache, provider: SimulatedProvider) -> None:
    schema = {"title": "City", "type": "object", "properties": {"name": {"type": "string"}}}
    gate = ChatLLMGate.from_models({"fast": [leaf("anthropic", provider)]})
    structured = gate.with_structured_output(schema, method="function_calling")

    answers = [structured.invoke("which city?") for _ in range(2)]

    assert answers[0] == answers[1]
    assert isinstance(answers[0], dict)
    assert len(provider.requests) == 1


def test_different_deployments_do_not_share_answers(cache: InMemoryCache) -> None:
    one, two = fake("one", pieces=("from one",)), fake("two", pieces=("from two",))

    texts = [ChatLLMGate.from_models({"fast": [inner]}).invoke("hello").text for inner in (one, two)]

    assert texts == ["from one", "from two"]


def test_different_policies_do_not_share_answers(cache: InMemoryCache) -> None:
    gates = [
        ChatLLMGate.from_models({"fast": [fake()]}),
        ChatLLMGate.from_models({"fast": [fake()]}, plugins=[Weighted()]),
        ChatLLMGate.from_models({"fast": [fake()], "b": [fake()]}, fallbacks={"fast": ["b"]}),
        ChatLLMGate.from_models({"fast": [fake()]}, temperature=0.5),
    ]

    assert len({gate._get_llm_string() for gate in gates}) == 4
    assert gates[0]._get_llm_string() == ChatLLMGate.from_models({"fast": [fake()]})._get_llm_string()


def test_tenants_do_not_share_answers(cache: InMemoryCache) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]})

    for tenant in ("a", "b", "a"):
        with use_context(Context(tenant=tenant)):
            gate.invoke("hello")

    assert len(inner.asked) == 2


def test_an_answer_is_not_shared_with_a_call_that_could_not_have_got_it(cache: InMemoryCache) -> None:
    one, two = fake("one", pieces=("from one",)), fake("two", pieces=("from two",))
    first, _ = ChatLLMGate.from_models({"fast": [one, two]}).gateway.deployments
    policies = Policies(
        {"default": {"prefer": "ordered"}, "narrow": {"ignore": [first]}},
        rules=[{"when": {"tag:place": "there"}, "use": "narrow"}],
    )
    gate = ChatLLMGate.from_models({"fast": [one, two]}, plugins=[policies])

    texts = [gate.invoke("hello", {"metadata": told}).text for told in ({}, {"place": "there"}) * 2]

    assert texts == ["from one", "from two"] * 2
    assert (len(one.asked), len(two.asked)) == (1, 1)


def test_what_a_policy_changed_is_the_key(cache: InMemoryCache) -> None:
    class Hotter:
        temperature = 0.1

        @hookimpl
        def admit_request(self, request: Request) -> Request:
            return request.replace(params={"temperature": Hotter.temperature})

    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[Hotter()])
    gate.invoke("hello")
    Hotter.temperature = 0.9
    gate.invoke("hello")

    assert len(inner.asked) == 2


def test_different_aliases_tools_and_structures_are_different_keys() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()], "strong": [fake()]})

    def f(a: int) -> int:
        """One."""
        return a

    keys = [
        gate._get_llm_string(**words)
        for words in (
            {},
            {"model": "strong"},
            dict(gate.bind_tools([f]).kwargs),  # type: ignore[attr-defined]
            dict(gate.bind_tools([f], tool_choice="any").kwargs),  # type: ignore[attr-defined]
            *(
                dict(gate.with_structured_output(dict(SCHEMA), method=method).first.kwargs)  # type: ignore[attr-defined]
                for method in ("json_schema", "function_calling", "json_mode", None)
            ),
        )
    ]

    assert len(set(keys)) == len(keys)
    assert not any("0x" in key for key in keys)


SCHEMA = {"title": "Thing", "type": "object", "properties": {"a": {"type": "string"}}}


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    import subprocess
    import sys

    script = (
        "from langchain_llmgate import ChatLLMGate\n"
        "from support.langchain_leaves import fake\n"
        "from llmgate_plugins.plugins import Weighted\n"
        "gate = ChatLLMGate.from_models({'fast': [fake('one'), fake('two')]}, plugins=[Weighted()])\n"
        "print(gate._get_llm_string())\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": "tests", "PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(told) == 1
    assert "0x" not in told.pop()


def test_a_run_that_fails_is_traced_with_the_attempts() -> None:
    tracer = Tracer()
    gate = ChatLLMGate.from_models({"fast": [fake(errors=[ValueError("no")] * 9)]}, defaults=False)

    with pytest.raises(ValueError, match="no"):
        gate.invoke("hello", {"callbacks": [tracer]})

    assert "llmgate attempt 1" in str(tracer.runs[0].error)


def test_invocation_parameters_hold_nothing_of_our_own() -> None:
    tracer = Tracer()
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    run: Any = {"callbacks": [tracer], "configurable": {"llmgate_context": Context(tenant="t")}}

    gate.invoke("hello", run)
    list(gate.stream("hello", run))

    for one in tracer.runs:
        assert one.extra is not None
        assert "llmgate_admission" not in repr(one.extra)
        assert "llmgate_context" not in repr(one.extra)
