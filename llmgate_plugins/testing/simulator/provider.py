"""One simulated provider: what it answers, how it fails, what it was asked."""

from __future__ import annotations

import itertools
import json
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.simulator.brain import think
from llmgate_plugins.testing.simulator.question import Answer, Question, Reply, finish
from llmgate_plugins.types import ToolCall

__all__ = ["Prefill", "RecordedRequest", "Replier", "SimulatedProvider", "Step"]

MASK = "****"
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "cookie"})

Replier = Callable[[Question], "str | Reply"]
Step = Fault | Reply | str | None
Prefill = Literal["continue", "echo", "refuse", "ignore"]


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedRequest:
    """One request a provider got.

    Attributes:
        number: Counted from 1.
        headers: Lower-case names; those that carry a key are masked.
        body: The JSON body, decoded; None if there was none or it was not JSON.
        at: Unix time.
        outcome: "open" while it is being answered, then "answered", "refused", the kind
            of the fault it met, or "left" when the client went away first.
        status: HTTP status of the answer; None if none was sent.
        seconds: How long it took; None while it is open.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None
    at: float
    outcome: str = "open"
    status: int | None = None
    seconds: float | None = None
    _key: str | None = field(default=None, repr=False)

    def authorization(self) -> str | None:
        """The API key it brought."""
        return self._key


class SimulatedProvider:
    """A provider that a `ProviderSimulator` serves. Thread-safe.

    Attributes:
        name: The first part of its path.
        keys: The API keys it accepts; None for any.
        models: The models it has; None for any.
        prefill: What it does with a conversation that ends with an assistant's message:
            "continue" goes on from it, "echo" says it again and goes on, "refuse" says
            that the model does not take it (Anthropic's since 4.6), "ignore" answers
            anew. None: as OpenAI ("ignore") and older models of Anthropic ("continue").
        requests: Every request it got, in order of arrival.
        first_delay, piece_delay: Seconds before the first byte, and between pieces of a stream.
    """

    def __init__(self, name: str, url: str, *, seed: int = 0, keys: Iterable[str] | None = None) -> None:
        self.name = name
        self.url = url
        self.keys = None if keys is None else frozenset(keys)
        self.models: tuple[str, ...] | None = None
        self.prefill: Prefill | None = None
        self.requests: list[RecordedRequest] = []
        self.first_delay = 0.0
        self.piece_delay = 0.0
        self._random = random.Random(f"{seed}:{name}")  # noqa: S311 - not for cryptography
        self._ids = random.Random(f"{seed}:{name}:ids")  # noqa: S311 - not for cryptography
        self._lock = threading.Lock()
        self._reply: Replier = think
        self._limit: tuple[int, float] = (10_000, 60.0)
        self._admitted: deque[float] = deque()
        self._numbers = itertools.count(1)
        self._nobody: socket.socket | None = None
        self._script: deque[Step] = deque()
        self._always: Fault | None = None
        self._rates: list[tuple[float, Fault]] = []
        self._left: int | None = None
        self._death = Fault("reset")

    def __repr__(self) -> str:
        return f"SimulatedProvider({self.name!r}, {self.url!r}, requests={len(self.requests)})"

    @property
    def openai_base_url(self) -> str:
        """The base URL for OpenAI clients."""
        return f"{self.url}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """The base URL for Anthropic clients."""
        return self.url

    @property
    def closed_url(self) -> str:
        """A base URL with nobody behind it: connections are refused, while the simulator runs."""
        if self._nobody is None:  # bound but not listening, so that nobody else takes the port
            self._nobody = socket.socket()
            self._nobody.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._nobody.getsockname()[1]}/{self.name}/v1"

    # ------------------------------------------------------------ what it answers

    def reply(self, what: str | Reply | Replier | None) -> None:
        """Answer everything with this: a text, a `Reply`, or a function of the question.

        None goes back to the built-in answers.
        """
        if what is None:
            self._reply = think
        elif callable(what):
            self._reply = what
        else:
            self._reply = lambda _: what

    def pace(self, *, first: float = 0.0, piece: float = 0.0) -> None:
        """Take this many seconds to the first byte, and from one piece of a stream to the next."""
        self.first_delay, self.piece_delay = first, piece

    def throttle(self, requests: int, *, per: float = 60.0) -> None:
        """Refuse with a rate-limit error what comes after this many requests in `per` seconds."""
        self._limit = (requests, per)

    # ------------------------------------------------------------ how it fails

    def script(self, *steps: Step) -> None:
        """Add steps, one per request to come: a `Fault`, an answer, or None for healthy."""
        with self._lock:
            self._script.extend(steps)

    def fail_always(self, fault: Fault) -> None:
        """Meet every request with this fault, until `heal`."""
        self._always = fault

    def fail_rate(self, rate: float, fault: Fault) -> None:
        """Meet this share of requests with this fault, chosen by the seeded random; until `heal`."""
        self._rates.append((rate, fault))

    def die_after(self, requests: int, fault: Fault | None = None) -> None:
        """Serve this many requests more, and fail every one after; until `heal`.

        Without a fault the connection is reset, as by a process that is gone.
        """
        with self._lock:
            self._left = requests
            self._death = fault or Fault("reset")

    def heal(self) -> None:
        """Forget all faults, and the rest of the script."""
        with self._lock:
            self._script.clear()
            self._always = None
            self._rates.clear()
            self._left = None

    def next_step(self) -> Step:
        """What happens to the request that has just come."""
        with self._lock:
            if self._left is not None:
                if self._left == 0:
                    return self._death
                self._left -= 1
            if self._script:
                return self._script.popleft()
            if self._always is not None:
                return self._always
            for rate, fault in self._rates:
                if self._random.random() < rate:
                    return fault
            return None

    def admit(self, now: float) -> tuple[int, int, float]:
        """Count a request against the limit: (limit, left, seconds to reset); left is -1 if over it."""
        requests, window = self._limit
        with self._lock:
            while self._admitted and self._admitted[0] <= now - window:
                self._admitted.popleft()
            left = requests - len(self._admitted) - 1
            if left >= 0:
                self._admitted.append(now)
            reset = window - (now - self._admitted[0]) if self._admitted else window
            return requests, max(left, -1), reset

    # ------------------------------------------------------------ what the server asks of it

    def record(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, key: str | None
    ) -> RecordedRequest:
        """Note a request."""
        shown = {name: MASK if name in _SECRET_HEADERS else value for name, value in headers.items()}
        request = RecordedRequest(
            number=next(self._numbers),
            method=method,
            path=path,
            headers=shown,
            body=_json(body),
            at=time.time(),
            _key=key,
        )
        self.requests.append(request)
        return request

    def close(self) -> None:
        """Let go of the port behind `closed_url`."""
        if self._nobody is not None:
            self._nobody.close()
            self._nobody = None

    def new_id(self) -> str:
        """An id; the same seed gives the same ids in the same order."""
        with self._lock:
            return f"{self._ids.getrandbits(96):024x}"

    def answers(
        self, question: Question, step: Reply | str | None, call_prefix: str, prefill: Prefill = "ignore"
    ) -> list[Answer]:
        """The answers to a question, one per choice asked for.

        Args:
            prefill: What happens to a beginning that the question gives.
        """
        reply = self._reply(question) if step is None else step
        reply = Reply(text=reply) if isinstance(reply, str) else reply
        given = question.prefill
        if given and prefill in ("continue", "echo"):
            rest = reply.text.removeprefix(given)
            reply = replace(reply, text=given + rest if prefill == "echo" else rest, pieces=None)
        return [
            finish(question, reply, self._calls(reply.tool_calls, call_prefix)) for _ in range(question.n)
        ]

    def _calls(
        self, calls: Sequence[ToolCall | tuple[str, Mapping[str, Any]]], prefix: str
    ) -> tuple[ToolCall, ...]:
        made = []
        for index, call in enumerate(calls):
            if not isinstance(call, ToolCall):
                name, arguments = call
                text = json.dumps(arguments, ensure_ascii=False)
                call = ToolCall(id=f"{prefix}{self.new_id()}", name=name, arguments=text, index=index)
            made.append(call)
        return tuple(made)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
