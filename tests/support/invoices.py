"""Provider answers as they really look, served on loopback and read by each of the three ways in."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import yaml
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_llmgate import ChatLLMGate

from llmgate_plugins import Deployment, Endpoint, Gateway, Request, Secret
from llmgate_plugins.catalog import Catalog, litellm_table
from llmgate_plugins.catalog.prices import PER_TOKEN
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.transports import OpenAITransport
from support.langchain_leaves import Fake
from support.litellm_routers import ask, registered

__all__ = ["INVOICES", "Invoice", "booked", "catalogue", "serving", "text_of"]

TABLE = yaml.safe_load((Path(__file__).parents[1] / "accounting" / "invoices.yaml").read_text("utf-8"))
Invoice = Mapping[str, Any]
Booked = tuple[list[dict[str, Any]], DecisionRecord]
INVOICES: list[Invoice] = TABLE["invoices"]
KEY = "sk-canary-0123456789abcdef"
TEXT = "Forty-two."


def text_of(invoice: Invoice) -> str:
    """What the model has answered."""
    return str(invoice.get("text", TEXT))


def catalogue(folder: Path) -> Catalog:
    """The table's prices as LiteLLM's table would have them, and nothing else."""
    file = folder / "prices.json"
    file.write_text(json.dumps({name: _listed(name, card) for name, card in TABLE["prices"].items()}))
    return Catalog(sources=[litellm_table(file)])


def _listed(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    names = {bucket: key for key, bucket in PER_TOKEN.items()}
    entry: dict[str, Any] = {
        "litellm_provider": name.partition("/")[0],
        "mode": card.get("mode", "chat"),
        "max_input_tokens": card.get("context_window", 1_000_000),
        "max_output_tokens": card.get("max_output", 100_000),
        "provider_specific_entry": card.get("times", {}),
    }
    for tier in ({}, *card.get("tiers", ())):
        above = f"_above_{tier['above'] // 1000}k_tokens" if "above" in tier else ""
        word = f"_{'batches' if tier.get('tier') == 'batch' else tier['tier']}" if "tier" in tier else ""
        for bucket, key in names.items():
            usd = (tier or card).get(bucket)
            if usd is not None:
                entry[key + above + word] = float(Decimal(str(usd)) / 1_000_000)
    return entry


# ---------------------------------------------------------------- answers


class _Handler(BaseHTTPRequestHandler):
    """Answers with what stands under the first part of the path."""

    answers: dict[str, tuple[str, list[bytes]]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        kind, parts = self.answers[self.path.split("/")[1]]
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(sum(map(len, parts))))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Callable[[Invoice], str]]:
    """Puts an invoice's answer on a loopback server; gives its address."""
    answers: dict[str, tuple[str, list[bytes]]] = {}
    handler = type("Handler", (_Handler,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()

    def put(invoice: Invoice) -> str:
        if "usage_metadata" in invoice or "deltas" in invoice:
            return ""
        place = f"i{len(answers)}"
        if "stream" in invoice["by"]:
            events = _EVENTS[_language(invoice)](invoice)
            answers[place] = ("text/event-stream", [event.encode() for event in events])
        else:
            body = _BODIES[_language(invoice)](invoice)
            answers[place] = ("application/json", [json.dumps(body).encode()])
        return f"http://127.0.0.1:{server.server_port}/{place}"

    try:
        yield put
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _language(invoice: Invoice) -> str:
    provider = invoice.get("speaks") or invoice["model"].partition("/")[0]
    return provider if provider in _BODIES else "openai"


def _served(invoice: Invoice) -> str:
    return str(invoice.get("served") or invoice["model"].partition("/")[2])


def _openai(invoice: Invoice) -> dict[str, Any]:
    if invoice.get("operation") == "embedding":
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        return {"object": "list", "model": _served(invoice), "data": data, "usage": invoice["usage"]}
    message = {"role": "assistant", "content": text_of(invoice)}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": _served(invoice),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        **({"usage": invoice["usage"]} if "usage" in invoice else {}),
        **invoice.get("beside", {}),
    }


def _openai_events(invoice: Invoice) -> Iterator[str]:
    """A piece of text for each report but the last, which comes alone, as OpenAI sends it."""
    text, reports = text_of(invoice), invoice["reports"]
    shared = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": _served(invoice)}
    size = -(-len(text) // max(len(reports) - 1, 1))
    for number, report in enumerate(reports):
        last = number == len(reports) - 1
        piece = {
            "index": 0,
            "delta": {"content": text[number * size : (number + 1) * size]},
            "finish_reason": None,
        }
        chunk = {**shared, "choices": [] if last else [piece], **invoice.get("beside", {}), "usage": report}
        if last:
            ended = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
            yield f"data: {json.dumps({**shared, 'choices': ended})}\n\n"
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _anthropic(invoice: Invoice) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": _served(invoice),
        "content": [{"type": "text", "text": text_of(invoice)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": invoice["usage"],
    }


def _anthropic_events(invoice: Invoice) -> Iterator[str]:
    first, *later = invoice["reports"]
    opened = {**_anthropic({**invoice, "usage": first}), "content": [], "stop_reason": None}
    delta = {"type": "text_delta", "text": text_of(invoice)}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": opened},
        *_anthropic_summary(invoice),
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        *({"type": "message_delta", "delta": ended, "usage": report} for report in later),
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _anthropic_summary(invoice: Invoice) -> list[dict[str, Any]]:
    if "summary" not in invoice:
        return []
    delta = {"type": "compaction_delta", "content": invoice["summary"]}
    return [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "compaction", "content": None},
        },
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
    ]


def _gemini(invoice: Invoice) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text_of(invoice)}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": invoice["usage"],
        "modelVersion": _served(invoice),
    }


