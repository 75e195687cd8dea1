"""Keeps calls where a provider's prompt cache is warm, if that saves more than it costs."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from llmgate_plugins.context import FACTS, Call, Context, StashKey
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.errors import StorageError
from llmgate_plugins.plugins.estimates import probable_cost, probable_tokens
from llmgate_plugins.plugins.observations import observations_of
from llmgate_plugins.plugins.pending import carried
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.plugins.preferences import InOrder, Preferring, Scored, Weighted
from llmgate_plugins.policies import Sticky
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.state import MemoryState
from llmgate_plugins.types import (
    EMPTY,
    NANO,
    Attempt,
    Deployment,
    LazyMessages,
    Message,
    Outcome,
    Request,
    Scope,
)

__all__ = ["IDLE", "LEAST_PREFIX", "Stickiness"]

IDLE: Final[Mapping[str, float]] = {"anthropic": 300.0, "bedrock": 300.0, "openai": 600.0, "azure": 600.0}
"""Seconds for which a provider keeps a prompt that nobody asks for again.

Anthropic: five minutes from the last use (docs.anthropic.com, "Prompt caching"); Bedrock the same.
OpenAI: five to ten minutes of inactivity (platform.openai.com/docs, "Prompt caching")."""
USUAL_IDLE: Final = 300.0
LEAST_PREFIX: Final = 1024
"""Tokens below which OpenAI and most of Anthropic's models cache nothing."""
MOST_KEPT: Final = 50_000
"""Sessions and prefixes that are remembered with state in memory; the oldest are forgotten."""
SHOWN: Final = 32
"""Places of the policy's order that are kept behind the warm one; the rest follow as given."""

_TRUSTED_PRIOR: Final = (0.5, 2.0)
"""What share of a warm prompt is read from the cache, before anything was seen, and how many calls
that counts for."""
_MOST_SEEN: Final = 20.0
_SYSTEM: Final = ("system", "developer")
_CALLERS: Final = (Scope.REQUEST, Scope.CALLER, Scope.LOCAL)
"""Failures for which the deployment is not to blame."""
Steps = Generator[Sequence[MaybePending[Any]], list[Any], Ranking | None]


@dataclass(frozen=True, slots=True)
class _Warm:
    """Where a prompt is warm, and how many tokens of it."""

    deployment: str
    tokens: int


@dataclass(slots=True)
class _Kept:
    """What a call is kept by. `warm`: tokens that should have been in the cache of `at`."""

    key: str
    sticky: Sticky
    prefix: int | None
    at: str | None = None
    warm: int = 0


_KEPT: Final[StashKey[_Kept]] = StashKey("stickiness")


