"""One thing to ask the server: the command, what the reply means, and what to do without one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from llmgate_plugins.errors import StorageError
from llmgate_plugins.state.redis.scripts import Script, packed

__all__ = ["Again", "Ask", "Load"]

T = TypeVar("T")


class Ask(Generic[T]):
    """Something to ask the server, and what becomes of the answer.

    Attributes:
        script: The script to run; None for a plain command.
        repeats: Whether it may be sent again when nobody knows whether it arrived.
        sent: It may have been carried out: it left, and nobody has said that it was refused.
        repeated: It was sent again.
    """

    __slots__ = ("error", "future", "instead", "loaded", "repeated", "script", "sent", "value")
    repeats = True

    def __init__(self, script: Script | None = None) -> None:
        self.script = script
        self.future: Future[T] | None = None
        self.value: T | None = None
        self.error: BaseException | None = None
        self.instead: Ask[T] | None = None
        self.sent = self.repeated = self.loaded = False

    def command(self) -> bytes:
        """As it is sent."""
        raise NotImplementedError

    def read(self, reply: Any) -> T | Again:
        """What the reply means; `Again` to ask something else first."""
        raise NotImplementedError

    def lost(self, error: StorageError) -> T:
        """What to answer where the server cannot be asked. Raises if there is nothing."""
        raise error

    def take(self, reply: Any) -> Sequence[Ask[Any]]:
        """Resolve with a reply, or return what has to be asked first."""
        try:
            told = self.read(reply)
        except Exception as error:  # noqa: BLE001 - it is the answer
            self._fail(error)
            return ()
        if isinstance(told, Again):
            last = told.asks[-1]
            if last is not self:
                last.future, self.future = self.future, None
                self.instead = last
            return told.asks
        self._resolve(told)
        return ()

    def give_up(self, error: StorageError) -> None:
        """Resolve without a reply."""
        try:
            self._resolve(self.lost(error))
        except Exception as failure:  # noqa: BLE001 - it is the answer
            self._fail(failure)

    def _resolve(self, value: T) -> None:
        self.value = value
        if self.future is not None and self.future.set_running_or_notify_cancel():
            self.future.set_result(value)

    def _fail(self, error: BaseException) -> None:
        self.error = error
        if self.future is not None and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Load(Ask[None]):
    """Gives the server a script that it has forgotten."""

    __slots__ = ("source",)

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.source = script.source

    def command(self) -> bytes:
        return packed(("SCRIPT", "LOAD", self.source))

    def read(self, reply: Any) -> None:  # noqa: ARG002 - there is nothing to learn from it
        return None

    def lost(self, error: StorageError) -> None:  # noqa: ARG002 - whoever needs the script is told
        return None


class Again:
    """Ask these, in one write; the last one's answer is the answer."""

    __slots__ = ("asks",)

    def __init__(self, *asks: Ask[Any]) -> None:
        self.asks = asks
