"""`reference/telemetry.md`: every span, attribute and metric."""

from __future__ import annotations

from typing import Final

from generators.markdown import NOTICE, table
from llmgate_plugins.plugins.telemetry import METRICS, Metric
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.plugins.telemetry.instruments import COMMON

__all__ = ["ATTRIBUTES", "page"]

CALL, ATTEMPT, SKIPPED, METRIC, CONTENT = "call", "attempt", "skipped", "metric", "content"
"""Where an attribute stands: on a call's span, on an attempt's, on the event of one that was never
sent, on a metric, on a call's span where content is recorded."""

Where = tuple[str, ...]

ATTRIBUTES: Final[dict[str, tuple[Where, str, str]]] = {
    n.OPERATION: ((CALL, METRIC), "string", "`chat`, `embeddings` or `text_completion`."),
    n.PROVIDER: (
        (CALL, METRIC),
        "string",
        "Who was asked last, by the conventions' name; `llmgate` if nobody was.",
    ),
    n.REQUEST_MODEL: (
        (CALL, METRIC),
        "string",
        "On a call's span the name that the application asked for, in metrics the deployment's model.",
    ),
    n.STREAM: ((CALL,), "boolean", "Whether the answer is read as a stream."),
    n.MAX_TOKENS: ((CALL,), "int", "Of the request, as are the next nine, each where it is set."),
    n.TEMPERATURE: ((CALL,), "double", ""),
    n.TOP_P: ((CALL,), "double", ""),
    n.TOP_K: ((CALL,), "int", ""),
    n.FREQUENCY_PENALTY: ((CALL,), "double", ""),
    n.PRESENCE_PENALTY: ((CALL,), "double", ""),
    n.STOP_SEQUENCES: ((CALL,), "string[]", ""),
    n.SEED: ((CALL,), "int", ""),
    n.CHOICE_COUNT: ((CALL,), "int", "Where it is not 1."),
    n.REASONING_LEVEL: ((CALL,), "string", ""),
    n.OUTPUT_TYPE: ((CALL,), "string", "`text`, `json` or `speech`, where one is asked for."),
    n.RESPONSE_ID: ((CALL,), "string", "The provider's id of the answer, for asking it about one."),
    n.RESPONSE_MODEL: ((CALL, METRIC), "string", "The model that served, by the provider's word."),
    n.FINISH_REASONS: ((CALL,), "string[]", "Why the model stopped."),
    n.TIME_TO_FIRST_CHUNK: (
        (CALL,),
        "double",
        "Seconds from the call's begin to its stream's first content.",
    ),
    n.INPUT_TOKENS: ((CALL,), "int", "Of all attempts, those of the provider's prompt cache included."),
    n.OUTPUT_TOKENS: ((CALL,), "int", "Of all attempts, reasoning included."),
    n.CACHE_READ_TOKENS: ((CALL,), "int", "Input tokens that the provider's prompt cache served."),
    n.CACHE_WRITE_TOKENS: ((CALL,), "int", "Input tokens written to that cache."),
    n.REASONING_TOKENS: ((CALL,), "int", "Output tokens spent thinking."),
    n.SERVER_ADDRESS: (
        (CALL, ATTEMPT),
        "string",
        "Host of the deployment's address, where one is configured.",
    ),
    n.SERVER_PORT: ((CALL, ATTEMPT), "int", "Its port."),
    n.ERROR_TYPE: (
        (CALL, ATTEMPT, METRIC),
        "string",
        "The [class of the failure](classification.md), the code of a denial, or the name of an error.",
    ),
    n.HTTP_STATUS: ((ATTEMPT,), "int", "HTTP status of the failure, if there was one."),
    n.INPUT_MESSAGES: ((CONTENT,), "string", "The conversation, as JSON."),
    n.OUTPUT_MESSAGES: ((CONTENT,), "string", "The answer, as JSON."),
    n.SYSTEM_INSTRUCTIONS: (
        (CONTENT,),
        "string",
        "Instructions that came as an argument of their own, as JSON.",
    ),
    n.TOKEN_TYPE: ((METRIC,), "string", "`input` or `output`."),
    n.TOKEN_MODALITY: ((METRIC,), "string", "`unknown`: providers do not tell tokens apart by it."),
    n.CALL_ID: ((CALL,), "string", "Of the call's decision record and of its rows in the ledger."),
    n.CALL_STATUS: (
        (CALL, METRIC),
        "string",
        "`success`, `answered` (by a plugin or a cache), `denied`, `error`, `cancelled` or `abandoned`.",
    ),
    n.ANSWERED_BY: ((CALL,), "string", "The plugin that answered, denied or failed."),
    n.REASON: (
        (CALL, METRIC),
        "string",
        "The code of a denial, or why failover gave up; of what is ejected, why it is.",
    ),
    n.ALIAS: (
        (CALL, ATTEMPT, SKIPPED, METRIC),
        "string",
        "The name asked for; of an attempt the alias it was chosen under, which differs after a fallback.",
    ),
    n.DEPLOYMENT: (
        (CALL, ATTEMPT, SKIPPED, METRIC),
        "string",
        "Id of the deployment; of a call, of the last one that was asked.",
    ),
    n.DEPLOYMENT_PROVIDER: ((ATTEMPT,), "string", "Its provider, by the conventions' name."),
    n.DEPLOYMENT_MODEL: ((ATTEMPT,), "string", "Its model, as configured."),
    n.REGION: ((CALL, ATTEMPT, METRIC), "string", "Where it runs, if declared."),
    n.POLICY: ((CALL, METRIC), "string", "The policy that was applied."),
    n.POLICY_VERSION: ((CALL,), "string", "Its version."),
    n.RULE: ((CALL,), "string", "The rule that chose it."),
    n.EXPERIMENT: (
        (CALL,),
        "string",
        "`llmgate.experiment.tone` and so on: the arm the call was under; 32 at most.",
    ),
    n.SHADOW_OF: ((CALL,), "string", "The call that this one is a shadow of."),
    n.DROPPED: (
        (CALL,),
        "string[]",
        "For each [reason](reasons.md) how many deployments were left out, `region: 3`; 32 at most.",
    ),
    n.ATTEMPTS: ((CALL,), "int", "How many attempts, skipped ones included."),
    n.COST: ((CALL, ATTEMPT), "double", "US dollars; of a call, of all its attempts."),
    n.ESTIMATED: ((CALL, ATTEMPT), "boolean", "Whether tokens are counted by llmgate, not by the provider."),
    n.PROBLEMS: ((CALL,), "int", "How often a plugin failed without stopping the call."),
    n.CONTEXT: (
        (CALL, METRIC),
        "string",
        "`llmgate.context.team` and so on: who is calling. In metrics only the facts of `metric_facts`.",
    ),
    n.TAG: ((CALL,), "string", "`llmgate.tag.job` and so on: the caller's tags, untrusted; 32 at most."),
    n.ATTEMPT_NUMBER: ((ATTEMPT, SKIPPED), "int", "1 for the call's first attempt."),
    n.ATTEMPT_REASON: (
        (ATTEMPT, SKIPPED, METRIC),
        "string",
        "`first`, `retry`, `next_deployment`, `fallback` or `hedge`.",
    ),
    n.ATTEMPT_STATUS: (
        (ATTEMPT, SKIPPED, METRIC),
        "string",
        "`success`, `error`, `cancelled`, `abandoned` or `skipped`.",
    ),
    n.ATTEMPT_SKIPPED: ((SKIPPED,), "string", "Why it was never sent: a plugin's code."),
    n.ATTEMPT_MODEL: ((ATTEMPT,), "string", "The model that served, by the provider's word."),
    n.ATTEMPT_FIRST_TOKEN: ((ATTEMPT,), "double", "Seconds to the first content of its stream."),
    n.ATTEMPT_INPUT: ((ATTEMPT,), "int", "All its input tokens."),
    n.ATTEMPT_OUTPUT: ((ATTEMPT,), "int", "All its output tokens."),
    n.SCOPE: ((METRIC,), "string", "`deployment`, `credential` or `provider`."),
    n.SUBJECT: ((METRIC,), "string", "Which one."),
    n.LIMIT_KIND: ((METRIC,), "string", "`budget`, `requests`, `tokens` or `concurrency`."),
    n.LIMIT_MODE: ((METRIC,), "string", "`hard`, `soft` or `shadow`."),
    n.LIMIT_SCOPE: ((METRIC,), "string", "Whose: `team`, say."),
    n.LIMIT_VALUE: ((METRIC,), "string", "Which one; empty for limits per user, key or tag."),
    n.LIMIT_WINDOW: ((METRIC,), "string", "In which time."),
    n.ALERT_KIND: ((METRIC,), "string", "Such as `budget_threshold` or `ejected`."),
    n.ALERT_SEVERITY: ((METRIC,), "string", "`info`, `warning` or `critical`."),
    n.ALERT_STATUS: ((METRIC,), "string", "`firing` or `resolved`."),
}
"""Name -> where it stands, its type, what it means. A prefix stands for all that begin so."""

