"""Answers whose content is odd, and beginnings that are given, as the real clients see them."""

from __future__ import annotations

import json
import time
from typing import Any

import anthropic
import httpx
import openai
import pytest

from llmgate_plugins.testing import Fault, SimulatedProvider

HI: Any = [{"role": "user", "content": "Hi there"}]
TEXT = "You said: Hi there"


def asked(
    provider: SimulatedProvider, wire: str, *, stream: bool
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Address, headers and body of a request."""
    if wire == "openai":
        usage = {"stream_options": {"include_usage": True}} if stream else {}
        body = {"model": "m", "messages": HI, "stream": stream, **usage}
        return f"{provider.openai_base_url}/chat/completions", {"authorization": "Bearer k"}, body
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    body = {"model": "claude", "max_tokens": 99, "messages": HI, "stream": stream}
    return f"{provider.anthropic_base_url}/v1/messages", headers, body


def raw(provider: SimulatedProvider, wire: str, *, stream: bool) -> httpx.Response:
    """The answer as it is on the wire."""
    url, headers, body = asked(provider, wire, stream=stream)
    return httpx.post(url, json=body, headers=headers, trust_env=False)


def events(answer: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) if line.startswith("{") else line for line in lines]


def reports(answer: httpx.Response) -> list[Any]:
    """The usage in each event that has one."""
    found = [event for event in events(answer) if isinstance(event, dict)]
    told = [event.get("usage") or event.get("message", {}).get("usage") for event in found]
    return [usage for usage in told if usage]


wires = pytest.mark.parametrize("wire", ["openai", "anthropic"])


@wires
@pytest.mark.parametrize(("kind", "value"), [("no_choices", []), ("null_choices", None)])
def test_an_answer_can_lack_what_it_is_about(
    wire: str, kind: Any, value: Any, provider: SimulatedProvider
) -> None:
    provider.fail_always(Fault(kind))
    field = "choices" if wire == "openai" else "content"
    assert raw(provider, wire, stream=False).json()[field] == value
    assert "text_delta" not in raw(provider, wire, stream=True).text
    assert '"delta": {"content"' not in raw(provider, wire, stream=True).text


@wires
def test_usage_can_be_missing_odd_or_told_twice(wire: str, provider: SimulatedProvider) -> None:
    usual = len(reports(raw(provider, wire, stream=True)))
    provider.script(*[Fault("no_usage")] * 2, *[Fault("odd_usage")] * 2, Fault("usage_twice"))
    assert raw(provider, wire, stream=False).json()["usage"] is None
    assert reports(raw(provider, wire, stream=True)) == []
    odd = raw(provider, wire, stream=False).json()["usage"]
    assert {-5, 10**12} <= {value for value in odd.values() if isinstance(value, int)}
    assert any(10**12 in usage.values() for usage in reports(raw(provider, wire, stream=True)))
    assert len(reports(raw(provider, wire, stream=True))) == usual + 1


@wires
def test_the_end_mark_can_be_missing_and_the_finish_told_twice(
    wire: str, provider: SimulatedProvider
) -> None:
    usual = events(raw(provider, wire, stream=True))
    provider.script(Fault("no_done"), Fault("duplicate_finish"), Fault("duplicate"))
    assert len(events(raw(provider, wire, stream=True))) == len(usual) - 1
    assert len(events(raw(provider, wire, stream=True))) == len(usual) + 1
    twice = raw(provider, wire, stream=True)
    assert len(events(twice)) == 2 * len(usual)
    numbers = [line for line in twice.text.splitlines() if line.startswith("id: ")]
    assert len(numbers) == 2 * len(set(numbers))


@wires
@pytest.mark.parametrize("stream", [False, True])
def test_answers_can_be_huge_and_deep(wire: str, stream: bool, provider: SimulatedProvider) -> None:
    provider.script(Fault("huge"), Fault("deep"))
    assert len(raw(provider, wire, stream=stream).content) > 8 * 1024 * 1024
    assert b"[" * 150 + b"]" * 150 in raw(provider, wire, stream=stream).content


def test_a_model_can_repeat_itself(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.fail_always(Fault("repeat"))
    pieces = [
        chunk.choices[0].delta.content
        for chunk in gpt.chat.completions.create(model="gpt", messages=HI, stream=True)
        if chunk.choices
    ]
    assert max(pieces.count(piece) for piece in pieces) >= 150
    with claude.messages.stream(model="claude", max_tokens=99, messages=HI) as stream:
        said = list(stream.text_stream)
    assert max(said.count(piece) for piece in said) >= 150


def test_lines_can_end_in_any_way(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.fail_always(Fault("odd_lines"))
    chunks = gpt.chat.completions.create(model="gpt", messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    with claude.messages.stream(model="claude", max_tokens=99, messages=HI) as stream:
        assert stream.get_final_text() == TEXT
    assert provider.requests[-1].outcome == "odd_lines"


def ending(provider: SimulatedProvider, wire: str, *, stream: bool) -> tuple[str, bytes]:
    """How reading ends within 0.3 s, with a client that bears silence for a second; and what was read."""
    url, headers, body = asked(provider, wire, stream=stream)
    until, read = time.monotonic() + 0.3, b""
    with (
        httpx.Client(trust_env=False, timeout=1.0) as client,
        client.stream("POST", url, headers=headers, json=body) as answer,
    ):
        try:
            for data in answer.iter_bytes():
                read += data
                if time.monotonic() > until:
                    return "still open", read
        except httpx.ReadTimeout:
            return "silent", read
    return "ended", read


@wires
def test_a_connection_can_stay_open_for_ever(wire: str, provider: SimulatedProvider) -> None:
    whole = len(raw(provider, wire, stream=True).content)
    pings = [Fault("pings", seconds=0.02, after=after) for after in (None, None, 1)]
    provider.script(*pings, Fault("unended"))
    assert ending(provider, wire, stream=False)[0] == "still open"
    without, with_content = [ending(provider, wire, stream=True) for _ in range(2)]
    assert without[0] == with_content[0] == "still open"
    assert b"You" in with_content[1]
    assert b"You" not in without[1]
    how, read = ending(provider, wire, stream=True)
    assert how == "silent"
    assert whole - 200 < len(read) < whole


def test_an_older_claude_goes_on_and_a_newer_one_refuses(
    claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    begun: Any = [*HI, {"role": "assistant", "content": "You said:"}]
    (block,) = claude.messages.create(model="claude", max_tokens=99, messages=begun).content
    assert block.type == "text"
    assert block.text == " Hi there"
    provider.prefill = "refuse"
    with pytest.raises(anthropic.BadRequestError, match="does not support assistant message prefill"):
        claude.messages.create(model="claude", max_tokens=99, messages=begun)
    provider.prefill = None
    begun[-1]["content"] += " "
    with pytest.raises(anthropic.BadRequestError, match="cannot end with trailing whitespace"):
        claude.messages.create(model="claude", max_tokens=99, messages=begun)


@pytest.mark.parametrize(
    ("way", "text"), [(None, TEXT), ("ignore", TEXT), ("continue", " Hi there"), ("echo", TEXT)]
)
def test_on_the_other_wire_it_is_as_the_provider_has_it(
    way: Any, text: str, gpt: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.prefill = way
    begun: Any = [*HI, {"role": "assistant", "content": "You said:"}]
    answer = gpt.chat.completions.create(model="gpt", messages=begun)
    assert answer.choices[0].message.content == text
    begun[-1]["prefix"] = True
    if way is None:
        with pytest.raises(openai.BadRequestError, match="Unknown parameter"):
            gpt.chat.completions.create(model="gpt", messages=begun)
    else:
        assert gpt.chat.completions.create(model="gpt", messages=begun).choices[0].message.content == text
