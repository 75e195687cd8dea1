"""The LiteLLM proxy as a real process, with the gateway named in its config.yaml alone."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import openai
import pytest
import yaml
from support.litellm_proxy import CALLBACK, MASTER, MOST_SECONDS, free_port, start, stop
from support.litellm_routers import HELLO, KEY, entry, text_of

from llmgate_plugins.testing import Fault


def test_the_start_says_that_the_gateway_is_ready_and_with_which_plugins(proxy):
    assert re.search(r"llmgate is ready: .*llmgate\.yaml; plugins: guard", proxy.log), proxy.log[-3000:]


def test_a_completion_is_served_named_and_booked(proxy):
    before = proxy.count()
    raw = proxy.client.chat.completions.with_raw_response.create(model="fast", messages=HELLO)
    assert raw.parse().choices[0].message.content
    (row,) = proxy.rows_after(before, 1)
    assert (row["alias"], row["status"]) == ("fast", "success")
    assert row["deployment"] in ("one", "two")
    assert row["cost_nano_usd"] > 0
    assert raw.headers["x-llmgate-deployment"] == row["deployment"] == raw.headers["x-litellm-model-id"]
    assert raw.headers["x-llmgate-call-id"] == row["call_id"]


def test_a_stream_is_served_and_booked_with_its_usage(proxy):
    before = proxy.count()
    stream = proxy.client.chat.completions.create(model="fast", messages=HELLO, stream=True)
    assert text_of(list(stream))
    (row,) = proxy.rows_after(before, 1)
    assert row["status"] == "success"
    assert row["output_tokens"] > 0
    assert not row["estimated"]


def test_a_dead_provider_costs_no_request(proxy):
    proxy.sim.provider("one").fail_always(Fault("server"))
    before = proxy.count()
    for stream in (False, True) * 5:
        answer = proxy.client.chat.completions.create(model="fast", messages=HELLO, stream=stream)
        assert text_of(list(answer)) if stream else answer.choices[0].message.content
    rows = proxy.rows_after(before, 10)
    assert [row["deployment"] for row in rows if row["status"] == "success"] == ["two"] * 10
    assert all(row["deployment"] == "one" for row in rows if row["status"] == "error")


def test_when_a_group_is_dead_the_proxys_own_fallback_serves(proxy):
    proxy.sim.provider("dead").fail_always(Fault("not_found"))
    proxy.sim.provider("dead-too").fail_always(Fault("not_found"))
    before = proxy.count()
    assert proxy.client.chat.completions.create(model="dying", messages=HELLO).choices
    rows = proxy.rows_after(before, 3)
    assert [row["status"] for row in rows] == ["error", "error", "success"]
    assert rows[-1]["deployment"] == "other"


STORY = "Once upon a time there was a gateway that never lost a row."


@pytest.mark.parametrize("on_break", ["resume", "restart"])
def test_a_stream_that_breaks_goes_on_for_the_openai_client(proxy, on_break):
    broken, whole = proxy.sim.provider("broken"), proxy.sim.provider("whole")
    for provider in (broken, whole):
        provider.reply(STORY)
    broken.fail_always(Fault("cut", after=4))
    before = proxy.count()
    chunks = list(
        proxy.client.chat.completions.create(
            model="breaking",
            messages=HELLO,
            stream=True,
            extra_body={"metadata": {"llmgate_on_break": on_break}},
        )
    )
    rows = proxy.rows_after(before, 2)
    assert [(row["deployment"], row["status"]) for row in rows] == [("broken", "error"), ("whole", "success")]
    assert len({chunk.id for chunk in chunks}) == 1
    told = [getattr(chunk, "provider_specific_fields", None) for chunk in chunks]
    if on_break == "resume":
        assert text_of(chunks) == STORY
        assert not any(told)
    else:
        at = told.index({"llmgate": {"restarted": True}})
        assert text_of(chunks[at:]) == STORY
        assert STORY.startswith(text_of(chunks[:at]))
    assert [
        one.choices[0].finish_reason for one in chunks if one.choices and one.choices[0].finish_reason
    ] == ["stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_choice_that_is_none_is_a_400(proxy, stream):
    asked = proxy.sent()
    with pytest.raises(openai.BadRequestError, match="llmgate_on_break"):
        proxy.client.chat.completions.create(
            model="fast",
            messages=HELLO,
            stream=stream,
            extra_body={"metadata": {"llmgate_on_break": "magic"}},
        )
    assert proxy.sent() == asked


def test_a_named_call_keeps_its_name_within_its_key(proxy):
    before = proxy.count()
    raw = proxy.client.chat.completions.with_raw_response.create(
        model="fast", messages=HELLO, extra_body={"metadata": {"llmgate_call_id": "order-17"}}
    )
    (row,) = proxy.rows_after(before, 1)
    assert row["call_id"] == raw.headers["x-llmgate-call-id"]
    assert len(row["call_id"]) == 64
    assert row["tags"] == {}


def test_embeddings_go_through_the_gateway(proxy):
    before = proxy.count()
    answer = proxy.client.embeddings.create(model="embed", input=["one", "two"])
    assert len(answer.data) == 2
    (row,) = proxy.rows_after(before, 1)
    assert (row["deployment"], row["status"]) == ("embedder", "success")


@pytest.mark.parametrize("stream", [False, True])
def test_a_denial_is_a_403_with_its_reason_and_nothing_is_sent(proxy, stream):
    before, asked = proxy.count(), proxy.sent()
    with pytest.raises(openai.PermissionDeniedError) as caught:
        proxy.client.chat.completions.create(
            model="fast", messages=[{"role": "user", "content": "a forbidden word"}], stream=stream
        )
    assert caught.value.status_code == 403
    assert caught.value.body["message"] == "forbidden words are not sent"
    assert (proxy.count(), proxy.sent()) == (before, asked)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "a forbidden word"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "a forbidden word"}]}),
        ("/v1/completions", {"prompt": "a forbidden word"}),
    ],
)
def test_a_policy_holds_for_endpoints_of_other_shapes(proxy, path, body):
    asked = proxy.sent()
    request = urllib.request.Request(
        f"{proxy.url}{path}",
        data=json.dumps({"model": "fast", **body}).encode(),
        headers={"authorization": f"Bearer {MASTER}", "content-type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 403
    assert "forbidden words are not sent" in caught.value.read().decode()
    assert proxy.sent() == asked


def test_a_plugins_bug_is_a_500_that_names_it_and_nothing_is_sent(proxy):
    asked = proxy.sent()
    with pytest.raises(openai.InternalServerError, match="'guard'"):
        proxy.client.chat.completions.create(model="fast", messages=[{"role": "user", "content": "bug"}])
    assert proxy.sent() == asked


def test_a_wrong_key_reaches_neither_gateway_nor_provider(proxy):
    before, asked = proxy.count(), proxy.sent()
    with pytest.raises(openai.APIStatusError, match=r"40[01]"):
        proxy.client.with_options(api_key="sk-wrong").chat.completions.create(model="fast", messages=HELLO)
    assert (proxy.count(), proxy.sent()) == (before, asked)


def test_who_is_calling_comes_from_the_key_and_not_from_the_request(proxy):
    before = proxy.count()
    proxy.client.chat.completions.create(
        model="fast",
        messages=HELLO,
        user="mallory",
        extra_body={"metadata": {"user_api_key_team_id": "admins", "feature": "search"}},
    )
    (row,) = proxy.rows_after(before, 1)
    assert row["user_id"] == "default_user_id"
    assert row["team"] is None
    assert row["tags"] == {"feature": "search"}


def test_a_client_that_leaves_is_booked_as_abandoned(proxy):
    proxy.sim.provider("one").pace(piece=0.2)
    proxy.sim.provider("two").pace(piece=0.2)
    before = proxy.count()
    stream = proxy.client.chat.completions.create(
        model="fast", messages=[{"role": "user", "content": "Tell a long story."}], stream=True
    )
    next(iter(stream))
    stream.close()
    (row,) = proxy.rows_after(before, 1)
    assert row["status"] in ("abandoned", "cancelled")
    assert row["estimated"]


def test_no_key_stands_in_the_log_or_the_books(proxy):
    proxy.ledger.flush()
    files = [path for path in proxy.folder.rglob("*") if "books.db" in str(path) and path.is_file()]
    books = b"".join(path.read_bytes() for path in files)
    for secret in (KEY, MASTER):
        assert secret not in proxy.log
        assert secret.encode() not in books


def test_a_bad_file_stops_the_start_with_its_line(tmp_path):
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "model_list": [entry("fast", "one", "http://127.0.0.1:9/v1")],
                "litellm_settings": CALLBACK,
                "general_settings": {"master_key": MASTER},
            }
        )
    )
    bad = tmp_path / "gate.yaml"
    bad.write_text("ledger: memory\nbugets: []\n")
    process = start(tmp_path, {"LLMGATE_CONFIG": str(bad)}, free_port())
    try:
        assert process.wait(MOST_SECONDS) != 0
    finally:
        stop(process)
    log = (tmp_path / "log.txt").read_text()
    assert f"{bad}:2: bugets" in log
