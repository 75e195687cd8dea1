"""After a context overflow: which deployments have room for the request, and which surely have not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from llmgate_plugins.context import Call
from llmgate_plugins.decisions import Drop
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.types import Deployment, ErrorClass, Request
from llmgate_plugins.usage import USUAL_OUTPUT, WORDLESS, estimate_usage, longest_answer

__all__ = ["ContextFit", "fits", "fitting", "overflow_floor"]

LONGEST_MESSAGE: Final = 2_000
"""Characters of an error that are looked at."""

_WINDOW: Final = re.compile(r"maximum context length is (\d{1,9})\b")
_ASKED: Final = re.compile(
    r"requested (\d{1,9}) tokens|resulted in (\d{1,9}) tokens|total of at least (\d{1,9})"
    r"|too long: (\d{1,9}) tokens|token count \(?(\d{1,9})\)? exceeds"
)
"""How OpenAI (first two), vLLM, Anthropic and Gemini say how long the request was."""


class ContextFit:
    """Drops deployments whose context window cannot hold a request that has overflowed another.

    Before anything overflowed it drops nothing: an estimate alone is no reason to refuse.
    A deployment whose window is not known stays. Reason code: "context_window".
    """

    @hookimpl
    def narrow_deployments(
        self, request: Request, deployments: Sequence[Deployment], call: Call
    ) -> Drop | None:
        """Drops what has no room, once an attempt of this call was too long."""
        if not call.record.attempts:
            return None
        floor = overflow_floor(call)
        if floor == 0:
            return None
        room = fitting(deployments, request, floor)
        small = {one.id: "context_window" for one in deployments if one.id not in room}
        return Drop(small) if small else None


def fits(deployment: Deployment, request: Request, at_least: int = 0) -> bool:
    """Whether the deployment's window holds the request and its answer; True where it is not known.

    Args:
        deployment: Where it would be sent.
        request: Its messages are read to estimate their tokens; what it says of the longest
            answer (`max_completion_tokens`, `max_tokens`) is added, else a small reserve.
        at_least: Tokens that input and answer surely take together, whatever the estimate
            says: `overflow_floor(call)`.
    """
    return deployment.context_window is None or bool(fitting((deployment,), request, at_least))


def fitting(deployments: Iterable[Deployment], request: Request, at_least: int = 0) -> frozenset[str]:
    """Ids of those that `fits` says yes of; the request is read once for all of them."""
    embedding = request.operation in WORDLESS  # whose inputs have a window each
    read = 0 if embedding else estimate_usage(request, 0).input
    return frozenset(
        one.id
        for one in deployments
        if one.context_window is None
        or one.context_window
        >= max(0 if embedding else read + (longest_answer(one, request) or USUAL_OUTPUT), at_least)
    )


def overflow_floor(call: Call) -> int:
    """Tokens that input and answer surely take together, by what has overflowed in this call.

    One more than the largest window that was too small, or what a provider said it counted;
    1 if something overflowed and neither is known; 0 if nothing did.
    """
    floor = 0
    for attempt, outcome in call.record.attempts:
        failure = outcome.failure
        if failure is None or failure.error_class is not ErrorClass.CONTEXT_LENGTH:
            continue
        window = attempt.deployment.context_window
        floor = max(floor, 1 if window is None else window + 1, _named(outcome.error))
    return floor


def _named(error: BaseException | None) -> int:
    """The least length that the error's own words tell."""
    text = str(error)[:LONGEST_MESSAGE] if error is not None else ""
    windows = [int(number) + 1 for number in _WINDOW.findall(text)]
    asked = [int(number) for found in _ASKED.findall(text) for number in found if number]
    return max(windows + asked, default=0)
