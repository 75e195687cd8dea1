"""Answers one request as its provider's wire and faults have it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.simulator.anthropic_request import read_count, read_messages
from llmgate_plugins.testing.simulator.openai_request import read_chat, read_embeddings
from llmgate_plugins.testing.simulator.openai_wire import embeddings_body
from llmgate_plugins.testing.simulator.question import Question
from llmgate_plugins.testing.simulator.refused import Refused
from llmgate_plugins.testing.simulator.sending import ANTHROPIC, OPENAI, Sending
from llmgate_plugins.testing.simulator.spoiling import spoiled

__all__ = ["Answering"]


_MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "claude-haiku-4-5")

_IN_MESSAGE = frozenset({"prefix", "partial"})
_IN_BODY = frozenset({"continue_final_message", "add_generation_prompt"})


class Answering(Sending):
    """One request on its way to its answer."""

    async def answer(self) -> None:
        """Send the answer, or whatever a fault makes of it."""
        try:
            await self._route()
        except Refused as refused:
            self.record.outcome = "refused"
            body = self.wire.refusal(refused)
            if self.wire is ANTHROPIC:
                body["request_id"] = self.request_id
            await self._json(refused.status, body)

    async def _route(self) -> None:
        self.wire.check_key(self.record.authorization(), self.provider.keys, self.incoming.headers)
        match self.incoming.method, self.path:
            case "POST", "/v1/chat/completions" | "/v1/messages":
                await self._generate(read_chat if self.wire is OPENAI else read_messages)
            case "POST", "/v1/messages/count_tokens":
                question = read_count(self._body())
                await self._plain({"input_tokens": question.tokens})
            case "POST", "/v1/embeddings":
                request = read_embeddings(self._body())
                self._check_model(request.model)
                await self._plain(embeddings_body(request))
            case "GET", "/v1/models":
                await self._plain(self._models())
            case method, _:
                raise Refused(f"Unknown request URL: {method} {self.path}", code="unknown_url", status=404)

    def _body(self) -> Any:
        try:
            return json.loads(self.incoming.body)
        except ValueError:
            raise Refused("We could not parse the JSON body of your request.", status=400) from None

    def _check_model(self, model: str) -> None:
        if self.provider.models is not None and model not in self.provider.models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise Refused(
                message if self.wire is OPENAI else f"model: {model}", code="model_not_found", status=404
            )

    def _models(self) -> dict[str, Any]:
        models = self.provider.models or _MODELS
        if self.wire is ANTHROPIC:
            made = "2025-01-01T00:00:00Z"
            data = [{"type": "model", "id": m, "display_name": m, "created_at": made} for m in models]
            return {"data": data, "has_more": False, "first_id": models[0], "last_id": models[-1]}
        listed = [
            {"id": m, "object": "model", "created": 1735689600, "owned_by": "simulator"} for m in models
        ]
        return {"object": "list", "data": listed}

    async def _plain(self, body: Mapping[str, Any]) -> None:
        """An answer that cannot stream, as it is or with a fault."""
        step = self.provider.next_step()
        self._admit()
        if isinstance(step, Fault):
            await self._fault(step, json.dumps(body).encode(), events=None)
        else:
            await self._json(200, body)

    async def _generate(self, read: Any) -> None:
        prefill = self.provider.prefill or self.wire.prefill
        body = self._body()
        question: Question = read(body if self.provider.prefill is None else _plain_words(body))
        self._check_model(question.model)
        if prefill == "refuse" and question.prefill:
            raise Refused(
                "This model does not support assistant message prefill. The conversation must end with a "
                "user message."
            )
        step = self.provider.next_step()
        self._admit()
        fault = step if isinstance(step, Fault) else None
        told = None if isinstance(step, Fault) else step
        if self.provider.first_delay:
            await asyncio.sleep(self.provider.first_delay)
        if fault is not None and fault.refusal is not None:
            await self._fault(fault, b"", events=None)
            return
        answers = self.provider.answers(question, told, self.wire.call_prefix, prefill)
        number = self.provider.new_id()
        whole = json.dumps(self.wire.whole(question, answers, number), ensure_ascii=False).encode()
        events = self.wire.events(question, answers, number) if question.stream else None
        if fault is not None:
            await self._fault(fault, *spoiled(fault, whole, events))
        elif events is None:
            await self._bytes(200, whole)
        else:
            await self._stream(events, pause=self.provider.piece_delay)

    def _admit(self) -> None:
        now = time.time()
        limit, left, reset = self.provider.admit(now)
        self.headers |= self.wire.limit_headers(limit, max(left, 0), reset, now)
        if left < 0:
            self.headers["retry-after"] = str(max(1, round(reset)))
            self.headers["retry-after-ms"] = str(round(reset * 1000))
            kind = "requests" if self.wire is OPENAI else "rate_limit_error"
            raise Refused(
                "Rate limit reached for requests", code="rate_limit_exceeded", status=429, type=kind
            )


def _plain_words(body: Any) -> Any:
    """A body without the words by which some providers are asked to go on from a beginning."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        return body
    *before, last = body["messages"]
    if isinstance(last, dict):
        last = {name: value for name, value in last.items() if name not in _IN_MESSAGE}
    plain = {name: value for name, value in body.items() if name not in _IN_BODY}
    return {**plain, "messages": [*before, last]}
