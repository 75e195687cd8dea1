"""The section that says which policy calls are under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.problems import closest
from llmgate_plugins.config.section import Section
from llmgate_plugins.policies import Rule
from llmgate_plugins.policies.conditions import condition_of
from llmgate_plugins.policies.expressions import Expression
from llmgate_plugins.policies.facts import ASKED, DECLARED, fact_of

__all__ = ["RuleConfig"]


def _fact(name: str) -> str:
    try:
        fact_of(name, str)
    except ValueError:
        near = closest(name, (*DECLARED, *ASKED)) or "extra:NAME and tag:NAME go as well"
        known = ", ".join((*DECLARED, *ASKED))
        raise PydanticCustomError(
            "fact", "no such fact, must be one of {known}; {near}", {"known": known, "near": near}
        ) from None
    return name


def _condition(written: Any) -> Any:
    try:
        condition_of(written)
    except ValueError as error:
        raise PydanticCustomError(
            "condition", "{why}; write search, [search, ads], eu-* or {{not: search}}", {"why": str(error)}
        ) from None
    return written


def _expression(text: str) -> str:
    try:
        Expression(text)
    except ImportError:
        raise PydanticCustomError(
            "cel", "a CEL expression needs the extra cel; pip install 'llmgate-plugins[cel]'"
        ) from None
    except ValueError as error:
        raise PydanticCustomError("cel", "{why}; see docs/how-to/policies.md", {"why": str(error)}) from None
    return text


_WORD: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_WORDS: dict[str, Any] = {"anyOf": [_WORD, {"type": "array", "items": _WORD, "minItems": 1}]}
_ASKED: dict[str, Any] = {
    "anyOf": [
        *_WORDS["anyOf"],
        {"type": "object", "properties": {"not": _WORDS}, "required": ["not"], "additionalProperties": False},
    ]
}

Fact = Annotated[Name, AfterValidator(_fact)]
Asked = Annotated[Any, AfterValidator(_condition), WithJsonSchema(_ASKED)]
"""A value, a list of values, a pattern with `*` and `?`, or {not: ...} of these."""


def _shape(value: Any) -> str:
    return "(expression)" if isinstance(value, str) else "(facts)"


When = Annotated[
    Annotated[Annotated[Name, AfterValidator(_expression)], Tag("(expression)")]
    | Annotated[Mapping[Fact, Asked], Tag("(facts)")],
    Discriminator(_shape),
]


class RuleConfig(Section):
    """Which policy calls go under. Of several rules the first that matches wins."""

    when: When = Field(
        default_factory=dict,
        description="What a call must be, all of it: fact -> value, list of values, pattern (eu-*) or "
        "{not: ...}. Facts: tenant, team, project, user, feature, cohort, environment, key, region, "
        "data_class, session, priority, extra:NAME; alias, operation, stream; tag:NAME (from the caller: "
        "may only narrow). Or a CEL expression, with the extra `cel`. Left out: every call.",
    )
    use: Name = Field(description="Name of a policy of `policies`.")
    name: Name | None = Field(None, description="For records; by its place if left out: rule 3.")

    def rule(self) -> Rule:
        """As the plugin takes it."""
        return Rule(use=self.use, when=self.when, name=self.name)
