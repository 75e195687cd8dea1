"""What the demo has shown, read from the ledger and from what the providers saw."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from llmgate_plugins.cli.demo.running import Performance
from llmgate_plugins.cli.demo.stage import Stage
from llmgate_plugins.types import INPUT_BUCKETS, NANO, OUTPUT_BUCKETS

__all__ = ["NOWHERE", "findings"]

Row = Mapping[str, Any]
NOWHERE = "nowhere"
"""Where a call goes that has failed for good."""


def findings(stage: Stage, performances: Sequence[Performance]) -> dict[str, Any]:
    """Everything that is reported, as plain values; `ok` says whether all checks hold."""
    ledger = stage.gateway.services.ledger
    ledger.flush()
    attempts, calls = ledger.attempts(), ledger.calls()
    checks = _checks(stage, performances, attempts, calls)
    return {
        "ok": all(check["ok"] for check in checks),
        "checks": checks,
        "hosts": [
            {
                "host": one.host,
                "asked": one.asked,
                "answers": one.answers,
                "kinds": one.kinds,
                "missing": one.missing,
                "errors": one.errors,
                "loading_s": round(one.loading, 3),
                "seconds": round(one.seconds, 3),
            }
            for one in performances
        ],
        "deployments": _groups(attempts, lambda row: row["deployment"], stage.roles),
        "failovers": _failovers(attempts),
        "calls_by_host": _groups(calls, lambda row: row["tags"].get("host", "-")),
        "calls_by_feature": _groups(calls, lambda row: row["tags"].get("feature", "-")),
        "total": _group("all", calls),
        "plugins": [name for name, _ in stage.gateway.plugins],
        "configuration": stage.text,
    }


def _groups(rows: Iterable[Row], of: Callable[[Row], str], names: Iterable[str] = ()) -> list[dict[str, Any]]:
    grouped: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        grouped.setdefault(of(row), []).append(row)
    return [_group(name, grouped[name]) for name in (grouped if names else sorted(grouped))]


def _group(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    good = [row for row in rows if row["status"] == "success"]
    times = sorted(row["latency_s"] for row in good)
    return {
        "name": name,
        "count": len(rows),
        "success": len(good),
        "failed": len(rows) - len(good),
        "p50_s": _quantile(times, 0.50),
        "p95_s": _quantile(times, 0.95),
        "input_tokens": sum(row[f"{bucket}_tokens"] for row in rows for bucket in INPUT_BUCKETS),
        "output_tokens": sum(row[f"{bucket}_tokens"] for row in rows for bucket in OUTPUT_BUCKETS),
        "cost_nano_usd": sum(row["cost_nano_usd"] for row in rows),
        "cost_usd": sum(row["cost_nano_usd"] for row in rows) / NANO,
    }


def _quantile(times: Sequence[float], share: float) -> float | None:
    """Nearest rank; `times` are sorted."""
    return times[max(0, math.ceil(share * len(times)) - 1)] if times else None


def _failovers(attempts: Sequence[Row]) -> list[dict[str, Any]]:
    """Failed attempts by what happened, and where the same call went next."""
    in_order = sorted(attempts, key=lambda row: (row["call_id"], row["number"]))
    found: Counter[tuple[str, str, int | None, str]] = Counter()
    for row, after in zip_longest(in_order, in_order[1:]):
        if row["status"] == "success":
            continue
        # Numbers in between were skipped: such an attempt was not sent and is not booked.
        to = after["deployment"] if after and after["call_id"] == row["call_id"] else NOWHERE
        found[row["deployment"], row["error_class"] or row["status"], row["http_status"], to] += 1
    return [
        {"deployment": deployment, "why": why, "http_status": status, "went_to": to, "count": number}
        for (deployment, why, status, to), number in sorted(found.items(), key=lambda item: -item[1])
    ]


def _checks(
    stage: Stage, performances: Sequence[Performance], attempts: Sequence[Row], calls: Sequence[Row]
) -> list[dict[str, Any]]:
    asked, answered = sum(one.asked for one in performances), sum(one.answers for one in performances)
    open_rows = [
        row for row in attempts if row["status"] not in ("success", "error", "cancelled", "abandoned")
    ]
    booked, charged = (sum(row["cost_nano_usd"] for row in rows) for rows in (attempts, calls))
    arrived = {name: len(requests) for name, requests in stage.requests.items()}
    sent = {name: sum(row["deployment"] == name for row in attempts) for name in arrived}
    seen = sum("@example" in json.dumps(one.body) for requests in stage.requests.values() for one in requests)
    return [
        _check(
            "answered",
            0 < asked == answered
            and all(row["status"] == "success" for row in calls)
            and not any(one.errors for one in performances),
            f"{answered} of {asked} questions answered, in {len(calls)} calls"
            + "".join(f"; {one.host} failed" for one in performances if one.errors),
        ),
        _check(
            "booked",
            not open_rows and sent == arrived,
            f"{len(attempts)} attempts booked and settled, {sum(arrived.values())} requests at the providers",
        ),
        _check(
            "balanced",
            booked == charged and booked > 0,
            f"attempts cost ${booked / NANO:.7f}, calls cost ${charged / NANO:.7f}",
        ),
        _check("masked", seen == 0, f"{seen} of {sum(arrived.values())} requests held an e-mail address"),
    ]


def _check(name: str, ok: bool, told: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "told": told}
