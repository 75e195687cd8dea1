"""A stream that breaks after its first content ends, goes on or begins anew, as the caller chose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_llmgate import ChatLLMGate
from pydantic import BaseModel
from support.langchain_faces import ENTRANCES, STREAMS
from support.langchain_leaves import Fake, fake, leaf

from llmgate_plugins import ConfigurationError, Gateway, Request, StreamInterrupted, hookimpl
from llmgate_plugins.plugins import Failover
from llmgate_plugins.testing import Fault, SimulatedProvider

WORDS = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(WORDS)


def _streaming(entrance: str) -> Any:
    def ask(gate: Any, prompt: Any, config: Any = None, **words: Any) -> Any:
        return ENTRANCES[entrance](gate.model_copy(update={"streaming": True}), prompt, config, **words)

    return ask


READERS = {**STREAMS, "invoke": _streaming("invoke"), "ainvoke": _streaming("ainvoke")}
"""Every way to an answer that is read as a stream, by the reader or by LangChain's core."""
CHUNKED = {name: ask for name, ask in READERS.items() if "v3" not in name}


def quick() -> Failover:
    return Failover(base=0.0, throttle_base=0.0)


def breaking(after: int = 2, *others: Any, **settings: Any) -> ChatLLMGate:
    """A gate whose first model breaks after so many pieces."""
    first = fake("first", pieces=WORDS, breaks_after=after)
    return ChatLLMGate.from_models({"fast": [first, *others]}, plugins=[quick()], **settings)


class Continuing(Fake):
    """Goes on from the beginning of an answer: a model of which the catalogue knows that it can."""

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {
            "ls_provider": "anthropic",
            "ls_model_name": "claude-haiku-4-5",
            "ls_model_type": "chat",
        }

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        begun = self.asked[-1][0][-1]
        said = begun.text if isinstance(begun, AIMessage) else ""
        assert WHOLE.startswith(said)
        yield ChatGenerationChunk(message=AIMessageChunk("", response_metadata=self._metadata(), id="msg_2"))
        for word in WHOLE[len(said) :].split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(f" {word}" if word else "", id="msg_2"))
        yield ChatGenerationChunk(message=AIMessageChunk(""), generation_info={"finish_reason": "stop"})


@pytest.mark.parametrize("entrance", READERS)
def test_by_default_a_break_ends_the_stream(entrance: str) -> None:
    other = fake("other", pieces=WORDS)
    gate = breaking(2, other)

    with pytest.raises(StreamInterrupted) as caught:
        READERS[entrance](gate, "count")

    assert caught.value.partial == "One two "
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert other.asked == []


@pytest.mark.parametrize("entrance", READERS)
def test_resumed_by_asking_again_it_is_one_whole_answer(entrance: str) -> None:
    gate = breaking(2, fake("other", pieces=("One t", "wo three", " four ", "five.")), on_break="resume")

    answer = READERS[entrance](gate, "count")

    assert answer.text == WHOLE
    assert answer.response_metadata["finish_reason"] == "stop"
    told = answer.response_metadata["llmgate"]
    assert [one["status"] for one in told["attempts"]] == ["error", "success"]
    assert told["finished_by"] == "fast/fake-other"
    assert answer.response_metadata["model_provider"] == "fake"
    record = gate.gateway.decisions[-1]
    assert record.status == "success"
    assert record.served_by == "fast/fake-other"


@pytest.mark.parametrize("entrance", READERS)
def test_resumed_by_a_model_that_goes_on_from_what_was_said(entrance: str) -> None:
    other = Continuing(pieces=WORDS)
    gate = breaking(3, other, on_break="resume")

    answer = READERS[entrance](gate, "count")

    assert answer.text == WHOLE
    (messages, *_) = other.asked[0]
    assert messages[-1].text == "One two three"
    assert messages[0].text == "count"


@pytest.mark.parametrize("on_break", ["resume", "restart"])
def test_an_answer_has_one_id_however_many_attempts_gave_it(on_break: str) -> None:
    gate = breaking(3, Continuing(pieces=WORDS), on_break=on_break)

    chunks = list(gate.stream("count"))

    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1


@pytest.mark.parametrize("entrance", READERS)
def test_another_answer_is_not_joined_to_this_one(entrance: str) -> None:
    gate = breaking(2, fake("other", pieces=("One ", "thing ", "more.")), on_break="resume")

    with pytest.raises(StreamInterrupted) as caught:
        READERS[entrance](gate, "count")

    assert caught.value.partial == "One two "
    assert [outcome.status for _, outcome in gate.gateway.decisions[-1].attempts] == ["error", "error"]


