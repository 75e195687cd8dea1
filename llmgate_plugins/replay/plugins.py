"""The plugin that a replayed gateway has besides its own: it keeps to the record where it must."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from llmgate_plugins.context import Call
from llmgate_plugins.errors import ProviderError, RequestDenied
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.replay.recorded import RecordedCall
from llmgate_plugins.replay.transport import Replayed
from llmgate_plugins.types import Failure, Request, Response

__all__ = ["AsRecorded"]


class AsRecorded:
    """Keeps to the record where nothing can be decided anew, and hands in how calls end.

    What answered or denied a call and is not there any more (a cache, a guard of the
    application's) does so again. Failures are what they were classified as.

    Attributes:
        calls: Call id -> the recorded call, while it is replayed.
        there: Names of plugins that decide for themselves; set when the gateway is built.

    Args:
        ended: Told (recorded call, its new record).
    """

    name: Final = "AsRecorded"

    def __init__(self, ended: Callable[[RecordedCall, DecisionRecord], None]) -> None:
        self.calls: dict[str, RecordedCall] = {}
        self.there: Collection[str] = ()
        self._ended = ended

    @hookimpl(tryfirst=True)
    def admit_request(self, request: Request, call: Call) -> Response | None:  # noqa: ARG002 - as the hook has it
        """Answer, deny or fail as then, if whoever did is not there."""
        record = self.calls[call.id].record
        if record.denied_by is None or record.denied_by in self.there:
            return None
        if record.status == "answered":
            return Response.of("")
        if record.status == "denied":
            raise RequestDenied("denied as it was then", code=record.reason or "denied")
        if record.status == "error" and not record.attempts:
            raise ProviderError("failed as it did then")
        return None

    @hookimpl(tryfirst=True)
    def classify_error(self, error: BaseException) -> Failure | None:
        """As it was classified then."""
        return error.failure if isinstance(error, Replayed) else None

    @hookimpl(trylast=True)
    def end_call(self, record: DecisionRecord, call: Call) -> None:
        """Hand in how it ended."""
        recorded = self.calls.pop(call.id, None)
        if recorded is not None:
            self._ended(recorded, record)
