"""The section that says what alerts, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.addresses import is_here, mail_address, web_address
from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.policy_config import LatencyGoal
from llmgate_plugins.config.quantities import Duration
from llmgate_plugins.config.section import Section
from llmgate_plugins.secrets import Secret

__all__ = [
    "AlertsConfig",
    "AnomaliesConfig",
    "ChannelConfig",
    "EmailConfig",
    "GoalConfig",
    "LogConfig",
    "SlackConfig",
    "WebhookConfig",
]

Subject = Literal[
    "all", "policy", "alias", "tenant", "team", "project", "user", "feature", "cohort", "environment"
]
GoalSubject = Literal[
    "all",
    "policy",
    "alias",
    "tenant",
    "team",
    "project",
    "user",
    "feature",
    "cohort",
    "environment",
    "deployment",
]


def _or_refuse(check: Callable[[], object]) -> None:
    try:
        check()
    except ValueError as error:
        raise PydanticCustomError("address", "{why}", {"why": str(error)}) from None


def _mail(value: str) -> str:
    _or_refuse(lambda: mail_address(value))
    return value


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Mailbox = Annotated[str, AfterValidator(_mail)]
Mailboxes = Annotated[
    tuple[Mailbox, ...], Field(min_length=1), BeforeValidator(_many, json_schema_input_type=str | list[str])
]
OneOrMoreSecrets = Annotated[
    tuple[Secret, ...], BeforeValidator(_many, json_schema_input_type=str | list[str])
]


class _Channel(Section):
    """What every channel may be told."""

    name: Name | None = Field(None, description="Its name in messages, where there are several of a type.")
    min_severity: Literal["info", "warning", "critical"] = Field(
        "info", description="The least severe that is told."
    )
    kinds: tuple[Name, ...] = Field((), description="Kinds of alert that are told; left out: all.")


class LogConfig(_Channel):
    """The program's log. It is told in any case; this says which alerts."""

    type: Literal["log"] = Field(description="The program's log.")
    logger: Name = Field("llmgate.alerts", description="Name of the logger.")


class _Posting(_Channel):
    """A channel over HTTP."""

    url: Secret = Field(description="The address, best as a reference: env:NAME, file:PATH.")
    timeout: Duration = Field(10.0, description="For one try.")
    attempts: int = Field(6, ge=1, le=100, strict=True, description="Tries in all.")
    insecure: bool = Field(False, description="Allow http to another machine.")
    ca_file: str | None = Field(None, description="Certificates to trust instead of the system's, as PEM.")

    @model_validator(mode="after")
    def _is_address(self) -> _Posting:
        if self.url.reference is None:
            _or_refuse(lambda: web_address(self.url.look_up(), insecure=self.insecure))
        return self


class WebhookConfig(_Posting):
    """JSON to any address, signed by the Standard Webhooks specification."""

    type: Literal["webhook"] = Field(description="JSON to any address.")
    secret: OneOrMoreSecrets = Field(
        (), description="To sign with; several while one is being replaced. Left out: not signed."
    )
    headers: Mapping[str, Secret] = Field(default_factory=dict, description="Further headers.")


class SlackConfig(_Posting):
    """An incoming webhook of Slack, or of what takes the same."""

    type: Literal["slack"] = Field(description="A chat.")
    mention: str = Field("", description='Written before what is critical: "<!channel>".')


class EmailConfig(_Channel):
    """E-mail over SMTP."""

    type: Literal["email"] = Field(description="E-mail over SMTP.")
    host: Name = Field(description="The mail server.")
    port: int | None = Field(None, ge=1, le=65_535, strict=True, description="Usual: 587, 465 or 25.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the line is encrypted; none is for this machine only."
    )
    sender: Mailbox = Field(description="From whom.")
    recipients: Mailboxes = Field(description="To whom; one address or several.")
    username: str | None = Field(None, description="To log in with.")
    password: Secret | None = Field(None, description="To log in with, as a reference.")
    prefix: str = Field("[llmgate]", description="What the subject line begins with.")
    timeout: Duration = Field(10.0, description="Until the server must have answered, each time.")
    attempts: int = Field(4, ge=1, le=100, strict=True, description="Tries in all.")
    ca_file: str | None = Field(None, description="Certificates to trust instead of the system's, as PEM.")

    @model_validator(mode="after")
    def _is_safe(self) -> EmailConfig:
        if self.security == "none" and not is_here(self.host):
            raise PydanticCustomError(
                "open_line",
                "what is sent to another machine can be read on the way; write security: starttls",
            )
        if (self.username is None) is not (self.password is None):
            raise PydanticCustomError("login", "username and password go together")
        return self


ChannelConfig = Annotated[LogConfig | WebhookConfig | SlackConfig | EmailConfig, Field(discriminator="type")]


class GoalConfig(LatencyGoal):
    """A goal that is watched by burn rates. Of policies, their own `slo` is watched as well."""

    by: GoalSubject = Field("all", description="Of what: of each of these for itself, or of all calls.")
    name: Name | None = Field(None, description="Of this one alone.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> GoalConfig:
        if not any((self.success, self.p50, self.p95, self.p99)):
            raise PydanticCustomError("no_goal", "asks for nothing; write success: 99%, or p95: 2s")
        return self


class AnomaliesConfig(Section):
    """Hours that cost far more than such hours usually do."""

    by: tuple[Subject, ...] = Field(("all",), min_length=1, description="What is watched each for itself.")
    least: float = Field(1.0, gt=0, description="US dollars above the usual below which nothing is said.")
    factor: float = Field(2.0, gt=1, description="So many times the usual.")
    sigmas: float = Field(4.0, gt=0, description="So many spreads above the usual.")


def _on_or_off(value: Any) -> Any:
    return {} if value is True else None if value is False else value


class AlertsConfig(Section):
    """What alerts, and who is told. The log is told in any case."""

    channels: tuple[ChannelConfig, ...] = Field((), description="Who is told.")
    repeat: Duration = Field(4 * 3600.0, description="After how long an alert that goes on is told again.")
    slo: tuple[GoalConfig, ...] = Field((), description="Goals besides those of the policies.")
    anomalies: Annotated[
        AnomaliesConfig | None,
        BeforeValidator(_on_or_off, json_schema_input_type=bool | AnomaliesConfig | None),
    ] = Field(None, description="Whether spending is watched: true, or {by: [all, team]}.")
    key_expiry: Duration = Field(
        14 * 86_400.0, description="How long before `model_info.key_expires` it is told."
    )
    model_retirement: Duration = Field(
        30 * 86_400.0, description="How long before a provider retires a model it is told."
    )
