"""Writes OpenAI answers: whole, as server-sent events, and as errors."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.testing.faults import Fault, Refusal
from llmgate_plugins.testing.simulator.openai_schema import Embeddings
from llmgate_plugins.testing.simulator.provider import Prefill
from llmgate_plugins.testing.simulator.question import Answer, Question, add_usage, count_tokens
from llmgate_plugins.testing.simulator.refused import Refused
from llmgate_plugins.testing.simulator.wire import Events, chopped, sse
from llmgate_plugins.types import Usage

__all__ = ["OpenAIWire"]

_DONE = b"data: [DONE]\n\n"
_FINGERPRINT = "fp_simulated"


class OpenAIWire:
    """The chat-completions wire."""

    name = "openai"
    done = _DONE
    prefill: Prefill = "ignore"
    ping = b": keep-alive\n\n"
    malformed = b'data: {"choices": [{"index": 0, "delta": {"content": "bro\n\n'
    call_prefix = "call_"

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """The API key a request brings."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else None

    def check_key(self, key: str | None, keys: frozenset[str] | None, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - the other wire needs it
        """Refuse a request without a key, or with one that is not among `keys`."""
        if key is None:
            raise Refused(
                "You didn't provide an API key. You need to provide your API key in an Authorization header "
                "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                status=401,
            )
        if keys is not None and key not in keys:
            shown = f"{key[:3]}****{key[-4:]}" if len(key) > 11 else "****"
            raise Refused(
                f"Incorrect API key provided: {shown}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
                status=401,
            )

    def refusal(self, error: Refused) -> dict[str, Any]:
        """The body of a refusal."""
        kind = error.type or "invalid_request_error"
        return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}

    def error(self, fault: Fault, refusal: Refusal, request_id: str) -> tuple[int, dict[str, Any]]:  # noqa: ARG002 - the other wire needs it
        """Status and body of an error."""
        code = fault.code or refusal.code
        body = {
            "message": fault.message or refusal.message,
            "type": refusal.type,
            "param": None,
            "code": code,
        }
        return fault.status or refusal.status, {"error": body}

    def error_event(self, fault: Fault) -> bytes:
        """An error in the middle of a stream."""
        message = fault.message or "The server had an error while processing your request. Sorry about that!"
        return sse({"error": {"message": message, "type": "server_error", "param": None, "code": fault.code}})

    def limit_headers(self, limit: int, left: int, reset: float, now: float) -> dict[str, str]:  # noqa: ARG002 - the other wire needs it
        """What the provider says about its limits."""
        tokens = limit * 1000
        return {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": duration(reset),
            "x-ratelimit-limit-tokens": str(tokens),
            "x-ratelimit-remaining-tokens": str(left * 1000),
            "x-ratelimit-reset-tokens": duration(reset),
        }

    def id_headers(self, request_id: str) -> dict[str, str]:
        """What names the request."""
        return {"x-request-id": request_id, "openai-version": "2020-10-01", "openai-processing-ms": "1"}

    def whole(self, question: Question, answers: Sequence[Answer], number: str) -> dict[str, Any]:
        """The body of an answer in one piece."""
        return {
            **_envelope("chat.completion", answers[0], number),
            "choices": [_choice(index, answer, question) for index, answer in enumerate(answers)],
            "usage": usage_body(add_usage(answers)),
        }

    def events(self, question: Question, answers: Sequence[Answer], number: str) -> Events:
        """The same as server-sent events."""
        envelope = _envelope("chat.completion.chunk", answers[0], number)
        if question.include_usage:
            envelope["usage"] = None

        def chunk(index: int, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            return sse({**envelope, "choices": [choice]})

        head, body, tail = [], [], []
        for index, answer in enumerate(answers):
            head.append(chunk(index, {"role": "assistant", "content": "", "refusal": None}))
            body += [chunk(index, delta) for delta in _deltas(answer)]
            tail.append(chunk(index, {}, answer.finish_reason))
        if question.include_usage:
            tail.append(sse({**envelope, "choices": [], "usage": usage_body(add_usage(answers))}))
        return Events(head=head, body=body, tail=[*tail, _DONE])


def _envelope(kind: str, answer: Answer, number: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": int(time.time()),
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _choice(index: int, answer: Answer, question: Question) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or (None if answer.tool_calls or answer.refusal else ""),
        "refusal": answer.refusal,
        "annotations": [],
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
    logprobs = _logprobs(answer.text) if question.body.get("logprobs") else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": answer.finish_reason}


def _logprobs(text: str) -> dict[str, Any]:
    tokens = re.findall(r"\s*\S+", text)
    return {
        "content": [
            {"token": token, "logprob": -0.1, "bytes": list(token.encode()), "top_logprobs": []}
            for token in tokens
        ],
        "refusal": None,
    }


def _deltas(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"reasoning_content": part} for part in chopped(answer.reasoning)]
    deltas += [{"content": part} for part in answer.pieces or chopped(answer.text)]
    if answer.refusal:
        deltas += [{"refusal": part} for part in chopped(answer.refusal)]
    for index, call in enumerate(answer.tool_calls):
        function = {"name": call.name, "arguments": ""}
        deltas.append(
            {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        )
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            for part in chopped(call.arguments)
        ]
    return deltas


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage as OpenAI counts it: cached tokens are part of the prompt, reasoning of the completion."""
    prompt = usage.input + usage.cached_input + usage.cache_write
    completion = usage.output + usage.reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes a duration: 250ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{round(rest, 3):g}s"


def embeddings_body(request: Embeddings) -> dict[str, Any]:
    """Vectors of length 1; the same text always has the same vector."""
    inputs: list[Any] = request.input if isinstance(request.input, list) else [request.input]
    if inputs and isinstance(inputs[0], int):
        inputs = [inputs]
    size = request.dimensions or (3072 if "large" in request.model else 1536)
    data = []
    for index, one in enumerate(inputs):
        vector: Any = _vector(json.dumps(one), size)
        if request.encoding_format == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(one) if isinstance(one, list) else count_tokens(one) for one in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def _vector(text: str, size: int) -> list[float]:
    source = random.Random(hashlib.sha256(text.encode()).digest())  # noqa: S311 - not for cryptography
    raw = [source.uniform(-1, 1) for _ in range(size)]
    length = sum(part * part for part in raw) ** 0.5
    return [part / length for part in raw]
