"""Every fault, as the real clients see it."""

# ruff: noqa: E501 - a table reads by the row

from __future__ import annotations

import json
import socket
import struct
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, get_args

import anthropic
import httpx
import openai
import pytest
from support.patience import PATIENCE, until

from llmgate_plugins.testing import Fault, FaultKind, ProviderSimulator, SimulatedProvider
from llmgate_plugins.testing.faults import REFUSALS

HI: Any = [{"role": "user", "content": "Hi there"}]

REFUSED = [
    # kind, openai: error, status, code; anthropic: error, status, type
    ("rate_limit", openai.RateLimitError, 429, "rate_limit_exceeded", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("quota", openai.RateLimitError, 429, "insufficient_quota", anthropic.APIStatusError, 402, "billing_error"),
    ("authentication", openai.AuthenticationError, 401, "invalid_api_key", anthropic.AuthenticationError, 401, "authentication_error"),
    ("permission", openai.PermissionDeniedError, 403, "model_not_allowed", anthropic.PermissionDeniedError, 403, "permission_error"),
    ("not_found", openai.NotFoundError, 404, "model_not_found", anthropic.NotFoundError, 404, "not_found_error"),
    ("invalid_request", openai.BadRequestError, 400, None, anthropic.BadRequestError, 400, "invalid_request_error"),
    ("context_length", openai.BadRequestError, 400, "context_length_exceeded", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("content_policy", openai.BadRequestError, 400, "content_policy_violation", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("timeout", openai.APIStatusError, 408, None, anthropic.APIStatusError, 408, "timeout_error"),
    ("conflict", openai.ConflictError, 409, None, anthropic.ConflictError, 409, "invalid_request_error"),
    ("too_large", openai.APIStatusError, 413, "request_too_large", anthropic.APIStatusError, 413, "request_too_large"),
    ("unprocessable", openai.UnprocessableEntityError, 422, None, anthropic.UnprocessableEntityError, 422, "invalid_request_error"),
    ("server", openai.InternalServerError, 500, None, anthropic.InternalServerError, 500, "api_error"),
    ("unavailable", openai.InternalServerError, 503, None, anthropic.APIStatusError, 503, "api_error"),
    ("overloaded", openai.InternalServerError, 503, "server_is_overloaded", anthropic.APIStatusError, 529, "overloaded_error"),
]  # fmt: skip


def gpt_says(client: openai.OpenAI, **params: Any) -> Any:
    return client.chat.completions.create(model="gpt-4o", messages=HI, **params)


def claude_says(client: anthropic.Anthropic, **params: Any) -> Any:
    return client.messages.create(model="claude", max_tokens=99, messages=HI, **params)


def text_until(stream: Any, error: str) -> str:
    """The text of a stream that must end with an error of this name: clients have their own httpx."""
    pieces: list[str] = []
    try:
        for item in stream:
            if getattr(item, "type", None) == "content_block_delta":
                pieces.append(item.delta.text)
            elif getattr(item, "choices", None):
                pieces.append(item.choices[0].delta.content or "")
    except Exception as caught:
        if type(caught).__name__ != error:
            raise
    else:
        pytest.fail(f"the stream ended well, with {pieces}")
    return "".join(pieces)


def test_the_table_of_refusals_is_complete() -> None:
    assert {row[0] for row in REFUSED} | {"bad_gateway"} == set(REFUSALS)
    assert set(REFUSALS) < {kind for part in get_args(FaultKind) for kind in (get_args(part) or (part,))}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "error", "status", "code", "_e", "_s", "_t"), REFUSED)
def test_openai_refuses_in_its_own_words(
    gpt: openai.OpenAI,
    provider: SimulatedProvider,
    kind: Any,
    error: type[openai.APIStatusError],
    status: int,
    code: str,
    stream: bool,
    _e: Any,
    _s: Any,
    _t: Any,
) -> None:
    provider.script(Fault(kind))
    with pytest.raises(error) as caught:
        gpt_says(gpt, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert (provider.requests[0].outcome, provider.requests[0].status) == (kind, status)
    assert gpt_says(gpt).choices  # the script is over: healthy again


@pytest.mark.parametrize(("kind", "_e", "_s", "_c", "error", "status", "type_"), REFUSED)
def test_anthropic_refuses_in_its_own_words(
    claude: anthropic.Anthropic,
    provider: SimulatedProvider,
    kind: Any,
    error: type[anthropic.APIStatusError],
    status: int,
    type_: str,
    _e: Any,
    _s: Any,
    _c: Any,
) -> None:
    provider.script(Fault(kind))
    with pytest.raises(error) as caught:
        claude_says(claude)
    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", type_)
    assert body["request_id"] == caught.value.response.headers["request-id"]


def test_a_bad_gateway_answers_with_a_page(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(Fault("bad_gateway"))
    with pytest.raises(openai.InternalServerError, match="<h1>502 Bad Gateway</h1>") as caught:
        gpt_says(gpt)
    assert caught.value.response.headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    ("fault", "name", "value"),
    [
        (Fault("rate_limit", retry_after=2), "retry-after", "2"),
        (Fault("rate_limit", retry_after=0.25), "retry-after", "0.25"),
        (Fault("overloaded", retry_after=1.5, retry_after_as="ms"), "retry-after-ms", "1500"),
        (Fault("rate_limit", retry_after="soon"), "retry-after", "soon"),
        (Fault("server", headers={"x-should-retry": "false"}), "x-should-retry", "false"),
    ],
)
def test_how_long_to_wait_is_said_in_any_form(
    gpt: openai.OpenAI, provider: SimulatedProvider, fault: Fault, name: str, value: str
) -> None:
    provider.script(fault)
    with pytest.raises(openai.APIStatusError) as caught:
        gpt_says(gpt)
    assert caught.value.response.headers[name] == value


def test_how_long_to_wait_can_be_a_date(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(Fault("rate_limit", retry_after=90, retry_after_as="date"))
    with pytest.raises(openai.RateLimitError) as caught:
        gpt_says(gpt)
    headers = caught.value.response.headers
    assert headers["retry-after"].endswith("GMT")
    wait = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    assert 89 <= wait.total_seconds() <= 91
    assert abs(parsedate_to_datetime(headers["date"]) - datetime.now(UTC)).total_seconds() < 5


def test_status_code_message_and_body_can_be_set(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(
        Fault("rate_limit", status=420, code="slow_down", message="Easy."),
        Fault("server", body={"odd": True}),
        Fault("server", body="plain words"),
    )
    with pytest.raises(openai.APIStatusError, match="Easy") as caught:
        gpt_says(gpt)
    assert (caught.value.status_code, caught.value.code) == (420, "slow_down")
    with pytest.raises(openai.InternalServerError) as caught:
        gpt_says(gpt)
    assert caught.value.body == {"odd": True}
    with pytest.raises(openai.InternalServerError, match="plain words"):
        gpt_says(gpt)


@pytest.mark.parametrize("kind", ["connection", "reset"])
def test_a_dead_process_is_a_connection_error(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider, kind: Any
) -> None:
    provider.script(Fault(kind), Fault(kind))
    with pytest.raises(openai.APIConnectionError):
        gpt_says(gpt, stream=True)
    with pytest.raises(anthropic.APIConnectionError):
        claude_says(claude)
    assert [request.status for request in provider.requests] == [None, None]


def test_a_reset_is_a_real_tcp_reset(provider: SimulatedProvider, sim: ProviderSimulator) -> None:
    provider.script(Fault("reset"))
    body = json.dumps({"model": "m", "messages": HI}).encode()
    with socket.create_connection(("127.0.0.1", sim.port)) as raw:
        raw.sendall(
            b"POST /alpha/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


def test_nobody_listens_behind_the_closed_url(provider: SimulatedProvider) -> None:
    url = provider.closed_url
    assert url == provider.closed_url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut", "RemoteProtocolError"),
        ("reset_midstream", "ReadError"),
        ("malformed", "JSONDecodeError"),
        ("error_event", "APIError"),
    ],
)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_openai_stream_breaks_after_so_many_pieces(
    gpt: openai.OpenAI, provider: SimulatedProvider, kind: Any, error: str, after: int
) -> None:
    provider.script(Fault(kind, after=after))
    assert text_until(gpt_says(gpt, stream=True), error) == "".join(["You", " said:", " Hi"][:after])
    assert provider.requests[0].outcome == kind


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut", "RemoteProtocolError"),
        ("reset_midstream", "ReadError"),
        ("malformed", "JSONDecodeError"),
        ("error_event", "APIStatusError"),
    ],
)
def test_an_anthropic_stream_breaks_in_the_middle(
    claude: anthropic.Anthropic, provider: SimulatedProvider, kind: Any, error: str
) -> None:
    provider.script(Fault(kind, after=2))
    assert text_until(claude_says(claude, stream=True), error) == "You said:"


def test_a_truncated_stream_ends_cleanly_without_a_reason(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.script(Fault("truncated"), Fault("truncated"))
    chunks = list(gpt_says(gpt, stream=True))
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "You said:"
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    kinds = [event.type for event in claude_says(claude, stream=True)]
    assert "content_block_delta" in kinds
    assert not {"message_delta", "message_stop"} & set(kinds)


def test_a_stream_of_nothing_but_its_end(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.script(Fault("done_only"), Fault("done_only"))
    assert list(gpt_says(gpt, stream=True)) == []
    assert [event.type for event in claude_says(claude, stream=True)] == ["message_stop"]


@pytest.mark.parametrize(
    ("kind", "content_type", "body"),
    [
        ("html", "text/html", b"<html>"),
        ("json", "application/json", b'{"id"'),
        ("empty", "text/event-stream", b""),
    ],
)
def test_what_comes_instead_of_a_stream(
    gpt: openai.OpenAI, provider: SimulatedProvider, kind: Any, content_type: str, body: bytes
) -> None:
    provider.script(Fault(kind), Fault(kind))
    assert list(gpt_says(gpt, stream=True)) == []  # what clients make of it: a silent nothing
    raw = httpx.post(
        f"{provider.openai_base_url}/chat/completions",
        headers={"authorization": "Bearer k"},
        json={"model": "m", "messages": HI, "stream": True},
    )
    assert (raw.status_code, raw.headers["content-type"]) == (200, content_type)
    assert raw.content.startswith(body)
    assert bool(raw.content) == bool(body)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut", openai.APIConnectionError),
        ("reset_midstream", openai.APIConnectionError),
        ("malformed", json.JSONDecodeError),
        ("truncated", json.JSONDecodeError),
        ("empty", json.JSONDecodeError),
    ],
)
def test_an_answer_in_one_piece_breaks_as_well(
    gpt: openai.OpenAI, provider: SimulatedProvider, kind: Any, error: type[Exception]
) -> None:
    provider.script(Fault(kind))
    with pytest.raises(error):
        gpt_says(gpt)


def test_an_error_body_can_come_with_status_200(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(Fault("error_event", message="Bad luck"))
    answer = gpt_says(gpt)
    assert answer.choices is None
    assert answer.error["message"] == "Bad luck"


def test_a_slow_provider_is_only_slow(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(Fault("slow", seconds=0.2))
    begun = time.monotonic()
    assert gpt_says(gpt).choices
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("after", [None, 1])
def test_a_stalled_provider_runs_into_the_clients_timeout_and_sees_it_leave(
    gpt: openai.OpenAI, provider: SimulatedProvider, after: int | None
) -> None:
    provider.script(Fault("stall", after=after))
    with pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)):
        list(gpt_says(gpt, stream=True, timeout=0.5))
    until(lambda: provider.requests[0].outcome == "left")


def test_a_drip_takes_its_time_for_every_piece(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(Fault("drip", seconds=0.05), Fault("drip", seconds=0.02))
    begun = time.monotonic()
    times = [time.monotonic() for _ in gpt_says(gpt, stream=True)]
    assert len(times) >= 5
    # A reader who is held up finds several pieces at once, but none before its time.
    assert all(at - begun >= number * 0.05 for number, at in enumerate(times))
    assert gpt_says(gpt).choices[0].message.content == "You said: Hi there"


def test_a_reader_who_leaves_is_noticed(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.pace(piece=0.05)
    with gpt_says(gpt, stream=True) as stream:
        next(iter(stream))
    until(lambda: provider.requests[0].outcome == "left")


async def test_async_clients_see_the_same(
    async_gpt: openai.AsyncOpenAI, async_claude: anthropic.AsyncAnthropic, provider: SimulatedProvider
) -> None:
    provider.script(Fault("rate_limit"), Fault("cut", after=1), Fault("reset"))
    with pytest.raises(openai.RateLimitError):
        await async_gpt.chat.completions.create(model="gpt-4o", messages=HI)
    stream = await async_gpt.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == ["", "You"]
    with pytest.raises(httpx.RemoteProtocolError):
        await anext(stream)
    with pytest.raises(anthropic.APIConnectionError):
        await async_claude.messages.create(model="claude", max_tokens=9, messages=HI)


# ---------------------------------------------------------------- when it happens


def outcomes(client: openai.OpenAI, count: int) -> str:
    """One letter per request: whether it was answered."""
    letters = []
    for _ in range(count):
        try:
            gpt_says(client)
            letters.append("a")
        except openai.APIError:
            letters.append("x")
    return "".join(letters)


def test_faults_are_scripted_request_by_request(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script(Fault("server"), None, Fault("server"))
    assert outcomes(gpt, 5) == "xaxaa"


def test_a_provider_fails_until_it_is_healed(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.fail_always(Fault("server"))
    provider.script(None)
    assert outcomes(gpt, 3) == "axx"
    provider.heal()
    assert outcomes(gpt, 2) == "aa"


def test_a_provider_dies_after_so_many_requests(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.die_after(2)
    assert outcomes(gpt, 4) == "aaxx"
    assert provider.requests[-1].outcome == "reset"
    provider.heal()
    provider.die_after(0, Fault("unavailable"))
    assert outcomes(gpt, 2) == "xx"
    assert provider.requests[-1].status == 503


def test_a_failure_rate_is_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> str:
        with ProviderSimulator(seed=seed) as sim:
            provider = sim.provider("alpha")
            provider.fail_rate(0.3, Fault("server"))
            with openai.OpenAI(base_url=provider.openai_base_url, api_key="k", max_retries=0) as client:
                return outcomes(client, 60)

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    assert 8 <= first.count("x") <= 30


def test_an_unknown_kind_of_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no fault is called 'quake'; there are .*rate_limit"):
        Fault("quake")  # type: ignore[arg-type]


# ---------------------------------------------------------------- the connection itself


def test_one_connection_serves_many_requests(provider: SimulatedProvider) -> None:
    with httpx.Client(headers={"authorization": "Bearer k"}) as client:
        streams = [
            client.post(
                f"{provider.openai_base_url}/chat/completions",
                json={"model": "m", "messages": HI},
            ).extensions["network_stream"]
            for _ in range(3)
        ]
        ports = {stream.get_extra_info("client_addr") for stream in streams}
    assert len(ports) == 1


def test_a_chunked_request_body_is_read(provider: SimulatedProvider) -> None:
    body = json.dumps({"model": "m", "messages": HI}).encode()
    answer = httpx.post(
        f"{provider.openai_base_url}/chat/completions",
        headers={"authorization": "Bearer k"},
        content=iter([body[:9], body[9:]]),
    )
    assert answer.json()["choices"][0]["message"]["content"] == "You said: Hi there"


def test_what_is_not_http_does_not_harm_others(sim: ProviderSimulator, gpt: openai.OpenAI) -> None:
    with socket.create_connection(("127.0.0.1", sim.port)) as raw:
        raw.sendall(b"\x16\x03\x01 this is TLS, say\r\n\r\n")
        assert raw.recv(100) == b""
    with socket.create_connection(("127.0.0.1", sim.port)) as raw:
        raw.sendall(b"POST /alpha/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-le")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert gpt_says(gpt).choices


def test_closing_cuts_what_hangs_and_can_be_repeated() -> None:
    sim = ProviderSimulator().start()
    sim.default.fail_always(Fault("stall"))
    with socket.create_connection(("127.0.0.1", sim.port)) as raw:
        body = json.dumps({"model": "m", "messages": HI}).encode()
        raw.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        until(lambda: len(sim.default.requests) == 1)
        begun = time.monotonic()
        sim.close()
        assert time.monotonic() - begun < PATIENCE
        assert raw.recv(1) == b""
    sim.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(sim.url)
