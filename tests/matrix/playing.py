"""Runs one cell for real, over HTTP, and says what was seen and what of it is not as it must be."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import httpcore
from support import broken_servers
from support.spending import KEY, WINDOW, budget

from llmgate_plugins import StreamInterrupted
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.plugins import Failover, Health, Patience
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Fault, ProviderSimulator
from llmgate_plugins.testing.simulator.provider import RecordedRequest
from llmgate_plugins.types import Usage

from .expectations import Expect, Row
from .surfaces import MODES, SURFACES, Door, Place, ask

__all__ = [
    "ANSWERS",
    "Seen",
    "SkippingClock",
    "SkippingSleeper",
    "Watch",
    "misses",
    "play",
    "simulators",
    "warm",
]

ANSWERS = {"a": "The sea is wide and blue, says a.", "b": "The sea is deep and cold, says b."}
RETRY_TOKENS = 30.0
MUCH = 10**15
"""Nano-dollars of a budget that is in force in every cell, and that none exhausts."""

TOLD = {
    **ANSWERS,
    "each word twice": re.sub(r"(\s*\S+)", r"\1\1", ANSWERS["a"]),
    "nothing": "",
    "the beginning": "The sea is",
    "one word 150 times": "The" + " and" * 150,
}
"""What a caller gets without an error, by the words of `Expect.told`."""


class SkippingClock:
    """The machine's clocks, and the time that was not really slept."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.wall = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def time(self) -> float:
        return time.time() + self.skipped + self.wall


class SkippingSleeper:
    """Remembers what it was told to sleep, and lets the clock skip it."""

    def __init__(self, clock: SkippingClock) -> None:
        self.clock = clock
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.skipped += max(seconds, 0.0)

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


@dataclass
class Seen:
    """What was seen of one call."""

    text: str = ""
    error: BaseException | None = None
    slept: float = 0.0
    tokens: float = 0.0
    health: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    keys_elsewhere: list[str] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    counted: tuple[int, int] | None = None
    priced: int | None = None
    left: bool = False
    misses: list[str] = field(default_factory=list)
    seconds: float = 0.0


@cache
def simulators() -> dict[str, ProviderSimulator]:
    """One address per deployment, for the whole run; each cell has providers of its own there."""
    return {name: ProviderSimulator(seed=7).start() for name in ("a", "b", "elsewhere")}


def play(row: Row, mode: str, surface: str) -> Seen:
    """Run one cell."""
    warm(surface)
    if row.play is not None:
        return row.play(row, mode, surface)
    with contextlib.ExitStack() as stack:
        name = f"{row.id}-{mode}-{surface}"
        places, providers = [], {}
        for id, model in (("a", row.model_a), ("b", row.model_b))[: 1 if row.alone else 2]:
            provider = providers[id] = simulators()[id].provider(name)
            provider.reply(ANSWERS[id])
            url = provider.openai_base_url
            if id == "a":
                url = stack.enter_context(_at(row.at, provider, simulators()["elsewhere"], name))
            places.append(Place(id, url, model))
        watch = Watch(row, surface, places)
        seen = watch.told_by(lambda door, pieces: ask(door, mode, pieces, **row.params))
        seen.sent = {id: len(provider.requests) for id, provider in providers.items()}
        asked = simulators()["elsewhere"].provider(name).requests
        seen.keys_elsewhere = [key for key in map(RecordedRequest.authorization, asked) if key is not None]
        return seen


@cache
def warm(surface: str) -> None:
    """A call in each mode: what a host imports at its first call is no provider's slowness."""
    provider = simulators()["a"].provider(f"warm-{surface}")
    door = SURFACES[surface]([Place("a", provider.openai_base_url)], (), {})
    for mode in MODES:
        ask(door, mode, [])
    door.close()


