"""In a chain or a batch, a call's span is where the chain is; one trace, whatever fails over."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_llmgate import ChatLLMGate
from opentelemetry import trace
from pydantic import Field
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import Fake
from support.telemetry import Listener

from llmgate_plugins import ProviderError

every_entrance = pytest.mark.parametrize("entrance", ENTRANCES)


class Looking(Fake):
    """Notes which span is current while it is asked."""

    saw: list[int] = Field(default_factory=list)

    def _meet(self, *given: Any) -> None:
        self.saw.append(trace.get_current_span().get_span_context().span_id)
        super()._meet(*given)


@every_entrance
def test_a_call_in_a_chain_is_below_the_span_around_the_chain_and_above_what_the_model_does(
    entrance: str,
) -> None:
    told, first = Listener(), Looking(errors=[ProviderError("down", status=503)])
    second = Looking(name_told="other")
    gate = ChatLLMGate.from_models({"fast": [first, second]}, plugins=[told.plugin])
    # Version 3 of LangChain's events is for models and graphs, not for chains.
    chain = gate if "v3" in entrance else RunnableLambda(str.strip) | gate
    with told.inside("chain") as outer:
        assert ENTRANCES[entrance](chain, " hello ").text == "hello"
    context = outer.get_span_context()
    call = told.call
    assert call.parent.span_id == context.span_id
    assert {span.context.trace_id for span in told.spans} == {context.trace_id}
    assert [span.context.span_id for span in told.attempts] == [*first.saw, *second.saw]
    assert len(told.attempts) == 2


def test_calls_side_by_side_are_all_below_the_span_around_them() -> None:
    told = Listener()
    gate = ChatLLMGate.from_models({"fast": Looking()}, plugins=[told.plugin])
    with told.inside("chain") as outer:
        RunnableParallel(left=gate, right=gate).invoke("hello")
    calls = [span for span in told.spans if span.kind is trace.SpanKind.CLIENT]
    assert [span.parent.span_id for span in calls] == [outer.get_span_context().span_id] * 2


def test_a_gate_below_a_gate_is_a_call_below_an_attempt() -> None:
    told = Listener()
    inner = ChatLLMGate.from_models({"inner": Looking()}, model="inner", plugins=[told.plugin])
    other = Listener()
    outer = ChatLLMGate.from_models({"outer": inner}, model="outer", plugins=[other.plugin])
    outer.invoke("hello")
    (attempt,) = other.attempts
    assert told.call.parent.span_id == attempt.context.span_id
    assert told.call.context.trace_id == other.call.context.trace_id


def test_an_answer_from_langchains_cache_is_a_call_without_attempts() -> None:
    told = Listener()
    gate = ChatLLMGate.from_models({"fast": Looking()}, plugins=[told.plugin], cache=InMemoryCache())
    for _ in range(2):
        assert gate.invoke("hello").text == "hello"
    assert len(told.attempts) == 1
    statuses = [span.attributes.get("llmgate.call.status") for span in told.spans]
    assert statuses == ["success", None, "answered"]
    assert told.total("llmgate.calls", llmgate__call__status="answered") == 1
