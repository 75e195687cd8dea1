"""What a gateway is told after its calls: how good answers were, and that a canary may begin anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from llmgate_plugins._driving.drivers import adrive, drive
from llmgate_plugins._engine.effects import Await
from llmgate_plugins._engine.flight import Steps
from llmgate_plugins._engine.hearing import hear
from llmgate_plugins._gateway.explaining import supposed_id
from llmgate_plugins._gateway.feedback import about, feedback_of
from llmgate_plugins._gateway.looking import Looking
from llmgate_plugins.context import Call
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback, is_pending
from llmgate_plugins.types import Request

if TYPE_CHECKING:
    from llmgate_plugins.experiments import Course

__all__ = ["Minding"]


class Minding(Looking):
    """What can be said of calls that are over: the part of a gateway that minds what people think.

    Args:
        departures, registry: As of `Calling`.
    """

    def feedback(
        self,
        call_id: str,
        score: float,
        name: str = "quality",
        comment: str | None = None,
        *,
        source: str | None = None,
        id: str | None = None,
    ) -> Feedback:
        """Say how good an answer was: for `experiments`, for preferences that learn from it.

        Args:
            call_id: Of the call: `response_metadata["llmgate"]["decision_id"]` in LangChain,
                `_hidden_params["llmgate"]["call_id"]` in LiteLLM. It may have been made by another
                process that writes the same ledger, and need not be in the books yet.
            score: From 0, useless, to 1, perfect; a thumb up is True.
            name: What was judged. Of several scores of one name for one call the last one counts.
            comment: In words. They go into the ledger, and nowhere else.
            source: Who says so ("user", "judge").
            id: Names this feedback, so that it can be given again and is kept once.

        Raises:
            ValueError: The score is not between 0 and 1.
            UnknownCall: The ledger is this process' own, and knows no such call.
            StorageError: It could not be written.
        """
        given = feedback_of(
            call_id, score, name=name, comment=comment, source=source, id=id, services=self.services
        )
        record = self.decision(call_id)
        told = about(given, record, self.services.ledger)
        steps, call = self._heard(told, record)
        for _ in drive(steps, None, call, self.services):
            pass
        return told

    async def afeedback(
        self,
        call_id: str,
        score: float,
        name: str = "quality",
        comment: str | None = None,
        *,
        source: str | None = None,
        id: str | None = None,
    ) -> Feedback:
        """`feedback` for an event loop."""
        given = feedback_of(
            call_id, score, name=name, comment=comment, source=source, id=id, services=self.services
        )
        record = self.decision(call_id)
        if record is not None:
            told = about(given, record, self.services.ledger)
        else:  # the books are read, which blocks
            told = await asyncio.to_thread(about, given, None, self.services.ledger)
        steps, call = self._heard(told, record)
        async for _ in adrive(steps, None, call, self.services):
            pass
        return told

    def reset_experiment(self, name: str) -> Course:
        """Let a canary that was taken back begin anew, from its first stage; how it had ended.

        This gateway begins at once. Other processes that share its state do when they next look
        at it, which is with their first call that comes 5 seconds or more after the last look.

        Raises:
            ValueError: There is no canary of this name, or it was not taken back.
            StorageError: The state that processes share cannot be asked.
        """
        ended: list[Course] = []
        for _ in drive(self._resetting(name, ended), None, self._aside(), self.services):
            pass
        return ended[0]

    async def areset_experiment(self, name: str) -> Course:
        """`reset_experiment` for an event loop."""
        ended: list[Course] = []
        async for _ in adrive(self._resetting(name, ended), None, self._aside(), self.services):
            pass
        return ended[0]

    def _aside(self, call_id: str | None = None) -> Call:
        """A call that asks nothing, for the drivers to carry steps out for."""
        return self._departures.call(Request(model=""), None, None, call_id or supposed_id())

    def _resetting(self, name: str, ended: list[Course]) -> Steps:
        from llmgate_plugins.insight.canaries import canary_of

        canary = canary_of((plugin for _, plugin in self.plugins), name)
        answer = canary.reset(self.services.state, self.services.alerts)
        if is_pending(answer):
            answer = yield Await(answer)
        ended.append(cast("Course", answer))

    def _heard(self, feedback: Feedback, record: DecisionRecord | None) -> tuple[Steps, Call]:
        """Steps that make feedback known, and a call for the drivers to carry them out for."""
        call = self._aside(feedback.call_id)
        return hear(self._departures.flight(call, None), feedback, record), call
