"""The LiteLLM proxy as a real process, with the gateway named in its config.yaml alone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest
import yaml
from support.litellm_routers import HELLO, KEY, entry, text_of

from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.testing import Fault, ProviderSimulator

MASTER = "sk-master-0123456789abcdefghijklmnopqrstuvwxyz"
MOST_SECONDS = 120

GUARD = '''
from llmgate_plugins import RequestDenied, hookimpl


class Guard:
    """Denies what it must, and has a bug."""

    @hookimpl
    def admit_request(self, request):
        said = " ".join(message.text for message in request.messages)
        if "forbidden" in said:
            raise RequestDenied("forbidden words are not sent", code="words")
        if "bug" in said:
            raise ZeroDivisionError("oh")
'''


class Proxy:
    """A running proxy: its address, its files, its clients."""

    def __init__(self, sim: ProviderSimulator, folder: Path, port: int, process: subprocess.Popen) -> None:
        self.sim = sim
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=MASTER, max_retries=0, timeout=30)
        self.ledger = open_ledger(f"sqlite:///{folder / 'books.db'}")

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")

    def rows_after(self, before: int, expected: int) -> list[dict]:
        """The attempt rows written since there were `before`, once there are `expected` settled ones."""
        until = time.monotonic() + 10
        while True:
            rows = self.ledger.attempts()[before:]
            if len(rows) >= expected and all(row["status"] != "intent" for row in rows):
                return rows
            assert time.monotonic() < until, f"{rows}\n{self.log[-2000:]}"
            time.sleep(0.05)

    def count(self) -> int:
        return len(self.ledger.attempts())


def plugin_package(folder: Path) -> Path:
    """An installed distribution with one plugin, as far as Python can tell."""
    (folder / "guard.py").write_text(GUARD)
    info = folder / "guard_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guard-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[llmgate]\nguard = guard:Guard\n")
    return folder


def start(folder: Path, environment: dict[str, str], port: int) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "PYTEST"))}
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-c", "from litellm import run_server; run_server()"),
                *("--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)),
            ],
            env=clean | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PROVIDER_KEY": KEY} | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )


def stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="session")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    site = plugin_package(tmp_path_factory.mktemp("site"))
    with ProviderSimulator(seed=11) as sim:
        one, two, other = sim.provider("one"), sim.provider("two"), sim.provider("other")
        embed = "openai/text-embedding-3-small"
        config = {
            "model_list": [
                entry("fast", "one", one),
                entry("fast", "two", two),
                entry("strong", "other", other),
                entry("embed", "embedder", other, model=embed),
                entry("dying", "dead", sim.provider("dead")),
                entry("dying", "dead-too", sim.provider("dead-too")),
                entry("breaking", "broken", sim.provider("broken"), weight=1_000_000),
                entry("breaking", "whole", sim.provider("whole"), weight=1),
            ],
            "router_settings": {
                "fallbacks": [{"fast": ["strong"]}, {"dying": ["strong"]}],
                "disable_cooldowns": True,
            },
            "litellm_settings": {"callbacks": ["litellm_llmgate.proxy.gateway"]},
            "general_settings": {"master_key": MASTER},
        }
        for one_entry in config["model_list"]:
            one_entry["litellm_params"]["api_key"] = "os.environ/PROVIDER_KEY"
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        gate = {"ledger": f"sqlite:///{folder / 'books.db'}", "plugins": [{"name": "guard"}]}
        (folder / "llmgate.yaml").write_text(yaml.safe_dump(gate))
        port = free_port()
        process = start(folder, {"PYTHONPATH": str(site)}, port)
        try:
            running = Proxy(sim, folder, port, process)
            wait_until_ready(running)
            yield running
        finally:
            stop(process)


def wait_until_ready(proxy: Proxy) -> None:
    until = time.monotonic() + MOST_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{proxy.url}/health/readiness", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        assert proxy.process.poll() is None, proxy.log[-4000:]
        assert time.monotonic() < until, proxy.log[-4000:]
        time.sleep(0.3)


@pytest.fixture(autouse=True)
def _healthy_providers(request):
    yield
    if "proxy" in request.fixturenames:
        for provider in request.getfixturevalue("proxy").sim.providers.values():
            provider.heal()
            provider.pace()
            provider.reply(None)


def sent(proxy: Proxy) -> int:
    return sum(len(provider.requests) for provider in proxy.sim.providers.values())


def test_the_start_says_that_the_gateway_is_ready_and_with_which_plugins(proxy):
    assert re.search(r"llmgate is ready: .*llmgate\.yaml; plugins: Guard", proxy.log), proxy.log[-3000:]


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
    asked = sent(proxy)
    with pytest.raises(openai.BadRequestError, match="llmgate_on_break"):
        proxy.client.chat.completions.create(
            model="fast",
            messages=HELLO,
            stream=stream,
            extra_body={"metadata": {"llmgate_on_break": "magic"}},
        )
    assert sent(proxy) == asked


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
    before, asked = proxy.count(), sent(proxy)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        proxy.client.chat.completions.create(
            model="fast", messages=[{"role": "user", "content": "a forbidden word"}], stream=stream
        )
    assert caught.value.status_code == 403
    assert caught.value.body["message"] == "forbidden words are not sent"
    assert (proxy.count(), sent(proxy)) == (before, asked)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "a forbidden word"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "a forbidden word"}]}),
        ("/v1/completions", {"prompt": "a forbidden word"}),
    ],
)
def test_a_policy_holds_for_endpoints_of_other_shapes(proxy, path, body):
    asked = sent(proxy)
    request = urllib.request.Request(
        f"{proxy.url}{path}",
        data=json.dumps({"model": "fast", **body}).encode(),
        headers={"authorization": f"Bearer {MASTER}", "content-type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 403
    assert "forbidden words are not sent" in caught.value.read().decode()
    assert sent(proxy) == asked


def test_a_plugins_bug_is_a_500_that_names_it_and_nothing_is_sent(proxy):
    asked = sent(proxy)
    with pytest.raises(openai.InternalServerError, match="Guard"):
        proxy.client.chat.completions.create(model="fast", messages=[{"role": "user", "content": "bug"}])
    assert sent(proxy) == asked


def test_a_wrong_key_reaches_neither_gateway_nor_provider(proxy):
    before, asked = proxy.count(), sent(proxy)
    with pytest.raises(openai.APIStatusError, match=r"40[01]"):
        proxy.client.with_options(api_key="sk-wrong").chat.completions.create(model="fast", messages=HELLO)
    assert (proxy.count(), sent(proxy)) == (before, asked)


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
    books = b"".join(path.read_bytes() for path in proxy.folder.glob("books.db*"))
    for secret in (KEY, MASTER):
        assert secret not in proxy.log
        assert secret.encode() not in books


def test_a_bad_file_stops_the_start_with_its_line(tmp_path):
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "model_list": [entry("fast", "one", "http://127.0.0.1:9/v1")],
                "litellm_settings": {"callbacks": ["litellm_llmgate.proxy.gateway"]},
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
