"""The plugin: a repeat of a named call gets the first answer, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.errors import RequestDenied, StorageError
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.asked import ASKED
from llmgate_plugins.plugins.idempotency.fingerprints import fingerprint_of, key_of
from llmgate_plugins.plugins.idempotency.results import from_bytes, to_bytes
from llmgate_plugins.plugins.idempotency.turns import GO_AHEAD, Turn, Turns, Waiting
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.state import MemoryState
from llmgate_plugins.types import Request, Response

__all__ = ["Idempotency"]

T = TypeVar("T")

LONGEST_CALL: Final = 3600.0
"""Seconds after which nobody waits any more for a call that has no deadline."""
IDS_KEPT: Final = 100_000
"""How many ids are remembered in this process as used."""

_TURN: Final[StashKey[Turn]] = StashKey("llmgate.idempotency.turn")
_ANSWER: Final[StashKey[bytes]] = StashKey("llmgate.idempotency.answer")
_KEPT: Final[StashKey[bytes]] = StashKey("llmgate.idempotency.kept")


class Idempotency:
    """Makes a call safe to repeat: by the `call_id` that the application gives it.

    - A repeat of a call that was answered gets that answer again: nothing is sent, and it
      costs nothing. A repeated stream gets the whole answer as one chunk.
    - A repeat of a call under way waits for it, in this process. If that one fails or its
      caller leaves, the next who waits goes ahead.
    - A failure is not repeated: the call runs again. Its rows in the ledger, and those of
      every repeat, stand under the id with a number ("ID#2", "ID#3").
    - The same id with another request is denied (code "call_id_reused").
    - An id counts for who calls alone: the same id of another tenant, team, user ... is
      another call. So it is under policies that ask for something else of deployments; and
      where another plugin's constraint keeps the call from the deployment that answered it
      is made again: an answer goes nowhere where it could not have been made.

    Results are kept in the gateway's state: in a shared one all processes see them. Where
    it cannot be reached, a call is sent as if its id were new. Chat alone has results to
    keep; other operations run again.

    Args:
        window: Seconds for which an answer is kept.
        largest: Bytes; a longer answer is not kept, and its repeat is sent again.
        memory: Bytes that all answers kept in this process may take, with state in memory;
            above that the oldest are forgotten.
    """

    def __init__(self, window: float = 86_400.0, largest: int = 1_000_000, memory: int = 64_000_000) -> None:
        self.window = positive("window", window)
        self.largest = whole("largest", largest)
        self.memory = whole("memory", memory)
        self._turns = Turns()
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, int] = OrderedDict()
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._size = 0

    @hookimpl
    def admit_request(
        self, request: Request, context: Context, call: Call, services: Services
    ) -> Awaitable[Response | None] | None:
        """Answer a repeat, wait for the first, or go ahead."""
        return self._admit(request, context, call, services) if call.named else None

    @hookimpl
    def review_response(self, response: Response, call: Call) -> None:
        """Take note of the answer."""
        if call.named:
            turn = call.stash.get(_TURN)
            if turn is None or (call.answer is not None and call.stash.get(_KEPT) is not None):
                return
            made_by = response.deployment_id or call.record.served_by
            answer = to_bytes(response, turn.fingerprint, made_by)
            if answer is not None:
                call.stash[_ANSWER] = answer

    @hookimpl
    def end_call(self, record: DecisionRecord, call: Call, services: Services) -> Awaitable[None] | None:
        """Keep the answer, and tell those who wait."""
        if not call.named:
            return None
        turn = call.stash.pop(_TURN)
        return self._end(turn, record, call, services) if turn is not None else None

    # ------------------------------------------------------------ in

    async def _admit(
        self, request: Request, context: Context, call: Call, services: Services
    ) -> Response | None:
        key = f"idempotency:{key_of(call.id, context, call.policies)}"
        given = call.id
        await self._number(call, services)
        if request.operation != "chat":
            return None
        fingerprint = fingerprint_of(call.stashed(ASKED) or request)
        turn = await self._own_turn(key, fingerprint, request, call, services, given)
        if not isinstance(turn, Turn):
            return turn
        try:
            kept = await self._kept_answer(key, services)
            answer = _answer_in(kept, fingerprint, given) if kept is not None else None
        except BaseException:
            self._turns.hand_on(turn)
            raise
        call.stash[_TURN] = turn
        if kept is None or answer is None:
            return None
        call.stash[_KEPT] = kept  # and those who wait are told once it is settled that it is given out
        return answer

    async def _own_turn(
        self, key: str, fingerprint: str, request: Request, call: Call, services: Services, given: str
    ) -> Turn | Response | None:
        """The right to go ahead, the answer of the one who had it, or None when the time is over."""
        until = _ends(request, call)
        while True:
            now = services.clock.monotonic()
            place = self._turns.come(key, fingerprint, now, min(until, now + LONGEST_CALL))
            if place is None:
                raise _reused(given)
            if isinstance(place, Turn):
                return place
            told = await self._wait(place, min(until, place.turn.until) - now)
            if told == GO_AHEAD:
                self._turns.take_over(place.turn, min(until, services.clock.monotonic() + LONGEST_CALL))
                return place.turn
            if told is not None:
                result = from_bytes(told)
                return result[1] if result is not None else None
            if services.clock.monotonic() >= until:
                return None  # the engine says that the time is over

    async def _wait(self, place: Waiting, seconds: float) -> bytes | None:
        """What the first tells, or None after so many seconds."""
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(place.told), None if seconds == math.inf else max(0.0, seconds)
            )
        except TimeoutError:
            self._turns.leave(place)
            return None
        except BaseException:
            self._turns.leave(place)
            raise

    async def _number(self, call: Call, services: Services) -> None:
        """A repeat has an id of its own in the books, which ignore what they already have."""
        try:
            run = await arrived(self._next_run(call.id, services))
        except StorageError:
            return
        if run > 1:
            call.id = call.record.call_id = f"{call.id}#{run}"

    def _next_run(self, call_id: str, services: Services) -> MaybePending[int]:
        if not isinstance(services.state, MemoryState):
            return services.state.add(f"idempotency:runs:{call_id}", ttl=2 * self.window)
        with self._lock:
            run = self._runs[call_id] = self._runs.pop(call_id, 0) + 1
            if len(self._runs) > IDS_KEPT:
                self._runs.popitem(last=False)
        return run

    async def _kept_answer(self, key: str, services: Services) -> bytes | None:
        try:
            return await arrived(services.state.get(key))
        except StorageError:
            return None

    # ------------------------------------------------------------ out

    def _end(
        self, turn: Turn, record: DecisionRecord, call: Call, services: Services
    ) -> Awaitable[None] | None:
        """At once where nothing has to be waited for: the program may be about to exit."""
        answer, kept = call.stash.pop(_ANSWER), call.stash.pop(_KEPT)
        if answer is None and kept is not None and record.status == "answered":
            self._turns.answer(turn, kept)
            return None
        if answer is None or record.status not in ("success", "answered"):
            self._turns.hand_on(turn)
            return None
        pending: Any = None
        try:
            if len(answer) <= self.largest:
                pending = services.state.put(turn.key, answer, ttl=self.window)
                if isinstance(services.state, MemoryState):
                    self._forget_oldest(turn.key, len(answer), services.state)
        finally:
            if pending is None:
                self._turns.answer(turn, answer)
        return self._told_when_kept(pending, turn, answer) if pending is not None else None

    async def _told_when_kept(self, pending: MaybePending[Any], turn: Turn, answer: bytes) -> None:
        """Only then: whoever comes in between must find a turn or an answer."""
        try:
            await arrived(pending)
        finally:
            self._turns.answer(turn, answer)

    def _forget_oldest(self, key: str, size: int, state: MemoryState) -> None:
        with self._lock:
            self._size += size - self._kept.pop(key, 0)
            self._kept[key] = size
            while self._size > self.memory:
                oldest, freed = self._kept.popitem(last=False)
                self._size -= freed
                state.delete(oldest)


def _ends(request: Request, call: Call) -> float:
    """Monotonic time at which this call must be over."""
    until = call.deadline if call.deadline is not None else math.inf
    return until if request.timeout is None else min(until, call.started + request.timeout)


def _answer_in(kept: bytes, fingerprint: str, call_id: str) -> Response | None:
    """The answer that was kept for this request; None if it cannot be read."""
    result = from_bytes(kept)
    if result is None:
        return None
    if result[0] != fingerprint:
        raise _reused(call_id)
    return result[1]


def _reused(call_id: str) -> RequestDenied:
    return RequestDenied(
        f"the call id {call_id!r} was given before with another request; give each request one of its own",
        code="call_id_reused",
    )
