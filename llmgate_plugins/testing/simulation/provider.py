"""Providers in a simulated world: a `Transport` on virtual time, with latencies, faults and quotas."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.testing.faults import REFUSALS, Fault
from llmgate_plugins.testing.simulation.answers import Account, Answer, AnswerMeter, going_on
from llmgate_plugins.testing.simulation.door import Door
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.plans import PLAN, Plan
from llmgate_plugins.testing.simulation.world import Character, Trouble, World
from llmgate_plugins.testing.steps import counted_usage, error_of
from llmgate_plugins.types import (
    Attempt,
    Chunk,
    Deployment,
    Message,
    Request,
    Response,
    ToolCall,
)
from llmgate_plugins.usage import estimate_usage

__all__ = ["SimulatedProviders"]

UNKNOWN_WINDOW: Final = 128_000
"""Tokens that a deployment reads at once if it does not say."""


@dataclass(slots=True)
class _Spell:
    """What is the matter with one answer: a trouble's kind, and after how many pieces."""

    kind: str | None
    after: int = 0


@dataclass(slots=True)
class _Streams:
    opened: int = 0
    closed: int = 0


class SimulatedProviders:
    """All providers of a world, as one `Transport`. Only for event loops.

    Answers are told apart: the words of each are its own, unless the deployment is
    deterministic and so says the same to the same question, as its like do.

    Args:
        world: What exists.
        journal: Where what happens is noted.
        seed: Of latencies and chances.

    Attributes:
        answers: (call id, attempt number) -> what was meant to be said.
        sent: Requests that came in.
        began: When the run began, monotonic seconds.
        streams: How many were opened and closed.
        door: Looks at all that comes in, once the gateway is there.
    """

    def __init__(self, world: World, journal: Journal, seed: int) -> None:
        self._world = world
        self._journal = journal
        self._dice = random.Random(f"providers/{seed}")  # noqa: S311 - not for cryptography
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self._plans = {plan.number: plan for plans in world.plans for plan in plans}
        self._accounts = {key: Account(limit) for key, limit in world.quotas.items()}
        self.answers: dict[tuple[str, int], Answer] = {}
        self.sent = 0
        self.streams = _Streams()
        self.door: Door | None = None

    # ------------------------------------------------------------ Transport

    def send(self, attempt: Attempt, request: Request) -> NoReturn:  # noqa: ARG002 - the interface
        """A thread would stop the virtual loop.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "simulated providers answer on a virtual event loop only: use acomplete or astream"
        )

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """As `send`.

        Raises:
            RuntimeError: Always.
        """
        return self.send(attempt, request)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The whole answer."""
        plan, character = self._known(attempt, request)
        answer, spell = self._receive(attempt, request, plan)
        await self._think(character, spell)
        self._break(answer, spell, whole=True)
        await asyncio.sleep(character.gap * len(answer.pieces))
        calls = () if answer.tool is None else (ToolCall(id=answer.tool, name="look_up"),)
        return Response(
            source=Message(role="assistant", content=answer.text, tool_calls=calls),
            usage=answer.usage,
            finish_reason="tool_calls" if calls else "stop",
            model=attempt.deployment.model,
            deployment_id=attempt.deployment.id,
            call_id=attempt.call_id,
            quota=answer.quota,
            empty=not answer.pieces and not calls,
        )

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        """The answer piece by piece."""
        return self._stream(attempt, request)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:  # noqa: ARG002 - the interface
        """A meter for one stream."""
        return AnswerMeter(self.answers, attempt)

    # ------------------------------------------------------------ what comes in

    def _known(self, attempt: Attempt, request: Request) -> tuple[Plan, Character]:
        return self._plans[int(request.tags[PLAN])], self._world.characters[attempt.deployment.id]

    def _receive(self, attempt: Attempt, request: Request, plan: Plan) -> tuple[Answer, _Spell]:
        """Check and count a request. Raises what the provider says at once."""
        now, deployment, journal = self._loop.time(), attempt.deployment, self._journal
        self.sent += 1
        journal.note("sent", plan.number, attempt.number, deployment.id, attempt.reason)
        if self.door is not None:
            self.door.enter(attempt, plan)
        answer = self._answer(attempt, request, plan, now)
        key = (attempt.call_id, attempt.number)
        journal.check(key not in self.answers, "I1", lambda: f"attempt {key} was sent twice")
        self.answers[key] = answer
        account = self._accounts.get(deployment.credential or "")
        if account is not None:
            answer.quota = account.quota(now)
            if not account.take(now):
                self._refuse(answer, Fault("rate_limit", retry_after=account.free_in(now)))
        return answer, self._spell(answer, deployment, plan, request, now - self.began)

    def _answer(self, attempt: Attempt, request: Request, plan: Plan, now: float) -> Answer:
        character = self._world.characters[attempt.deployment.id]
        name = f"p{plan.number}" if character.deterministic else f"a{self.sent}"
        length = plan.length if character.deterministic else self._dice.randint(1, 12)
        pieces = tuple([f"{name}.{place} " for place in range(length)])
        given = attempt.prefill or ""
        if given:
            pieces = going_on(given, pieces)
        tool = f"{name}-tool" if plan.tools else None
        answer = Answer(attempt=attempt, given=given, pieces=pieces, tool=tool, sent=now)
        if character.reports_usage:
            answer.usage = counted_usage(request, "".join(pieces))
        return answer

    def _spell(
        self, answer: Answer, deployment: Deployment, plan: Plan, request: Request, now: float
    ) -> _Spell:
        """What goes wrong with this answer. Raises what is refused at once."""
        for trouble in self._world.troubles:
            if (
                trouble.start <= now < trouble.end
                and deployment.id in trouble.targets
                and (trouble.rate == 1.0 or self._dice.random() < trouble.rate)
            ):
                if trouble.kind in REFUSALS or trouble.kind == "connection":
                    self._refuse(answer, _fault(trouble))
                return _Spell(trouble.kind, self._dice.randint(0, 4))
        if plan.nature == "invalid":
            self._refuse(answer, Fault("invalid_request"))
        if plan.nature == "offensive":
            self._refuse(answer, Fault("content_policy"))
        if plan.nature == "long":
            window = deployment.context_window or UNKNOWN_WINDOW
            if estimate_usage(request, 0).input > window:
                self._refuse(answer, Fault("context_length"))
        return _Spell(None)

    def _refuse(self, answer: Answer, fault: Fault) -> NoReturn:
        self._fail(answer, error_of(fault))

    def _fail(self, answer: Answer, error: BaseException) -> NoReturn:
        answer.error = error
        raise error

    # ------------------------------------------------------------ what goes out

    async def _think(self, character: Character, spell: _Spell) -> None:
        seconds = character.first_token * self._dice.lognormvariate(0.0, character.spread)
        if spell.kind == "hang":
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds * 20 if spell.kind == "slow" else seconds)

    def _break(self, answer: Answer, spell: _Spell, *, whole: bool = False) -> None:
        """Go wrong in the middle, if this answer does."""
        kind = spell.kind
        if whole and kind in {"drip", "stall"}:
            self._fail(answer, TimeoutError("the answer did not come to its end"))
        if kind == "cut":
            self._fail(answer, ConnectionResetError(104, "Connection reset by peer"))
        if kind == "error_event":
            self._refuse(answer, Fault("server"))
        if kind == "malformed" or (whole and kind in {"truncated", "nothing"}):
            self._fail(answer, json.JSONDecodeError("Expecting value", "<", 0))
        if kind == "empty":
            answer.pieces, answer.tool = (), None

    async def _stream(self, attempt: Attempt, request: Request) -> AsyncGenerator[Chunk, None]:
        self.streams.opened += 1
        try:
            plan, character = self._known(attempt, request)
            answer, spell = self._receive(attempt, request, plan)
            await self._think(character, spell)
            model = attempt.deployment.model
            if spell.kind == "nothing":
                return
            if spell.kind == "empty":
                self._break(answer, spell)
            yield Chunk(model=model)
            if character.reasons:
                yield Chunk(reasoning="hm", model=model)
            for place, piece in enumerate(answer.pieces):
                if spell.kind is not None and place == spell.after:
                    if spell.kind == "truncated":
                        return
                    self._break(answer, spell)
                    if spell.kind == "stall":
                        await asyncio.get_running_loop().create_future()
                await asyncio.sleep(25.0 if spell.kind == "drip" else character.gap)
                yield Chunk(text=piece, model=model)
            if answer.tool is not None:
                yield Chunk(tool_calls=(ToolCall(id=answer.tool, name="look_up"),), model=model)
            yield Chunk(finish_reason="stop", usage=answer.usage, model=model)
        finally:
            self.streams.closed += 1


def _fault(trouble: Trouble) -> Fault:
    return Fault(trouble.kind, retry_after=trouble.retry_after)  # type: ignore[arg-type]
