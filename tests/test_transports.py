"""Plain calls over real HTTP: what is sent, what comes back, and what is no answer."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from support.patience import until

from llmgate_plugins import (
    Attempt,
    Chunk,
    ConfigurationError,
    DeadlineExceeded,
    Deployment,
    Endpoint,
    ErrorClass,
    ProviderError,
    Request,
    Response,
    Secret,
    SecretNotFound,
)
from llmgate_plugins.classification import classify
from llmgate_plugins.messages import to_messages
from llmgate_plugins.testing import Fault, ProviderSimulator
from llmgate_plugins.testing import SimulatedProvider as Provider
from llmgate_plugins.transports import ByProvider, OpenAITransport, default_transport
from llmgate_plugins.transports import by_provider as by_provider_module
from llmgate_plugins.transports.openai_providers import PROVIDERS, address_of
from llmgate_plugins.transports.openai_wire import chunk_of

KEY = "sk-canary-0123456789abcdef"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=1) as running:
        yield running


@pytest.fixture
def provider(simulator: ProviderSimulator, request: pytest.FixtureRequest) -> Provider:
    return simulator.provider(f"p{abs(hash(request.node.nodeid))}", keys=[KEY])


@pytest.fixture
def transport() -> Iterator[OpenAITransport]:
    made = OpenAITransport()
    yield made
    made.close()


def deployment(at: Provider | str | None, **fields: Any) -> Deployment:
    endpoint = fields.pop("endpoint", {})
    url = at.openai_base_url if isinstance(at, Provider) else at
    fields = {"id": "one", "alias": "fast", "provider": "openai", "model": "gpt-4o-mini", **fields}
    return Deployment(endpoint=Endpoint(**{"base_url": url, "api_key": Secret(KEY), **endpoint}), **fields)


def attempt(at: Provider | str | None, *, seconds: float | None = 30.0, **fields: Any) -> Attempt:
    return Attempt(
        call_id="c",
        number=1,
        deployment=deployment(at, **fields),
        alias="fast",
        reason="first",
        started=100.0,
        deadline=None if seconds is None else 100.0 + seconds,
    )


def asking(prompt: str | list[Any] = "hello", *, stream: bool = False, **params: Any) -> Request:
    return Request(model="fast", messages=to_messages(prompt), params=params, stream=stream)


def whole(face: str, transport: OpenAITransport, at: Attempt, request: Request) -> Response:
    return transport.send(at, request) if face == "sync" else asyncio.run(transport.asend(at, request))


def chunks(face: str, transport: OpenAITransport, at: Attempt, request: Request) -> list[Chunk]:
    if face == "sync":
        return list(transport.open(at, request))

    async def read() -> list[Chunk]:
        return [chunk async for chunk in transport.aopen(at, request)]

    return asyncio.run(read())


both = pytest.mark.parametrize("face", ["sync", "async"])


def body_of(provider: Provider) -> Mapping[str, Any]:
    body: Mapping[str, Any] = provider.requests[-1].body
    return body


# ---------------------------------------------------------------- what comes back


@both
def test_a_whole_answer_has_text_usage_reason_and_model(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    answer = whole(face, transport, attempt(provider), asking())
    assert answer.text == "You said: hello"
    assert answer.usage is not None
    assert answer.usage.input > 0
    assert answer.usage.output > 0
    assert (answer.finish_reason, answer.model, answer.deployment_id) == ("stop", "gpt-4o-mini", "one")
    assert type(answer.native).__name__ == "ChatCompletion"


@both
def test_a_stream_gives_its_text_in_pieces_and_its_usage_once(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    pieces = chunks(face, transport, attempt(provider), asking("one two three", stream=True))
    assert "".join(piece.text for piece in pieces) == "You said: one two three"
    assert sum(bool(piece.text) for piece in pieces) > 2
    assert [piece.usage is not None for piece in pieces].count(True) == 1
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == ["stop"]
    assert body_of(provider)["stream_options"] == {"include_usage": True}


@both
def test_a_tool_call_comes_back_whole_and_in_pieces(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    words = {"tools": [WEATHER], "tool_choice": "auto"}
    answer = whole(face, transport, attempt(provider), asking("get_weather in Paris", **words))
    (call,) = answer.message.tool_calls
    assert (call.name, answer.finish_reason) == ("get_weather", "tool_calls")
    assert "city" in call.arguments

    request = asking("get_weather in Paris", stream=True, **words)
    meter = transport.meter(attempt(provider), request)
    for piece in chunks(face, transport, attempt(provider), request):
        meter.feed(piece)
    (streamed,) = meter.message().tool_calls
    assert (streamed.name, streamed.arguments) == (call.name, call.arguments)
    assert meter.complete


@pytest.mark.parametrize("word", ["reasoning_content", "reasoning"])
def test_what_a_model_thinks_is_told_apart_from_what_it_says(word: str) -> None:
    from openai.types.chat import ChatCompletionChunk

    def piece(**delta: Any) -> Chunk:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        told = {"id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": [choice]}
        return chunk_of(ChatCompletionChunk.model_validate(told))

    assert (piece(**{word: "hm"}).reasoning, piece(**{word: "hm"}).text) == ("hm", "")
    assert (piece(content="yes").reasoning, piece(content="yes").text) == ("", "yes")
    assert piece(refusal="no").text == "no"


@both
def test_a_conversation_with_tool_results_is_understood(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    told = [
        {"role": "user", "content": "get_weather in Paris"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
    ]
    answer = whole(face, transport, attempt(provider), asking(told, tools=[WEATHER]))
    assert answer.text == "The tool says: 18 degrees"


EMBEDDING = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


class Recording(BaseHTTPRequestHandler):
    """A server that notes what it is asked and answers with one body."""

    answer: Any
    asked: list[tuple[str, Message, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((self.path, self.headers, body))
        answer = json.dumps(self.answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.send_header("set-cookie", "who=you; path=/")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def recording(answer: Any) -> Iterator[tuple[str, list[tuple[str, Message, Any]]]]:
    handler = type("Handler", (Recording,), {"answer": answer, "asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.asked
        finally:
            server.shutdown()
            thread.join()


@both
def test_an_embedding_has_its_vectors_and_usage(face: str, transport: OpenAITransport) -> None:
    with recording(EMBEDDING) as (url, asked):
        at = attempt(f"{url}/v1", model="text-embedding-3-small")
        words = {"input": ["hi there you"], "dimensions": 2, "encoding_format": "float"}
        answer = whole(face, transport, at, Request(model="fast", operation="embedding", params=words))
        transport.close()
    assert answer.native.data[0].embedding == [0.5, 0.25]
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output) == (3, 0)
    ((path, _, body),) = asked
    assert path == "/v1/embeddings"
    assert body == {"model": "text-embedding-3-small", **words}


COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None}}],
}


def test_azure_is_called_by_the_deployments_name_with_its_own_header(transport: OpenAITransport) -> None:
    with recording(COMPLETION) as (url, asked):
        options = {"api_version": "2025-01-01"}
        at = attempt(url, provider="azure", model="our-gpt", endpoint={"options": options})
        transport.send(at, asking())
        transport.send(at, asking())
        transport.close()
    path, headers, body = asked[1]
    assert path == "/openai/deployments/our-gpt/chat/completions?api-version=2025-01-01"
    assert (headers["api-key"], headers["authorization"], headers["cookie"]) == (KEY, None, None)
    assert body["model"] == "our-gpt"


def test_azures_token_stands_in_for_a_key(transport: OpenAITransport) -> None:
    with recording(COMPLETION) as (url, asked):
        endpoint = {"api_key": None, "options": {"azure_ad_token": Secret("entra-token-123")}}
        transport.send(attempt(f"{url}/openai/v1", provider="azure", endpoint=endpoint), asking())
        transport.close()
    path, headers, _ = asked[0]
    assert path.startswith("/openai/v1/")
    assert headers["authorization"] == "Bearer entra-token-123"


def test_a_refusal_is_told_as_one(transport: OpenAITransport) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    refused = {**COMPLETION, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    with recording(refused) as (url, _):
        organized = {"options": {"organization": "org-1"}}
        answer = transport.send(attempt(f"{url}/v1", endpoint=organized), asking())
        transport.close()
    assert (answer.text, answer.finish_reason, answer.usage) == (
        "I cannot help with that.",
        "content_filter",
        None,
    )


@pytest.mark.parametrize("choices", [None, []])
def test_an_answer_without_a_choice_is_none(transport: OpenAITransport, choices: Any) -> None:
    with recording({**COMPLETION, "choices": choices}) as (url, _):
        with pytest.raises(ProviderError, match="without any choice") as caught:
            transport.send(attempt(f"{url}/v1"), asking())
        transport.close()
    assert caught.value.code == "bad_response"


# ---------------------------------------------------------------- what is sent


def test_parameters_travel_as_they_are_and_the_call_wins_over_configuration(
    transport: OpenAITransport, provider: Provider
) -> None:
    at = attempt(provider, params={"temperature": 0.1, "seed": 7})
    transport.send(at, asking(temperature=0.9, stop=["x"]))
    body = body_of(provider)
    assert (body["temperature"], body["seed"], body["stop"]) == (0.9, 7, ["x"])
    assert "stream" not in body or body["stream"] is False


@pytest.mark.parametrize(
    ("model", "word"), [("gpt-4o-mini", "max_tokens"), ("o3-mini", "max_completion_tokens")]
)
def test_the_limit_on_length_is_called_as_the_model_wants_it(
    transport: OpenAITransport, provider: Provider, model: str, word: str
) -> None:
    transport.send(attempt(provider, model=model), asking(max_tokens=50))
    assert body_of(provider)[word] == 50
    assert len({"max_tokens", "max_completion_tokens"} & body_of(provider).keys()) == 1


@pytest.mark.parametrize("model", ["gpt-4o-mini", "o3-mini"])
@pytest.mark.parametrize(
    ("fixed", "asked"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_length_that_the_call_gives_wins_over_configuration_in_whichever_word(
    transport: OpenAITransport, provider: Provider, model: str, fixed: str, asked: str
) -> None:
    transport.send(attempt(provider, model=model, params={fixed: 4_000}), asking(**{asked: 50}))
    body = body_of(provider)
    assert [body[word] for word in ("max_tokens", "max_completion_tokens") if word in body] == [50]


def test_the_key_of_the_deployment_is_sent_and_no_other(
    transport: OpenAITransport, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-somebody")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/elsewhere")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-corporate: secret-of-somebody\nx-team: nobody")
    transport.send(attempt(provider, endpoint={"headers": {"x-team": Secret("blue-team-1")}}), asking())
    sent = provider.requests[-1]
    assert sent.authorization() == KEY
    assert sent.headers["x-team"] == "blue-team-1"
    assert not {"openai-organization", "openai-project", "x-corporate"} & sent.headers.keys()


def test_a_server_of_ones_own_gets_no_key_that_was_not_given(
    transport: OpenAITransport, simulator: ProviderSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    own = simulator.provider("own-vllm")
    import openai

    with pytest.raises(openai.AuthenticationError):
        transport.send(attempt(own, provider="hosted_vllm", endpoint={"api_key": None}), asking())
    assert own.requests[-1].authorization() is None


@pytest.mark.parametrize("word", ["api_key", "base_url", "api_base", "organization", "extra_query"])
def test_a_call_cannot_say_where_it_goes(transport: OpenAITransport, provider: Provider, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{word} cannot be given with a call"):
        transport.send(attempt(provider), asking(**{word: "x"}))
    with pytest.raises(ConfigurationError, match="Authorization cannot be given"):
        transport.send(attempt(provider), asking(extra_headers={"Authorization": "Bearer other"}))
    assert provider.requests == []


def test_further_headers_and_words_of_a_call_are_sent(transport: OpenAITransport, provider: Provider) -> None:
    transport.send(attempt(provider), asking(extra_headers={"x-trace": "t1"}, extra_body={"seed": 3}))
    assert provider.requests[-1].headers["x-trace"] == "t1"
    assert body_of(provider)["seed"] == 3


def test_a_missing_key_says_whose(transport: OpenAITransport, provider: Provider) -> None:
    with pytest.raises(SecretNotFound, match=r"'one' has no API key, and openai wants one.*api_key"):
        transport.send(attempt(provider, endpoint={"api_key": None}), asking())


# ---------------------------------------------------------------- what is no answer

NO_ANSWER = ["html", "empty", "malformed", "done_only", "truncated", "cut"]


@both
@pytest.mark.parametrize("kind", NO_ANSWER)
def test_garbage_in_place_of_an_answer_is_an_error(
    face: str, kind: Any, transport: OpenAITransport, provider: Provider
) -> None:
    provider.script(Fault(kind))
    with pytest.raises(Exception) as caught:
        whole(face, transport, attempt(provider), asking())
    assert classify(caught.value).error_class in {ErrorClass.BAD_RESPONSE, ErrorClass.TRUNCATED}


@both
def test_a_page_in_place_of_a_stream_is_an_error(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    provider.script(Fault("html"))
    with pytest.raises(ProviderError, match="text in place of an answer") as caught:
        chunks(face, transport, attempt(provider), asking(stream=True))
    assert caught.value.code == "bad_response"


@both
def test_a_whole_answer_in_place_of_a_stream_is_read(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    provider.script(Fault("json"))
    pieces = chunks(face, transport, attempt(provider), asking(stream=True))
    assert "".join(piece.text for piece in pieces) == "You said: hello"
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].usage is not None


@both
def test_an_error_with_status_200_is_that_error(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    body = {"error": {"message": "no money left", "code": "insufficient_quota"}}
    provider.script(Fault("server", status=200, body=body))
    with pytest.raises(ProviderError, match="no money left") as caught:
        whole(face, transport, attempt(provider), asking())
    assert caught.value.code == "insufficient_quota"
    provider.script(Fault("server", status=200, body=body))
    with pytest.raises(ProviderError, match="no money left") as caught:
        chunks(face, transport, attempt(provider), asking(stream=True))
    assert caught.value.code == "insufficient_quota"


@both
def test_nothing_is_retried_behind_the_gateways_back(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    import openai

    provider.script(Fault("rate_limit", retry_after=0.01), Fault("server"))
    with pytest.raises(openai.RateLimitError):
        whole(face, transport, attempt(provider), asking())
    with pytest.raises(openai.InternalServerError):
        whole(face, transport, attempt(provider), asking())
    assert len(provider.requests) == 2


@both
def test_a_redirect_is_not_followed_with_the_key(
    face: str, transport: OpenAITransport, provider: Provider, simulator: ProviderSimulator
) -> None:
    import openai

    other = simulator.provider("elsewhere")
    provider.script(Fault("server", status=302, headers={"location": f"{other.url}/v1/chat/completions"}))
    with pytest.raises(openai.APIStatusError) as caught:
        whole(face, transport, attempt(provider), asking())
    assert caught.value.status_code == 302
    assert other.requests == []


@both
def test_what_is_left_of_the_call_bounds_the_wait(
    face: str, transport: OpenAITransport, provider: Provider
) -> None:
    import openai

    provider.script(Fault("stall"), Fault("stall"), Fault("stall"))
    with pytest.raises(DeadlineExceeded):
        whole(face, transport, attempt(provider, seconds=0.2), asking())
    with pytest.raises(openai.APITimeoutError):
        whole(face, transport, attempt(provider, endpoint={"options": {"timeout": 0.2}}), asking())
    with pytest.raises(openai.APITimeoutError):
        whole(face, transport, attempt(provider), asking(timeout=0.2))
    assert "timeout" not in body_of(provider)


# ---------------------------------------------------------------- clients


@both
def test_a_reader_who_leaves_closes_the_connection(
    face: str, transport: OpenAITransport, simulator: ProviderSimulator
) -> None:
    slow = simulator.provider(f"slow-{face}")
    slow.pace(piece=0.02)
    request = asking("a b c d e f g h i j k l m n o p", stream=True)
    if face == "sync":
        stream = transport.open(attempt(slow), request)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    else:

        async def leave() -> None:
            async with aclosing(transport.aopen(attempt(slow), request)) as stream:  # type: ignore[type-var]
                await anext(stream)

        asyncio.run(leave())
    until(lambda: slow.requests[-1].outcome == "left")


def test_one_client_per_deployment_and_loop(transport: OpenAITransport, provider: Provider) -> None:
    at = attempt(provider)
    kept = transport._clients

    async def two() -> tuple[object, object]:
        await transport.asend(at, asking())
        return await kept.aclient(at.deployment), await kept.aclient(at.deployment)

    first, second = asyncio.run(two()), asyncio.run(two())
    assert first[0] is first[1]
    assert first[0] is not second[0]
    assert kept._loops == {}  # closed with their loops
    assert kept.client(at.deployment) is kept.client(at.deployment)


def test_a_forked_process_makes_its_own_clients(
    transport: OpenAITransport, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = deployment(provider)
    mine = transport._clients.client(at)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert transport._clients.client(at) is not mine


def test_many_threads_share_one_client(transport: OpenAITransport, provider: Provider) -> None:
    at = attempt(provider)
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(transport.send(at, asking()).text)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["You said: hello"] * 16
    assert len(transport._clients._threads.clients) == 1  # type: ignore[union-attr]


def test_what_was_prepared_is_there_for_the_first_call_and_what_is_missing_is_not_told_yet(
    provider: Provider,
) -> None:
    here, keyless = deployment(provider), deployment(provider, id="two", endpoint={"api_key": None})
    own = OpenAITransport()
    mixed = ByProvider({"openai": own})
    mixed.prepare([here, keyless, deployment(None, id="three", provider="bedrock")])
    assert list(own._clients._threads.clients) == [here]  # type: ignore[union-attr]
    mixed.close()


# ---------------------------------------------------------------- which transport


def test_every_provider_with_an_address_is_https_or_local() -> None:
    for name, speaker in PROVIDERS.items():
        if speaker.base_url is not None:
            assert speaker.base_url.startswith(("https://", "http://127.0.0.1:")), name


def test_ollamas_root_is_turned_into_its_openai_address() -> None:
    assert address_of(deployment("http://127.0.0.1:11434", provider="ollama")) == "http://127.0.0.1:11434/v1"
    with pytest.raises(ConfigurationError, match="set api_base"):
        address_of(deployment(None, provider="hosted_vllm"))


class Told:
    """A transport that only says it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def send(self, attempt: Attempt, request: Request) -> Response:
        self.asked.append(attempt.deployment.id)
        return Response.of("told")


def test_each_attempt_goes_to_the_transport_of_its_provider(provider: Provider) -> None:
    told = Told()
    made: list[Told] = []

    def make() -> Told:
        made.append(told)
        return told

    mixed = ByProvider({"openai": OpenAITransport()}, otherwise=make)  # type: ignore[dict-item]
    assert mixed.send(attempt(provider), asking()).text == "You said: hello"
    assert made == []
    assert mixed.send(attempt(None, provider="bedrock", id="b"), asking()).text == "told"
    assert mixed.send(attempt(None, provider="gemini", id="g"), asking()).text == "told"
    assert (told.asked, len(made)) == (["b", "g"], 1)
    mixed.close()


def test_what_is_missing_is_named_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_provider_module, "installed", lambda group: ())
    transport = default_transport([deployment(None, provider="bedrock")])
    with pytest.raises(ConfigurationError, match="pip install litellm-llmgate"):
        transport.send(attempt(None, provider="bedrock"), asking())
    monkeypatch.setattr(by_provider_module, "find_spec", lambda name: None)
    transport = default_transport([deployment(None)])
    with pytest.raises(ConfigurationError, match=r"llmgate-plugins\[openai\]"):
        transport.send(attempt(None), asking())
