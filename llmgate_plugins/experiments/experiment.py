"""An experiment as data: its arms, what each changes, who is assigned, and how a canary grows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, get_args

from llmgate_plugins.context import FACTS, Call, Context
from llmgate_plugins.draws import arrival, draw
from llmgate_plugins.experiments.conditions import Condition, condition_of
from llmgate_plugins.experiments.prompts import Prompt
from llmgate_plugins.policies.policy import NEAR_ONE
from llmgate_plugins.types import EMPTY, Request

__all__ = ["BY", "Arm", "Experiment", "Rollback", "Stage", "Then"]

BY: Final = (*FACTS, "session", "call")
"""What can be assigned: a fact of the context, a session, or each call for itself; or "extra:NAME"."""

Then = Literal["promote", "stay"]

_EXTRA: Final = "extra:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to treat a call. What an arm leaves out stays as it is.

    Attributes:
        name: Unique within its experiment.
        weight: Its share, 0 to 1; of no meaning where there are stages.
        model: The alias that is asked instead.
        policy: The policy under which the call goes on. What its own policy rules out stays ruled
            out.
        prompt: What is done to the messages.
        params: Call parameters in place of the caller's (`temperature`, ...).
    """

    name: str
    weight: float = 0.0
    model: str | None = None
    policy: str | None = None
    prompt: Prompt | None = None
    params: Mapping[str, Any] = EMPTY

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("an arm needs a name")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"the weight of arm {self.name!r} must be between 0 and 1, not {self.weight!r}")

    @property
    def touches(self) -> frozenset[str]:
        """What it changes: "model", "policy", "system", "template", "params.temperature" ..."""
        found = {name for name in ("model", "policy") if getattr(self, name) is not None}
        if self.prompt is not None:
            found |= self.prompt.touches
        return frozenset(found | {f"params.{name}" for name in self.params})