NO_ATTRIBUTES: Final = {n.ATTEMPT_EVENT, n.OTHER, n.OURSELVES} | {one.name for one in METRICS}

HEAD: Final = f"""{NOTICE}

# Telemetry

What a gateway tells OpenTelemetry; [how to set it up](../how-to/telemetry.md). Names that begin with
`gen_ai.` are those of the
[GenAI semantic conventions](https://github.com/open-telemetry/semantic-conventions-genai).

## Spans

| span | kind | parent |
| --- | --- | --- |
| `{{operation}} {{model}}`: one per call | client | the span that was current where the call was made |
| `attempt {{deployment}}`: one per attempt that was sent | internal | the call's |

The attempt's span is current while the provider is asked, up to the first content of a stream. An attempt
that was never sent is an event `{n.ATTEMPT_EVENT}` on the call's span; with `attempts: events` every attempt
is. The span of an attempt has no usage under the conventions' names, so that whoever adds up their spans
counts each call once.

## Attributes
"""

METRICS_HEAD: Final = f"""
## Metrics

Every metric of calls and attempts has {", ".join(f"`{name}`" for name in COMMON)},
each where it is known, the facts of `metric_facts`, and what stands beside it here. Of an attribute's values
the first thousand are told apart, further ones are `{n.OTHER}`. In Prometheus dots are underscores, seconds
and counters have the usual endings: `llmgate_cost_total`, `gen_ai_client_operation_duration_seconds_bucket`.
"""

