"""What packages tell of usage that make no `usage_metadata` of it: it is booked, and not estimated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES, STREAMS
from support.langchain_leaves import Fake

OPENAI = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
ANTHROPIC = {"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 30}
REPORTS = {"OpenAI's words": OPENAI, "Anthropic's words": ANTHROPIC}


class Telling(Fake):
    """Tells its usage at one place, in its provider's words."""

    where: str = "response_metadata"
    told: dict[str, Any]

    def _answer(self) -> ChatResult:
        beside = self.told if self.where == "response_metadata" else {}
        message = AIMessage("".join(self.pieces), response_metadata={**self._metadata(), **beside})
        return ChatResult(
            generations=[ChatGeneration(message=message, generation_info={"finish_reason": "stop"})],
            llm_output=self.told if self.where == "llm_output" else None,
        )

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        for piece in self.pieces:
            yield ChatGenerationChunk(
                message=AIMessageChunk(piece, response_metadata={"model_provider": "fake"})
            )
        in_message = self.where == "response_metadata"
        yield ChatGenerationChunk(
            message=AIMessageChunk("", response_metadata=self.told if in_message else {}),
            generation_info={"finish_reason": "stop", **({} if in_message else self.told)},
        )


@pytest.mark.parametrize("entrance", {**ENTRANCES, **STREAMS})
@pytest.mark.parametrize("name", ["token_usage", "usage"])
@pytest.mark.parametrize("where", ["response_metadata", "llm_output"])
@pytest.mark.parametrize("report", REPORTS)
def test_it_is_booked_as_it_was_told(entrance: str, name: str, where: str, report: str) -> None:
    inner = Telling(where=where, told={name: REPORTS[report]})
    gate = ChatLLMGate.from_models({"fast": [inner]})

    {**ENTRANCES, **STREAMS}[entrance](gate, "hello")

    (row,) = gate.gateway.services.ledger.attempts()
    assert (row["output_tokens"], row["estimated"]) == (30, False)
    assert row["input_tokens"] + row["cached_input_tokens"] == 120


def test_what_is_no_report_is_estimated() -> None:
    for told in (
        {"token_usage": {}},
        {"token_usage": "many"},
        {"usage": None},
        {"usage": {"prompt_tokens": 0}},
    ):
        gate = ChatLLMGate.from_models({"fast": [Telling(told=told)]})
        gate.invoke("hello")
        (row,) = gate.gateway.services.ledger.attempts()
        assert row["estimated"], told
        assert row["output_tokens"] > 0
