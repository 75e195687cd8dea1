"""Every attribute that is told is documented, where it stands; none is documented that is never told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from support.faces import ask
from support.gateways import deployment
from support.pages import DOCS
from support.telemetry import Listener, heard

from llmgate_plugins import (
    Context,
    Drop,
    HookFailed,
    Message,
    ProviderError,
    Request,
    RequestDenied,
    Skip,
    hookimpl,
)
from llmgate_plugins.plugins.telemetry import METRICS
from llmgate_plugins.testing import Stream
from llmgate_plugins.types import Chunk, Endpoint, Usage

USED = Usage(input=10, cached_input=4, cache_write=2, output=5, reasoning=3)
ANSWER = Stream(
    Chunk(text="one ", model="well-1", id="answer-1"), Chunk(text="two", usage=USED, finish_reason="stop")
)
PARAMS = {
    "max_tokens": 5,
    "temperature": 1,
    "top_p": 1,
    "top_k": 1,
    "frequency_penalty": 1,
    "presence_penalty": 1,
    "stop": ["x"],
    "seed": 1,
    "n": 2,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "system": "Be brief.",
}


class Meddling:
    """Skips one deployment, denies one tenant, and fails when it is all over."""

    @hookimpl
    def admit_request(self, context: Context, call: Any) -> None:
        call.apply_policy("default", "7", "rule 1")
        call.record.experiments, call.record.shadow_of = {"tone": "b"}, "another"
        if context.tenant == "unwanted":
            raise RequestDenied("not you", code="unwanted")

    @hookimpl
    def narrow_deployments(self) -> Drop:
        return Drop({"tired": "resting"})

    @hookimpl
    def begin_attempt(self, attempt: Any) -> Skip | None:
        return Skip("full") if attempt.deployment.id == "full" else None

    @hookimpl
    def end_attempt(self) -> None:
        raise HookFailed("Meddling", "end_attempt", ValueError("never mind"))


@pytest.fixture(scope="module")
def documented() -> Iterator[dict[str, tuple[tuple[str, ...], str, str]]]:
    sys.path.insert(0, str(DOCS))
    try:
        from generators.telemetry import ATTRIBUTES

        yield ATTRIBUTES
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def told() -> Listener:
    endpoint = Endpoint(base_url="https://eu.example.com/v1")
    s, listener = heard(
        {"full": ["x"], "down": [ProviderError("down", status=503)], "well": [ANSWER]},
        Meddling(),
        deployments=[
            deployment(id, region="eu", endpoint=endpoint) for id in ("full", "tired", "down", "well")
        ],
        telemetry={"content": True, "names": "both", "metric_facts": ("team",)},
    )
    request = Request(
        model="fast", messages=(Message(role="user", content="hello"),), params=PARAMS, tags={"job": "7"}
    )
    ask("stream", s.gateway, request, context=Context(team="search"))
    ask("sync", s.gateway, request, context=Context(tenant="unwanted"))
    return listener


def known(name: str, documented: Any) -> str:
    """The name under which it is documented: that of a family ends in a dot."""
    return next((one for one in documented if one.endswith(".") and name.startswith(one)), name)


def test_what_stands_on_spans_is_documented(told: Listener, documented: Any) -> None:
    calls = [span for span in told.spans if span.name.startswith("chat ")]
    skipped = [event for span in calls for event in span.events]
    for where, found in (("call", calls), ("attempt", told.attempts), ("skipped", skipped)):
        seen = {known(name, documented) for one in found for name in one.attributes}
        allowed = {where, "content"} if where == "call" else {where}
        assert seen == {name for name, (on, _, _) in documented.items() if allowed & set(on)}


def test_what_stands_on_metrics_is_documented(documented: Any) -> None:
    possible = {known(name, documented) for metric in METRICS for name in metric.attributes}
    assert possible | {"llmgate.context."} == {
        name for name, (on, _, _) in documented.items() if "metric" in on
    }


def test_types_are_as_documented(told: Listener, documented: Any) -> None:
    kinds = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple}
    for span in told.spans:
        for name, value in span.attributes.items():
            if name == "llmgate.context.priority":
                continue
            assert type(value) is kinds[documented[known(name, documented)][1]], name


def test_names_are_the_conventions(documented: Any) -> None:
    theirs = set(map(str, vars(gen_ai_attributes).values()))
    newer = {
        "gen_ai.request.reasoning.level",
        "gen_ai.token.modality",
        "gen_ai.usage.cache_write.input_tokens",  # cache_creation in the package
    }
    assert {name for name in documented if name.startswith("gen_ai.")} - newer <= theirs