class Watch:
    """A door, and all around it that is looked at.

    Args:
        plugins: Besides the built-in ones, after them that are watched.
        options: In place of the usual services.
    """

    def __init__(
        self, row: Row, surface: str, places: Sequence[Place], plugins: Sequence[object] = (), **options: Any
    ) -> None:
        self.row, self.places = row, places
        self.clock, self.health = SkippingClock(), Health()
        self.sleeper = SkippingSleeper(self.clock)
        # All tokens are there at once and none comes back with time, so that they can be counted.
        self.failover = Failover(retry_share=RETRY_TOKENS, retry_floor=0.0, retry_window=1e6)
        usual = {
            "clock": self.clock,
            "sleeper": self.sleeper,
            "random": random.Random(3),
            "ledger": MemoryLedger(),
            "state": MemoryState(clock=self.clock),
            "deadline": row.deadline,
        }
        counted = [] if "state" in options else [budget(MUCH)]
        watched = [self.health, Patience(**row.patience), *plugins, *counted, self.failover]
        self.door: Door = SURFACES[surface](places, watched, usual | options)

    def told_by(self, asking: Callable[[Door, list[str]], None]) -> Seen:
        """What is seen of this call."""
        seen, pieces = Seen(), []
        begun = time.monotonic()
        try:
            asking(self.door, pieces)
        except BaseException as error:
            seen.error = error
        seen.seconds = time.monotonic() - begun
        seen.text = "".join(pieces)
        self.look(seen)
        self.door.close()
        return seen

    def look(self, seen: Seen) -> None:
        """Note the state of everything."""
        gateway, now = self.door.gateway, self.clock.monotonic()
        ledger = gateway.services.ledger
        ledger.flush()
        seen.slept = sum(self.sleeper.slept)
        # By number: a clock that is set back must not turn their order.
        seen.rows, seen.calls = sorted(ledger.attempts(), key=lambda one: one["number"]), ledger.calls()
        # Limits are asked last: what they deny has paid into its provider's retry budget.
        begun = any(
            outcome.skipped in (None, "budget_unavailable")
            for one in gateway.decisions
            for _, outcome in one.attempts
        )
        budget = self.failover.retry_budget("openai")
        seen.tokens = (RETRY_TOKENS if begun else 0.0) - budget.left(now)
        keys = {place.deployment().credential: f"key-{place.id}" for place in self.places}
        seen.health = sorted(
            f"{keys.get(one.name, one.name)} {one.ailment} {one.state}" for one in self.health.report(now)
        )
        if isinstance(gateway.services.state, MemoryState):
            seen.counted = gateway.services.state.spent(KEY, window=WINDOW)
        seen.problems = [problem for record in gateway.decisions for problem in record.problems]
        if self.row.expect.paid and seen.rows:
            seen.priced = _price_of(self.door, self.row.expect.paid, seen.rows[-1])


def _price_of(door: Door, model: str, one: dict[str, Any]) -> int:
    """What this row costs at the price of this model."""
    card = door.gateway.catalog.lookup("openai", model)
    assert card is not None
    assert card.price is not None
    buckets = ("input", "cached_input", "cache_write", "output", "reasoning")
    return card.price.cost(Usage(**{name: one[f"{name}_tokens"] for name in buckets}))


# ---------------------------------------------------------------- what goes wrong


@contextlib.contextmanager
def _at(what: Any, provider: Any, elsewhere: ProviderSimulator, name: str) -> Iterator[str]:
    """The address of "a", and what happens there."""
    if isinstance(what, str):
        with BROKEN[what](provider) as url:
            yield url
        return
    if isinstance(what, Fault):
        if "location" in what.headers:
            other = elsewhere.provider(name)
            what = Fault(
                what.kind,
                status=what.status,
                headers={"location": f"{other.openai_base_url}/chat/completions"},
            )
        provider.fail_always(what)
    elif isinstance(what, list):
        provider.script(*what)
    else:
        provider.reply(what)
    yield provider.openai_base_url
    provider.heal()


@contextlib.contextmanager
def _refused(provider: Any) -> Iterator[str]:
    yield provider.closed_url


@contextlib.contextmanager
def _unknown_host(_: Any) -> Iterator[str]:
    yield "http://nobody.invalid/v1"


@contextlib.contextmanager
def _bad_certificate(_: Any) -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory() as directory,
        broken_servers.certificate_of_nobody(Path(directory)) as address,
    ):
        yield f"https://{address}/v1"


@contextlib.contextmanager
def _never_accepts(_: Any) -> Iterator[str]:
    """A listener whose queue is full: further connections are neither taken nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _turn in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@contextlib.contextmanager
def _full_pool(provider: Any) -> Iterator[str]:
    """No connection is left in the client's own pool: what no wire can show."""
    port = int(re.search(r":(\d+)/", provider.url)[1])  # type: ignore[index]
    real, areal = httpcore.ConnectionPool.handle_request, httpcore.AsyncConnectionPool.handle_async_request

    def full(pool: Any, request: Any) -> Any:
        if request.url.port == port:
            raise httpcore.PoolTimeout
        return real(pool, request)

    async def afull(pool: Any, request: Any) -> Any:
        if request.url.port == port:
            raise httpcore.PoolTimeout
        return await areal(pool, request)

    with (
        mock.patch.object(httpcore.ConnectionPool, "handle_request", full),
        mock.patch.object(httpcore.AsyncConnectionPool, "handle_async_request", afull),
    ):
        yield provider.openai_base_url


BROKEN = {
    "refused": _refused,
    "unknown host": _unknown_host,
    "bad certificate": _bad_certificate,
    "never accepts": _never_accepts,
    "full pool": _full_pool,
}


# ---------------------------------------------------------------- what must be seen