NAMES: Final = {
    None: "### llmgate's own",
    "current": "### `names: current`",
    "next": "### `names: next`",
}


def page() -> str:
    """The page. An attribute without a description is an error."""
    told = {value for name, value in vars(n).items() if name.isupper() and isinstance(value, str)}
    missing, extra = told - NO_ATTRIBUTES - set(ATTRIBUTES), set(ATTRIBUTES) - told
    if missing or extra:
        raise SystemExit(f"telemetry: describe {sorted(missing)}, drop {sorted(extra)}")
    rows = [
        (f"`{name}{'*' if name.endswith('.') else ''}`", ", ".join(where), kind, meaning)
        for name, (where, kind, meaning) in ATTRIBUTES.items()
    ]
    parts = [HEAD, table(("attribute", "on", "type", "what"), rows), METRICS_HEAD]
    for chosen, heading in NAMES.items():
        parts += [heading, "", _metrics([one for one in METRICS if one.names == chosen]), ""]
    return "\n".join(parts)


def _metrics(found: list[Metric]) -> str:
    rows = [
        (f"`{one.name}`", one.kind, one.unit, ", ".join(f"`{name}`" for name in one.adds), one.meaning)
        for one in found
    ]
    return table(("metric", "kind", "unit", "further attributes", "what"), rows)
