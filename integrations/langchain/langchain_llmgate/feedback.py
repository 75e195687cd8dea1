"""Feedback from LangChain: by an answer, or by the id of a run, as LangSmith takes it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from langchain_llmgate._report import KEY, TRACE_KEY

if TYPE_CHECKING:
    from langchain_core.outputs import LLMResult

    from llmgate_plugins import Feedback, Gateway

__all__ = ["FeedbackCallback", "call_id_of"]

MOST_RUNS: Final = 10_000


def call_id_of(answer: Any) -> str:
    """The id of the call that an answer is of.

    Args:
        answer: A message of a gate's, or the id itself.

    Raises:
        ValueError: It is no answer of a gate, or of one with `annotate=False`.
    """
    if isinstance(answer, str) and answer:
        return answer
    told = answer.response_metadata.get(KEY) if isinstance(answer, BaseMessage) else None
    if not told or "decision_id" not in told:
        raise ValueError(
            f"this {type(answer).__name__} does not say which call it is of: give an answer of ChatLLMGate, "
            f'or response_metadata["{KEY}"]["decision_id"]'
        )
    return str(told["decision_id"])


class FeedbackCallback(BaseCallbackHandler):
    """Remembers which calls each run led to, so that feedback can be given by the run's id.

    Hand it to runs as a callback. `create_feedback` is called as that of LangSmith's client is; feedback
    on the run of a chain or an agent goes to all calls that were made in it.

    Args:
        gateway: Of the gate: `llm.gateway`.
        most: So many runs are remembered, those that ended last.
    """

    run_inline = True  # what is remembered must be there when the answer is

    def __init__(self, gateway: Gateway, *, most: int = MOST_RUNS) -> None:
        super().__init__()
        self.gateway = gateway
        self._most = most
        self._parents: OrderedDict[UUID, UUID | None] = OrderedDict()
        self._calls: OrderedDict[UUID, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def calls(self, run_id: UUID | str) -> tuple[str, ...]:
        """Ids of the calls that this run led to, in order."""
        with self._lock:
            return self._calls.get(_as_uuid(run_id), ())

    def create_feedback(
        self,
        run_id: UUID | str,
        key: str = "quality",
        *,
        score: float,
        comment: str | None = None,
        source: str | None = None,
    ) -> tuple[Feedback, ...]:
        """Say how good the answer of a run was.

        Args:
            run_id: Of the model's run, or of the chain around it.
            key: What was judged.
            score, comment, source: As of `Gateway.feedback`.

        Raises:
            LookupError: No call of this run is known.
            ValueError: The score is not between 0 and 1.
        """
        found = self.calls(run_id)
        if not found:
            raise LookupError(
                f"no call of run {run_id} is known: was this handler among its callbacks, and did it end?"
            )
        return tuple(self.gateway.feedback(call_id, score, key, comment, source=source) for call_id in found)

    # ------------------------------------------------------------ what LangChain tells

    def on_chain_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **__: Any) -> None:
        """A run within another."""
        self._began(run_id, parent_run_id)

    def on_tool_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **__: Any) -> None:
        """A run within another."""
        self._began(run_id, parent_run_id)

    def on_chat_model_start(
        self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **__: Any
    ) -> None:
        """A run within another."""
        self._began(run_id, parent_run_id)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """An answer is there: of which call?"""
        for generations in response.generations:
            for one in generations:
                metadata = getattr(getattr(one, "message", None), "response_metadata", None) or {}
                told = metadata.get(KEY) or (one.generation_info or {}).get(TRACE_KEY) or {}
                if "decision_id" in told:
                    self._ended(run_id, str(told["decision_id"]))
                    break

    def _began(self, run_id: UUID, parent: UUID | None) -> None:
        with self._lock:
            self._parents[run_id] = parent
            while len(self._parents) > self._most:
                self._parents.popitem(last=False)

    def _ended(self, run_id: UUID, call_id: str) -> None:
        with self._lock:
            one: UUID | None = run_id
            while one is not None:
                self._calls[one] = (*self._calls.pop(one, ()), call_id)
                one = self._parents.get(one)
            while len(self._calls) > self._most:
                self._calls.popitem(last=False)


def _as_uuid(run_id: UUID | str) -> UUID:
    return run_id if isinstance(run_id, UUID) else UUID(run_id)
