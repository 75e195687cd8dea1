"""Whole stacks over HTTP on loopback, against a server in a process of its own."""

from __future__ import annotations

import logging
import os
from typing import Any

from benchmarks.harness import Case, Suite

__all__ = ["suites"]

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
KEY = "sk-benchmark-0000"
ASKED = [{"role": "user", "content": "What is the capital of France?"}]


def suites(url: str) -> list[Suite]:
    import litellm
    import litellm_llmgate
    import openai
    from langchain_litellm import ChatLiteLLMRouter
    from langchain_llmgate import ChatLLMGate
    from langchain_openai import ChatOpenAI

    litellm.suppress_debug_info = True
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # LiteLLM never closes its sessions

    def model_list() -> list[dict[str, Any]]:
        params = {"model": "openai/gpt-4o-mini", "api_base": url, "api_key": KEY}
        return [
            {"model_name": "fast", "litellm_params": dict(params), "model_info": {"id": f"d{number}"}}
            for number in range(2)
        ]

    def chat() -> ChatOpenAI:
        return ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key=KEY, max_retries=0, stream_usage=True)

    sync = openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)
    client = openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0)
    bare = chat()
    gate = ChatLLMGate.from_models({"fast": [chat(), chat()]})
    plain = litellm.Router(model_list(), routing_strategy="latency-based-routing")
    registered = litellm.Router(model_list(), routing_strategy="latency-based-routing")
    litellm_llmgate.register(registered, {"model_list": model_list()})
    peer = ChatLiteLLMRouter(router=litellm.Router(model_list()), model_name="fast")

    async def acreate() -> None:
        await client.chat.completions.create(model="gpt-4o-mini", messages=ASKED)

    async def acompletion() -> None:
        await litellm.acompletion(
            model="openai/gpt-4o-mini", messages=ASKED, api_base=url, api_key=KEY, num_retries=0
        )

    return [
        Suite(
            name="over HTTP, sync",
            unit="call",
            cases=(
                Case(
                    name="openai client",
                    run=_times(lambda: sync.chat.completions.create(model="gpt-4o-mini", messages=ASKED)),
                ),
                Case(name="ChatOpenAI", run=_times(lambda: bare.invoke("What is the capital of France?"))),
                Case(name="ChatLLMGate", run=_times(lambda: gate.invoke("What is the capital of France?"))),
                Case(
                    name="ChatLiteLLMRouter",
                    run=_times(lambda: peer.invoke("What is the capital of France?")),
                ),
            ),
            targets={"ChatLLMGate": ("ChatOpenAI", 1.08)},
        ),
        Suite(
            name="over HTTP, async",
            unit="call",
            cases=(
                Case(name="openai client", run=_atimes(acreate)),
                Case(name="ChatOpenAI", run=_atimes(lambda: bare.ainvoke("What is the capital of France?"))),
                Case(name="ChatLLMGate", run=_atimes(lambda: gate.ainvoke("What is the capital of France?"))),
                Case(name="litellm.acompletion", run=_atimes(acompletion)),
                Case(name="Router", run=_atimes(lambda: plain.acompletion("fast", ASKED))),
                Case(name="Router, registered", run=_atimes(lambda: registered.acompletion("fast", ASKED))),
                Case(
                    name="ChatLiteLLMRouter",
                    run=_atimes(lambda: peer.ainvoke("What is the capital of France?")),
                ),
            ),
            targets={"ChatLLMGate": ("ChatLiteLLMRouter", 0.45), "Router, registered": ("Router", 1.0)},
        ),
    ]


def _times(once: Any) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            once()

    return run


def _atimes(once: Any) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await once()

    return run