class Stickiness:
    """For the plugin `Policies`: puts the warm deployment first, where it is worth it.

    What is kept is a hash of who asks and of the session, or of the prompt's beginning, with the
    deployment and a number of tokens: no content. It is written on success only, gone when the
    deployment fails, and when nobody has asked for as long as the provider keeps its cache. It
    stands in the gateway's state, so that processes share it: one round trip per call, and one
    more after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._hits: dict[str, tuple[float, float]] = {}
        self._by_id = PerGroup(_by_id)

    def kept(
        self,
        sticky: Sticky,
        ranks: Preferring | None,
        ranking: Ranking | None,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """The policy's ranking, with the warm deployment first where it is worth it.

        Args:
            ranks: What made the ranking.
        """
        kept = _kept_by(sticky, request, deployments, context) if deployments else None
        if kept is None or call.is_shadow:  # a copy would warm another cache than its original's
            return ranking
        call.stash[_KEPT] = kept
        return carried(self._weighed(kept, ranks, ranking, request, deployments, context, call, services))

    def end_attempt(
        self, attempt: Attempt, outcome: Outcome, call: Call, services: Services
    ) -> MaybePending[object]:
        """Remember where it is warm now, or that it is not."""
        kept = call.stashed(_KEPT)
        if kept is None:
            return None
        deployment = attempt.deployment
        if outcome.status == "success":
            usage = outcome.usage
            tokens = kept.prefix if kept.prefix is not None else usage.total
            if kept.at == deployment.id and kept.warm:
                self._learn(deployment.id, min(usage.cached_input / kept.warm, 1.0))
            idle = kept.sticky.idle or IDLE.get(deployment.provider, USUAL_IDLE)
            self._remember(kept.key, services)
            return services.state.put(kept.key, json.dumps([deployment.id, tokens]).encode(), ttl=idle)
        failure = outcome.failure
        blamed = outcome.status == "error" and (failure is None or failure.scope not in _CALLERS)
        if blamed and kept.at == deployment.id:
            kept.at = None
            return services.state.delete(kept.key)
        return None

    def _weighed(
        self,
        kept: _Kept,
        ranks: Preferring | None,
        ranking: Ranking | None,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> Steps:
        try:
            (found,) = yield [services.state.get(kept.key)]
        except StorageError:
            return ranking  # nobody knows what is warm
        warm = _read(found)
        one = None if warm is None else self._by_id.of(deployments, None).get(warm.deployment)
        if warm is None or one is None:  # it is cold, or excluded, and nothing brings it back
            return ranking
        kept.at, kept.warm = one.id, warm.tokens
        if not isinstance(request.messages, LazyMessages):  # of those, only how many there are is known
            kept.warm = min(warm.tokens, probable_tokens(one, request)[0])
        saved = self._saved(one, kept.warm)
        best = deployments[0] if ranking is None else next(iter(ranking.order), deployments[0])
        if saved <= 0:
            return ranking
        if ranks is not None and ranking is not None and best is not one:
            scores: Mapping[str, float] = ranking.scores
            if one.id not in scores and isinstance(ranks, Scored):  # of many, others were looked at
                (told,) = yield [ranks.scores(request, (best, one), context, call, services)]
                scores = EMPTY if told is None else told.values
            if not _is_worth_it(kept.sticky, ranks, scores, request, one, best, saved, services):
                return ranking
        why = f"kept at {one.id}, whose cache saves about ${saved / NANO:.6f}"
        facts = {"warm_tokens": float(kept.warm), "saved_usd": saved / NANO}
        if ranking is None:
            return Ranking([one], reason=why, state={one.id: facts})
        rest = [other for other in islice(ranking.order, SHOWN) if other is not one]
        state = {**ranking.state, one.id: {**ranking.state.get(one.id, EMPTY), **facts}}
        otherwise = ranking.reason or "as the policy prefers"
        return replace(ranking, order=[one, *rest], reason=f"{why}; else {otherwise}", state=state)

    def _saved(self, one: Deployment, warm: int) -> float:
        """Nano-dollars that its cache may be expected to save."""
        if one.price is None or warm < LEAST_PREFIX:
            return 0.0
        price = one.price.at(warm)
        with self._lock:
            share, _ = self._hits.get(one.id, _TRUSTED_PRIOR)
        return warm * share * (price.input - price.cached_input) / 1_000_000

    def _learn(self, deployment: str, hit: float) -> None:
        """What part of a warm prompt was read from the cache."""
        with self._lock:
            share, seen = self._hits.get(deployment, _TRUSTED_PRIOR)
            seen = min(seen + 1, _MOST_SEEN)
            self._hits[deployment] = (share + (hit - share) / seen, seen)

    def _remember(self, key: str, services: Services) -> None:
        """With state in memory there is no end to the keys but time; here is one."""
        state = services.state
        if not isinstance(state, MemoryState):
            return
        with self._lock:
            self._keys[key] = None
            self._keys.move_to_end(key)
            oldest = self._keys.popitem(last=False)[0] if len(self._keys) > MOST_KEPT else None
        if oldest is not None:
            state.delete(oldest)


def _is_worth_it(
    sticky: Sticky,
    ranks: Preferring,
    scores: Mapping[str, float],
    request: Request,
    one: Deployment,
    best: Deployment,
    saved: float,
    services: Services,
) -> bool:
    """Whether the saving outweighs how much another is preferred, in the preference's own terms."""
    if isinstance(ranks, InOrder):
        return False  # somebody's explicit will
    if isinstance(ranks, Weighted):
        return one.weight > 0
    here, there = scores.get(one.id), scores.get(best.id)
    if here is None or there is None:
        return False
    unit = ranks.unit if isinstance(ranks, Scored) else ""
    if isinstance(ranks, Scored) and ranks.goals and here < there:
        return False  # better by its score, and behind all the same: it misses a goal
    behind = max(here - there, 0.0)
    if unit == "USD":
        anyway = _cached_anyway(one, request, services) - _cached_anyway(best, request, services)
        return (here - there) * NANO + anyway <= saved  # as if both were cold
    if unit == "s":
        return behind * sticky.second * NANO <= saved
    # Of any other score one hundredth is worth one hundredth of the price.
    price = probable_cost(one, request)
    return price > 0 and behind <= saved / price


def _cached_anyway(one: Deployment, request: Request, services: Services) -> float:
    """Nano-dollars that an expected price takes off for what caches serve on the average."""
    try:
        lengths = observations_of(services).lengths(one.provider, one.model)
    except LookupError:
        return 0.0
    if one.price is None or lengths is None or not lengths.cached.count:
        return 0.0
    read, _ = probable_tokens(one, request)
    price = one.price.at(read)
    return read * lengths.cached.mean * (price.input - price.cached_input) / 1_000_000


def _kept_by(
    sticky: Sticky, request: Request, deployments: Sequence[Deployment], context: Context
) -> _Kept | None:
    """What the call is kept by; None if nothing keeps it."""
    alias = deployments[0].alias
    if sticky.by == "session":
        session = context.session or request.session
        if session is None:
            return None
        who = [getattr(context, name) for name in FACTS]
        return _Kept(_key("session", alias, repr(who), session), sticky, None)
    prefix = _prefix(request)
    tokens = len(prefix) >> 2
    return _Kept(_key("prefix", alias, prefix), sticky, tokens) if tokens >= LEAST_PREFIX else None


def _key(*parts: str) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        written = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(written) + written)
    return f"sticky:{digest.hexdigest()}"


def _prefix(request: Request) -> str:
    """What is the same in every call of a kind: tools and the system prompt, which providers put first."""
    said: list[str] = []
    tools = request.params.get("tools")
    if tools:
        said.append(json.dumps(tools, sort_keys=True, default=str))
    for message in request.messages:
        if message.role not in _SYSTEM:
            break
        said.append(_text(message))
    return "\0".join(said)


def _text(message: Message) -> str:
    content = message.content
    return content if isinstance(content, str) else json.dumps(list(content), default=str)


def _by_id(deployments: Sequence[Deployment], _: None) -> dict[str, Deployment]:
    return {one.id: one for one in deployments}


def _read(found: bytes | None) -> _Warm | None:
    if found is None:
        return None
    try:
        deployment, tokens = json.loads(found)
        return _Warm(str(deployment), int(tokens))
    except (ValueError, TypeError):
        return None
