"""The `model_list` section: one entry per deployment, in LiteLLM's own shape."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.quantities import Duration, UsdPerToken
from llmgate_plugins.config.section import Section
from llmgate_plugins.config.shielding import Free, shield
from llmgate_plugins.dates import moment_of
from llmgate_plugins.secrets import Secret

__all__ = ["DeploymentConfig", "DeploymentInfo", "DeploymentParams", "Name", "Text", "is_price"]

_REFERENCE: Final = "os.environ/"


def _number_from_environment(value: Any) -> Any:
    """LiteLLM lets any setting name an environment variable; numbers are needed at once."""
    if isinstance(value, str) and value.startswith(_REFERENCE):
        name = value.removeprefix(_REFERENCE)
        if name not in os.environ:
            raise PydanticCustomError("variable", "environment variable {name} is not set", {"name": name})
        return os.environ[name]
    return value


def _text_of_number(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Referable = BeforeValidator(_number_from_environment, json_schema_input_type=Any)
Text = Annotated[str, BeforeValidator(_text_of_number, json_schema_input_type=str | float)]
"""Text that people often forget to put in quotes, such as a version."""
Name = Annotated[str, StringConstraints(min_length=1)]
Words = Annotated[
    tuple[Name, ...],
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=Name | list[Name]
    ),
]
"""One word or a list of them."""
Count = Annotated[int, _Referable]
Rate = Annotated[UsdPerToken, _Referable]


def _day(value: Any) -> Any:
    try:
        moment_of(value)
    except ValueError:
        raise PydanticCustomError("day", "not a day; write 2026-12-31") from None
    return value


Day = Annotated[Any, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
"""A day, or a time on it."""


def is_price(name: str) -> bool:
    """Whether a parameter says what something costs, and so is not for the provider."""
    return "_cost" in name


class _Prices(Section):
    """Prices written at the deployment; they win over every other source."""

    input_cost_per_token: Rate | None = Field(None, description="US dollars per input token.")
    output_cost_per_token: Rate | None = Field(None, description="US dollars per output token.")
    cache_read_input_token_cost: Rate | None = Field(
        None, description="US dollars per input token that the provider's prompt cache served."
    )
    cache_creation_input_token_cost: Rate | None = Field(
        None, description="US dollars per input token written to the provider's prompt cache."
    )
    output_cost_per_reasoning_token: Rate | None = Field(
        None, description="US dollars per output token spent on reasoning; as output if left out."
    )

    def prices(self) -> dict[str, Any]:
        """The prices that are written here, by LiteLLM's names, those of tiers included."""
        written = {name: getattr(self, name) for name in _Prices.model_fields} | (self.model_extra or {})
        return {name: rate for name, rate in written.items() if rate is not None and is_price(name)}


