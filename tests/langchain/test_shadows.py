"""Copies of a chat model's calls go to its own inner models, and are no part of the run."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import leaf

from llmgate_plugins.plugins.shadow import Shadow, ShadowTraffic
from llmgate_plugins.testing import SimulatedProvider


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_call_is_copied_to_another_provider(
    entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider)], "next": [leaf("anthropic", other)]},
        plugins=[ShadowTraffic([Shadow(name="new", to="next", similarity=True)])],
    )
    answer = ENTRANCES[entrance](gate, "hello there")
    assert answer.text == "You said: hello there"
    assert gate.gateway.follow_ups.wait(10)
    copies = [record for record in gate.gateway.decisions if record.shadow_of is not None]
    originals = [record for record in gate.gateway.decisions if record.shadow_of is None]
    assert [one.shadow_of for one in copies] == [one.call_id for one in originals]
    assert {one.status for one in copies} == {"success"}
    assert copies[0].notes["shadow"]["similarity"] == 1.0
    assert len(other.requests) == len(provider.requests) == len(copies)


def test_a_copy_is_no_part_of_the_run(provider: SimulatedProvider, other: SimulatedProvider) -> None:
    class Hears(BaseCallbackHandler):
        heard: list[str]

        def __init__(self) -> None:
            self.heard = []

        def on_llm_new_token(self, token: str, **_: Any) -> None:
            self.heard.append(token)

    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider)], "next": [leaf("anthropic", other)]},
        plugins=[ShadowTraffic([Shadow(name="new", to="next")])],
    )
    hears = Hears()
    text = "".join(chunk.text for chunk in gate.stream("hello there", config={"callbacks": [hears]}))
    assert gate.gateway.follow_ups.wait(10)
    assert len(other.requests) == 1
    assert "".join(hears.heard) == text == "You said: hello there"


def test_messages_that_the_caller_goes_on_with_are_copied_as_they_were(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider)], "next": [leaf("anthropic", other)]},
        plugins=[ShadowTraffic([Shadow(name="new", to="next")])],
    )
    messages: list[Any] = [("user", "hello")]
    messages.append(gate.invoke(messages))
    messages.append(("user", "and then?"))
    assert gate.gateway.follow_ups.wait(10)
    (copied,) = other.requests
    assert len(copied.body["messages"]) == 1
