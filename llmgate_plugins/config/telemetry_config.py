"""What OpenTelemetry is told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.section import Section
from llmgate_plugins.context import FACTS

__all__ = ["TelemetryConfig", "WrittenTelemetry"]


def _fact(value: str) -> str:
    if value not in FACTS:
        raise PydanticCustomError("unknown_fact", f"is no fact of the context; there are {', '.join(FACTS)}")
    return value


Fact = Annotated[str, BeforeValidator(_fact), Field(json_schema_extra={"enum": list(FACTS)})]


class TelemetryConfig(Section):
    """Spans and metrics. `true` or `false` is short for both."""

    spans: bool = Field(True, description="Whether calls and attempts are spans.")
    metrics: bool = Field(True, description="Whether calls and attempts are counted.")
    names: Literal["current", "next", "both"] | None = Field(
        None,
        description="Names of the GenAI conventions' metrics; left out: what OTEL_SEMCONV_STABILITY_OPT_IN "
        "says, else current.",
    )
    attempts: Literal["spans", "events"] = Field(
        "spans", description="Whether attempts are spans below the call's, or events on it."
    )
    content: bool | None = Field(
        None,
        description="Whether messages and answers are recorded, secrets masked; left out: what "
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says.",
    )
    metric_facts: tuple[Fact, ...] = Field(
        (), description="Facts of the context that tell metrics apart: tenant, team, project ..."
    )

    def for_telemetry(self) -> dict[str, Any]:
        """Arguments of the plugin `Telemetry`."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def _written(value: Any) -> Any:
    return {"spans": value, "metrics": value} if isinstance(value, bool) else value


WrittenTelemetry = Annotated[
    TelemetryConfig,
    BeforeValidator(_written, json_schema_input_type=bool | TelemetryConfig),
]
"""As it stands in a file: a section, or whether there is any."""
