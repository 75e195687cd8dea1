"""One limit as an application writes it: how much, for whom, in which time, and what happens then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, get_args

from llmgate_plugins.plugins.arguments import whole
from llmgate_plugins.scopes import Scope, key_of, scopes_of
from llmgate_plugins.services import ShadowCalls
from llmgate_plugins.windows import Window, window_of

__all__ = [
    "Budget",
    "ConcurrencyLimit",
    "Exhausted",
    "Instead",
    "Kind",
    "Limit",
    "Mode",
    "RequestLimit",
    "TokenLimit",
]

Kind = Literal["budget", "requests", "tokens", "concurrency"]
Mode = Literal["hard", "soft", "shadow"]

MOST_SHARE: Final = 10.0
"""The highest threshold: ten times the limit. A limit that only watches may be passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """Where a call goes on when a limit is exhausted: under another policy, or under another alias.

    Attributes:
        policy: Name of a policy of `Policies`.
        alias: An alias of the gateway.
    """

    policy: str | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        if (self.policy is None) == (self.alias is None):
            raise ValueError("Instead takes a policy or an alias, one of them")


Exhausted = Literal["deny", "cheapest"] | Instead


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may be used in a window of time. Use one of its four kinds.

    A **hard** limit holds what an attempt may use at most before it is sent, and so is never
    passed by what could be known beforehand. A **soft** one only counts: it refuses nothing.
    Either may stand **in shadow**: what it would have refused is reported, and goes on.

    Who calls is taken from the trusted context; calls that leave it open share one count.
    Tags come from the caller: a limit per tag stands beside those per anything else.

    Attributes:
        scope: For whom. "global": one count for all. "team": one for each team; so also
            tenant, project, user, key, feature, cohort, environment, "extra:NAME" (facts of
            the context), alias, model, provider, deployment, region (of what is sent), and
            "tag:NAME". "tenant=acme": for this one alone, in place of what holds for each
            tenant in the same window. A list: one for each combination.
        limit: The most in one window: nano-dollars, requests, tokens, calls at once.
        window: In what it is counted; a number stands for `Fixed` of so many seconds.
        hard: Whether it is enforced by holding before sending; else it is watched.
        on_exhausted: What becomes of a call that does not fit: "deny"; "cheapest": the
            cheapest deployment is tried first from then on; `Instead`: it goes on under
            another policy or alias. What does not fit there either is denied.
        shadow: Evaluate and report only.
        alert_at: Shares of the limit at which an alert is reported, such as 0.8.
        assume_output: Output tokens to hold for where nothing bounds the answer.
        shadow_calls: Whether calls that are shadows of others count: "without", "with" or
            "only". None: with, for requests, tokens and calls at once of what is sent (model,
            provider, deployment, region), since a provider counts them like any; without, for
            money and for who calls.

    Raises:
        ValueError: With what is wrong, by the name of the argument.
    """

    kind: ClassVar[Kind]

    scope: str | Sequence[str]
    limit: int
    window: Window | float | None = None
    hard: bool = True
    on_exhausted: Exhausted = "deny"
    shadow: bool = field(default=False, kw_only=True)
    alert_at: Sequence[float] = field(default=(), kw_only=True)
    assume_output: int = field(default=4096, kw_only=True)
    shadow_calls: ShadowCalls | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        scopes_of(self.scope)
        whole("limit", self.limit)
        whole("assume_output", self.assume_output)
        if self.kind == "concurrency" and self.window is not None:
            raise ValueError("a limit of calls at once has no window")
        if self.kind != "concurrency" and self.window is None:
            raise ValueError(f"a limit of {self.kind} needs a window, such as Calendar('day')")
        object.__setattr__(self, "window", window_of(self.window))
        if not isinstance(self.on_exhausted, Instead) and self.on_exhausted not in ("deny", "cheapest"):
            raise ValueError(
                f"on_exhausted must be 'deny', 'cheapest' or an Instead, not {self.on_exhausted!r}"
            )
        if self.on_exhausted == "cheapest" and any(scope.of_attempt for scope in self.scopes):
            raise ValueError("on_exhausted='cheapest' is for limits of who calls, not of what is sent")
        if self.shadow_calls not in (None, *get_args(ShadowCalls)):
            raise ValueError(f"shadow_calls must be without, with or only, not {self.shadow_calls!r}")
        shares = sorted(float(share) for share in self.alert_at)
        if not all(0 < share <= MOST_SHARE for share in shares):
            raise ValueError(f"alert_at must be shares above 0 and at most {MOST_SHARE:g}")
        object.__setattr__(self, "alert_at", tuple(shares))

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """For whom, read; empty for all together."""
        return scopes_of(self.scope)

    @property
    def head(self) -> str:
        """What its keys in the state begin with: "budget:team:day@UTC", "shadow-requests:user:60s"."""
        kind = self.kind if self.mode == "hard" else f"{self.mode}-{self.kind}"
        names = ",".join(scope.name.replace(":", ".") for scope in self.scopes) or "global"
        if self.shadow_calls not in (None, self._usual):
            kind = f"{kind}-{self.shadow_calls}-shadows"
        return f"{kind}:{names}" + (f":{self.window}" if self.window is not None else "")

    def key(self, *values: str | None) -> str:
        """The key in the state of the count for these values of its scopes, in the order of their names."""
        return key_of(self.head, values)

    @property
    def mode(self) -> Mode:
        """How it is meant."""
        return "shadow" if self.shadow else "hard" if self.hard else "soft"

    @property
    def counted(self) -> ShadowCalls:
        """Whether calls that are shadows of others count."""
        return self.shadow_calls or self._usual

    @property
    def _usual(self) -> ShadowCalls:
        by_provider = self.kind != "budget" and any(scope.counts_attempts for scope in self.scopes)
        return "with" if by_provider else "without"

    @property
    def seconds(self) -> float:
        """How long its window is, about; infinity for none."""
        if self.window is None:
            return math.inf
        begin, end = window_of(self.window).bounds(0.0)  # type: ignore[union-attr]
        return end - begin


@dataclass(frozen=True, slots=True)
class Budget(Limit):
    """Money, in nano-dollars per window. See `Limit`."""

    kind: ClassVar[Kind] = "budget"


@dataclass(frozen=True, slots=True)
class RequestLimit(Limit):
    """Requests per window. See `Limit`.

    A limit of who calls counts calls, each once, however many attempts it takes; one of what
    is sent (alias apart: model, provider, deployment, region) counts attempts.
    """

    kind: ClassVar[Kind] = "requests"


@dataclass(frozen=True, slots=True)
class TokenLimit(Limit):
    """Tokens per window, those read and those written together. See `Limit`."""

    kind: ClassVar[Kind] = "tokens"


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit(Limit):
    """Calls at once; a call that waits between two attempts is none. See `Limit`."""

    kind: ClassVar[Kind] = "concurrency"
