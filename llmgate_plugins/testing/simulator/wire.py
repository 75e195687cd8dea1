"""What the two wires have in common: server-sent events, in three parts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmgate_plugins.testing.faults import Fault, Refusal
from llmgate_plugins.testing.simulator.provider import Prefill
from llmgate_plugins.testing.simulator.question import Answer, Question
from llmgate_plugins.testing.simulator.refused import Refused

__all__ = ["Events", "Wire", "chopped", "sse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """A streamed answer: what comes before the content, the content, what comes after."""

    head: Sequence[bytes]
    body: Sequence[bytes]
    tail: Sequence[bytes]


class Wire(Protocol):
    """A provider's way to write answers and errors."""

    name: str
    done: bytes
    prefill: Prefill
    ping: bytes
    malformed: bytes
    call_prefix: str

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """The key a request brings, or None."""

    def check_key(self, key: str | None, keys: frozenset[str] | None, headers: Mapping[str, str]) -> None:
        """Refuse a missing or unknown key as the provider does."""

    def refusal(self, error: Refused) -> dict[str, Any]:
        """The body for a malformed request."""

    def error(self, fault: Fault, refusal: Refusal, request_id: str) -> tuple[int, dict[str, Any]]:
        """Status and body for a fault."""

    def error_event(self, fault: Fault) -> bytes:
        """A fault in the middle of a stream."""

    def limit_headers(self, limit: int, left: int, reset: float, now: float) -> dict[str, str]:
        """What it tells of its rate limits."""

    def id_headers(self, request_id: str) -> dict[str, str]:
        """What it calls this request."""

    def whole(self, question: Question, answers: Sequence[Answer], number: str) -> dict[str, Any]:
        """A whole answer's body."""

    def events(self, question: Question, answers: Sequence[Answer], number: str) -> Events:
        """A streamed answer."""


def sse(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def chopped(text: str) -> list[str]:
    """A text in pieces of a word each, as a model writes it."""
    return re.findall(r"\s*\S{1,12}\s*\Z|\s*\S{1,12}|\s+\Z", text)