def _check_calls(calls: int) -> None:
    if type(calls) is not int or calls < 1:
        raise ValueError(f"calls must be a whole number of at least 1, not {calls!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step of a canary.

    Attributes:
        share: Of the units that are treated, above 0 and below 1: without control nothing can be told.
        seconds: For how long at least.
        calls: Those that the candidate must have had, before the next step.
    """

    share: float
    seconds: float
    calls: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"the share of a stage must be above 0 and below 1, not {self.share!r}")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"the seconds of a stage must be above 0, not {self.seconds!r}")
        _check_calls(self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """When a canary is taken back: as soon as one of these is sure. What is None is not looked at.

    Attributes:
        errors: The candidate's calls are in trouble more often than control's by more than this, 0.01
            for one in a hundred. In trouble is a call that failed, or that needed another
            attempt or alias: failover would hide a bad candidate.
        p95: More of the candidate's calls than 5 %, and than of control's, take longer than
            control's p95 and this part of it, 0.2 for a fifth. Of streams: to the first content.
        cost: Its calls cost more than control's and this part of it, on average.
        confidence: How sure, over all stages and reasons together, however often one looks.
        calls: Those that each arm must have had in this stage before anything is concluded.
    """

    errors: float | None = 0.01
    p95: float | None = None
    cost: float | None = None
    confidence: float = 0.99
    calls: int = 20

    def __post_init__(self) -> None:
        for name in ("errors", "p95", "cost"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {value!r}")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence must be at least 0.5 and below 1, not {self.confidence!r}")
        _check_calls(self.calls)

    @property
    def reasons(self) -> int:
        """For how many reasons."""
        return sum(one is not None for one in (self.errors, self.p95, self.cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A question put to live traffic: do calls fare better in one way than in another?

    A unit (a user, a session, ...) is assigned to an arm by the hash of its name, and stays there:
    in every process, after every restart. When a weight changes, only as many units move as must.

    Attributes:
        name: Unique within a gateway.
        arms: Two or more; their weights sum to 1.
        when: For which calls: as in the rules of policies, or a function of request and context; None
            for all.
        by: What is assigned: "user", "session", "tenant", ..., "extra:NAME", or "call" for each call by
            itself. A call whose context does not have it is not assigned, and goes its usual way.
        control: The arm that others are compared with; None for the arm of that name, else for
            the one that changes nothing.
        stages: Of a canary, which has two arms: the other one gets these shares, step by step.
        rollback: When a canary is taken back.
        then: After the last stage: "promote", the candidate gets all; "stay" at the last share.

    Raises:
        ValueError: It makes no sense.
    """

    name: str
    arms: Sequence[Arm]
    when: Any = None
    by: str = "user"
    control: str | None = None
    stages: Sequence[Stage] = ()
    rollback: Rollback = Rollback()
    then: Then = "promote"

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", tuple(self.arms))
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.name:
            raise ValueError("an experiment needs a name")
        if self.by not in BY and not (self.by.startswith(_EXTRA) and len(self.by) > len(_EXTRA)):
            raise ValueError(f"by must be one of {', '.join(BY)}, or extra:NAME, not {self.by!r}")
        if self.then not in get_args(Then):
            raise ValueError(f"then must be promote or stay, not {self.then!r}")
        self._check_arms()
        self._check_stages()

    def _check_arms(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(names) < 2:
            raise ValueError("an experiment compares two arms or more")
        if len(set(names)) < len(names):
            raise ValueError(f"two arms have the name {max(names, key=names.count)!r}")
        if self.control is not None and self.control not in names:
            raise ValueError(f"control names no arm: {self.control!r}")
        if self.control is None:
            plain = ["control"] if "control" in names else [arm.name for arm in self.arms if not arm.touches]
            if len(plain) != 1:
                raise ValueError('no arm is control: name one "control", or say control: NAME')
            object.__setattr__(self, "control", plain[0])
        if not any(arm.touches for arm in self.arms):
            raise ValueError("no arm changes anything: give one a model, policy, prompt or params")
        if not self.stages and abs(math.fsum(arm.weight for arm in self.arms) - 1) > NEAR_ONE:
            total = math.fsum(arm.weight for arm in self.arms)
            raise ValueError(f"the weights of the arms sum to {total:g}, not to 1")

    def _check_stages(self) -> None:
        if not self.stages:
            return
        if len(self.arms) != 2:
            raise ValueError(f"a canary has two arms, control and a candidate, not {len(self.arms)}")
        if any(arm.weight for arm in self.arms):
            raise ValueError("the stages say what each arm gets: leave the weights out")
        shares = [stage.share for stage in self.stages]
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("the shares of the stages must rise")

    @property
    def candidate(self) -> Arm:
        """The arm of a canary that is tried out."""
        return next(arm for arm in self.arms if arm.name != self.control)

    @property
    def touches(self) -> frozenset[str]:
        """What its arms change."""
        return frozenset().union(*(arm.touches for arm in self.arms))

    @property
    def version(self) -> str:
        """Eight hex digits that change with what is compared, with whom, and how."""
        when = getattr(self.when, "__qualname__", self.when)  # a function's repr holds an address
        shown = repr((self.name, self.arms, when, self.by, self.control, self.stages, self.rollback))
        return hashlib.sha256(shown.encode()).hexdigest()[:8]

    def condition(self, aliases: Mapping[str, str] = EMPTY) -> Condition | None:
        """What a call must be like; None for any.

        Args:
            aliases: Another name of a model -> the alias it leads to.
        """
        return None if not self.when else condition_of(self.when, aliases)

    def unit(self, context: Context, call: Call) -> str | None:
        """What would be assigned with this call; None if its context does not say."""
        if self.by == "call":
            return call.id
        if self.by.startswith(_EXTRA):
            return context.extra.get(self.by[len(_EXTRA) :])
        value: str | None = getattr(context, self.by)
        return value

    def arm_of(self, unit: str, share: float | None = None) -> Arm:
        """The arm of a unit: the one that is first to arrive for it (weighted rendezvous hashing).

        Args:
            share: Of a canary's candidate at present.
        """
        best, soonest = self.arms[0], math.inf
        for arm in self.arms:
            weight = arm.weight
            if share is not None:
                weight = 1 - share if arm.name == self.control else share
            if weight <= 0:
                continue
            when = arrival(draw("experiment", self.name, arm.name, unit), weight)
            if when < soonest:
                best, soonest = arm, when
        return best

    def asks_of(self, request: Request) -> bool:
        """Whether each of its arms could be carried out on this request."""
        return request.operation == "chat" or not any(arm.prompt for arm in self.arms)
