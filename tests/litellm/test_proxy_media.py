"""Pictures, speech, transcripts and the like through a real proxy, asked by clients as they are."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import openai
import pytest
from support.litellm_proxy import MASTER
from support.media_servers import SPOKEN, sound

WAV = sound(2.0)
PICTURED = 10 * 5_000 + 40 * 10_000 + 1_000 * 40_000


def post(proxy: Any, key: str, path: str, **body: Any) -> Any:
    """What no method of the client is for."""
    told = json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{proxy.url}{path}", told, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


def by_client(ask: Callable[[Any], Any]) -> Callable[[Any, str], Any]:
    def asked(proxy: Any, key: str) -> Any:
        raw = ask(proxy.client_of(key))
        return raw.headers, raw.content

    return asked


def by_http(path: str, **body: Any) -> Callable[[Any, str], Any]:
    return lambda proxy, key: post(proxy, key, path, **body)


def file(content: bytes, name: str) -> tuple[str, io.BytesIO]:
    return name, io.BytesIO(content)


ASKED = {
    "image_generation": by_client(
        lambda client: client.images.with_raw_response.generate(model="draw", prompt="a cat")
    ),
    "image_edit": by_client(
        lambda client: client.images.with_raw_response.edit(
            model="draw", prompt="a cat", image=file(b"a picture", "cat.png")
        )
    ),
    "speech": by_client(
        lambda client: client.audio.speech.with_raw_response.create(
            model="speak", input="hello there", voice="alloy"
        )
    ),
    "transcription": by_client(
        lambda client: client.audio.transcriptions.with_raw_response.create(
            model="hear", file=file(WAV, "speech.wav")
        )
    ),
    "moderation": by_client(
        lambda client: client.moderations.with_raw_response.create(model="judge", input="hello there")
    ),
    "rerank": by_http("/v1/rerank", model="rank", query="which barks?", documents=["a cat", "a dog"]),
    "ocr": by_http(
        "/v1/ocr",
        model="read",
        document={"type": "document_url", "document_url": "https://example.org/a.pdf"},
    ),
    "video_generation": by_http("/v1/videos", model="film", prompt="a cat", seconds="8"),
}
COSTS = {
    "image_edit": PICTURED,
    "image_generation": PICTURED,
    "moderation": 0,
    "ocr": 2 * 4_000_000,
    "rerank": 2_000_000,
    "speech": 10 * 15_000,
    "transcription": 2 * 100_000,
    "video_generation": 8 * 100_000_000,
}
PAID = [name for name, cost in COSTS.items() if cost]


@pytest.mark.parametrize("operation", ASKED)
def test_each_is_served_named_and_booked(proxy, operation):
    before = proxy.count()
    headers, body = ASKED[operation](proxy, MASTER)
    assert body
    (row,) = proxy.rows_after(before, 1)
    assert (row["operation"], row["status"], row["cost_nano_usd"]) == (operation, "success", COSTS[operation])
    if operation != "moderation":  # for which the proxy writes no headers of anybody's
        assert headers["x-llmgate-call-id"] == row["call_id"]
        assert headers["x-llmgate-deployment"] == row["deployment"]


@pytest.mark.parametrize("operation", PAID)
def test_a_team_without_money_is_refused_before_anything_is_sent(proxy, operation):
    with pytest.raises((openai.RateLimitError, urllib.error.HTTPError)) as raised:
        ASKED[operation](proxy, "sk-poor-of-ada")
    status = getattr(raised.value, "status_code", None) or raised.value.code
    assert status == 429
    assert proxy.media.sent == []


def test_speech_arrives_as_it_was_spoken(proxy):
    with proxy.client.audio.speech.with_streaming_response.create(
        model="speak", input="hello there", voice="alloy"
    ) as answer:
        assert b"".join(answer.iter_bytes(1024)) == SPOKEN


def test_a_guard_hears_what_is_to_be_spoken(proxy):
    with pytest.raises(openai.PermissionDeniedError, match="forbidden words are not sent"):
        proxy.client.audio.speech.create(model="speak", input="forbidden", voice="alloy")
    assert proxy.media.sent == []


def test_a_file_is_sent_again_as_a_whole(proxy):
    proxy.media.failures += [500]
    answer = proxy.client.audio.transcriptions.create(model="hear", file=file(WAV, "speech.wav"))
    assert answer.text == "hello there"
    assert [WAV in one.body for one in proxy.media.sent] == [True, True]
