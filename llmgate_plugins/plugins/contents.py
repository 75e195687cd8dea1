"""Prompts and answers in the books, for whom configuration says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.masking import scrub
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.types import Message, Request, Response

__all__ = ["Contents"]

_ANSWER: Final[StashKey[Response]] = StashKey("answer")


class Contents:
    """Stores what was asked and answered in the ledger's table `contents`, one row for each call.

    Not among the built-in plugins: without it no prompt and no answer is stored anywhere.
    Keys and other secrets that this process has used are masked. An answer that was not whole
    (a stream that was left or broke) is not stored, its question is.

    Args:
        tenants, policies: Only calls of one of these; neither given: every call.
    """

    def __init__(self, *, tenants: Iterable[str] = (), policies: Iterable[str] = ()) -> None:
        self._tenants = frozenset(tenants)
        self._policies = frozenset(policies)

    @hookimpl(trylast=True)
    def review_response(self, response: Response, call: Call) -> None:
        """Keep the answer at hand, as the guards before have left it."""
        if self._wanted(call.context, call.record):
            call.stash[_ANSWER] = response

    @hookimpl
    def end_call(
        self, record: DecisionRecord, request: Request, context: Context, call: Call, services: Services
    ) -> Any:
        """Write the row."""
        keep = getattr(services.ledger, "keep_content", None)
        if keep is None or not self._wanted(context, record):
            return None
        response = call.stashed(_ANSWER) or call.answer
        return keep(
            {
                "call_id": record.call_id,
                "at": record.at,
                "tenant": context.tenant,
                "messages": [_message(message) for message in request.messages],
                "answer": None
                if response is None
                else {**_message(response.message), "finish_reason": response.finish_reason},
            }
        )

    def _wanted(self, context: Context, record: DecisionRecord) -> bool:
        if not self._tenants and not self._policies:
            return True
        policy = record.policy or context.policy
        return context.tenant in self._tenants or policy in self._policies


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": _masked(message.content)}
    if message.tool_calls:
        told["tool_calls"] = [_masked(asdict(call)) for call in message.tool_calls]
    if message.tool_call_id is not None:
        told["tool_call_id"] = message.tool_call_id
    return told


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {str(key): _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return value