def misses(row: Row, mode: str, surface: str, seen: Seen) -> list[str]:
    """What is not as it must be; empty if all is."""
    want = row.expected(mode, surface)
    found: list[str] = []
    _compare(found, "told", want.told, _told(seen, want))
    tried = " ".join(map(_tried, seen.rows))
    _compare(found, "tries", want.tries, tried)
    _compare(found, "books", want.books, " ".join(map(_booked, seen.rows)))
    _compare(found, "health", want.health, ", ".join(seen.health))
    # What is waited for comes nearer while the call really takes its time.
    least = max(want.slept[0] - seen.seconds, want.slept[0] / 2)
    if not least <= seen.slept <= want.slept[1]:
        found.append(f"slept: {want.slept} wanted, {seen.slept:.3f} seen")
    if abs(seen.tokens - want.tokens) > 1e-6:
        found.append(f"tokens: {want.tokens} wanted, {seen.tokens:.2f} seen")
    if want.finish:
        _compare(found, "finish", want.finish, str(seen.rows[-1]["finish_reason"]))
    if want.served:
        _compare(found, "served", want.served, str(seen.rows[-1]["served_model"]))
    if want.paid:
        _compare(found, "price", str(seen.priced), str(seen.rows[-1]["cost_nano_usd"]))
    if seen.keys_elsewhere:
        found.append("a key was sent elsewhere")
    noted = {f"{plugin} {hook}" for plugin, hook, _ in seen.problems}
    _compare(found, "problems", ", ".join(row.problems), ", ".join(sorted(noted)))
    found += seen.misses
    _check_books(found, want, seen)
    for id, number in seen.sent.items():
        rows = sum(one["deployment"] == id for one in seen.rows)
        if number != rows and not (number == 0 and isinstance(row.at, str) and id == "a"):
            found.append(f"sent: {number} requests at {id}, {rows} rows")
    return found


def _compare(found: list[str], what: str, want: str, seen: str) -> None:
    if want != seen:
        found.append(f"{what}: {want!r} wanted, {seen!r} seen")


def _told(seen: Seen, want: Expect) -> str:
    error = seen.error
    if error is None:
        return next((whose for whose, text in TOLD.items() if text == seen.text), f"the text {seen.text!r}")
    if isinstance(error, StreamInterrupted) and error.partial != seen.text:
        return f"partial {error.partial!r} of {seen.text!r}"
    if seen.text and isinstance(error, Exception) and not isinstance(error, StreamInterrupted):
        return f"{type(error).__name__} after {seen.text!r}"
    names = [kind.__name__ for kind in type(error).__mro__]
    return want.told if want.told in names else f"{type(error).__name__}: {error}"


def _tried(one: dict[str, Any]) -> str:
    how = {"success": "", "error": f":{one['error_class']}"}.get(one["status"], f":{one['status']}")
    return f"{one['deployment']}{how}"


def _booked(one: dict[str, Any]) -> str:
    output = one["output_tokens"] + one["reasoning_tokens"]
    total = output + one["input_tokens"] + one["cached_input_tokens"] + one["cache_write_tokens"]
    if total == 0 and one["cost_nano_usd"] == 0:
        return "0"
    if one["cost_nano_usd"] <= 0:
        return "unpaid"
    if not one["estimated"]:
        return "A"
    awaited = one["stream"] or one["status"] in ("success", "unknown")
    return "E" if bool(output) == awaited else "U"


def _check_books(found: list[str], want: Expect, seen: Seen) -> None:
    keys = [(one["call_id"], one["number"]) for one in seen.rows]
    if len(set(keys)) != len(keys):
        found.append("books: a row is doubled")
    if any(one["cost_nano_usd"] > want.most for one in seen.rows):
        found.append("books: more than any of these calls can cost")
    if any(one["status"] == "intent" for one in seen.rows):
        found.append("books: an attempt is not settled")
    spent, held = seen.counted or (None, 0)
    if held:
        found.append(f"budget: {held} is still held")
    if spent is not None and not seen.problems and spent != sum(one["cost_nano_usd"] for one in seen.rows):
        found.append(f"budget: {spent} is counted, the rows sum up otherwise")
    if len(seen.calls) != want.calls:
        found.append(f"books: {len(seen.calls)} calls")
    if len(seen.calls) != 1:
        return
    of_rows, of_call = sum(one["cost_nano_usd"] for one in seen.rows), seen.calls[0]["cost_nano_usd"]
    if of_rows != of_call:
        found.append(f"books: the rows sum up to {of_rows}, the call cost {of_call}")
    if (seen.calls[0]["status"] == "success") != (seen.error is None) and not seen.left:
        found.append(f"books: the call is a {seen.calls[0]['status']}, the caller saw {seen.error!r}")