def _gemini_events(invoice: Invoice) -> Iterator[str]:
    text, reports = text_of(invoice), invoice["reports"]
    size = -(-len(text) // len(reports))
    for number, report in enumerate(reports):
        body = _gemini({**invoice, "usage": report, "text": text[number * size : (number + 1) * size]})
        if number < len(reports) - 1:
            del body["candidates"][0]["finishReason"]
        yield f"data: {json.dumps(body)}\r\n\r\n"


def _bedrock(invoice: Invoice) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"text": text_of(invoice)}]}
    return {
        "output": {"message": message},
        "stopReason": "end_turn",
        "usage": invoice["usage"],
        "metrics": {"latencyMs": 1},
    }


_BODIES = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini, "bedrock": _bedrock}
_EVENTS = {"openai": _openai_events, "anthropic": _anthropic_events, "gemini": _gemini_events}


# ---------------------------------------------------------------- ways in


def booked(invoice: Invoice, address: str, catalog: Catalog) -> Booked:
    """The attempt rows of a call whose provider answers so, and its decision record."""
    if "configured" in invoice:
        catalog = Catalog({invoice["model"]: invoice["configured"]}, sources=catalog._sources)
    return _WAYS[invoice["by"].partition("-")[0]](invoice, address, catalog)


def _by_core(invoice: Invoice, address: str, catalog: Catalog) -> Booked:
    provider, _, model = invoice["model"].partition("/")
    card = catalog.lookup(provider, model)
    options = {"api_version": "2024-10-21"} if provider == "azure" else {}
    deployment = Deployment(
        id="one",
        alias="fast",
        provider=invoice.get("speaks", provider),
        model=model,
        endpoint=Endpoint(base_url=address, api_key=Secret(KEY), options=options),
        info=invoice.get("info", {}),
        price=card.price if card else None,
        context_window=card.context_window if card else None,
        max_output=card.max_output if card else None,
    )
    transport = OpenAITransport()
    gateway = Gateway([deployment], transport=transport, catalog=catalog)
    try:
        if invoice["by"] == "core-stream":
            assert "".join(chunk.text for chunk in gateway.stream("fast", _asked(invoice))) == text_of(
                invoice
            )
        elif invoice.get("operation") == "embedding":
            gateway.complete(Request(model="fast", params={"input": "hello"}, operation="embedding"))
        else:
            assert gateway.complete("fast", _asked(invoice)).text == text_of(invoice)
    finally:
        transport.close()
    return gateway.services.ledger.attempts(), gateway.decisions[-1]


