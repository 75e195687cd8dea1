"""What does not go through the gateway is left as it is; or refused, where an operator says so."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

import litellm
import openai
import pytest
from litellm_llmgate import Router, register
from support.litellm_proxy import MASTER, running_proxy
from support.litellm_routers import HELLO, entry, rows
from support.media_servers import media_server
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from llmgate_plugins import ConfigurationError, Gateway, RequestDenied
from llmgate_plugins.config import load_config

LINE = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "fast"}}
FILE = {"file": ("batch.jsonl", json.dumps(LINE).encode()), "purpose": "batch"}
DOCUMENT = {"type": "document_url", "document_url": "https://example.org/a.pdf"}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
JOB = {"training_file": "file-1", "custom_llm_provider": "openai"}
PAST = {"acreate_file": FILE, "acreate_batch": BATCH, "acreate_fine_tuning_job": JOB}
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
PAST_NOW = {"generate_content_stream": {"contents": CONTENTS}, "text_completion": {"prompt": "hello"}}


@pytest.fixture
def media():
    with media_server() as server:
        yield server


def router_at(server: Any) -> Any:
    return litellm.Router(model_list=[entry("fast", "one", server.url)])


@pytest.mark.parametrize("name", PAST)
async def test_it_is_left_as_it_is(media, name):
    router = router_at(media)
    registration = register(router, Gateway())
    with suppress(Exception):  # the server knows nothing of such answers
        await getattr(router, name)(model="fast", **PAST[name])
    assert media.sent
    assert rows(registration) == []


@pytest.mark.parametrize("name", PAST)
async def test_it_is_refused_and_the_refusal_says_how_to_let_it_pass(media, name):
    router = router_at(media)
    register(router, Gateway(), ungated="refuse")
    with pytest.raises(RequestDenied, match=rf"ungated: \[{name}\]") as raised:
        await getattr(router, name)(model="fast", **PAST[name])
    assert isinstance(raised.value, litellm.exceptions.GuardrailRaisedException)
    assert (raised.value.code, raised.value.status_code) == ("ungated", 403)
    assert media.sent == []


@pytest.mark.parametrize("name", PAST_NOW)
def test_calls_in_a_thread_that_pass_by_are_refused_as_well(media, name):
    router = router_at(media)
    register(router, Gateway(), ungated="refuse")
    with pytest.raises(RequestDenied, match=rf"ungated: \[{name}\]"):
        getattr(router, name)(model="fast", **PAST_NOW[name])
    assert media.sent == []


async def test_a_moderation_of_no_group_is_refused_as_well(media, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", media.url)
    router = router_at(media)
    register(router, Gateway(), ungated="refuse")
    with pytest.raises(RequestDenied, match="amoderation does not go through the gateway"):
        await router.amoderation(input="hello")
    assert media.sent == []


async def test_what_is_named_passes_and_what_goes_through_the_gateway_does_anyway(sim, media):
    entries = [entry("files", "one", media.url), entry("fast", "two", sim.provider("one"))]
    router = Router(model_list=entries, gateway={"ungated": ["acreate_file"]})
    with suppress(Exception):
        await router.acreate_file(model="files", **FILE)
    assert media.sent
    with pytest.raises(RequestDenied):
        await router.acreate_batch(model="files", **BATCH)
    assert (await router.acompletion("fast", HELLO)).choices
    assert (await router.aembedding("fast", ["hello"])).data


async def test_unregistering_lets_everything_pass_again(media):
    router = router_at(media)
    registration = register(router, Gateway(), ungated="refuse")
    registration.unregister()
    with suppress(Exception):
        await router.acreate_file(model="fast", **FILE)
    assert media.sent


def test_another_word_is_refused_by_name():
    listed = [{"model_name": "a", "litellm_params": {"model": "openai/b"}}]
    with pytest.raises(ConfigurationError, match="ungated"):
        load_config({"model_list": listed, "ungated": "deny"})


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A proxy that refuses what passes by."""
    folders = tmp_path_factory.mktemp("closed"), tmp_path_factory.mktemp("closed-site")
    key = {"OPENAI_API_KEY": "sk-of-the-proxy", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    with running_proxy(*folders, key, ungated=["alist_files"]) as running:
        yield running


def post(proxy: Any, path: str, **body: Any) -> tuple[int, str]:
    headers = {"authorization": f"Bearer {MASTER}", "content-type": "application/json"}
    request = urllib.request.Request(f"{proxy.url}{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/batches", BATCH | {"model": "fast"}, "acreate_batch"),
        ("/v1/vector_stores", {"name": "mine"}, "avector_store_create"),
        ("/v1/search", {"search_tool_name": "web", "query": "cats"}, "asearch"),
        ("/openai/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO}, "pass_through_endpoint"),
    ],
)
def test_a_request_to_the_proxy_that_passes_by_is_refused(closed, path, body, name):
    before = closed.sent() + len(closed.media.sent)
    status, _ = post(closed, path, **body)
    assert status in (403, 500)  # without a database LiteLLM fails to write some of its errors
    assert f"{name} does not go through the gateway" in closed.log
    assert closed.sent() + len(closed.media.sent) == before


def test_a_file_for_the_proxy_is_refused(closed):
    with pytest.raises(openai.PermissionDeniedError, match="acreate_file does not go through the gateway"):
        closed.client.files.create(file=FILE["file"], purpose="batch")


@pytest.mark.parametrize("path", ["/v1/realtime?model=fast", "/v1/responses?model=fast"])
def test_a_session_with_the_proxy_is_refused(closed, path):
    address = closed.url.replace("http", "ws") + path
    before, key = closed.sent(), {"Authorization": f"Bearer {MASTER}"}
    with suppress(WebSocketException), connect(address, additional_headers=key) as session:
        session.send(json.dumps({"type": "response.create", "response": {"input": "hello"}}))
        session.recv(timeout=10)
    assert closed.sent() == before
    assert "does not go through the gateway" in closed.log


def test_all_that_goes_through_the_gateway_is_served(closed):
    client = closed.client
    assert client.chat.completions.create(model="fast", messages=HELLO).choices
    assert client.completions.create(model="fast", prompt="hello").choices
    assert client.embeddings.create(model="embed", input="hello").data
    assert client.images.generate(model="draw", prompt="a cat").data
    assert client.audio.speech.create(model="speak", input="hello", voice="alloy").content
    assert client.audio.transcriptions.create(model="hear", file=("a.wav", b"sound")).text
    assert client.moderations.create(model="judge", input="hello").results
    for path, body in (
        ("/v1/messages", {"model": "fast", "messages": HELLO, "max_tokens": 20}),
        ("/v1/responses", {"model": "fast", "input": "hello"}),
        ("/v1/rerank", {"model": "rank", "query": "which?", "documents": ["a", "b"]}),
        ("/v1/ocr", {"model": "read", "document": DOCUMENT}),
        ("/v1/videos", {"model": "film", "prompt": "a cat"}),
        ("/v1beta/models/fast:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    ):
        status, told = post(closed, path, **body)
        assert status in (200, 404), told  # the simulated provider has no path for some
        assert "does not go through" not in told
