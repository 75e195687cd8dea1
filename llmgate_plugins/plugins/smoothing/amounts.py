"""What a call will probably take of each limit, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmgate_plugins.types import Deployment, ErrorClass, Outcome, Request, Usage
from llmgate_plugins.usage import USUAL_OUTPUT, WORDLESS, allowed_output, answers_of, sent_params

__all__ = ["ONE_REQUEST", "Amounts", "Expectation", "Lengths", "taken"]

Amounts = Mapping[str, int]
"""Kind of limit -> how much of it."""

ONE_REQUEST: Final[Amounts] = {"requests": 1}
"""All that counts where no limit of tokens is known; the messages are not read then."""
NEVER_ARRIVED: Final = frozenset({ErrorClass.CONNECTION, ErrorClass.LOCAL})
"""The provider has not counted it. Other refusals count against requests per minute."""
AS_ESTIMATED: Final = 1000
"""Thousandths: the model makes just as many tokens of a text as were estimated."""
MOST_OFF: Final = 8 * AS_ESTIMATED
WORTH_COMPARING: Final = 50
"""Tokens of a text from which it tells something of the model; shorter ones are mostly overhead."""


class Expectation:
    """What to expect of a number that varies: a mean and a deviation, as TCP keeps them of round trips.

    Args:
        first: What is expected before anything was seen.
    """

    __slots__ = ("_deviation", "_first", "_mean")

    def __init__(self, first: int) -> None:
        self._first = first
        self._mean = -1
        self._deviation = 0

    @property
    def high(self) -> int:
        """What about 19 of 20 stay below: the mean and two deviations."""
        return self._first if self._mean < 0 else (self._mean + 2 * self._deviation) // 16 + 1

    def learn(self, seen: int) -> None:
        """Take note of one more. Sixteenths are kept, so that small steps are not lost."""
        if self._mean < 0:
            self._mean, self._deviation = seen * 16, seen * 8
            return
        error = seen * 16 - self._mean
        self._mean += error // 8
        self._deviation += (abs(error) - self._deviation) // 4


class Lengths:
    """How long a model's answers are, and how many tokens it makes of a text."""

    __slots__ = ("output", "reading")

    def __init__(self) -> None:
        self.output = Expectation(USUAL_OUTPUT)
        self.reading = Expectation(AS_ESTIMATED)

    def learn(self, estimate: int, usage: Usage, answers: int = 1) -> None:
        """Take note of what so many answers took, whose request was estimated at so many tokens."""
        self.output.learn(-(-usage.total_output // answers))
        if estimate >= WORTH_COMPARING and not usage.estimated:
            read = usage.total_input
            self.reading.learn(min(read * AS_ESTIMATED // estimate, MOST_OFF))

    def expected(self, deployment: Deployment, request: Request, estimate: int) -> tuple[Amounts, int]:
        """What to reserve, and for how many answers: the input, and the output allowed, else the usual."""
        read = -(-estimate * self.reading.high // AS_ESTIMATED)
        written, answers = 0, 1
        if request.operation not in WORDLESS:
            sent = sent_params(deployment, request)
            answers = answers_of(sent)
            written = (allowed_output(sent) or self.output.high) * answers
        amounts = {"requests": 1, "tokens": read + written, "input_tokens": read, "output_tokens": written}
        return amounts, answers


def taken(outcome: Outcome, reserved: Amounts) -> Amounts | None:
    """What was really used; None if nobody knows, and the reservation stands for it."""
    usage = outcome.usage
    failure = outcome.failure
    if failure is None:
        return _used(usage)
    if usage.total and not usage.estimated:
        return _used(usage)
    if usage.total:
        return None  # it may have worked on after we had stopped listening
    return {"requests": 0 if failure.error_class in NEVER_ARRIVED else reserved.get("requests", 0)}


def _used(usage: Usage) -> Amounts:
    return {
        "requests": 1,
        "tokens": usage.total,
        "input_tokens": usage.total_input - usage.cached_input,
        "output_tokens": usage.total_output,
    }
