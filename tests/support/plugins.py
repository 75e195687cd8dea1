"""Small plugins that tests put into gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from llmgate_plugins import (
    Attempt,
    Call,
    Context,
    DecisionRecord,
    Deployment,
    Drop,
    Outcome,
    Ranking,
    Request,
    RequestDenied,
    Reselect,
    Response,
    Skip,
    Wait,
    hookimpl,
)
from llmgate_plugins.decisions import Recovery

__all__ = [
    "Admit",
    "AsyncWitness",
    "Begin",
    "Narrow",
    "NotThere",
    "NotThereSays",
    "Rank",
    "Recover",
    "Review",
    "Witness",
    "named",
    "raising",
]


class Admit:
    """Answers `admit_request` with a function of the request."""

    def __init__(self, answer: Callable[[Request], Any], name: str = "Admit") -> None:
        self.answer, self.name = answer, name

    @hookimpl
    def admit_request(self, request: Request) -> Request | Response | None:
        return self.answer(request)


class Review:
    def __init__(self, answer: Callable[[Response], Any], name: str = "Review") -> None:
        self.answer, self.name = answer, name

    @hookimpl
    def review_response(self, response: Response) -> Response | None:
        return self.answer(response)


class Narrow:
    def __init__(self, reasons: dict[str, str], name: str = "Narrow") -> None:
        self.reasons, self.name = reasons, name
        self.seen: list[list[str]] = []

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment]) -> Drop | None:
        self.seen.append([one.id for one in deployments])
        return Drop(self.reasons)


class Rank:
    def __init__(self, *ids: str, name: str = "Rank") -> None:
        self.ids, self.name = ids, name

    @hookimpl
    def rank_deployments(self, deployments: Sequence[Deployment]) -> Ranking | None:
        found = {one.id: one for one in deployments}
        order = [found[id] for id in self.ids if id in found]
        return Ranking(order, scores={id: float(n) for n, id in enumerate(self.ids)}, reason="told so")


class Begin:
    """Answers `begin_attempt` from a script, then None."""

    def __init__(self, *answers: Wait | Skip | Reselect | RequestDenied | None, name: str = "Begin") -> None:
        self.answers, self.name = list(answers), name
        self.began: list[str] = []
        self.ended: list[tuple[str, str]] = []

    @hookimpl
    def begin_attempt(self, attempt: Attempt) -> Wait | Skip | Reselect | None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            self.began.append(attempt.deployment.id)
        if isinstance(answer, RequestDenied):
            raise answer
        return answer

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        self.ended.append((attempt.deployment.id, outcome.status))


class Recover:
    """Answers `recover_attempt` from a script, then None."""

    def __init__(self, *answers: Recovery | None, name: str = "Recover") -> None:
        self.answers, self.name = list(answers), name
        self.asked: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []

    @hookimpl
    def recover_attempt(
        self, attempt: Attempt, untried: Sequence[Deployment], fallbacks: Sequence[str]
    ) -> Recovery | None:
        self.asked.append((attempt.deployment.id, tuple(one.id for one in untried), tuple(fallbacks)))
        return self.answers.pop(0) if self.answers else None


class Witness:
    """Writes down every hook it is told of."""

    name = "Witness"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.records: list[DecisionRecord] = []

    @hookimpl
    def admit_request(self, request: Request, context: Context, call: Call) -> None:
        self.heard.append("admit_request")

    @hookimpl
    def narrow_deployments(self) -> None:
        self.heard.append("narrow_deployments")

    @hookimpl
    def rank_deployments(self) -> None:
        self.heard.append("rank_deployments")

    @hookimpl
    def begin_attempt(self, attempt: Attempt) -> None:
        self.heard.append(f"begin_attempt {attempt.deployment.id}")

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        self.heard.append(f"end_attempt {attempt.deployment.id} {outcome.status}")

    @hookimpl
    def recover_attempt(self) -> None:
        self.heard.append("recover_attempt")

    @hookimpl
    def review_response(self) -> None:
        self.heard.append("review_response")

    @hookimpl
    def end_call(self, record: DecisionRecord) -> None:
        self.heard.append(f"end_call {record.status}")
        self.records.append(record)


class AsyncWitness:
    """The same with `async def`, giving way to the loop in each."""

    name = "AsyncWitness"

    def __init__(self) -> None:
        self.heard: list[str] = []

    @hookimpl
    async def admit_request(self, request: Request) -> Request | None:
        await asyncio.sleep(0)
        self.heard.append("admit_request")
        return None

    @hookimpl
    async def narrow_deployments(self) -> Drop | None:
        await asyncio.sleep(0)
        self.heard.append("narrow_deployments")
        return None

    @hookimpl
    async def rank_deployments(self, deployments: Sequence[Deployment]) -> Ranking | None:
        await asyncio.sleep(0)
        self.heard.append("rank_deployments")
        return None

    @hookimpl
    async def begin_attempt(self, attempt: Attempt) -> Skip | None:
        await asyncio.sleep(0)
        self.heard.append("begin_attempt")
        return None

    @hookimpl
    async def end_attempt(self, outcome: Outcome) -> None:
        await asyncio.sleep(0)
        self.heard.append(f"end_attempt {outcome.status}")

    @hookimpl
    async def recover_attempt(self) -> Recovery | None:
        await asyncio.sleep(0)
        self.heard.append("recover_attempt")
        return None

    @hookimpl
    async def review_response(self) -> Response | None:
        await asyncio.sleep(0)
        self.heard.append("review_response")
        return None

    @hookimpl
    async def end_call(self, record: DecisionRecord) -> None:
        await asyncio.sleep(0)
        self.heard.append(f"end_call {record.status}")


def raising(hook: str, error: Exception, name: str = "Broken") -> object:
    """A plugin whose implementation of this hook raises."""

    def implementation(self: object) -> None:
        raise error

    implementation.__name__ = hook
    return type("Broken", (), {hook: hookimpl(implementation), "name": name})()


def named(plugin: Any, name: str) -> Any:
    plugin.name = name
    return plugin


class NotThere:
    """Keeps calls from one deployment, for reasons of its own: of no policy, no context and no tag."""

    def __init__(self, where: str, *, passing: bool = False) -> None:
        self.where = where
        self.passing = passing
        self.on = False

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment]) -> Drop | None:
        out = {one.id: "not_there" for one in deployments if self.on and self.where in one.id}
        return Drop(out, passing=self.passing) if out else None


class NotThereSays(NotThere):
    """Has to ask somebody first."""

    @hookimpl
    async def narrow_deployments(self, deployments: Sequence[Deployment]) -> Drop | None:
        await asyncio.sleep(0)
        return super().narrow_deployments(deployments)
