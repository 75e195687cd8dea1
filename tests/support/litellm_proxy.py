"""The LiteLLM proxy as a real process over simulated providers; its config.yaml names the gateway."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import openai
import yaml

from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.testing import ProviderSimulator
from support.litellm_routers import KEY, entry
from support.media_servers import MediaServer, media_server
from support.patience import PATIENCE

__all__ = ["CALLBACK", "MASTER", "MOST_SECONDS", "Proxy", "free_port", "running_proxy", "start", "stop"]

MASTER = "sk-master-0123456789abcdefghijklmnopqrstuvwxyz"
MOST_SECONDS = 120
CALLBACK = {"callbacks": ["litellm_llmgate.proxy.gateway"]}

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

PEOPLE = '''
"""Who has which key: LiteLLM's `custom_auth`, for a proxy without a database."""

from litellm.proxy._types import LitellmUserRoles, ProxyErrorTypes, ProxyException, UserAPIKeyAuth

MASTER = "MASTER_KEY"
TEAM_METADATA = {"in-the-eu": {"llmgate": {"region": "eu"}}, "by-name": {"llmgate": {"policy": "thrifty"}}}


async def who(request, api_key):
    """Keys are of the form sk-TEAM-of-USER; the master key is the administrator's."""
    if api_key == MASTER:
        role = LitellmUserRoles.PROXY_ADMIN
        return UserAPIKeyAuth(api_key=api_key, user_id="default_user_id", user_role=role)
    team, of, user = api_key.removeprefix("sk-").rpartition("-of-")
    if not of:
        raise ProxyException("no such key", ProxyErrorTypes.auth_error, "key", 401)
    return UserAPIKeyAuth(
        api_key=api_key, team_id=team, user_id=user, team_metadata=TEAM_METADATA.get(team)
    )
