"""A provider that enforces its limits per minute to the last token, in one of three ways."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from llmgate_plugins import ProviderError, Response, Usage
from llmgate_plugins.limits import Quota
from llmgate_plugins.services import Clock
from llmgate_plugins.testing import ScriptedProvider
from llmgate_plugins.types import Attempt, Request

__all__ = ["KINDS", "Enforced", "MeteredProvider", "Served"]

MINUTE = 60.0


class Enforced(Protocol):
    """One limit per minute."""

    def left(self, now: float) -> float: ...

    def take(self, now: float, amount: int) -> None: ...


class Sliding:
    """At most so much in any 60 seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: deque[tuple[float, int]] = deque()

    def left(self, now: float) -> float:
        while self._taken and self._taken[0][0] <= now - MINUTE:
            self._taken.popleft()
        return self.limit - sum(amount for _, amount in self._taken)

    def take(self, now: float, amount: int) -> None:
        self._taken.append((now, amount))


class Fixed:
    """At most so much from one full minute of the clock to the next."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._minute, self._used = -1, 0

    def left(self, now: float) -> float:
        if now // MINUTE != self._minute:
            self._minute, self._used = int(now // MINUTE), 0
        return self.limit - self._used

    def take(self, now: float, amount: int) -> None:
        self._used += amount


class Refilling:
    """A bucket of so much that refills within a minute; `burst` of it may go at once."""

    def __init__(self, limit: int, burst: float = 1.0) -> None:
        self.limit = limit
        self._most = limit * burst
        self._level, self._at = self._most, 0.0

    def left(self, now: float) -> float:
        self._level = min(self._most, self._level + (now - self._at) * self.limit / MINUTE)
        self._at = now
        return self._level

    def take(self, now: float, amount: int) -> None:
        self._level -= amount


KINDS: dict[str, Any] = {"sliding": Sliding, "fixed": Fixed, "refilling": Refilling}


@dataclass(frozen=True)
class Served:
    """One request that was let in."""

    at: float
    prompt: str
    tokens: int


class MeteredProvider:
    """A `Transport` for event loops. The first word of a prompt names the call.

    Attributes:
        served: Requests let in.
        refused: Times at which one was answered with 429.
        most_at_once: The most that were ever under way.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        requests: Enforced | None = None,
        tokens: Enforced | None = None,
        concurrency: int | None = None,
        latency: tuple[float, float] = (0.5, 3.0),
        way: tuple[float, float] = (0.01, 0.06),
        output: tuple[int, int] = (20, 400),
        headers: bool = False,
        retry_after: str | None = "2",
        seed: int = 1,
    ) -> None:
        self.clock = clock
        self.requests, self.tokens, self.concurrency = requests, tokens, concurrency
        self.latency, self.way, self.output = latency, way, output
        self.headers, self.retry_after = headers, retry_after
        self.random = random.Random(seed)
        self.served: list[Served] = []
        self.refused: list[float] = []
        self.running = self.most_at_once = 0

    def tokens_served(self) -> int:
        return sum(one.tokens for one in self.served)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        await asyncio.sleep(self.random.uniform(*self.way))
        now = self.clock.monotonic()
        prompt = request.messages[0].text
        # Its own tokenizer: about four characters per token, but not exactly.
        read = max(int(len(prompt) / self.random.uniform(3.6, 4.6)), 1)
        most = request.params.get("max_tokens") or self.output[1]
        written = min(self.random.randint(*self.output), most)
        self._admit(now, read + written)
        self.served.append(Served(now, prompt.split()[0], read + written))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(self.random.uniform(*self.latency))
        finally:
            self.running -= 1
        quota = None
        if self.headers:
            quota = Quota(limits=self._limits(), remaining=self._remaining())
        return Response.of("ok", usage=Usage(input=read, output=written), quota=quota)

    def _admit(self, now: float, tokens: int) -> None:
        full = self.concurrency is not None and self.running >= self.concurrency
        lacking = any(
            limit is not None and limit.left(now) < amount
            for limit, amount in ((self.requests, 1), (self.tokens, tokens))
        )
        if full or lacking:
            self.refused.append(now)
            headers = {"retry-after": self.retry_after} if self.retry_after else {}
            raise ProviderError("too fast", status=429, code="rate_limit_exceeded", headers=headers)
        if self.requests is not None:
            self.requests.take(now, 1)
        if self.tokens is not None:
            self.tokens.take(now, tokens)

    def _limits(self) -> dict[str, int]:
        known = {"requests": self.requests, "tokens": self.tokens}
        return {kind: limit.limit for kind, limit in known.items() if limit is not None}  # type: ignore[attr-defined]

    def _remaining(self) -> dict[str, int]:
        known = {"requests": self.requests, "tokens": self.tokens}
        now = self.clock.monotonic()
        return {kind: max(int(limit.left(now)), 0) for kind, limit in known.items() if limit is not None}

    def send(self, attempt: Attempt, request: Request) -> Response:
        raise NotImplementedError("this provider is for event loops")

    def open(self, attempt: Attempt, request: Request) -> Iterator[Any]:
        raise NotImplementedError("this provider answers whole")

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Any]:
        raise NotImplementedError("this provider answers whole")

    def meter(self, attempt: Attempt, request: Request) -> Any:
        return ScriptedProvider().meter(attempt, request)