def _asked(invoice: Invoice) -> str:
    return str(invoice.get("asked", "What is six times seven?"))


def _by_litellm(invoice: Invoice, address: str, catalog: Catalog) -> Booked:
    import litellm

    litellm.disable_aiohttp_transport = True
    params: dict[str, Any] = {"model": invoice["model"], "api_base": address, "api_key": KEY}
    if invoice["model"].startswith("bedrock/"):
        params = {
            "model": invoice["model"],
            "aws_bedrock_runtime_endpoint": address,
            "aws_access_key_id": "a",
            "aws_secret_access_key": KEY,
            "aws_region_name": "us-east-1",
        }
    entry = {"model_name": "fast", "litellm_params": params, "model_info": {"id": "one"}}
    router, registration = registered([entry], gateway=Gateway(catalog=catalog))
    asked = [{"role": "user", "content": _asked(invoice)}]
    face = "astream" if "stream" in invoice["by"] else "acompletion"
    if invoice.get("operation") == "embedding":
        asyncio.run(router.aembedding("fast", ["hello"]))
    else:
        assert asyncio.run(ask(face, router, "fast", asked)) == text_of(invoice)
    return registration.gateway.services.ledger.attempts(), registration.gateway.decisions[-1]


def _by_langchain(invoice: Invoice, address: str, catalog: Catalog) -> Booked:
    provider, _, model = invoice["model"].partition("/")
    inner: Any
    if "usage_metadata" in invoice or "deltas" in invoice:
        inner = Told(name_told=_served(invoice), invoice=dict(invoice), provider=provider, named=model)
    elif provider == "anthropic":
        from langchain_anthropic import ChatAnthropic

        made_with = invoice.get("made_with", {})
        inner = ChatAnthropic(model=model, base_url=address, api_key=KEY, **made_with)
    else:
        from langchain_openai import ChatOpenAI

        inner = ChatOpenAI(model=model, base_url=address, api_key=KEY)
    gate = ChatLLMGate.from_models({"fast": [inner]}, catalog=catalog)
    if "stream" in invoice["by"]:
        assert "".join(chunk.text for chunk in gate.stream(_asked(invoice))) == text_of(invoice)
    else:
        assert gate.invoke(_asked(invoice)).text == text_of(invoice)
    return gate.gateway.services.ledger.attempts(), gate.gateway.decisions[-1]


class Told(Fake):
    """An inner model of a package that is not installed here, with the usage that package tells."""

    invoice: dict[str, Any]
    provider: str = ""
    named: str = ""

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.named, "ls_model_type": "chat"}

    def _told(self) -> dict[str, Any]:
        return {"model_name": self.name_told, **self.invoice.get("beside", {})}

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        message = AIMessage(
            text_of(self.invoice),
            usage_metadata=self.invoice["usage_metadata"],
            response_metadata={**self._told(), "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        text, deltas = text_of(self.invoice), self.invoice["deltas"]
        size = -(-len(text) // len(deltas))
        for number, told in enumerate(deltas):
            piece = AIMessageChunk(
                text[number * size : (number + 1) * size],
                usage_metadata=told,
                response_metadata=self._told() if not number else {},
            )
            info = {"finish_reason": "stop"} if number == len(deltas) - 1 else None
            yield ChatGenerationChunk(message=piece, generation_info=info)


_WAYS = {"core": _by_core, "litellm": _by_litellm, "langchain": _by_langchain}
