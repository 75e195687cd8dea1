"""Asks plugins how a preference of theirs values deployments, on behalf of whoever ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmgate_plugins._asking import Implementation
from llmgate_plugins._engine.flight import report
from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Scores
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.services import MaybePending, Services, is_pending
from llmgate_plugins.types import Deployment, Request

__all__ = ["Scoring"]


class Scoring:
    """The hook `score_deployments` as a function. First opinion wins; one that fails is passed over.

    Args:
        implementations: In run order.
    """

    def __init__(self, implementations: Sequence[Implementation]) -> None:
        self._implementations = implementations
        self._services: Services | None = None

    def connect(self, services: Services) -> None:
        """What plugins are handed; there is nobody to ask before."""
        self._services = services

    def __call__(
        self,
        preference: str,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
    ) -> MaybePending[Scores | None]:
        """See `Services.score`."""
        given = (preference, request, deployments, context, call, self._services)
        return _first(iter(self._implementations), given, call)


def _first(left: Iterator[Implementation], given: tuple[Any, ...], call: Call) -> MaybePending[Scores | None]:
    for one in left:
        try:
            answer = one.ask(*given)
            if is_pending(answer):
                return _when_there(one, answer, left, given, call)
            scores = _checked(answer)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            report(call, one.plugin, one.hook, error)
            continue
        if scores is not None:
            return scores
    return None


async def _when_there(
    one: Implementation, answer: Any, left: Iterator[Implementation], given: tuple[Any, ...], call: Call
) -> Scores | None:
    try:
        scores = _checked(await arrived(answer))
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        report(call, one.plugin, one.hook, error)
        scores = None
    if scores is None:
        scores = await arrived(_first(left, given, call))
    return scores


def _checked(answer: object) -> Scores | None:
    """Raises `TypeError` for what are no scores: else they would order nobody, and stand in records."""
    if answer is None:
        return None
    if not isinstance(answer, Scores):
        raise TypeError(f"answered {type(answer).__name__}; the answer is Scores, or None")
    values: object = answer.values
    if not isinstance(values, Mapping):
        raise TypeError(f"Scores takes {{one.id: score}}, not {type(values).__name__}")
    for name, score in values.items():
        if not isinstance(name, str):
            raise TypeError(f"Scores takes {{one.id: score}}, not by {type(name).__name__}")
        if not isinstance(score, int | float) or score != score:
            raise TypeError(
                f"the score of {name!r} must be a number, not {score!r}; leave out what is unknown"
            )
    return answer
