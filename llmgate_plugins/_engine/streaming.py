"""A stream from its first content on: handed out, held back, or joined to what was delivered before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins._engine import outcomes
from llmgate_plugins._engine.effects import END, Emit, Left, Read, Relay
from llmgate_plugins._engine.failing import interrupted
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.types import Attempt, Message, Response

if TYPE_CHECKING:
    from llmgate_plugins._engine.sending import Opened

__all__ = ["deliver"]


TELLING: Final = 24
"""Characters by which an answer that begins anew is told from one that goes on."""


class Diverged(ProviderError):
    """Another attempt did not say again what was delivered."""


def deliver(flight: Flight, attempt: Attempt, opened: Opened) -> Steps:
    """Returns (response or None, outcome, what must be raised when the books are settled).

    A stream that breaks after its first content is a failed attempt like any other where
    the caller chose to go on, and fatal where not.
    """
    meter, stream, first_token = opened.meter, opened.stream, opened.first_token
    out = _Outlet(flight, attempt)
    record = flight.call.record
    try:
        if flight.on_break == "hold":
            yield from _held_back(attempt, opened)
            _check_whole(opened)
            record.first_token = flight.now() - flight.call.started
            for chunk in opened.held:
                yield Emit(chunk)
        else:
            if record.first_token is None:
                record.first_token = flight.now() - flight.call.started
            rest = yield from out.begin(opened)
            if rest:
                yield Relay(stream, _watched(meter.feed, attempt), attempt)
            _check_whole(opened)
            yield from out.check_joined()
    except Left as leaving:
        yield from outcomes.closed(stream)
        return None, outcomes.left(flight, attempt, leaving, meter, first_token), leaving
    except Exception as error:  # noqa: BLE001 - whatever a provider's client raises is a failed attempt
        outcome, fatal = yield from outcomes.failed(flight, attempt, error, meter, stream, first_token)
        if fatal is not None:
            return None, outcome, fatal
        if flight.on_break == "hold":
            return None, outcome, None
        out.stop(opened, error)
        goes_on = (
            flight.on_break != "raise" and not isinstance(error, Diverged) and _can_go_on(flight, opened)
        )
        return None, outcome, None if goes_on else interrupted(flight)
    outcome = outcomes.delivered(flight, attempt, meter, first_token)
    response = Response(
        source=out.message(opened),
        usage=outcome.usage,
        finish_reason=meter.finish_reason,
        model=meter.model,
        id=outcome.response_id,
        deployment_id=attempt.deployment.id,
        begun_by=out.begun_by,
        call_id=attempt.call_id,
    )
    return response, outcome, None


class _Outlet:
    """What goes out to the caller of one attempt, after what went out of those before it.

    Attributes:
        expected: Text that was delivered before and that this attempt says again.
        matched: How much of it has come.
        doubtful: Chunks held until it is clear that a model which was given the beginning
            of its answer goes on from it, and does not say all of it again.
        flowing: Whether text goes out, and so the rest of the stream can just be passed on.
    """

    __slots__ = ("attempt", "before", "doubtful", "expected", "flight", "flowing", "matched", "said")

    def __init__(self, flight: Flight, attempt: Attempt) -> None:
        self.flight = flight
        self.attempt = attempt
        self.before = flight.delivered
        self.flowing = self.before is None or flight.on_break != "resume"
        self.expected = "" if self.flowing else (self.before or "")[len(attempt.prefill or "") :]
        self.matched = 0
        self.said = ""
        self.doubtful: list[Any] | None = [] if len(attempt.prefill or "") > TELLING else None

    def begin(self, opened: Opened) -> Steps:
        """Hands out what has come, and joins it to what was delivered. Returns whether more may come."""
        if self.flowing:
            if self.before is not None:
                yield Emit(self.flight.splicer.restarted(self.attempt))
            for chunk in opened.held:
                yield Emit(chunk)
            return True
        for chunk in opened.held:
            yield from self._join(chunk)
        read = Read(opened.stream, self.attempt, begun=True)
        while not self.flowing:
            chunk = yield read
            if chunk is END:
                return False
            opened.meter.feed(chunk)
            yield from self._join(chunk)
        return True

    def _join(self, chunk: Any) -> Steps:
        """Passes on what follows the text that was delivered; refuses what differs from it."""
        if self.doubtful is not None:
            self.doubtful.append(chunk)
            self.said += self.flight.splicer.text(chunk)
            repeats = (self.before or "").startswith(self.said[:TELLING])
            if repeats and len(self.said) < TELLING and self.flight.splicer.is_plain(chunk):
                return
            if repeats and self.said:
                self.expected = self.before or ""
            held, self.doubtful = self.doubtful, None
            for one in held:
                yield from self._join(one)
            return
        splicer = self.flight.splicer
        text, left = splicer.text(chunk), len(self.expected) - self.matched
        if left and not splicer.is_plain(chunk):
            raise Diverged("another attempt went on with a tool call", code="diverged")
        again = text[:left]
        if not self.expected.startswith(again, self.matched):
            raise Diverged("another attempt answered in other words", code="diverged")
        self.matched += len(again)
        if self.matched < len(self.expected):
            return
        self.flowing = len(text) > left or not splicer.is_plain(chunk)
        yield Emit(splicer.cut(chunk, len(again)))

    def check_joined(self) -> Steps:
        """The answer is whole only if it has said all that was delivered."""
        held, self.doubtful = self.doubtful or (), None
        for one in held:  # it has ended within a few words
            yield from self._join(one)
        if self.matched < len(self.expected):
            raise Diverged("another attempt answered in fewer words", code="diverged")

    def stop(self, opened: Opened, error: Exception) -> None:
        """Note what the caller has by now."""
        flight, text = self.flight, opened.meter.text
        if self.matched < len(self.expected) or self.doubtful:
            text = self.before or ""
        else:
            text = self._beginning + text
        flight.delivered = text
        if flight.broke is None:
            flight.broke = error

    def message(self, opened: Opened) -> Any:
        """The whole answer, or a function that makes it."""
        beginning = self._beginning
        if not beginning:
            return opened.meter.message

        def joined() -> Message:
            rest = opened.meter.message()
            return Message(role="assistant", content=beginning + rest.text, tool_calls=rest.tool_calls)

        return joined

    @property
    def begun_by(self) -> tuple[str, ...]:
        """Ids of the others whose text is the beginning of this answer."""
        if not self._beginning:
            return ()
        attempts = self.flight.call.record.attempts
        wrote = (one.deployment.id for one, outcome in attempts if outcome.first_token is not None)
        return tuple(name for name in dict.fromkeys(wrote) if name != self.attempt.deployment.id)

    @property
    def _beginning(self) -> str:
        """Text from which this attempt went on, without saying it itself."""
        return "" if self.expected == self.before else self.attempt.prefill or ""


def _watched(feed: Callable[[Any], bool], attempt: Attempt) -> Callable[[Any], bool]:
    """The meter's `feed`, which tells those who watch as well; the bare one where nobody does."""
    watchers = attempt.watchers
    if not watchers:
        return feed

    def feed_and_tell(chunk: Any) -> bool:
        for tell in watchers:
            tell(chunk)
        return feed(chunk)

    return feed_and_tell


def _held_back(attempt: Attempt, opened: Opened) -> Steps:
    """Read the whole stream before anything is given out."""
    read = Read(opened.stream, attempt, begun=True)
    while True:
        chunk = yield read
        if chunk is END:
            return
        opened.held.append(chunk)
        opened.meter.feed(chunk)


def _check_whole(opened: Opened) -> None:
    if not opened.meter.complete:
        raise ProviderError("the stream ended without a finish reason", code="truncated")


def _can_go_on(flight: Flight, opened: Opened) -> bool:
    """Whether joining would be safe: text alone, and no structure that a seam could break."""
    if flight.on_break == "restart":
        return True
    wanted = flight.call.request.params.get("response_format")
    if isinstance(wanted, Mapping):
        wanted = wanted.get("type")
    return wanted in (None, "text") and not opened.meter.message().tool_calls
