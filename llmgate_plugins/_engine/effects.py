"""What the engine asks a driver to do. The driver sends back the result or throws the error."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from llmgate_plugins._building import quickly_built
from llmgate_plugins.types import Attempt, Deployment, Request

__all__ = [
    "END",
    "Await",
    "Candidates",
    "Close",
    "Effect",
    "Emit",
    "FirstOf",
    "Left",
    "Open",
    "Pick",
    "Read",
    "Relay",
    "Send",
    "Sleep",
    "Start",
    "Stop",
]

END: Final = object()
"""The result of `Read` when the stream is over."""


class Left(BaseException):
    """The caller is gone; settle the books and raise this again.

    Not an `Exception`, so that no plugin and no `except Exception` swallows it, and not
    `GeneratorExit` or `CancelledError`, which must not be thrown into nested generators.
    """

    def __init__(self, status: Literal["cancelled", "abandoned"]) -> None:
        super().__init__(status)
        self.status: Literal["cancelled", "abandoned"] = status


@quickly_built
@dataclass(frozen=True, slots=True)
class Await:
    """A plugin's answer that is on its way. Result: the answer.

    Attributes:
        told: Of a hook that is told: it is waited for, also if the caller leaves meanwhile.
    """

    answer: Any
    told: bool = False


@quickly_built
@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time pass."""

    seconds: float


@quickly_built
@dataclass(frozen=True, slots=True)
class Send:
    """Send one attempt. Result: a `Response`."""

    attempt: Attempt
    request: Request


@quickly_built
@dataclass(frozen=True, slots=True)
class Open:
    """Send one attempt and open its stream. Result: the stream, for `Read`, `Relay` and `Close`."""

    attempt: Attempt
    request: Request


@quickly_built
@dataclass(frozen=True, slots=True)
class Read:
    """Result: the stream's next chunk, or `END`. It may take as long as the attempt's limits allow.

    Attributes:
        begun: Whether content has come, and so the limit for gaps counts.
    """

    stream: Any
    attempt: Attempt
    begun: bool = False


@quickly_built
@dataclass(frozen=True, slots=True)
class Relay:
    """Hand the rest of the stream to the reader, showing each chunk to `feed` first.

    One effect for a whole stream, because it is what every further chunk costs.
    """

    stream: Any
    feed: Callable[[Any], bool]
    attempt: Attempt


@quickly_built
@dataclass(frozen=True, slots=True)
class Close:
    """Close a stream that was not read to its end."""

    stream: Any


@quickly_built
@dataclass(frozen=True, slots=True)
class Emit:
    """Hand something to the caller."""

    item: Any


@quickly_built
@dataclass(frozen=True, slots=True)
class Candidates:
    """Ask the host for an alias' deployments. Result: a sequence of them."""

    alias: str
    request: Request


@quickly_built
@dataclass(frozen=True, slots=True)
class Pick:
    """Ask the host to choose. Result: one of these deployments."""

    deployments: Sequence[Deployment]
    request: Request


@quickly_built
@dataclass(frozen=True, slots=True)
class Start:
    """Carry out further steps in the background. Result: a handle for `FirstOf` and `Stop`.

    These steps emit nothing, and catch whatever may be raised.
    """

    steps: Generator[Any, Any, Any]


@quickly_built
@dataclass(frozen=True, slots=True)
class FirstOf:
    """Wait until one of these is done. Result: that handle, or None when the time was over before."""

    handles: Sequence[Any]
    seconds: float | None = None


@quickly_built
@dataclass(frozen=True, slots=True)
class Stop:
    """End what runs in the background: its steps get `Left` thrown in, in an event loop at once."""

    handle: Any


Effect = (
    Await | Sleep | Send | Open | Read | Relay | Close | Emit | Candidates | Pick | Start | FirstOf | Stop
)