class DeploymentParams(_Prices):
    """How a deployment is reached and called. Any further LiteLLM parameter may stand here."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Free]

    model: Name = Field(description='Provider and model, "openai/gpt-4o-mini".')
    custom_llm_provider: str | None = Field(
        None, description="The provider, where `model` does not begin with it."
    )
    api_key: Secret | None = Field(
        None,
        description="The key, as a reference: os.environ/NAME, env:NAME, file:PATH or keyring:SERVICE/USER. "
        "Left out: the provider's usual environment variable.",
    )
    api_base: str | None = Field(
        None, description="The provider's address, if not its own default. Bound to the key."
    )
    api_version: Text | None = Field(None, description="Version of the provider's API (Azure).")
    organization: str | None = Field(None, description="Organisation at the provider (OpenAI).")
    region_name: str | None = Field(None, description="Where it runs; `model_info.region` wins.")
    aws_region_name: str | None = Field(None, description="AWS region (Bedrock); also the region it runs in.")
    vertex_location: str | None = Field(
        None, description="Google Cloud location (Vertex AI); also the region it runs in."
    )
    rpm: Count | None = Field(None, ge=0, description="Requests per minute it allows.")
    tpm: Count | None = Field(None, ge=0, description="Tokens per minute it allows.")
    input_tpm: Count | None = Field(None, ge=0, description="Tokens read per minute it allows.")
    output_tpm: Count | None = Field(None, ge=0, description="Tokens written per minute it allows.")
    max_parallel_requests: Count | None = Field(
        None, ge=0, description="Requests at the same time it allows."
    )
    max_budget: Annotated[float, _Referable] | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars it may cost per `budget_duration`: a budget of this deployment.",
    )
    budget_duration: Text | None = Field(None, description='For `max_budget`: "1d", "12h", "1mo".')
    weight: Annotated[float, _Referable] | None = Field(
        None, ge=0, allow_inf_nan=False, description="Share of traffic among deployments of the same name."
    )
    timeout: Annotated[Duration, _Referable] | None = Field(
        None, description="Longest time for one attempt: 30s, or a number of seconds."
    )
    stream_timeout: Annotated[Duration, _Referable] | None = Field(
        None, description="Longest time for one attempt of a streamed call."
    )
    max_retries: Count | None = Field(
        None, ge=0, description="Accepted for LiteLLM and ignored: the gateway alone retries."
    )
    litellm_credential_name: str | None = Field(
        None, description="An entry of `credential_list` whose values stand in for key and address."
    )
    extra_headers: Mapping[str, Secret] | None = Field(
        None, description="Further request headers; their values are secrets."
    )

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        plain = dict(value)
        if "base_url" in plain:
            plain.setdefault("api_base", plain.pop("base_url"))
        known = cls.model_fields
        return {key: inner if key in known else shield(str(key), inner) for key, inner in plain.items()}


class DeploymentInfo(_Prices):
    """What is known of a deployment. Further keys are free and reach plugins as `deployment.info`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Free]

    id: Text | None = Field(None, min_length=1, description="Name of this deployment, unique in the file.")
    region: str | None = Field(
        None,
        description="Where it runs. Undeclared, it is not eligible for calls that are bound to a region.",
    )
    data_classes: Words | None = Field(
        None, description="Classes of data it is cleared for; it serves no call of another class."
    )
    terms: Words = Field(
        (), description="What its provider has agreed to: no_retention, no_training, hipaa ..."
    )
    tier: int | str | None = Field(None, description="Tier of quality or plan, free to choose.")
    base_model: str | None = Field(
        None,
        description='The model whose price and abilities apply, where the name differs ("azure/gpt-4o").',
    )
    mode: str | None = Field(None, description='"chat" or "embedding", as LiteLLM writes it.')
    key_expires: Day | None = Field(
        None, description="Until when its key is good: 2026-12-31. An alert is told before."
    )
    max_input_tokens: int | None = Field(None, ge=1, description="Tokens it can read at once.")
    max_output_tokens: int | None = Field(None, ge=1, description="Tokens it can write at once.")
    capabilities: tuple[str, ...] | None = Field(
        None, description='What it can do ("tools", "vision"); left out: as the catalogue says.'
    )

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        known = cls.model_fields
        return {key: inner if key in known else shield(str(key), inner) for key, inner in value.items()}


class DeploymentConfig(Section):
    """One model at one provider, region and credential."""

    model_name: Name = Field(
        description="The alias applications ask for. Entries that share it stand in for each other. "
        'May hold a wildcard ("openai/*").'
    )
    litellm_params: DeploymentParams = Field(description="How it is reached and called.")
    model_info: DeploymentInfo = Field(default_factory=DeploymentInfo, description="What is known of it.")
    rpm: Count | None = Field(None, ge=0, description="Requests per minute; as `litellm_params.rpm`.")
    tpm: Count | None = Field(None, ge=0, description="Tokens per minute; as `litellm_params.tpm`.")

    @property
    def is_wildcard(self) -> bool:
        """Whether `model_name` stands for many names."""
        return "*" in self.model_name

    def serving(self, name: str) -> DeploymentConfig | None:
        """This entry for one name that its wildcard covers; None if it does not.

        What `*` stands for is put into the model's name, and no id is carried over.
        """
        match = re.fullmatch(re.escape(self.model_name).replace(r"\*", "(.*)"), name)
        if match is None or not self.is_wildcard:
            return None
        model = self.litellm_params.model
        if len(match.groups()) > model.count("*") > 0:
            model = name
        for part in match.groups():
            model = model.replace("*", part, 1)
        params = self.litellm_params.model_copy(update={"model": model})
        info = self.model_info.model_copy(update={"id": None})
        return self.model_copy(update={"model_name": name, "litellm_params": params, "model_info": info})
