"""The plugin that sends sampled copies of calls elsewhere once their callers have the answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Final

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.follow_ups import FollowUp
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.policies import Rule, matcher
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Deployment, Request, Response

__all__ = ["SHADOW", "Shadow", "ShadowTraffic"]

SHADOW: Final[StashKey[str]] = StashKey("shadow")
"""On a call that is a copy: the name of the shadow that it is of."""

_TEXT: Final[StashKey[str]] = StashKey("shadow: text")
_ORIGINAL: Final[StashKey[str]] = StashKey("shadow: the original's text")
LONGEST_COMPARED: Final = 20_000
"""Characters of an answer that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Which calls are copied, and where the copies go.

    Attributes:
        name: For records and reports.
        to: An alias or a deployment's id; None for the alias that was asked.
        policy: The policy that copies go on under; what the calls' own policy rules out stays
            ruled out. None for the calls' own alone.
        sample: Share of the calls that are copied, 0 to 1.
        when: Which calls, as conditions of a rule of policies have it.
        deadline: Seconds that a copy may take.
        attempts: Most attempts of one copy.
        similarity: Whether answers are compared by their words. Only a number is kept, but the
            original's text is held in memory until its copy has ended.

    Raises:
        ValueError: A value makes no sense.
    """

    name: str
    to: str | None = None
    policy: str | None = None
    sample: float = 1.0
    when: Mapping[str, Any] | str = field(default_factory=dict)
    deadline: float = 60.0
    attempts: int = 1
    similarity: bool = False

    def __post_init__(self) -> None:
        if self.to is None and self.policy is None:
            raise ValueError(f"shadow {self.name!r} needs to: or policy:, or both")
        if not 0 <= self.sample <= 1:
            raise ValueError(
                f"sample of shadow {self.name!r} is a share between 0 and 1, not {self.sample!r}"
            )
        positive("deadline", self.deadline)
        whole("attempts", self.attempts)


class ShadowTraffic:
    """Sends copies of calls to other deployments, after the answer, and compares.

    A copy is a call of its own: with its own id, deadline and record (`shadow_of`), under
    the same context and so under the same constraints; a target that is not eligible is not
    sent to. It counts for those limits alone that say so (`shadow_calls`), never feeds health,
    and its answer goes nowhere. Copies are made of calls that succeeded; a few run at once,
    and what is too much is dropped (see `Gateway.follow_ups`).

    What a copy shows beside its original stands in its record's notes under "shadow", and so in
    the ledger.

    Args:
        shadows: Each is drawn for by itself.

    Raises:
        ValueError: Two have the same name.
    """

    def __init__(self, shadows: Iterable[Shadow]) -> None:
        self.shadows: Final = tuple(shadows)
        names = [one.name for one in self.shadows]
        if len(set(names)) < len(names):
            raise ValueError(f"two shadows have the same name: {', '.join(sorted(names))}")
        self._by_name = dict(zip(names, self.shadows, strict=True))
        self._wanted = [matcher(Rule(use=one.name, when=one.when)) for one in self.shadows]
        self._reads = any(one.similarity for one in self.shadows)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def report(self) -> dict[str, dict[str, int]]:
        """Shadow -> how many copies were asked for, and what became of them.

        "sent"; "not_eligible": nothing could be sent under the call's context; "over_budget";
        "full", "closing", "no_transport": never begun; "denied": by something else.
        """
        with self._lock:
            found: dict[str, dict[str, int]] = {one.name: {} for one in self.shadows}
            for (name, what), number in sorted(self._counts.items()):
                found[name][what] = number
        return found

    @hookimpl(tryfirst=True)
    def admit_request(self, call: Call) -> None:
        """A copy goes on under its shadow's policy, however the call came by its own."""
        shadow = self._of(call)
        if shadow is not None:
            call.stash[MOST_ATTEMPTS] = shadow.attempts
            if shadow.policy is not None:
                call.stash[POLICY] = shadow.policy

    @hookimpl(trylast=True)
    def review_response(self, response: Response, call: Call) -> None:
        """Take note of the words that are to be compared."""
        if not self._reads:
            return
        shadow = self._of(call)
        if shadow is not None:
            original = call.stashed(_ORIGINAL)
            if original is not None:
                call.stash[_TEXT] = response.text[:LONGEST_COMPARED]
        elif any(one.similarity and self._drawn(one, call) for one in self.shadows):
            call.stash[_TEXT] = response.text[:LONGEST_COMPARED]

    @hookimpl(tryfirst=True)
    def end_call(self, record: DecisionRecord, request: Request, context: Context, call: Call) -> None:
        """Ask for copies of a call, or compare a copy with it."""
        shadow = self._of(call)
        if shadow is not None:
            self._ended(shadow, record, call)
        elif record.status == "success" and not call.is_shadow:
            for one, is_wanted in zip(self.shadows, self._wanted, strict=True):
                if self._drawn(one, call) and is_wanted(request, context):
                    self._ask_for(one, record, call)

    # ------------------------------------------------------------ inside

    def _of(self, call: Call) -> Shadow | None:
        name = call.stashed(SHADOW)
        return None if name is None else self._by_name.get(name)

    def _drawn(self, shadow: Shadow, call: Call) -> bool:
        return call.draw(f"shadow: {shadow.name}") < shadow.sample

    def _ask_for(self, shadow: Shadow, record: DecisionRecord, call: Call) -> None:
        self._count(shadow.name, "asked")
        context = call.context
        text = call.stashed(_TEXT) if shadow.similarity else None
        served = record.attempts[-1][0].deployment

        def prepare(copy: Call) -> None:
            copy.stash[SHADOW] = shadow.name
            copy.record.notes = {"shadow": _note(shadow, record, served)}
            if text is not None:
                copy.stash[_ORIGINAL] = text

        call.follow_up(
            FollowUp(
                model=shadow.to,
                context=context,
                deadline=shadow.deadline,
                prepare=prepare,
                missed=partial(self._count, shadow.name),
            )
        )

    def _ended(self, shadow: Shadow, record: DecisionRecord, call: Call) -> None:
        sent = [outcome for _, outcome in record.attempts if outcome.status != "skipped"]
        if sent:
            self._count(shadow.name, "sent")
            original, text = call.stashed(_ORIGINAL), call.stashed(_TEXT)
            if original is not None and text is not None:
                note = {**record.notes.get("shadow", {}), "similarity": similarity(original, text)}
                record.notes = {**record.notes, "shadow": note}
        elif record.status == "denied":
            over = record.reason in ("budget", "limit")
            self._count(shadow.name, "over_budget" if over else "denied")
        else:
            self._count(shadow.name, "not_eligible")

    def _count(self, name: str, what: str) -> None:
        with self._lock:
            self._counts[name, what] += 1


def _note(shadow: Shadow, record: DecisionRecord, served: Deployment) -> dict[str, Any]:
    """The original beside which the copy is to be seen."""
    outcome = record.attempts[-1][1]
    return {
        "name": shadow.name,
        "original": {
            "deployment": served.id,
            "latency_s": outcome.latency,
            "first_token_s": outcome.first_token,
            "cost_nano_usd": outcome.cost,
            "output_tokens": outcome.usage.total_output,
            "finish_reason": outcome.finish_reason,
        },
    }


def similarity(one: str, other: str) -> float:
    """How much two texts say in the same words: shared pairs of words, as a share of both (0 to 1).

    Sorensen and Dice's coefficient over pairs of neighbouring words. It takes no model, and says
    nothing of meaning: two right answers may share few words.
    """
    ours, theirs = _pairs(one), _pairs(other)
    total = ours.total() + theirs.total()
    return 1.0 if not total else 2 * (ours & theirs).total() / total


def _pairs(text: str) -> Counter[tuple[str, str]]:
    words = ["", *text.lower().split(), ""]
    return Counter(pairwise(words)) if len(words) > 2 else Counter()
