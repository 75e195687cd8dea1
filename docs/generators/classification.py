"""`reference/classification.md`: how failures are told apart, and what follows from each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from generators.markdown import NOTICE, table
from llmgate_plugins import Deployment, ErrorClass, Failure, Gateway, Scope
from llmgate_plugins.classification import REACTIONS, Reaction, tables
from llmgate_plugins.classification.codes import NAME_CODES, PATH_PHRASES, PHRASE_CODES, STATUS_CODES
from llmgate_plugins.classification.reactions import CODES, SCOPED
from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Recovery, Retry
from llmgate_plugins.plugins import Failover
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.testing import VirtualClock
from llmgate_plugins.types import Attempt, Outcome, Request

__all__ = ["page"]

HEAD = f"""{NOTICE}

# Classification of failures

Every failed attempt is given a class (what happened) and a scope (who is to blame, and so what else
would fail the same way). Plugins see both as `outcome.failure`; one that has an opinion of its own gives
it in the hook `classify_error`. Else the first of these that knows decides:

1. the provider's *code* or *type* in the body ([words](#codes-and-types-that-settle-it)), money before rate,
2. a [telling class name](#telling-class-names) of the exception,
3. a [phrase](#phrases-in-messages) in the message, only at the statuses where it counts,
4. a client's [transport error](#transport-errors-of-clients), and the errors that it was raised from,
5. the HTTP [status](#statuses),
6. a [type](#types-that-say-little) or [class name](#class-names-that-say-little) that says little.

What LiteLLM made from another exception is classified by that one, wherever its own says less.

## What follows

What the built-in plugins go by (`llmgate_plugins.classification.reaction_to`). *Elsewhere*: where the same
request may succeed. *Again*: whether the same deployment may be asked again. *Retry*: what that takes from
the retry budget. *Health*: whether it counts towards an ejection, pauses the deployment until the provider's
reset, ejects it at once, or retires it for good. *Booked*: "unknown" may have been worked on: its input is
booked, and for a whole answer also the output that was expected. *Alarm*: it does not heal by itself.
Failures of scope `caller` and `local` are told to the caller, those of `request` say nothing about anybody's
health.
"""

FAILOVER = """## What the built-in failover does

Computed by asking `Failover()` about a first failure of each class. "Retry" is the same deployment again,
after a delay with full jitter, never before the provider's Retry-After.
"""

CODES_HEAD = """## Codes of llmgate's own

`failure.code` is the provider's own code. Where there is none, or none that tells enough, it is one of these.
"""

SCOPES: Mapping[ErrorClass, Scope] = {
    ErrorClass.UNKNOWN: Scope.DEPLOYMENT,
    ErrorClass.LOCAL: Scope.LOCAL,
}
"""The scope of a class that the table of words does not name."""


def page() -> str:
    """The page."""
    parts = [HEAD, _follows(), "", CODES_HEAD, _signs(), "", FAILOVER, _reactions(), ""]
    parts += ["## Codes and types that settle it", "", _words(tables.WORDS), ""]
    parts += ["## Phrases in messages", "", _phrases(), ""]
    parts += ["## Statuses", "", _statuses(), ""]
    parts += ["Any other 5xx is `server`; any other 4xx is `unknown`, with scope `request`.", ""]
    parts += ["## Types that say little", "", "Asked after the status.", "", _words(tables.VAGUE_WORDS), ""]
    for title, names in (
        ("Telling class names", tables.TELLING_NAMES),
        ("Transport errors of clients", tables.TRANSPORT_NAMES),
        ("Class names that say little", tables.VAGUE_NAMES),
    ):
        parts += [f"## {title}", "", _words(names), ""]
    return "\n".join(parts)


def _words(known: Mapping[str, tables.Verdict]) -> str:
    grouped: dict[tables.Verdict, list[str]] = defaultdict(list)
    for word, verdict in known.items():
        grouped[verdict].append(word)
    rows = sorted((verdict[0].value, verdict[1].value, words) for verdict, words in grouped.items())
    return table(("class", "scope", "words"), ((one, scope, _code(words)) for one, scope, words in rows))


def _phrases() -> str:
    rows = (
        (one.value, scope.value, _code(phrases), _status_list(statuses))
        for one, scope, statuses, phrases in tables.PHRASES
    )
    return table(("class", "scope", "phrases, in lower case", "only with status"), rows)


def _status_list(statuses: Iterable[int | None]) -> str:
    known = sorted(one for one in statuses if one is not None)
    return ", ".join([*(["none"] if None in statuses else []), *map(str, known)])


def _statuses() -> str:
    single = {status: one for status, one in tables.STATUSES.items() if not 300 <= status < 400}
    rows = [("3xx", *(one.value for one in tables.STATUSES[300]))]
    rows += [(str(status), one[0].value, one[1].value) for status, one in sorted(single.items())]
    return table(("status", "class", "scope"), rows)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# ---------------------------------------------------------------- what follows

COLUMNS = ("elsewhere", "again", "retry", "health", "booked", "alarm")


def _follows() -> str:
    rows: list[tuple[str, ...]] = []
    for one, usual in REACTIONS.items():
        rows.append((f"`{one.value}`", "", *_cells(usual)))
        rows += [
            (f"`{one.value}`", f"scope `{scope.value}`", *_cells(reaction))
            for (error_class, scope), reaction in SCOPED.items()
            if error_class is one and reaction != replace(usual, health=reaction.health)
        ]
        rows += [
            (f"`{one.value}`", f"code `{code}`", *_cells(reaction))
            for (error_class, code), reaction in CODES.items()
            if error_class is one
        ]
    return table(("class", "where", *COLUMNS), rows)


def _cells(reaction: Reaction) -> tuple[str, ...]:
    return (
        reaction.elsewhere.replace("_", " "),
        "at once, once" if reaction.at_once else "yes" if reaction.again else "no",
        f"{reaction.retry_cost:g}",
        reaction.health,
        reaction.booked,
        "yes" if reaction.alarm else "",
    )


def _signs() -> str:
    signs: dict[tuple[ErrorClass, str], list[str]] = defaultdict(list)
    for name, (error_class, code) in NAME_CODES.items():
        signs[error_class, code].append(f"`{name}`")
    for error_class, phrases in PHRASE_CODES.items():
        for phrase, code in phrases:
            signs[error_class, code].append(f'"{phrase}"')
    for status, code in STATUS_CODES.items():
        one = tables.STATUSES[status][0]
        told = "3xx" if 300 <= status < 400 else str(status)
        if told not in signs[one, code]:
            signs[one, code].append(told)
    wrong = signs[ErrorClass.MODEL_NOT_FOUND, "wrong_path"]
    wrong += ["404 that names no model", *(f'404 with "{phrase}"' for phrase in PATH_PHRASES)]
    rows = ((f"`{code}`", one.value, ", ".join(told)) for (one, code), told in sorted(signs.items()))
    return table(("code", "class", "signs: class names, phrases, statuses"), rows)


# ---------------------------------------------------------------- what failover does


def _reactions() -> str:
    scopes = dict(reversed(list(tables.WORDS.values()))) | dict(SCOPES)  # the first word of a class counts
    rows = []
    for one in ErrorClass:
        failure = Failure(error_class=one, scope=scopes[one])
        sibling = _decision(failure, untried=True, fallbacks=("strong",))
        fallback = _decision(failure, untried=False, fallbacks=("strong",))
        alone = _decision(failure, untried=False, fallbacks=())
        rows.append((f"`{one.value}`", scopes[one].value, sibling, fallback, alone))
    head = ("class", "usual scope", "a sibling is untried", "only a fallback is left", "nothing is left")
    return table(head, rows)


def _decision(failure: Failure, *, untried: bool, fallbacks: Sequence[str]) -> str:
    first, second = (
        Deployment(id=name, alias="fast", provider="openai", model="m") for name in ("one", "two")
    )
    clock = VirtualClock()
    services = Gateway([first, second], clock=clock).services
    record = DecisionRecord(call_id="1", model="fast", at=0.0)
    request = Request(model="fast")
    now = clock.monotonic()
    call = Call("1", request, Context(), now, now + 60, record)
    attempt = Attempt(
        call_id="1", number=1, deployment=first, alias="fast", reason="first", started=now, deadline=None
    )
    outcome = Outcome(status="error", failure=failure)
    record.attempts.append((attempt, outcome))
    decision = Failover().recover_attempt(
        attempt, outcome, (second,) if untried else (), fallbacks, request, call, services
    )
    return _worded(decision)


def _worded(decision: Recovery | None) -> str:
    if isinstance(decision, Retry):
        return "retry"
    name = type(decision).__name__
    return {"NextDeployment": "next deployment", "NextAlias": "fallback", "GiveUp": "tell the caller"}[name]