'''


class Proxy:
    """A running proxy: its address, its files, its clients."""

    def __init__(
        self,
        sim: ProviderSimulator,
        media: MediaServer,
        folder: Path,
        port: int,
        process: subprocess.Popen,
    ) -> None:
        self.sim = sim
        self.media = media
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self.client = self.client_of(MASTER)
        self.ledger = open_ledger(f"sqlite:///{folder / 'books.db'}")

    def client_of(self, key: str) -> openai.OpenAI:
        """A client with this key, which tries everything once."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30)

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")

    def rows_after(self, before: int, expected: int) -> list[dict]:
        """The attempt rows written since there were `before`, once there are `expected` settled ones."""
        until = time.monotonic() + PATIENCE
        while True:
            rows = self.ledger.attempts()[before:]
            if len(rows) >= expected and all(row["status"] != "intent" for row in rows):
                return rows
            assert time.monotonic() < until, f"{rows}\n{self.log[-2000:]}"
            time.sleep(0.05)

    def count(self) -> int:
        return len(self.ledger.attempts())

    def sent(self) -> int:
        """Requests that have arrived at any provider."""
        return sum(len(provider.requests) for provider in self.sim.providers.values())

    def heal(self) -> None:
        """All providers as they were made."""
        for provider in self.sim.providers.values():
            provider.heal()
            provider.pace()
            provider.reply(None)
        self.media.heal()

    def wait_until_ready(self) -> None:
        until = time.monotonic() + MOST_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health/readiness", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            assert self.process.poll() is None, self.log[-4000:]
            assert time.monotonic() < until, self.log[-4000:]
            time.sleep(0.3)


def model_list(sim: ProviderSimulator, media: MediaServer) -> list[dict[str, Any]]:
    """The proxy's deployments, each at a provider of its own. Heavy ones are what LiteLLM itself picks."""
    heavy, light = {"weight": 1_000_000}, {"weight": 1}
    at = sim.provider
    entries = [
        entry("fast", "one", at("one")),
        entry("fast", "two", at("two")),
        entry("strong", "other", at("other")),
        entry("embed", "embedder", at("other"), model="openai/text-embedding-3-small"),
        entry("dying", "dead", at("dead")),
        entry("dying", "dead-too", at("dead-too")),
        entry("breaking", "broken", at("broken"), **heavy),
        entry("breaking", "whole", at("whole"), **light),
        entry("placed", "in-eu", at("in-eu"), info_region="eu", **light),
        entry("placed", "in-us", at("in-us"), info_region="us", **heavy),
        entry("placed", "anywhere", at("anywhere"), **heavy),
        entry("american", "also-us", at("also-us"), info_region="us"),
        entry("american-first", "us-first", at("us-first"), info_region="us"),
        entry("priced", "dear", at("dear"), model="openai/gpt-4o", **heavy),
        entry("priced", "cheap", at("cheap"), **light),
        entry("old", "old", at("old")),
        entry("new", "new", at("new")),
        entry("copied", "original", at("original")),
        entry("copies", "copy", at("copy")),
        entry("draw", "drawing", media.url, model="openai/gpt-image-1"),
        entry("speak", "speaking", media.url, model="openai/tts-1"),
        entry("hear", "hearing", media.url, model="openai/whisper-1"),
        entry("rank", "ranking", f"{media.url}/rerank", model="cohere/rerank-v3.5"),
        entry("judge", "judging", media.url, model="openai/omni-moderation-latest"),
        entry("read", "reading", media.url, model="mistral/mistral-ocr-latest"),
        entry("film", "filming", media.url, model="openai/sora-2"),
    ]
    for one in entries:
        one["litellm_params"]["api_key"] = "os.environ/PROVIDER_KEY"
    return entries


POLICIES: Mapping[str, Any] = {
    "policies": {
        "european": {"require": {"region": "eu"}, "version": "7"},
        "thrifty": {"prefer": "cheapest"},
    },
    "rules": [
        {"when": {"team": "support"}, "use": "european"},
        {"when": {"user": "ada"}, "use": "thrifty"},
        {"when": {"tag:place": "eu"}, "use": "european"},
    ],
    "experiments": {
        "newer": {
            "when": {"alias": "old"},
            "by": "user",
            "arms": [{"name": "control", "weight": 0.5}, {"name": "newer", "weight": 0.5, "model": "new"}],
        }
    },
    "budgets": [{"scope": "team=poor", "limit": "0.0001 USD/day"}],
    "shadow": [{"name": "beside", "to": "copies", "when": {"alias": "copied"}}],
}
"""The policies of the gateway's file. Calls of the master key to other groups are under none."""


@contextmanager
def running_proxy(
    folder: Path, site: Path, environment: Mapping[str, str] = MappingProxyType({}), **more: Any
) -> Iterator[Proxy]:
    """A proxy with its files in one folder and its plugin in another; with more in the gateway's file."""
    with ProviderSimulator(seed=11) as sim, media_server() as media:
        config = {
            "model_list": model_list(sim, media),
            "router_settings": {
                "fallbacks": [{"fast": ["strong"]}, {"dying": ["strong"]}, {"american-first": ["placed"]}],
                "disable_cooldowns": True,
            },
            "litellm_settings": CALLBACK,
            "general_settings": {"master_key": MASTER, "custom_auth": "people.who"},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        books = f"sqlite:///{folder / 'books.db'}"
        gate = {"ledger": books, "plugins": [{"name": "guard"}], **POLICIES, **more}
        (folder / "llmgate.yaml").write_text(yaml.safe_dump(gate))
        port = free_port()
        process = start(folder, {"PYTHONPATH": str(plugin_package(site)), **environment}, port)
        try:
            running = Proxy(sim, media, folder, port, process)
            running.wait_until_ready()
            yield running
        finally:
            stop(process)


def plugin_package(folder: Path) -> Path:
    """A folder for PYTHONPATH: an installed distribution with one plugin, and who has which key."""
    (folder / "guard.py").write_text(GUARD)
    info = folder / "guard_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guard-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[llmgate]\nguard = guard:Guard\n")
    (folder / "people.py").write_text(PEOPLE.replace("MASTER_KEY", MASTER))
    return folder


def start(folder: Path, environment: dict[str, str], port: int) -> subprocess.Popen:
    """The proxy in a process of its own, reading the config.yaml of a folder."""
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
    """End a proxy with all it started. Idempotent."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
