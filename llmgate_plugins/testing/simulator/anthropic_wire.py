"""Writes Anthropic answers: whole, as server-sent events, and as errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from llmgate_plugins.testing.faults import Fault, Refusal
from llmgate_plugins.testing.simulator.provider import Prefill
from llmgate_plugins.testing.simulator.question import Answer, Question
from llmgate_plugins.testing.simulator.refused import Refused
from llmgate_plugins.testing.simulator.wire import Events, chopped, sse
from llmgate_plugins.types import Usage

__all__ = ["AnthropicWire"]

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_STOP = sse({"type": "message_stop"}, "message_stop")


class AnthropicWire:
    """The Messages wire."""

    name = "anthropic"
    done = _STOP
    prefill: Prefill = "continue"
    ping = sse({"type": "ping"}, "ping")
    malformed = b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"te\n\n'
    call_prefix = "toolu_"

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """The API key a request brings."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else None) or None

    def check_key(self, key: str | None, keys: frozenset[str] | None, headers: Mapping[str, str]) -> None:
        """Refuse a request without a key, with an unknown one, or without the API's version."""
        if key is None:
            raise Refused("x-api-key header is required", status=401)
        if keys is not None and key not in keys:
            raise Refused("invalid x-api-key", status=401)
        if not headers.get("anthropic-version"):
            raise Refused("anthropic-version: header is required")

    def refusal(self, error: Refused) -> dict[str, Any]:
        """The body of a refusal."""
        kind = error.type or _TYPES.get(error.status, "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}

    def error(self, fault: Fault, refusal: Refusal, request_id: str) -> tuple[int, dict[str, Any]]:
        """Status and body of an error."""
        status = fault.status or refusal.anthropic_status or refusal.status
        inner: dict[str, Any] = {
            "type": refusal.anthropic_type,
            "message": fault.message or refusal.message,
        }
        if fault.code:
            inner["details"] = {"error_code": fault.code}
        return status, {"type": "error", "error": inner, "request_id": request_id}

    def error_event(self, fault: Fault) -> bytes:
        """An error in the middle of a stream."""
        inner = {"type": fault.code or "overloaded_error", "message": fault.message or "Overloaded"}
        return sse({"type": "error", "error": inner}, "error")

    def limit_headers(self, limit: int, left: int, reset: float, now: float) -> dict[str, str]:
        """What the provider says about its limits."""
        at = datetime.fromtimestamp(now + reset, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        headers = {}
        for what, size in (("requests", 1), ("tokens", 1000), ("input-tokens", 800), ("output-tokens", 200)):
            headers[f"anthropic-ratelimit-{what}-limit"] = str(limit * size)
            headers[f"anthropic-ratelimit-{what}-remaining"] = str(left * size)
            headers[f"anthropic-ratelimit-{what}-reset"] = at
        return headers

    def id_headers(self, request_id: str) -> dict[str, str]:
        """What names the request."""
        return {"request-id": request_id, "anthropic-organization-id": "00000000-0000-4000-8000-000000000000"}

    def whole(self, question: Question, answers: Sequence[Answer], number: str) -> dict[str, Any]:  # noqa: ARG002 - the other wire needs it
        """The body of an answer in one piece."""
        answer = answers[0]
        return {
            **_envelope(answer, number),
            "content": _blocks(answer),
            "stop_reason": _stop_reason(answer),
            "stop_sequence": answer.stop_sequence,
            "usage": usage_body(answer.usage),
        }

    def events(self, question: Question, answers: Sequence[Answer], number: str) -> Events:  # noqa: ARG002 - the other wire needs it
        """The same as server-sent events."""
        answer = answers[0]
        begun = {**usage_body(answer.usage), "output_tokens": 1}
        start = {**_envelope(answer, number), "content": [], "stop_reason": None, "stop_sequence": None}
        head = [
            sse({"type": "message_start", "message": {**start, "usage": begun}}, "message_start"),
            sse({"type": "ping"}, "ping"),
        ]
        body = [
            event for index, block in enumerate(_blocks(answer)) for event in _events(index, block, answer)
        ]
        delta = {"stop_reason": _stop_reason(answer), "stop_sequence": answer.stop_sequence}
        total = {"type": "message_delta", "delta": delta, "usage": usage_body(answer.usage)}
        return Events(head=head, body=body, tail=[sse(total, "message_delta"), _STOP])


def _envelope(answer: Answer, number: str) -> dict[str, Any]:
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": answer.model}


def _stop_reason(answer: Answer) -> str:
    if answer.refusal:
        return "refusal"
    return "stop_sequence" if answer.stop_sequence else _STOP_REASONS[answer.finish_reason]


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        signature = base64.b64encode(answer.reasoning.encode()[:24]).decode()
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": signature})
    words = answer.text or answer.refusal
    if words:
        blocks.append({"type": "text", "text": words})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
        for call in answer.tool_calls
    ]
    return blocks


def _events(index: int, block: Mapping[str, Any], answer: Answer) -> list[bytes]:
    """One content block: its start with its first piece, its further pieces, its end with its last."""
    kind = block["type"]
    deltas: list[dict[str, Any]]
    if kind == "text":
        empty: dict[str, Any] = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in answer.pieces or chopped(block["text"])]
    elif kind == "thinking":
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": part} for part in chopped(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        empty = {**block, "input": {}}
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ["", *chopped(text)]]

    pieces = [_named("content_block_delta", index, delta=delta) for delta in deltas]
    pieces[0] = _named("content_block_start", index, content_block=empty) + pieces[0]
    pieces[-1] += _named("content_block_stop", index)
    return pieces


def _named(event: str, index: int, **fields: Any) -> bytes:
    return sse({"type": event, "index": index, **fields}, event)


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage as Anthropic counts it: the input buckets are disjoint, thinking is output."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached_input,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": usage.output + usage.reasoning,
        "service_tier": "standard",
    }
