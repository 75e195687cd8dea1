"""One error tree.

LLMGateError
├── ConfigurationError          found while building; says file, line and remedy
│   ├── PluginRefused           a plugin does not fit the contract
│   └── SecretNotFound          a reference to a secret leads nowhere
├── RequestDenied               a policy said no
│   └── ResponseRejected        a policy said no to the answer
├── HookFailed                  a plugin raised where a failure must stop the call
├── UnknownModel                no alias and no deployment of that name
├── UnknownCall                 nothing is known here of a call of that id
├── AllDeploymentsUnavailable   nothing could be tried
├── DeadlineExceeded            the call's time is over
├── StreamInterrupted           a stream broke after its first content; has the partial text
├── ProviderError               what a provider answered, for transports of our own
├── StorageError                ledger or state could not do what it promised
└── AlertUndelivered            a channel could not deliver an alert
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Self

__all__ = [
    "AlertUndelivered",
    "AllDeploymentsUnavailable",
    "ConfigurationError",
    "DeadlineExceeded",
    "HookFailed",
    "LLMGateError",
    "PluginRefused",
    "Problem",
    "ProviderError",
    "RequestDenied",
    "ResponseRejected",
    "SecretNotFound",
    "StorageError",
    "StreamInterrupted",
    "UnknownCall",
    "UnknownModel",
]

MOST_TOLD: Final = 10
"""Deployments that a message names; a group may have thousands."""


class LLMGateError(Exception):
    """The base of every error that llmgate raises.

    Attributes:
        call_id: The call that it ended, for `Gateway.explain`; None for none.
    """

    call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a configuration.

    Attributes:
        message: What is wrong.
        remedy: What to do about it.
        file: The file, if it came from one.
        line: The line in it, counted from 1; None if not known.
        path: Where in the document ("model_list[2].litellm_params.model").
        severity: "error", or "warning" for what works but should be known.
    """

    message: str
    remedy: str = ""
    file: str | None = None
    line: int | None = None
    path: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file or ''}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        where = f"{self.path}: " if self.path else ""
        return f"{place}{where}{self.message}" + (f" ({self.remedy})" if self.remedy else "")


class ConfigurationError(LLMGateError):
    """The gateway cannot be built from what it was given.

    Attributes:
        problems: Every mistake found, not just the first.
    """

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems) or (Problem(message=message),)
        super().__init__(message or "\n".join(str(problem) for problem in self.problems))


class PluginRefused(ConfigurationError):
    """A plugin does not fit the hook contract. Names plugin, hook and remedy.

    Where several do not, `plugin` and `hook` are the first one's, and `problems` tells all.

    Args:
        source: The distribution that it is from, with its version.
    """

    def __init__(
        self, message: str, *, plugin: str, hook: str | None = None, remedy: str = "", source: str = ""
    ) -> None:
        self.plugin = plugin
        self.hook = hook
        at = f"plugin {plugin!r}" + (f" ({source})" if source else "") + (f", hook {hook}" if hook else "")
        super().__init__(problems=(Problem(message=f"{at}: {message}", remedy=remedy),))

    def at(self, place: Problem) -> Self:
        """The same, with the file and line of another problem."""
        return self._telling(
            [replace(one, file=place.file, line=place.line, path=place.path) for one in self.problems]
        )

    def beside(self, others: Iterable[PluginRefused]) -> Self:
        """The same, telling what is wrong with others, too."""
        return self._telling([*self.problems, *(problem for one in others for problem in one.problems)])

    def _telling(self, problems: Sequence[Problem]) -> Self:
        self.problems = tuple(problems)
        self.args = ("\n".join(map(str, self.problems)),)
        return self


class SecretNotFound(ConfigurationError):
    """A reference to a secret leads nowhere. Shows the reference, never a value."""

    def __init__(self, message: str, *, reference: str, remedy: str = "") -> None:
        self.reference = reference
        super().__init__(problems=(Problem(message=message, remedy=remedy),))


