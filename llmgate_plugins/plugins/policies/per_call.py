"""Constraints that depend on the call: clearance, prices of long inputs, expected cost, room in the window.

Each sorts calls into kinds that make no difference to it, so that a group of thousands of
deployments is gone through once for each kind and not once for each call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, TypeVar

from llmgate_plugins.context import Context
from llmgate_plugins.plugins.estimates import quoted_cost
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.policies.constraints import is_above
from llmgate_plugins.types import NANO, Deployment, Request, Usage
from llmgate_plugins.usage import (
    LENGTHS,
    USUAL_OUTPUT,
    WORDLESS,
    Said,
    allowed_output,
    answers_of,
    as_sent,
    quoted,
    said_of_price,
    sent_over,
    tier_asked,
)

__all__ = ["Asked", "CallPrice", "Clearance", "Fit", "PerCall", "TierPrice"]

Deployments = Sequence[Deployment]
Told: TypeAlias = frozenset[tuple[str, bool]]
_NOTHING_SAID: Final[Told] = frozenset()
K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Asked:
    """One call and the deployments that might serve it.

    Attributes:
        read: Input tokens, estimated; 0 where no constraint is `sized`.
    """

    deployments: Sequence[Deployment]
    request: Request
    context: Context
    read: int


class PerCall(Protocol[K]):
    """A constraint that is looked at for each call.

    Attributes:
        reason: One of `REASONS`.
        sized: Whether it needs to know how much there is to read.
    """

    reason: str
    sized: bool

    def key(self, asked: Asked) -> K:
        """The kind of call this is: of all of one kind it rules out the same deployments."""

    def rules_out(self, deployment: Deployment, key: K) -> bool:
        """Whether the deployment may not serve calls of this kind."""


class Clearance:
    """A deployment must declare the class of the call's data; without a class, none is cleared."""

    reason = "data_class"
    sized = False

    def key(self, asked: Asked) -> str | None:
        """The class of its data."""
        return asked.context.data_class

    def rules_out(self, deployment: Deployment, key: str | None) -> bool:
        """Whether it is not cleared for this class."""
        return key is None or deployment.data_classes is None or key not in deployment.data_classes


class TierPrice:
    """Prices of long inputs and of service tiers are held against the same bounds.

    Args:
        most: As `Policy.max_price`.
    """

    reason = "price"
    sized = True

    def __init__(self, most: Mapping[str, float]) -> None:
        self._most = most
        self._tiers = PerGroup(_tiers)

    def key(self, asked: Asked) -> tuple[int, Said]:
        """(the least input that costs the same everywhere, how the call asks to be served)."""
        thresholds, variants = self._tiers.of(asked.deployments, None)
        step = bisect_left(thresholds, asked.read)
        said = _without_numbers(said_of_price(asked.request.params)) if variants else ()
        return thresholds[step - 1] + 1 if step else 0, said

    def rules_out(self, deployment: Deployment, key: tuple[int, Said]) -> bool:
        """Whether a bucket costs more at that size and in the tier that is asked for there."""
        if deployment.price is None:
            return True
        read, said = key
        price = deployment.price.at(read, tier_asked(sent_over(deployment.params, said)))
        return is_above(price, self._most)


class CallPrice:
    """The call may be expected to cost so much at most: as its host says, or by its tokens.

    Tokens are rounded up by an eighth or less. Where a host says what a call costs (of pictures,
    of sound), each of its deployments is asked of.

    Args:
        most: US dollars.
    """

    reason = "price"
    sized = True

    def __init__(self, most: float) -> None:
        self._most = most * NANO

    def key(self, asked: Asked) -> tuple[int, Said, Told]:
        """(tokens read, what the call says of how much is written, and how it is to be served; where
        its host says that it costs more, and where not)."""
        request = asked.request
        told = frozenset(self._told(asked)) if request.quote is not None else _NOTHING_SAID
        return _rounded_up(asked.read), _rounded(said_of_price(request.params)), told

    def _told(self, asked: Asked) -> Iterator[tuple[str, bool]]:
        for one in asked.deployments:
            quote = quoted(one, asked.request)
            if quote is not None:
                yield one.id, quoted_cost(one, quote.probable) > self._most

    def rules_out(self, deployment: Deployment, key: tuple[int, Said, Told]) -> bool:
        """Whether that costs more here."""
        read, said, told = key
        if told:
            if (deployment.id, True) in told:
                return True
            if (deployment.id, False) in told:
                return False
        if deployment.price is None:
            return True
        sent = sent_over(deployment.params, said)
        written = allowed_output(sent) or USUAL_OUTPUT
        if deployment.max_output is not None:
            written = min(written, deployment.max_output)
        usage = Usage(input=read, output=written * answers_of(sent))
        return deployment.price.at(read, tier_asked(sent)).cost(usage) > self._most


class Fit:
    """The context window must hold the request and its answer."""

    reason = "context_window"
    sized = True

    def __init__(self) -> None:
        self._rooms = PerGroup(_rooms)

    def key(self, asked: Asked) -> tuple[bool, int]:
        """(whether the call bounds its answer, the least room that does for it)."""
        answer = allowed_output(as_sent(asked.request.params))
        read = asked.read if asked.request.operation not in WORDLESS else 0  # its inputs have a window each
        needed = read + (answer or 0)
        rooms = self._rooms.of(asked.deployments, answer is not None)
        place = bisect_left(rooms, needed)
        return answer is not None, rooms[place] if place < len(rooms) else rooms[-1] + 1 if rooms else 0

    def rules_out(self, deployment: Deployment, key: tuple[bool, int]) -> bool:
        """Whether there is less room, or it is not known how much."""
        bounded, least = key
        room = _room(deployment, bounded)
        return room is None or room < least


def _without_numbers(said: Said) -> Said:
    """Without what makes no difference to the price of a token."""
    return tuple(
        [
            (name, _without_numbers(value) if name == "extra_body" else value)
            for name, value in said
            if not isinstance(value, int)
        ]
    )


def _rounded(said: Said) -> Said:
    return tuple(
        [
            (
                name,
                _rounded(value)
                if name == "extra_body"
                else _rounded_up(value)
                if isinstance(value, int) and name in LENGTHS
                else value,
            )
            for name, value in said
        ]
    )


def _rounded_up(tokens: int) -> int:
    """The next number of four binary digits and zeros."""
    step = 1 << max(tokens.bit_length() - 4, 0)
    return -(-tokens // step) * step


def _tiers(deployments: Deployments, _key: None) -> tuple[tuple[int, ...], bool]:
    """(input sizes at which a price changes, whether any depends on how a call is served)."""
    tiers = [tier for one in deployments if one.price is not None for tier in one.price.tiers]
    return tuple(sorted({tier.above for tier in tiers if tier.above})), any(tier.variant for tier in tiers)


def _rooms(deployments: Deployments, bounded: bool) -> tuple[int, ...]:
    rooms = (_room(one, bounded) for one in deployments)
    return tuple(sorted({room for room in rooms if room is not None}))


def _room(deployment: Deployment, bounded: bool) -> int | None:
    """Tokens for what is read and written; where the call bounds no answer, for what is read."""
    if deployment.context_window is None or bounded:
        return deployment.context_window
    return deployment.context_window - (allowed_output(as_sent(deployment.params)) or USUAL_OUTPUT)
