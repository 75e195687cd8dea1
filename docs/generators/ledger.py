"""`reference/ledger.md`: the two tables of the ledger, column by column."""

from __future__ import annotations

from sqlalchemy import Table

from generators.markdown import NOTICE, table
from llmgate_plugins.ledger.schema import SCHEMA_VERSION, assignments, attempts, calls, contents, feedback

__all__ = ["page"]

USAGE = {
    "input_tokens": "Input tokens at full price.",
    "cached_input_tokens": "Input tokens the provider's prompt cache served.",
    "cache_write_tokens": "Input tokens written to that cache, for minutes.",
    "cache_write_1h_tokens": "Input tokens written to that cache, for an hour.",
    "audio_input_tokens": "Input tokens of sound, not cached.",
    "image_input_tokens": "Input tokens of pictures, not cached, where told apart from text.",
    "output_tokens": "Output tokens that are none of the following.",
    "reasoning_tokens": "Output tokens spent thinking.",
    "audio_output_tokens": "Output tokens of sound.",
    "image_output_tokens": "Output tokens of pictures.",
    "estimated": "Whether tokens and cost are counted by llmgate, not reported by the provider.",
}
FACTS = {
    "tenant": "Of the context, as are the next ten: set by the application, trusted.",
    "team": "",
    "project": "",
    "user_id": "`Context.user`.",
    "feature": "",
    "cohort": "",
    "environment": "",
    "key_id": "`Context.key`: id of the key that the caller showed, never the key.",
    "required_region": "`Context.region`: where the call had to be served.",
    "data_class": "",
    "policy": "The policy that was applied, or else the one that the context named.",
    "policy_version": "Its version, as configured, or digits that change with its content.",
    "priority": "Of the context: 0 is lowest, 3 is critical.",
    "shadow_of": "The call that this one is a shadow of; empty for one that somebody waits for.",
    "tags": "The caller's labels, untrusted. JSON.",
    "extra": "`Context.extra`. JSON.",
}
ATTEMPTS = {
    "call_id": "The call this attempt belongs to.",
    "number": "1 for the call's first attempt. (call_id, number) is the key.",
    "at": "Unix time when the row was written, before anything was sent.",
    "settled_at": "Unix time when it ended; where recovery booked it, when that was.",
    "requested_model": "The alias that the call asked for.",
    "alias": "The alias under which the deployment was chosen.",
    "deployment": "Id of the deployment.",
    "provider": "Its provider.",
    "model": "Its model, as configured.",
    "served_model": "The model that answered, by the provider's word.",
    "region": "Where the deployment runs, if declared.",
    "credential": "A short name of its key, safe to show. Never the key.",
    "operation": "chat or embedding.",
    "stream": "Whether the answer was read chunk by chunk.",
    "reason": "first, retry, next_deployment, fallback or hedge.",
    "decision_id": "Which selection chose it: CALL_ID.N, the Nth of `decision` in the call's row.",
    "trace_id": "The OpenTelemetry trace it was part of.",
    "status": "intent (not settled), success, error, cancelled, abandoned; skipped: never sent; "
    "unknown: recovered after a crash.",
    "late": "Whether it was settled after recovery had booked it at its estimate.",
    "error_class": "What kind of failure; see [classification](classification.md).",
    "scope": "Who is to blame for it: request, caller, credential, model, deployment, provider or local.",
    "code": "The provider's own error code.",
    "http_status": "HTTP status of the failure, if there was one.",
    "finish_reason": "stop, length, tool_calls, content_filter ...",
    "service_tier": "The provider's service tier that was billed, where one was.",
    **USAGE,
    "estimate_nano_usd": "What it would probably cost, written before sending; what a crash is booked at.",
    "reserve_nano_usd": "Nano-dollars that limits held for it: the worst case.",
    "reserve_tokens": "Tokens that limits held for it.",
    "expires": "Unix time by which it must be over; recovery gives it up from then on.",
    "cost_nano_usd": "What it cost, rounded up. 1 USD is 1,000,000,000.",
    "price_source": "Where its price is from: config, litellm or genai-prices.",
    "price_as_of": "Date or version of that source.",
    "latency_s": "Seconds from begin to end.",
    "first_token_s": "Seconds to the first content of a stream.",
    **FACTS,
}
CALLS = {
    "call_id": "The key; a UUIDv7 unless the application gave one.",
    "at": "Unix time when the call began.",
    "model": "The alias asked for.",
    "operation": "chat or embedding.",
    "stream": "Whether it was read chunk by chunk.",
    "status": "success, answered (by a plugin or a cache, not sent), denied, error, cancelled, abandoned.",
    "served_by": "Id of the deployment whose answer the caller got.",
    "served_provider": "Its provider.",
    "served_model": "The model that answered, by the provider's word or else as configured.",
    "served_alias": "The alias under which it was chosen.",
    "first_deployment": "Id of the first deployment that the call was sent to.",
    "attempts": "How many attempts were sent.",
    **USAGE,
    "cost_nano_usd": "Of all attempts together.",
    "latency_s": "Seconds from begin to end.",
    "first_token_s": "Seconds from the call's begin to the first content of a stream.",
    "denied_by": "The plugin that denied, answered or failed it.",
    "reason": "The code of a denial.",
    "error": "What the caller got instead of an answer.",
    "error_class": "Of the last attempt that failed.",
    "trace_id": "The OpenTelemetry trace it was part of.",
    **FACTS,
    "rule": "Which rule chose the policy, as the configuration names it.",
    "problems": "What went wrong in plugins without stopping the call. JSON.",
    "decision": "The decision record (who was considered, dropped, ranked, tried), but what is empty. JSON.",
    "experiments": "Experiment -> the arm this call was under. JSON; empty where it was in none.",
    "shape": "What the request looked like, without its content: messages, about how many input tokens, "
    "bounds of the answer, tools, response format, parts, fallbacks, timeout. JSON.",
}
CONTENTS = {
    "call_id": "The call.",
    "at": "Unix time when the call began.",
    "tenant": "`Context.tenant`, for the retention.",
    "messages": "What was asked: role, content, tool calls of each message. JSON.",
    "answer": "What was answered, with its finish reason; empty where no whole answer came. JSON.",
}