@pytest.mark.parametrize("entrance", CHUNKED)
def test_begun_anew_the_answer_is_only_the_new_one(entrance: str) -> None:
    gate = breaking(2, fake("other", pieces=("Eins ", "zwei.")), on_break="restart")

    answer = CHUNKED[entrance](gate, "count")

    assert answer.text == "Eins zwei."
    told = answer.response_metadata["llmgate"]
    assert told["restarted"] is True
    assert told["deployment"] == "fast/fake-other"
    assert [one["status"] for one in told["attempts"]] == ["error", "success"]
    assert answer.response_metadata["model_name"] == "other"
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["total_tokens"] == 5


def test_the_reader_of_a_stream_is_told_where_it_begins_anew() -> None:
    gate = breaking(2, fake("other", pieces=("Eins ", "zwei.")), on_break="restart")

    seen: list[str] = []
    for chunk in gate.stream("count"):
        if (chunk.response_metadata.get("llmgate") or {}).get("restarted"):
            assert "".join(seen) == "One two "
            seen.clear()
        seen.append(chunk.text)

    assert "".join(seen) == "Eins zwei."


def test_it_may_begin_anew_more_than_once() -> None:
    gate = breaking(
        3,
        fake("second", pieces=("Uno ", "due ", "tre"), breaks_after=2),
        fake("third", pieces=("Eins ", "zwei.")),
        on_break="restart",
    )

    answer = STREAMS["stream"](gate, "count")

    assert answer.text == "Eins zwei."
    assert answer.response_metadata["llmgate"]["deployment"] == "fast/fake-third"
    assert READERS["invoke"](breaking(2, fake("b", pieces=("x",)), on_break="restart"), "count").text == "x"


async def test_a_chunk_of_any_stream_adds_up_like_a_plain_one() -> None:
    gate = breaking(2, fake("other", pieces=("Eins ", "zwei.")), on_break="restart")

    whole: Any = None
    async for chunk in gate.astream("count"):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk

    assert type(whole) is AIMessageChunk
    assert whole.text == "Eins zwei."


@pytest.mark.parametrize("entrance", ["stream_events_v3", "astream_events_v3"])
def test_where_nobody_can_be_told_it_is_resumed_instead(entrance: str) -> None:
    same = breaking(2, fake("other", pieces=WORDS), on_break="restart")
    different = breaking(2, fake("other", pieces=("Eins ",)), on_break="restart")

    assert STREAMS[entrance](same, "count").text == WHOLE
    with pytest.raises(StreamInterrupted):
        STREAMS[entrance](different, "count")


@pytest.mark.parametrize("entrance", READERS)
def test_held_back_until_it_is_whole_an_answer_fails_over_freely(entrance: str) -> None:
    gate = breaking(2, fake("other", pieces=("Eins ", "zwei.")), on_break="hold")

    answer = READERS[entrance](gate, "count")

    assert answer.text == "Eins zwei."
    assert "restarted" not in answer.response_metadata["llmgate"]


def test_a_call_may_choose_for_itself() -> None:
    def gate(**settings: Any) -> ChatLLMGate:
        return breaking(2, fake("other", pieces=("Eins",)), **settings)

    assert STREAMS["stream"](gate(), "count", on_break="hold").text == "Eins"
    assert STREAMS["stream"](gate().bind(on_break="hold"), "count").text == "Eins"
    configured = gate(configurable=("on_break",))
    assert STREAMS["stream"](configured, "count", {"configurable": {"on_break": "hold"}}).text == "Eins"
    with pytest.raises(StreamInterrupted):
        STREAMS["stream"](gate(), "count", {"configurable": {"on_break": "hold"}})
    with pytest.raises(StreamInterrupted):
        STREAMS["stream"](gate(on_break="hold"), "count", on_break="raise")


def test_a_gateways_own_choice_counts_where_nothing_else_is_said() -> None:
    made = breaking(2, fake("other", pieces=WORDS))
    gateway = Gateway(
        list(made.gateway.deployments.values()),
        plugins=[quick()],
        transport=made.gateway.transport,
        on_break="resume",
    )
    gate = ChatLLMGate(model="fast", gateway=gateway)
    gate.fleet = made.fleet  # its models were given, not configured

    assert STREAMS["stream"](gate, "count").text == WHOLE


@pytest.mark.parametrize("entrance", READERS)
def test_a_policy_may_choose_where_nobody_else_does(entrance: str) -> None:
    class Policy:
        @hookimpl
        def admit_request(self, request: Request) -> Request | None:
            return request.replace(on_break="hold") if request.on_break is None else None

    def gate(**settings: Any) -> ChatLLMGate:
        first = fake("first", pieces=WORDS, breaks_after=2)
        models = {"fast": [first, fake("other", pieces=("Eins",))]}
        return ChatLLMGate.from_models(models, plugins=[Policy(), quick()], **settings)

    assert READERS[entrance](gate(), "count").text == "Eins"
    with pytest.raises(StreamInterrupted):
        READERS[entrance](gate(on_break="raise"), "count")


