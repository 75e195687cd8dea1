"""Errors that repeat what was asked: the books keep what they say, and nothing of the prompt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faces import ask, every_face
from support.gateways import deployment

from llmgate_plugins import Gateway, Message, Request, RequestDenied, hookimpl
from llmgate_plugins._engine.echoes import said_by
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.testing import ScriptedProvider

ASKED = 'My "name" is Käthe,\nand I live at 12 Long Lane. Who am I?'
SHORT = "PIN 4711"
REPEATED = {
    "as it is": ASKED,
    "a part of it": ASKED[18:52],
    "as JSON": json.dumps({"messages": [{"role": "user", "content": ASKED}]}),
    "as JSON of any letters": json.dumps([ASKED], ensure_ascii=False),
    "as Python": repr({"input": ASKED}),
    "twice": f"{ASKED} and {ASKED}",
}


class Repeats:
    """Fails at one place, with what it was given."""

    def __init__(self, where: str) -> None:
        self.where = where

    @hookimpl
    def admit_request(self, request: Request) -> None:
        if self.where == "denied":
            raise RequestDenied(f"not this: {request.messages[0].text}", code="words")
        if self.where == "admit_request":
            raise ValueError(f"input_value={request.messages[0].text!r}")

    @hookimpl
    def end_attempt(self, request: Request) -> None:
        if self.where == "end_attempt":
            raise ValueError(f"input_value={request.messages[0].text!r}")


def kept(face: str, gateway: Gateway, prompt: str = ASKED) -> tuple[str, Any]:
    """All that the books say of one call, and its error."""
    told = ask(face, gateway, prompt=prompt)
    ledger = gateway.services.ledger
    return json.dumps([*ledger.attempts(), *ledger.calls()], default=str, ensure_ascii=False), told.error


def gateway(*steps: Any, plugins: Any = ()) -> Gateway:
    provider = ScriptedProvider({"a": steps}, default=None)
    return Gateway([deployment("a")], transport=provider, plugins=plugins, ledger=MemoryLedger())


@every_face
@pytest.mark.parametrize("how", REPEATED)
def test_an_error_of_a_provider_that_repeats_the_prompt_is_kept_without_it(face: str, how: str) -> None:
    error = ProviderError(f"422: cannot parse {REPEATED[how]}, sorry", status=422)
    books, raised = kept(face, gateway(error))
    for piece in ("Käthe", "K\\u00e4the", "Long Lane", "name"):
        assert piece not in books.replace('"model_name"', "")
    assert "ProviderError: 422: cannot parse" in books
    assert "sorry" in books
    assert raised is error
    assert REPEATED[how] in str(raised)


@every_face
@pytest.mark.parametrize("where", ["admit_request", "end_attempt", "denied"])
def test_a_plugin_that_fails_with_the_prompt_in_its_words_keeps_none_of_it(face: str, where: str) -> None:
    books, _ = kept(face, gateway("fine", plugins=[Repeats(where)]))
    assert "Long Lane" not in books
    assert ("not this: ****" if where == "denied" else "ValueError: input_value=") in books


def test_a_short_prompt_is_found_as_a_whole() -> None:
    books, _ = kept("sync", gateway(ProviderError(f"no: {SHORT}!", status=400)), SHORT)
    assert "4711" not in books


def test_what_stands_beside_the_messages_is_found_too() -> None:
    request = Request(model="m", operation="embedding", params={"input": ["one", ASKED], "user": "u"})
    assert said_by(ValueError(f"bad: {ASKED}"), request) == "ValueError: bad: ****"


def test_an_error_that_repeats_all_it_was_sent_is_cut() -> None:
    request = Request(model="m", messages=(Message(role="user", content="hello"),))
    assert len(said_by(ValueError("x" * 100_000), request)) < 5_000


@given(st.text(), st.text(), st.lists(st.text(max_size=20), max_size=3))
def test_words_of_its_own_are_left_as_they_are(before: str, after: str, prompts: list[str]) -> None:
    request = Request(model="m", messages=tuple(Message(role="user", content=one) for one in prompts))
    told = said_by(ValueError(f"{before} | {after}"), request)
    if not any(one in f"{before} | {after}" for one in prompts if len(one) >= 8):
        assert told == f"ValueError: {before} | {after}"
