"""Real `litellm.Router`s over simulated providers, and the four ways to ask one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm  # the variable above must be set first
from litellm_llmgate import Registration, register

from llmgate_plugins import Gateway, hookimpl
from llmgate_plugins.testing import SimulatedProvider

KEY = "sk-canary-0123456789abcdef"
HELLO = [{"role": "user", "content": "Say hello."}]
FACES = ("acompletion", "completion", "astream", "stream")


def entry(
    group: str,
    id: str,
    provider: SimulatedProvider | str,
    *,
    model: str = "openai/gpt-4o-mini",
    **params: Any,
) -> dict[str, Any]:
    """One entry of a `model_list`; what is named `info_...` goes to `model_info`."""
    base = provider if isinstance(provider, str) else provider.openai_base_url
    if not isinstance(provider, str) and model.startswith("anthropic/"):
        base = provider.anthropic_base_url
    info = {name.removeprefix("info_"): params.pop(name) for name in list(params) if name.startswith("info_")}
    return {
        "model_name": group,
        "litellm_params": {"model": model, "api_base": base, "api_key": KEY, **params},
        "model_info": {"id": id, **info},
    }


def registered(
    entries: list[dict[str, Any]], *plugins: object, gateway: Gateway | None = None, **settings: Any
) -> tuple[Any, Registration]:
    """A router with a gateway in it."""
    router = litellm.Router(model_list=entries, **settings)
    return router, register(router, gateway or Gateway(plugins=plugins))


async def ask(face: str, router: Any, model: str, messages: Any = None, **params: Any) -> str:
    """The text of the answer, asked for on one of the four faces."""
    messages = HELLO if messages is None else messages
    if face == "acompletion":
        answer = await router.acompletion(model, messages, **params)
        return str(answer.choices[0].message.content)
    if face == "completion":
        return str(router.completion(model, messages, **params).choices[0].message.content)
    if face == "astream":
        stream = await router.acompletion(model, messages, stream=True, **params)
        return text_of([chunk async for chunk in stream])
    return text_of(router.completion(model, messages, stream=True, **params))


def text_of(chunks: Iterable[Any]) -> str:
    """The text of all chunks."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def rows(registration: Registration) -> list[dict[str, Any]]:
    """The gateway's attempt rows, oldest first."""
    ledger = registration.gateway.services.ledger
    ledger.flush()
    return ledger.attempts()


def ends(registration: Registration) -> list[tuple[str, str]]:
    """(deployment, status) of each attempt row."""
    return [(row["deployment"], row["status"]) for row in rows(registration)]


class Saw:
    """Keeps what each hook was given."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.contexts: list[Any] = []
        self.candidates: list[list[str]] = []

    @hookimpl
    def admit_request(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.contexts.append(context)

    @hookimpl
    def narrow_deployments(self, deployments: Any) -> None:
        self.candidates.append([deployment.id for deployment in deployments])
