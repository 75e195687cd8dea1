"""Those who call in a simulated world, and what each of them checks of what it got."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from llmgate_plugins.context import Context
from llmgate_plugins.errors import (
    AllDeploymentsUnavailable,
    DeadlineExceeded,
    ProviderError,
    RequestDenied,
    StreamInterrupted,
)
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.testing.simulation.audit import Ended, Witness
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.plans import PLAN, Plan
from llmgate_plugins.testing.simulation.provider import SimulatedProviders
from llmgate_plugins.testing.simulation.world import SMALL_WINDOW
from llmgate_plugins.types import Message, Request

__all__ = ["Callers", "Got"]

SLACK: Final = 0.25
"""Seconds by which a call may outlive its deadline: timers are late, and books are settled."""
OF_THE_GATEWAY: Final = (AllDeploymentsUnavailable, DeadlineExceeded, RequestDenied, StreamInterrupted)
LEAVING: Final = frozenset({"success", "answered", "error", "denied", "abandoned"})
OF_THE_ENGINE: Final = ("empty_response", "truncated")
"""What the gateway itself finds wrong with an answer that its provider called whole."""
LONG_TEXT: Final = "word " * SMALL_WINDOW
TOOLS: Final = ({"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}},)


@dataclass(slots=True)
class Got:
    """What a caller has got so far.

    Attributes:
        status: "success", "error", "cancelled" or "abandoned".
        text: Without what a restart made void.
        pieces: Chunks of a stream.
    """

    plan: Plan
    started: float
    status: str = "open"
    text: str = ""
    tools: list[str] = field(default_factory=list)
    pieces: int = 0
    restarts: int = 0
    error: BaseException | None = None
    cancelled_at: float | None = None
    ended: float = 0.0


class Callers:
    """Carries out plans, one call after another in each worker.

    Attributes:
        started: Calls that were begun.
        statuses: How calls ended: status -> how many.
    """

    def __init__(
        self,
        gateway: Gateway,
        providers: SimulatedProviders,
        witness: Witness,
        journal: Journal,
    ) -> None:
        self._gateway = gateway
        self._providers = providers
        self._witness = witness
        self._journal = journal
        self._knows_repeats = any(isinstance(plugin, Idempotency) for _, plugin in gateway.plugins)
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self.started = 0
        self.statuses: Counter[str] = Counter()
        self.got: dict[int, Got] = {}

    async def work(self, plans: Sequence[Plan]) -> None:
        """One worker: each call at its time, or when the one before is over."""
        for plan in plans:
            wait = self._begun + plan.at - self._loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self.started += 1
            got = self.got[plan.number] = Got(plan, self._loop.time())
            if plan.leaves is not None and plan.leaves[0] == "cancel":
                await self._cancelled(got, plan.leaves[1])
            else:
                await self._call(got)
            got.ended = self._loop.time()
            self.statuses[got.status] += 1
            self._check(got)

    async def _cancelled(self, got: Got, seconds: float) -> None:
        """A call in a task of its own, cancelled after a while unless it is over by then."""
        task = self._loop.create_task(self._call(got))

        def cancel() -> None:
            if task.cancel():
                got.cancelled_at = self._loop.time()

        timer = self._loop.call_later(seconds, cancel)
        await asyncio.wait((task,))
        timer.cancel()
        if not task.cancelled():
            task.result()
            if got.cancelled_at is not None:
                self._journal.violated("cancel", f"call {got.plan.number} went on after it was cancelled")

    async def _call(self, got: Got) -> None:
        plan = got.plan
        try:
            if plan.stream:
                await self._read(got)
            else:
                response = await self._gateway.acomplete(
                    _request(plan),
                    context=_context(plan),
                    deadline=plan.deadline,
                    call_id=self._call_id(plan),
                )
                got.text = response.text
                got.tools = [one.id for one in response.message.tool_calls]
                got.status = "success"
        except asyncio.CancelledError:
            got.status = "cancelled"
            raise
        except Exception as error:  # noqa: BLE001 - whatever a caller gets is looked at
            got.status, got.error = "error", error

    async def _read(self, got: Got) -> None:
        plan = got.plan
        leaves_after = plan.leaves[1] if plan.leaves is not None else None
        chunks = self._gateway.astream(
            _request(plan), context=_context(plan), deadline=plan.deadline, call_id=self._call_id(plan)
        )
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if chunk.restarted:
                        got.text, got.tools = "", []
                        got.restarts += 1
                    got.text += chunk.text
                    got.tools += [one.id for one in chunk.tool_calls]
                    got.pieces += 1
                    if leaves_after is not None and got.pieces >= leaves_after:
                        got.status = "abandoned"
                        return
                    if plan.reads_slowly:
                        await asyncio.sleep(plan.reads_slowly)
                got.status = "success"
        finally:
            await self._nothing_follows(got, chunks)

    async def _nothing_follows(self, got: Got, chunks: Any) -> None:
        async for chunk in chunks:
            self._journal.violated("I9", f"call {got.plan.number} gave out {chunk!r} after its end")

    def _call_id(self, plan: Plan) -> str | None:
        """An id is used again only where somebody knows what to do about it."""
        if plan.call_id is None or self._knows_repeats:
            return plan.call_id
        return f"{plan.call_id}/{plan.number}"

    # ------------------------------------------------------------ checks

    def _check(self, got: Got) -> None:
        journal, plan = self._journal, got.plan
        name = f"call {plan.number}"
        error = got.error
        why = None if error is None else type(error).__name__
        journal.note("got", plan.number, got.status, len(got.text), got.restarts, why)
        until = got.started + (plan.deadline if plan.deadline is not None else self._gateway.deadline or 0.0)
        if got.cancelled_at is not None:
            until = min(until, got.cancelled_at)
        # An answer that was held back is whole before its deadline, and read in the reader's own time.
        late = got.ended - until - plan.reads_slowly * (got.pieces if plan.on_break == "hold" else 3)
        journal.check(late <= SLACK, "I8", lambda: f"{name} ended {late:.3f} s after its time was over")
        journal.check(
            not plan.steady or got.status == "success",
            "I10",
            lambda: f"{name} failed long after all had healed: {why}: {error}",
        )
        found = self._witness.of_plan.get(str(plan.number), [])
        if len(found) != 1:
            journal.violated("end", f"{name} had {len(found)} terminal events")
            return
        self._check_error(got, found[0])
        self._check_text(got, found[0])

    def _check_error(self, got: Got, ended: Ended) -> None:
        journal, error, name = self._journal, got.error, f"call {got.plan.number}"
        status = ended.record.status
        same = status == got.status or (got.status, status) in {("success", "answered"), ("error", "denied")}
        # Who leaves after the last piece leaves an answer that is whole; who is cancelled while
        # reading leaves a stream.
        same = same or (got.plan.leaves is not None and status in LEAVING)
        journal.check(same, "end", lambda: f"{name} ended with {got.status}, and was told as {status}")
        if isinstance(error, RequestDenied) and error.code == "call_id_reused":
            others = [one for one in self.got.values() if one.plan.call_id == got.plan.call_id]
            other = any(one.plan.asks != got.plan.asks for one in others)
            journal.check(other, "crash", lambda: f"{name} asked the same, and was told it had not")
        if error is None or isinstance(error, OF_THE_GATEWAY):
            return
        raised = [one.error for one in self._answers(ended)]
        own = any(one is error for one in raised) or isinstance(error, TimeoutError)
        own = own or (isinstance(error, ProviderError) and error.code in OF_THE_ENGINE)
        journal.check(own, "crash", lambda: f"{name} ended with {type(error).__name__}: {error}")

    def _check_text(self, got: Got, ended: Ended) -> None:
        """What was said is one answer, or the beginning of one (I9)."""
        journal, text, name = self._journal, got.text, f"call {got.plan.number}"
        on_break = got.plan.on_break or "raise"
        journal.check(
            not got.restarts or on_break == "restart", "I9", lambda: f"{name} was restarted unasked"
        )
        if isinstance(got.error, StreamInterrupted):
            partial = got.error.partial
            journal.check(partial == text, "I9", lambda: f"{name} got {text!r}, and was told {partial!r}")
        if got.status == "success" and ended.record.status == "success":
            self._check_whole(got, ended)
        elif ended.record.status == "answered":
            journal.check(
                text in self._said_under(plan_id := got.plan.call_id or ""),
                "I9",
                lambda: f"{name} repeats {plan_id} and got {text!r}, which nobody said",
            )
        else:
            journal.check(
                any(one.text.startswith(text) for one in self._answers(ended)) or not text,
                "I9",
                lambda: f"{name} got {text!r}, which nobody began to say",
            )

    def _said_under(self, call_id: str) -> list[str]:
        """All answers to a call of this id and to its repeats."""
        known = self._providers.answers.items()
        return [one.text for (name, _), one in known if name.partition("#")[0] == call_id]

    def _check_whole(self, got: Got, ended: Ended) -> None:
        """It is what the attempt that counts has said; or empty, if nobody said anything better."""
        answers = self._answers(ended)
        answer = answers[-1]
        tools = [] if answer.tool is None else [answer.tool]
        same = got.text == answer.text and got.tools == tools
        empty = not (got.text or got.tools or ended.record.attempts[-1][1].ok) and any(
            not one.text and one.error is None for one in answers
        )
        self._journal.check(
            same or empty,
            "I9",
            lambda: f"call {got.plan.number} got {got.text!r} {got.tools}, not {answer.text!r} {tools}",
        )

    def _answers(self, ended: Ended) -> list[Any]:
        known, record = self._providers.answers, ended.record
        keys = [(record.call_id, attempt.number) for attempt, _ in record.attempts]
        return [known[key] for key in keys if key in known]


def _request(plan: Plan) -> Request:
    text = f"question {plan.asks}" + (LONG_TEXT if plan.nature == "long" else "")
    params: dict[str, Any] = {} if plan.max_tokens is None else {"max_tokens": plan.max_tokens}
    if plan.tools:
        params["tools"] = TOOLS
    return Request(
        model=plan.alias,
        messages=(Message(role="user", content=text),),
        params=params,
        tags={PLAN: str(plan.number)},
        stream=plan.stream,
        on_break=plan.on_break,
    )


def _context(plan: Plan) -> Context:
    return Context(team=plan.team, region=plan.region, priority=plan.priority)
