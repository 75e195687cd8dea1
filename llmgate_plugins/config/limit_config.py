"""The sections that say how much may be used: money under `budgets`, everything under `limits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.amounts import Count, CountLimit, Spending, SpendingLimit, window_for
from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.problems import closest
from llmgate_plugins.config.quantities import Duration, Threshold
from llmgate_plugins.config.section import Section
from llmgate_plugins.scopes import CALLER, SENT, scopes_of
from llmgate_plugins.windows import Calendar, Window

__all__ = ["BudgetConfig", "Degrade", "LimitConfig", "Limiting", "UnderAlias", "UnderPolicy"]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _scopes(written: tuple[str, ...]) -> tuple[str, ...]:
    for one in written:
        try:
            scopes_of(one)
        except ValueError:
            known = ("global", *CALLER, *SENT)
            near = closest(one.partition("=")[0], known) or "tag:NAME, extra:NAME and NAME=VALUE go as well"
            raise PydanticCustomError(
                "scope", "must be one of {known}; {near}", {"known": ", ".join(known), "near": near}
            ) from None
    try:
        scopes_of(written)
    except ValueError:
        raise PydanticCustomError("scope", "names a thing twice, or global among others") from None
    return written


def _zone(name: str) -> str:
    try:
        Calendar("day", name)
    except ValueError:
        raise PydanticCustomError(
            "zone", "there is no such time zone; write an IANA name such as Europe/Berlin"
        ) from None
    return name


Scopes = Annotated[
    tuple[Name, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=Name | list[Name]),
    AfterValidator(_scopes),
]
Zone = Annotated[str, AfterValidator(_zone)]


class Degrade(Section):
    """Go on, but differently."""

    prefer: Literal["cheapest"] = Field(description="What to prefer from then on: cheapest.")


class UnderPolicy(Section):
    """Go on under another policy."""

    policy: Name = Field(description="Name of a policy of `policies`.")


class UnderAlias(Section):
    """Go on under another alias."""

    alias: Name = Field(description="An alias of `model_list`.")


def _shape(value: Any) -> str:
    if isinstance(value, Mapping):
        return next((f"({key})" for key in ("policy", "alias") if key in value), "(mapping)")
    shapes: dict[type, str] = {Degrade: "(mapping)", UnderPolicy: "(policy)", UnderAlias: "(alias)"}
    return shapes.get(type(value), "(word)")


OnExhausted = Annotated[
    Annotated[Literal["deny"], Tag("(word)")]
    | Annotated[Degrade, Tag("(mapping)")]
    | Annotated[UnderPolicy, Tag("(policy)")]
    | Annotated[UnderAlias, Tag("(alias)")],
    Discriminator(_shape),
]


class Limiting(Section):
    """What budgets and limits have in common."""

    scope: Scopes = Field(
        description='For whom: "global" is one count for all; "team" is one for each team, "tenant=acme" '
        "for this one alone; a list is one for each combination. Of who calls: tenant, team, project, user, "
        "key, feature, cohort, environment, extra:NAME, tag:NAME (from the caller, untrusted); of what is "
        "sent: alias, model, provider, deployment, region."
    )
    zone: Zone = Field("UTC", description="Where days, weeks, months and years begin: an IANA time zone.")
    rolling: Duration | None = Field(
        None, description="Count the last so much time instead; the amount is then written without /day."
    )
    hard: bool = Field(
        True,
        description="Whether it is never exceeded, by reserving before sending; else it is only watched.",
    )
    on_exhausted: OnExhausted = Field(
        "deny",
        description="What happens then: deny, {prefer: cheapest}, {policy: NAME} or {alias: NAME}.",
    )
    shadow: bool = Field(False, description="Evaluate and report only: nothing is refused.")
    shadow_calls: Literal["without", "with", "only"] | None = Field(
        None,
        description="Whether calls that are shadows of others count: without, with, only. By default with, "
        "for requests, tokens and calls at once of what is sent, which providers count; else without.",
    )
    alert_at: Annotated[
        tuple[Threshold, ...],
        BeforeValidator(_one_or_many, json_schema_input_type=float | str | list[float | str]),
    ] = Field((), description="Shares at which an alert is reported: [50%, 80%, 100%].")
    assume_output: int = Field(
        4096, ge=1, strict=True, description="Output tokens to reserve for where nothing bounds the answer."
    )

    def window(self, amount: SpendingLimit | CountLimit) -> Window:
        """In what this amount is counted."""
        return window_for(amount.per, self.rolling, self.zone)

    def amounts(self) -> Iterator[tuple[str, SpendingLimit | CountLimit]]:
        """Every amount that is counted in a window, by its key."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, amount in self.amounts():
            if amount.per is None and self.rolling is None:
                raise PydanticCustomError(
                    "window",
                    "{name} is per hour, day, week, month or year; write it as /day, or add rolling: 24h",
                    {"name": name},
                )
        amounts = list(self.amounts())
        if self.rolling is not None and all(amount.per is not None for _, amount in amounts):
            raise PydanticCustomError(
                "window", "rolling says a window, and so does the amount; write the amount without /day"
            )
        if not self.hard and "on_exhausted" in self.model_fields_set and self.on_exhausted == "deny":
            raise PydanticCustomError(
                "soft", "what is only watched denies nothing; write hard: true, or leave on_exhausted out"
            )
        return self


class BudgetConfig(Limiting):
    """How much may be spent, and what happens then."""

    limit: Spending = Field(description='How much per hour, day, week, month or year: "50 USD/day".')

    def amounts(self) -> Iterator[tuple[str, SpendingLimit | CountLimit]]:
        """The money."""
        yield "limit", self.limit


class LimitConfig(Limiting):
    """How much may be used: requests, tokens, calls at once, money."""

    requests: Count | None = Field(None, description='Requests: "60/minute".')
    tokens: Count | None = Field(None, description='Tokens read and written: "100k/day".')
    concurrency: int | None = Field(None, ge=1, strict=True, description="Calls at once.")
    money: Spending | None = Field(None, description='As a budget: "50 USD/day".')

    def amounts(self) -> Iterator[tuple[str, SpendingLimit | CountLimit]]:
        """Requests, tokens and money, as far as they are limited."""
        for name in ("requests", "tokens", "money"):
            if (amount := getattr(self, name)) is not None:
                yield name, amount

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.concurrency is None and not any(self.amounts()):
            raise PydanticCustomError(
                "nothing",
                "limits nothing; add requests: 60/minute, tokens: 100k/day or concurrency: 5",
            )
        return self
