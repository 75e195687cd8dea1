"""A ledger with tables of version 1, and rows in them. The statements are copied, not made."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, text

__all__ = ["write_version_1"]

COLUMNS = """
    input_tokens BIGINT NOT NULL, cached_input_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, estimated BOOLEAN NOT NULL
"""
FACTS = """
    tenant TEXT, team TEXT, project TEXT, user_id TEXT, feature TEXT, cohort TEXT, environment TEXT,
    required_region TEXT, data_class TEXT, policy TEXT
"""
TABLES = (
    "CREATE TABLE llmgate_schema (id INTEGER NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (id))",
    f"""
    CREATE TABLE attempts (
        call_id TEXT NOT NULL, number INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL, alias TEXT NOT NULL,
        deployment TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, served_model TEXT,
        region TEXT, credential TEXT, reason TEXT NOT NULL, status TEXT NOT NULL, error_class TEXT,
        http_status INTEGER, finish_reason TEXT, {COLUMNS}, estimate_nano_usd BIGINT NOT NULL,
        cost_nano_usd BIGINT NOT NULL, price_source TEXT, price_as_of TEXT, latency_s DOUBLE PRECISION,
        first_token_s DOUBLE PRECISION, {FACTS}, tags JSON NOT NULL, extra JSON NOT NULL,
        PRIMARY KEY (call_id, number)
    )""",
    "CREATE INDEX attempts_at ON attempts (at)",
    "CREATE INDEX attempts_open ON attempts (at) WHERE status = 'intent'",
    f"""
    CREATE TABLE calls (
        call_id TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, model TEXT NOT NULL, operation TEXT NOT NULL,
        stream BOOLEAN NOT NULL, status TEXT NOT NULL, served_by TEXT, attempts INTEGER NOT NULL, {COLUMNS},
        cost_nano_usd BIGINT NOT NULL, latency_s DOUBLE PRECISION NOT NULL, first_token_s DOUBLE PRECISION,
        denied_by TEXT, reason TEXT NOT NULL, error TEXT, {FACTS}, priority INTEGER NOT NULL,
        tags JSON NOT NULL, extra JSON NOT NULL, problems JSON NOT NULL, decision JSON NOT NULL,
        PRIMARY KEY (call_id)
    )""",
    "CREATE INDEX calls_at ON calls (at)",
    "INSERT INTO llmgate_schema (id, version) VALUES (1, 1)",
)
COMMON: dict[str, Any] = {
    "input_tokens": 10,
    "cached_input_tokens": 0,
    "cache_write_tokens": 0,
    "output_tokens": 5,
    "reasoning_tokens": 2,
    "estimated": False,
    "cost_nano_usd": 50,
    "tags": json.dumps({"ticket": "T-1"}),
    "extra": "{}",
    "team": "search",
    "latency_s": 0.5,
}


def write_version_1(connection: Connection, count: int = 10) -> None:
    """So many calls with an attempt each, of which the last is still under way."""
    sqlite = connection.dialect.name == "sqlite"
    for statement in TABLES:
        if sqlite:
            statement = statement.replace("DOUBLE PRECISION", "DOUBLE")
            if "CREATE TABLE attempts" in statement:
                statement += " WITHOUT ROWID"
        connection.execute(text(statement))
    for number in range(count):
        is_open = number == count - 1
        attempt = COMMON | {
            "call_id": f"old{number}",
            "number": 1,
            "at": 1_000.0 + number,
            "alias": "fast",
            "deployment": "openai-eu",
            "provider": "openai",
            "model": "gpt-4o-mini",
            "reason": "first",
            "status": "intent" if is_open else "success",
            "estimate_nano_usd": 70,
        }
        _insert(connection, "attempts", attempt)
        if not is_open:
            call = COMMON | {
                "call_id": f"old{number}",
                "at": 1_000.0 + number,
                "model": "fast",
                "operation": "chat",
                "stream": False,
                "status": "success",
                "attempts": 1,
                "reason": "",
                "priority": 1,
                "problems": "[]",
                "decision": "{}",
            }
            _insert(connection, "calls", call)


def _insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
