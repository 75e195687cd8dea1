"""Where attempts are booked, how safely, and how long rows are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.quantities import Duration
from llmgate_plugins.config.section import Section
from llmgate_plugins.secrets import Secret

__all__ = ["LedgerConfig", "RetentionConfig", "StoreContentConfig", "WrittenLedger"]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgresql+psycopg://", "postgres://")


def _url(value: Any) -> Any:
    # The value is not quoted, and hidden, where it may carry a password.
    if not isinstance(value, str):
        return value
    if value == "memory" or (value.startswith(_SQLITE) and value.partition("?")[0] != _SQLITE):
        return value
    if value.startswith(_POSTGRES) or Secret(value).reference is not None:
        return Secret(value)
    raise PydanticCustomError(
        "unsupported",
        "not a kind of ledger; write ledger: memory, ledger: sqlite:///llmgate.db or "
        "ledger: postgresql://HOST/DATABASE",
    )


class RetentionConfig(Section):
    """How long rows are kept."""

    default: Duration | None = Field(
        None, description="For every tenant that is not named. Left out: for ever."
    )
    tenants: Mapping[str, Duration] = Field(default_factory=dict, description="Tenant -> how long.")


class StoreContentConfig(Section):
    """Whose prompts and answers are stored; a call needs to be of one of them."""

    tenants: tuple[str, ...] = Field((), description="Tenants whose calls are stored.")
    policies: tuple[str, ...] = Field((), description="Policies whose calls are stored.")


def _shape(value: Any) -> str:
    return "(mapping)" if isinstance(value, Mapping | StoreContentConfig) else "(word)"


class LedgerConfig(Section):
    """The ledger. A plain address is short for {url: ...}."""

    url: Annotated[str | Secret, BeforeValidator(_url, json_schema_input_type=str)] = Field(
        "memory",
        description="memory, sqlite:///PATH, postgresql://HOST/DATABASE, or a reference such as "
        "env:LEDGER_URL.",
    )
    durability: Literal["queued", "normal", "full"] | None = Field(
        None,
        description="What a crash of the machine may lose: the last commits (normal) or nothing (full); "
        "with queued, calls wait for no row, and a crash of the process loses those that wait. "
        "Left out: normal for SQLite, full for PostgreSQL.",
    )
    outbox: str | None = Field(None, description="Directory in which rows wait while the database is away.")
    required: bool = Field(
        False, description="Whether an attempt that cannot be booked is not sent; else it is, and noted."
    )
    retention: RetentionConfig = Field(
        default_factory=RetentionConfig, description="How long rows are kept: {default: 90d}."
    )
    store_content: Annotated[
        Annotated[bool, Tag("(word)")] | Annotated[StoreContentConfig, Tag("(mapping)")],
        Discriminator(_shape),
    ] = Field(
        False,
        description="Whether prompts and answers are stored: true, or {tenants: [...], policies: [...]}.",
    )
    content_retention: RetentionConfig = Field(
        default_factory=RetentionConfig, description="How long prompts and answers are kept."
    )

    @model_validator(mode="after")
    def _whether_anybody_waits(self) -> Self:
        if self.required and self.durability == "queued":
            raise PydanticCustomError(
                "contradiction",
                "required says that nothing may be sent that is not booked, and with durability queued "
                "nobody waits to know; leave one of them out",
            )
        return self

    @property
    def address(self) -> str:
        """The URL. Raises `SecretNotFound` for a reference that leads nowhere."""
        return self.url.look_up() if isinstance(self.url, Secret) else self.url


def _written(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


WrittenLedger = Annotated[LedgerConfig, BeforeValidator(_written, json_schema_input_type=str | LedgerConfig)]
"""A ledger as the file has it: an address, or a section."""
