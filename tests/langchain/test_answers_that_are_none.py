"""What a provider's package takes for an answer though it is none, is a failure: failed over, or told."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES, STREAMS
from support.langchain_leaves import LEAVES, Fake, fake, leaf

from llmgate_plugins import StreamInterrupted
from llmgate_plugins.plugins import Failover
from llmgate_plugins.testing import Fault, SimulatedProvider
from llmgate_plugins.testing.simulator.question import Reply

MODES = ("invoke", "ainvoke", "stream", "astream")
STREAM_MODES = ("stream", "astream")
STORY = "It was a dark and stormy night."


def quick() -> Failover:
    return Failover(base=0.0, throttle_base=0.0)


def over(*models: Any, **settings: Any) -> ChatLLMGate:
    return ChatLLMGate.from_models({"fast": list(models)}, plugins=[quick()], **settings)


def ask(entrance: str, gate: ChatLLMGate, other: SimulatedProvider) -> AIMessage | None:
    """The answer, or None if it was told that there is none. The books say the same."""
    other.reply(STORY)
    try:
        answer: AIMessage | None = ENTRANCES[entrance](gate, "Tell me a story.")
    except Exception:
        answer = None
    record = gate.gateway.decisions[-1]
    assert (record.status == "success") == (answer is not None)
    return answer


@pytest.mark.parametrize("entrance", MODES)
@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("fault", ["html", "empty", "malformed", "truncated", "error_event", "done_only"])
def test_what_breaks_before_any_content_fails_over(
    fault: Any, kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault(fault, after=0))

    answer = ask(entrance, over(leaf(kind, provider), leaf("openai", other)), other)

    assert answer is not None
    assert answer.text == STORY
    assert len(other.requests) == 1


@pytest.mark.parametrize("entrance", STREAM_MODES)
@pytest.mark.parametrize("kind", LEAVES)
def test_a_plain_answer_in_place_of_a_stream_is_not_lost(
    kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.reply(STORY)
    provider.fail_always(Fault("json"))

    answer = ask(entrance, over(leaf(kind, provider), leaf("openai", other)), other)

    assert answer is not None
    assert answer.text == STORY


@pytest.mark.parametrize("entrance", STREAM_MODES)
@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("fault", ["malformed", "truncated", "error_event", "cut", "reset_midstream"])
def test_what_breaks_after_content_is_told(
    fault: Any, kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.reply(STORY)
    provider.fail_always(Fault(fault, after=3))
    gate = over(leaf(kind, provider), leaf("openai", other))

    with pytest.raises(StreamInterrupted) as caught:
        ENTRANCES[entrance](gate, "Tell me a story.")

    assert caught.value.partial
    assert STORY.startswith(caught.value.partial)
    ((_, outcome),) = gate.gateway.decisions[-1].attempts
    assert outcome.status == "error"
    assert outcome.usage.output > 0
    assert other.requests == []


@pytest.mark.parametrize("entrance", STREAM_MODES)
@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("fault", ["no_done", "usage_twice", "duplicate_finish", "odd_lines"])
def test_an_odd_but_whole_stream_is_an_answer_and_counted_once(
    fault: Any, kind: str, entrance: str, provider: SimulatedProvider
) -> None:
    provider.reply(STORY)
    healthy = ENTRANCES[entrance](over(leaf(kind, provider)), "Tell me a story.")
    provider.fail_always(Fault(fault))
    gate = over(leaf(kind, provider))

    answer = ENTRANCES[entrance](gate, "Tell me a story.")

    assert answer.text == STORY
    told, usual = answer.response_metadata, healthy.response_metadata
    for name in ("finish_reason", "stop_reason", "model_name", "model_provider"):
        assert told.get(name) == usual.get(name)
    assert answer.usage_metadata == healthy.usage_metadata
    assert gate.gateway.decisions[-1].usage.total == healthy.usage_metadata["total_tokens"]


@pytest.mark.parametrize("entrance", MODES)
@pytest.mark.parametrize("kind", LEAVES)
def test_an_empty_answer_is_asked_for_once_more_and_kept_if_nothing_better_comes(
    kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.reply(Reply(text=""))

    better = ask(entrance, over(leaf(kind, provider), leaf("openai", other)), other)
    gate = over(leaf(kind, provider))
    only = ENTRANCES[entrance](gate, "Tell me a story.")

    assert better is not None
    assert better.text == STORY
    assert only.text == ""


@pytest.mark.parametrize("entrance", MODES)
@pytest.mark.parametrize("kind", LEAVES)
def test_a_tool_call_without_words_is_an_answer(
    kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    def look_up(place: str) -> str:
        """What is there."""
        return place

    gate = over(leaf(kind, provider), leaf("openai", other))

    answer = ENTRANCES[entrance](gate.bind_tools([look_up], tool_choice="any"), "Look up Paris")

    assert [call["name"] for call in answer.tool_calls] == ["look_up"]
    assert other.requests == []


class Reporting(Fake):
    """Reports its usage in several chunks."""

    reports: tuple[tuple[int, int], ...] = ()

    def _chunks(self) -> Any:
        for read, wrote in self.reports:
            used = {"input_tokens": read, "output_tokens": wrote, "total_tokens": read + wrote}
            yield ChatGenerationChunk(message=AIMessageChunk(content="x", usage_metadata=used))
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=""), generation_info={"finish_reason": "stop"}
        )


@pytest.mark.parametrize("entrance", STREAMS)
@pytest.mark.parametrize(
    "reports",
    [
        ((7, 5),),
        ((7, 0), (0, 5)),  # the input first, the output last
        ((7, 2), (0, 1), (0, 1), (0, 1)),  # each increment
        ((7, 5), (7, 5)),  # twice the same
        ((7, 1), (7, 3), (7, 5)),  # all so far, each time
        ((0, 0), (7, 5)),
    ],
)
def test_however_usage_is_reported_it_is_counted_once(
    reports: tuple[tuple[int, int], ...], entrance: str
) -> None:
    gate = over(Reporting(reports=reports))

    answer = STREAMS[entrance](gate, "hello")

    used = gate.gateway.decisions[-1].usage
    assert (used.input, used.output) == (7, 5)
    assert answer.usage_metadata["input_tokens"] == 7
    assert answer.usage_metadata["output_tokens"] == 5


@pytest.mark.parametrize("entrance", MODES)
def test_a_role_alone_is_no_answer(entrance: str) -> None:
    class Mute(Fake):
        def _generate(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> ChatResult:
            result = super()._generate(messages, stop, **kwargs)
            result.generations[0].message.content = ""
            return result

    gate = over(Mute(pieces=()), fake("other", pieces=("he", "llo")))

    answer = ENTRANCES[entrance](gate, "hello")

    assert answer.text == "hello"
    assert answer.response_metadata["llmgate"]["deployment"] == "fast/fake-other"


@pytest.mark.parametrize("entrance", MODES)
def test_what_headers_say_of_rate_limits_is_noted(entrance: str, provider: SimulatedProvider) -> None:
    provider.throttle(50)
    gate = over(leaf("openai", provider, include_response_headers=True))

    ENTRANCES[entrance](gate, "hello")

    ((_, outcome),) = gate.gateway.decisions[-1].attempts
    assert outcome.quota is not None
    assert outcome.quota.limits["requests"] == 50
    assert outcome.quota.remaining["requests"] == 49