class RequestDenied(LLMGateError):
    """A policy said no. Raised by plugins in `admit_request`.

    Args:
        reason: A sentence fit for the caller's eyes.
        code: A short stable word for programs ("budget", "region").
        retry_at: Unix time from which it may succeed, if known.
    """

    def __init__(self, reason: str, *, code: str = "denied", retry_at: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.retry_at = retry_at
        self.plugin: str | None = None
        """Which plugin denied it; set by the gateway."""


class ResponseRejected(RequestDenied):
    """A policy said no to the answer. Raised by plugins in `review_response`."""


class HookFailed(LLMGateError):
    """A plugin raised in a hook whose failure stops the call (policy, selection)."""

    def __init__(self, plugin: str, hook: str, error: BaseException) -> None:
        super().__init__(f"plugin {plugin!r} failed in {hook}: {type(error).__name__}: {error}")
        self.plugin = plugin
        self.hook = hook


class UnknownCall(LLMGateError, LookupError):
    """Nothing is known here of a call of that id, and nothing will be.

    Attributes:
        call_id: The id, or how it should begin.
        alike: Ids that begin so, if there are several.
        durable: Whether the ledger that has it not is one that outlives the process.
    """

    def __init__(self, call_id: str, alike: Sequence[str] = (), durable: bool = False) -> None:
        message = f"nothing is known of a call {call_id!r}: "
        if alike:
            message = f"several calls begin with {call_id!r}: {', '.join(alike)}; give more of the id"
        elif durable:
            message += "the ledger has none whose id is that, or begins so"
        else:
            message += (
                "it was not made here, or too many came after it, and the ledger is in this process alone "
                "(write ledger: sqlite:///llmgate.db for one that is not)"
            )
        super().__init__(message)
        self.call_id = call_id
        self.alike = tuple(alike)
        self.durable = durable

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.call_id, self.alike, self.durable)


class UnknownModel(LLMGateError):
    """The model asked for is neither an alias nor a deployment's id."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        self.model = model
        near = difflib.get_close_matches(model, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
        super().__init__(f"unknown model {model!r}; {hint}")


class AllDeploymentsUnavailable(LLMGateError):
    """Nothing could be tried.

    Attributes:
        alias: The alias asked for.
        reasons: Deployment id -> why it was not tried.
        retry_at: Unix time of the earliest return, if known.
    """

    def __init__(self, alias: str, reasons: Mapping[str, str], *, retry_at: float | None = None) -> None:
        self.alias = alias
        self.reasons = dict(reasons)
        self.retry_at = retry_at
        super().__init__(f"no deployment of {alias!r} could be tried" + self.why)

    @property
    def why(self) -> str:
        """The first reasons in parentheses, for messages; empty if there are none."""
        told = [f"{name}: {reason}" for name, reason in islice(self.reasons.items(), MOST_TOLD)]
        if len(self.reasons) > MOST_TOLD:
            told.append(f"and {len(self.reasons) - MOST_TOLD} more")
        return f" ({', '.join(told)})" if told else ""


class DeadlineExceeded(LLMGateError, TimeoutError):
    """The call's time was over before an answer was there."""


class StreamInterrupted(LLMGateError):
    """A stream broke after content had been delivered, so it could not fail over.

    Attributes:
        partial: The text that was delivered.
    """

    def __init__(self, message: str, *, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class ProviderError(LLMGateError):
    """What a provider answered instead of an answer.

    Args:
        status: HTTP status, or None when no response came.
        code: The provider's error code.
        headers: Response headers, lower-case names (`retry-after` is read from here).
        body: The decoded error body, if there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status
        self.code = code
        self.headers = dict(headers or {})
        self.body = body


class StorageError(LLMGateError):
    """The ledger or the state could not do what it promised."""


class AlertUndelivered(LLMGateError):
    """A channel could not deliver an alert. Raised by plugins in `deliver_alert`.

    Args:
        passing: Whether trying again later makes sense.
        wait: Seconds the other side asks to wait before that, if it does.
    """

    def __init__(self, message: str, *, passing: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.passing = passing
        self.wait = wait
