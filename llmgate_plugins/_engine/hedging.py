"""The same request to a second deployment when the first keeps silent for long; the slower one is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmgate_plugins._engine import outcomes
from llmgate_plugins._engine.beginning import begin, new_attempt
from llmgate_plugins._engine.effects import FirstOf, Left, Send, Start, Stop
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.sending import Opened, answered, fitted, opening, void
from llmgate_plugins._engine.streaming import deliver
from llmgate_plugins.types import Attempt, Deployment, Response

__all__ = ["send_hedged"]


def send_hedged(flight: Flight, attempt: Attempt, take_next: Callable[[], Deployment]) -> Steps:
    """Returns (attempt, response or None, outcome, what must be raised) of each; the one that counts last."""
    sides = [_Side(flight, attempt)]
    try:
        sides[0].handle = yield Start(sides[0].steps())
        done = yield FirstOf((sides[0].handle,), attempt.limits.hedge_after)
        if done is None and (second := (yield from _hedge(flight, attempt, take_next()))) is not None:
            sides.append(_Side(flight, second))
            sides[1].handle = yield Start(sides[1].steps())
        won = yield from _first_to_answer(sides)
    except Left as leaving:
        for side in sides:
            yield from side.stop()
        return [side.left(leaving) for side in sides]
    lost, gone = [], None
    for side in sides:
        if side is won:
            continue
        if side.ended:
            lost.append((yield from side.failed()))
            gone = lost[-1][3] or gone
        else:
            gone = (yield from side.stop()) or gone
            lost.append((*side.left(Left("cancelled"))[:3], None))
    return [*lost, (yield from won.result() if gone is None else won.given_up(gone))]


def _hedge(flight: Flight, attempt: Attempt, deployment: Deployment) -> Steps:
    """Returns the second attempt, begun; None if it may not be sent."""
    second = yield from new_attempt(flight, deployment, attempt.alias, "hedge", 0)
    if second is None or (yield from begin(flight, second) or ()) is not None:
        flight.reselect = None  # the first one is under way: there is nothing to choose anew
        return None
    return second


def _first_to_answer(sides: list[_Side]) -> Steps:
    """Returns the first with an answer; of those that all failed, the last to fail."""
    waiting = list(sides)
    while True:
        done = yield FirstOf([side.handle for side in waiting])
        side = next(one for one in waiting if one.handle is done)
        waiting.remove(side)
        if side.error is None or not waiting:
            return side


class _Side:
    """One of two attempts: its answer, its stream up to the first content, or its error."""

    __slots__ = ("attempt", "ended", "error", "flight", "handle", "opened", "request", "response", "stopped")

    def __init__(self, flight: Flight, attempt: Attempt) -> None:
        self.flight = flight
        self.attempt = attempt
        self.request = fitted(flight, attempt)
        self.opened = Opened(flight.meter(attempt, self.request)) if self.request.stream else None
        self.response: Response | None = None
        self.error: Exception | None = None
        self.ended = False
        self.stopped = False
        self.handle: Any = None

    def steps(self) -> Steps:
        """What runs in the background."""
        try:
            if self.opened is None:
                self.response = yield Send(self.attempt, self.request)
            else:
                yield from opening(self.flight, self.attempt, self.request, self.opened)
        except Left:
            yield from self._close()
            return
        except Exception as error:  # noqa: BLE001 - whatever a provider's client raises is a failed attempt
            yield from self._close()
            self.error = error
        self.ended = True
        if self.stopped:
            yield from self._close()

    def stop(self) -> Steps:
        """Nobody waits for it any more. A thread that is at it still closes what it brings home.

        Returns the `Left` of a caller who left meanwhile.
        """
        self.stopped = True
        gone: Left | None = None
        if self.handle is not None:
            try:
                yield Stop(self.handle)
            except Left as leaving:
                gone = leaving
        if self.ended:
            gone = (yield from self._close()) or gone
        return gone

    def _close(self) -> Steps:
        return (yield from outcomes.closed(None if self.opened is None else self.opened.stream))

    def result(self) -> Steps:
        """Returns what became of it, with the rest of its stream handed out."""
        if self.error is not None:
            return (yield from self.failed())
        if self.opened is not None:
            ended = yield from deliver(self.flight, self.attempt, self.opened)
            return (self.attempt, *ended)
        assert self.response is not None  # noqa: S101 - it ended, and not with an error
        ended = answered(self.flight, self.attempt, self.response)
        return (self.attempt, *(ended or (yield from void(self.flight, self.attempt, self.response))))

    def given_up(self, leaving: Left) -> Steps:
        """Returns what became of it, of whose stream nobody wants the rest."""
        if self.error is not None or self.opened is None:
            return (yield from self.result())
        yield from self._close()
        return self.left(leaving)

    def failed(self) -> Steps:
        """Returns what became of one that failed, and the `Left` of a caller who left meanwhile."""
        assert self.error is not None  # noqa: S101
        meter = self.opened.meter if self.opened is not None else None
        return self.attempt, None, *(yield from outcomes.failed(self.flight, self.attempt, self.error, meter))

    def left(self, leaving: Left) -> tuple[Attempt, None, Any, Left]:
        """What became of one that was stopped."""
        meter = self.opened.meter if self.opened is not None else None
        return self.attempt, None, outcomes.left(self.flight, self.attempt, leaving, meter), leaving