def test_a_choice_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="raise, restart, resume, hold"):
        list(breaking().stream("count", on_break="continue"))
    with pytest.raises(ValueError, match="on_break"):
        breaking(on_break="continue")


class Number(BaseModel):
    """A number."""

    value: int


@pytest.mark.parametrize("on_break", ["resume", "restart"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_structured_answer_is_never_joined(
    on_break: str, method: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("reset_midstream", after=1))
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider), leaf("openai", other)]}, plugins=[quick()], on_break=on_break
    )

    with pytest.raises(StreamInterrupted):
        list(gate.with_structured_output(Number, method=method).stream("The number 7?"))

    assert other.requests == []


def test_a_tool_call_is_never_joined(provider: SimulatedProvider, other: SimulatedProvider) -> None:
    def look_up(place: str) -> str:
        """What is there."""
        return place

    provider.fail_always(Fault("reset_midstream", after=2))
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider), leaf("openai", other)]}, plugins=[quick()], on_break="resume"
    )

    with pytest.raises(StreamInterrupted):
        list(gate.bind_tools([look_up], tool_choice="any").stream("Look up Paris"))

    assert other.requests == []


@pytest.mark.parametrize("entrance", READERS)
@pytest.mark.parametrize(("first", "second"), [("openai", "anthropic"), ("anthropic", "openai")])
@pytest.mark.parametrize("fault", ["reset_midstream", "cut", "error_event", "truncated", "malformed"])
def test_providers_take_over_from_each_other(
    entrance: str,
    first: str,
    second: str,
    fault: Any,
    provider: SimulatedProvider,
    other: SimulatedProvider,
) -> None:
    def go_on(question: Any) -> str:
        last = question.messages[-1]
        return "and five." if last.role == "assistant" else "One two three four and five."

    other.reply(go_on)
    provider.reply("One two three four and five.")
    provider.fail_always(Fault(fault, after=4))
    gate = ChatLLMGate.from_models(
        {"fast": [leaf(first, provider), leaf(second, other, model=_plain_model(second))]},
        plugins=[quick()],
        on_break="resume",
    )

    answer = READERS[entrance](gate, "count")

    assert answer.text == "One two three four and five."
    assert len(other.requests) == 1
    assert answer.response_metadata["llmgate"]["finished_by"].startswith(f"fast/{second}")


def _plain_model(kind: str) -> str:
    """A model that is asked anew, since it does not go on from a given beginning."""
    return {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6"}[kind]


def test_anthropic_goes_on_from_what_openai_said(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.reply("One two three four.")
    provider.fail_always(Fault("cut", after=2))
    other.reply(lambda question: " three four." if question.messages[-1].role == "assistant" else "?")
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider), leaf("anthropic", other)]}, plugins=[quick()], on_break="resume"
    )

    chunks = list(gate.stream("count"))

    assert "".join(chunk.text for chunk in chunks) == "One two three four."
    assert other.requests[0].body["messages"][-1]["content"] == "One two"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_gate_within_a_gate_leaves_it_to_the_outer_one() -> None:
    inner = breaking(2, fake("other", pieces=("Uno ", "due.")), on_break="restart")
    outer = ChatLLMGate.from_models(
        {"fast": [inner, fake("last", pieces=("Eins ", "zwei."))]}, plugins=[quick()], on_break="restart"
    )

    assert STREAMS["stream"](outer, "count").text == "Eins zwei."
    assert READERS["invoke"](outer, "count").text == "Eins zwei."


class Cut(Fake):
    """Breaks after what it was told to stream."""

    said: Any = None

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk("", response_metadata=self._metadata()))
        yield ChatGenerationChunk(message=self.said)
        raise ConnectionError("the line went dead")


LONG = "x" * 400
"""A hundred tokens, by the estimate."""
CALLED = {"name": "save", "args": LONG[4:], "id": "1", "index": 0, "type": "tool_call_chunk"}


@pytest.mark.parametrize("entrance", STREAMS)
@pytest.mark.parametrize(
    "said",
    [
        AIMessageChunk([{"type": "thinking", "thinking": LONG, "index": 0}]),
        AIMessageChunk([{"type": "reasoning", "summary": [{"type": "summary_text", "text": LONG}]}]),
        AIMessageChunk("", additional_kwargs={"reasoning_content": LONG}),
        AIMessageChunk("", tool_call_chunks=[CALLED]),
        AIMessageChunk(LONG),
    ],
    ids=["thinking", "summary", "reasoning", "tool call", "text"],
)
def test_all_that_was_delivered_is_booked_of_what_kind_it_may_be(entrance: str, said: AIMessageChunk) -> None:
    gate = ChatLLMGate.from_models({"fast": [Cut(said=said)]})

    with pytest.raises(StreamInterrupted):
        STREAMS[entrance](gate, "count")

    (row,) = gate.gateway.services.ledger.attempts()
    assert (row["output_tokens"], row["estimated"]) == (100, True)
