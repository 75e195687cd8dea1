"""From an exception to a `Failure`: what kind it is, and who is to blame."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from llmgate_plugins.classification import tables
from llmgate_plugins.classification.codes import NAME_CODES, NameCode, code_of, more_exactly
from llmgate_plugins.classification.reading import Facts, behind, is_mapped, read
from llmgate_plugins.classification.tables import Verdict
from llmgate_plugins.classification.waiting import wait_of
from llmgate_plugins.types import ErrorClass, Failure, Scope

__all__ = ["classify"]

DEPTH: Final = 6
"""How many causes behind an exception are looked at."""

PATIENT: Final = frozenset(
    {
        ErrorClass.RATE_LIMIT,
        ErrorClass.QUOTA,
        ErrorClass.OVERLOADED,
        ErrorClass.SERVER,
        ErrorClass.TIMEOUT,
        ErrorClass.CONFLICT,
    }
)
"""Classes for which it makes sense that a provider asks to wait."""

REMAPPED: Final = frozenset({ErrorClass.CONNECTION, ErrorClass.TIMEOUT, ErrorClass.RATE_LIMIT})
"""Classes that LiteLLM also gives to other failures (a 413 becomes a rate limit)."""

ON_THE_WAY: Final = frozenset({ErrorClass.CONNECTION, ErrorClass.TIMEOUT, ErrorClass.TRUNCATED})
"""Classes of failures without any answer, or without a whole one."""


def classify(error: BaseException) -> Failure:
    """What kind of failure this is, and who is to blame.

    Pure, and never raises: what cannot be read is `UNKNOWN`. Knows the exceptions of
    the openai, anthropic and litellm clients, LangChain, httpx, requests, aiohttp,
    botocore and Google's libraries by what they carry and by their class names, so
    that none of them has to be imported.
    """
    try:
        return _classify(error, DEPTH)
    except Exception:  # noqa: BLE001 - a foreign object may do anything when looked at
        return Failure(error_class=ErrorClass.UNKNOWN, scope=Scope.DEPLOYMENT)


def _classify(error: BaseException, depth: int) -> Failure:
    facts = read(error)
    names = _names(type(error))  # type: ignore[arg-type]  # classes are hashable
    verdict = _by_what_was_said(facts, names)
    if depth > 0 and (verdict is None or verdict[0] in REMAPPED) and is_mapped(error):
        original = _original(error, depth)
        if original is not None:
            return original
    if verdict is None and names.transport is None:
        verdict = _by_status(facts)
    if verdict is None:
        # The client only says that something happened to it; what stands behind may say what,
        # unless it was the client itself that refused or ran out of connections.
        cause = behind(error) if depth > 0 and names.transport != _OWN_DOING else None
        deeper = _classify(cause, depth - 1) if cause is not None else None
        if deeper is not None and deeper.error_class is not ErrorClass.UNKNOWN:
            return more_exactly(deeper, facts, names.code)
        verdict = names.transport or names.vague or _UNKNOWN
    return _failure(error, verdict, facts, names)


def _original(error: BaseException, depth: int) -> Failure | None:
    """What LiteLLM made this error from, if that was an answer or a client's transport error."""
    cause = behind(error)
    failure = _classify(cause, depth - 1) if cause is not None else None
    if failure is None or failure.error_class is ErrorClass.UNKNOWN:
        return None
    on_the_way = failure.error_class in ON_THE_WAY or (
        failure.error_class is ErrorClass.LOCAL and failure.code is not None
    )
    return failure if on_the_way or failure.status is not None else None


def _failure(error: BaseException, verdict: Verdict, facts: Facts, names: Names) -> Failure:
    error_class, scope = verdict
    wait = wait_of(error, facts) if error_class in PATIENT else None
    # Where no answer came there was no status, whatever a client writes there.
    status = facts.status if error_class is not ErrorClass.CONNECTION else None
    code = code_of(error_class, status, facts, names.code)
    return _failure_of(error_class, scope, status, code, wait)


@lru_cache(maxsize=1024)
def _failure_of(
    error_class: ErrorClass, scope: Scope, status: int | None, code: str | None, wait: float | None
) -> Failure:
    return Failure(error_class=error_class, scope=scope, status=status, code=code, retry_after=wait)


def _by_what_was_said(facts: Facts, names: Names) -> Verdict | None:
    told = _first_known(facts.words, tables.WORDS)
    # "Rate limit" may in truth be money, or a request that can never fit: the message says.
    if told is not None and told[0] is not ErrorClass.RATE_LIMIT:
        return told
    return names.telling or _by_phrase(facts) or told


def _by_phrase(facts: Facts) -> Verdict | None:
    text, status = facts.text, facts.status
    if text:
        for phrase, verdict in _PHRASES.get(200 if status in range(200, 300) else status, ()):
            if phrase in text:
                return verdict
    return None


def _by_status(facts: Facts) -> Verdict | None:
    status = facts.status
    if status is not None and status >= 300:
        known = tables.STATUSES.get(status)
        if known is not None:
            return known
        return _SERVER if status >= 500 else _ODD
    vague = _first_known(facts.words, tables.VAGUE_WORDS)
    return vague if vague is not None or status is None else _NO_ANSWER


def _first_known(words: tuple[str, ...], table: Mapping[str, Verdict]) -> Verdict | None:
    for word in words:
        if word in table:
            return table[word]
    return None


class Names(NamedTuple):
    """What the names of an exception's classes say, by table."""

    telling: Verdict | None
    transport: Verdict | None
    vague: Verdict | None
    code: NameCode | None


@lru_cache(maxsize=1024)
def _names(kind: type) -> Names:
    line = tuple(parent.__name__ for parent in kind.__mro__)
    return Names(
        _first_known(line, tables.TELLING_NAMES),
        _first_known(line, tables.TRANSPORT_NAMES),
        _first_known(line, tables.VAGUE_NAMES),
        next((NAME_CODES[name] for name in line if name in NAME_CODES), None),
    )


_UNKNOWN: Final[Verdict] = (ErrorClass.UNKNOWN, Scope.DEPLOYMENT)
_OWN_DOING: Final[Verdict] = (ErrorClass.LOCAL, Scope.LOCAL)
_SERVER: Final[Verdict] = (ErrorClass.SERVER, Scope.DEPLOYMENT)
_ODD: Final[Verdict] = (ErrorClass.UNKNOWN, Scope.REQUEST)
_NO_ANSWER: Final[Verdict] = (ErrorClass.BAD_RESPONSE, Scope.DEPLOYMENT)

_PHRASES: Final[Mapping[int | None, tuple[tuple[str, Verdict], ...]]] = {
    status: tuple(
        (phrase, (error_class, scope))
        for error_class, scope, statuses, phrases in tables.PHRASES
        if status in statuses
        for phrase in phrases
    )
    for status in {status for row in tables.PHRASES for status in row[2]}
}
"""The phrases that count at each status, in the table's order."""