ASSIGNMENTS = {
    "experiment": "Name of the experiment.",
    "call_id": "The call. (experiment, call_id) is the key.",
    "arm": "The arm it was under.",
    "unit_hash": "A hash of what was assigned (a user, a session), where that is stable.",
    "at": "Unix time when the call began.",
}
FEEDBACK = {
    "id": "The key; the same feedback given twice is kept once.",
    "call_id": "The call it is about. It need not be in the books.",
    "at": "Unix time when it was given.",
    "name": "What was judged.",
    "score": "How good it was.",
    "comment": "In words.",
    "source": "Who says so.",
}

HEAD = f"""{NOTICE}

# Ledger

One row per attempt, one row per call. The same columns stand in the rows of a ledger in memory
(`gateway.services.ledger.attempts()`, `.calls()`), in an SQLite file and in a PostgreSQL database. Tables of
version {SCHEMA_VERSION}. `contents` stays empty unless `store_content` asks for it; `assignments` has what
`calls.experiments` says, to be found by experiment; `feedback` has what was said of answers afterwards.

An attempt's row is written before the first byte leaves, with status `intent`, and settled exactly once.
"""


def page() -> str:
    """The page. A column without a description is an error."""
    return "\n".join(
        [
            HEAD,
            *_tables((attempts, ATTEMPTS), (calls, CALLS), (assignments, ASSIGNMENTS)),
            *_tables((feedback, FEEDBACK), (contents, CONTENTS)),
        ]
    )


def _tables(*described: tuple[Table, dict[str, str]]) -> list[str]:
    return [text for one in described for text in (_table(*one), "")]


def _table(found: Table, descriptions: dict[str, str]) -> str:
    names = [column.name for column in found.columns]
    missing, extra = set(names) - set(descriptions), set(descriptions) - set(names)
    if missing or extra:
        raise SystemExit(f"{found.name}: describe {sorted(missing)}, drop {sorted(extra)}")
    rows = [
        (
            f"`{column.name}`",
            str(column.type).lower(),
            "yes" if column.nullable else "",
            descriptions[column.name],
        )
        for column in found.columns
    ]
    return f"## Table `{found.name}`\n\n" + table(("column", "type", "may be null", "what"), rows)
