"""A week that was recorded on virtual time comes out of a replay as it went in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.recorded_weeks import CONFIG, record_week

from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.replay import Replay, comparable, replay


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[DecisionRecord]]:
    path = tmp_path_factory.mktemp("week") / "books.db"
    records = record_week(path, 700)
    return f"sqlite:///{path}", records


def differences(ledger: str) -> tuple[Replay, list[str]]:
    found: list[str] = []

    def compare(then: DecisionRecord, now: DecisionRecord) -> None:
        one, other = comparable(then), comparable(now)
        for name in one:
            ours, theirs = json.dumps(one[name], sort_keys=True), json.dumps(other[name], sort_keys=True)
            if ours != theirs:
                found.append(f"{then.call_id} {name}: {ours} -> {theirs}")

    return replay(ledger, CONFIG, each=compare), found


def test_the_same_policies_make_the_same_of_every_call(week: tuple[str, list[DecisionRecord]]) -> None:
    ledger, records = week
    told, found = differences(ledger)
    assert found == [], "\n".join(found[:12])
    assert told.calls == told.same == len(records)
    assert told.attempts == {"recorded": sum(told.attempts.values())}
    assert (told.moved, told.newly_blocked, told.no_longer_blocked, told.uncertain) == (0, 0, 0, 0)
    assert told.original.to_dict() == told.replayed.to_dict()


def test_the_week_has_in_it_what_a_replay_must_get_right(week: tuple[str, list[DecisionRecord]]) -> None:
    _, records = week
    statuses = Counter(record.status for record in records)
    assert set(statuses) == {"success", "error", "denied", "cancelled", "abandoned"}
    assert statuses["denied"] > 5, statuses
    dropped = Counter(reason for record in records for one in record.selections for reason in one.reasons)
    assert any(reason.startswith(("ejected", "throttled")) for reason in dropped), dropped
    reasons = Counter(attempt.reason for record in records for attempt, _ in record.attempts)
    assert reasons["retry"] > 10
    assert reasons["next_deployment"] > 10
    assert reasons["fallback"] > 10


def test_a_part_of_the_week_knows_from_the_books_what_was_spent_before(
    week: tuple[str, list[DecisionRecord]],
) -> None:
    ledger, records = week
    middle = sorted(record.at for record in records)[350]
    told = replay(ledger, CONFIG, since=middle, until=middle + 40_000, warm_up=7_200.0)
    assert told.calls == sum(middle <= record.at < middle + 40_000 for record in records) > 25
    assert told.led_up == sum(middle - 7_200 <= record.at < middle for record in records)
    assert told.same >= 0.7 * told.calls, "averages that were made before are not there"
    assert abs(told.replayed.blocked - told.original.blocked) <= 2, "budgets know what was spent before"


def test_memory_and_the_number_of_batches_do_not_matter(
    week: tuple[str, list[DecisionRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmgate_plugins.replay.recorded.BATCH", 7)
    told, found = differences(week[0])
    assert found == []
    assert told.same == len(week[1])


def test_what_providers_told_of_their_rate_limits_is_told_again(tmp_path: Path) -> None:
    records = record_week(tmp_path / "books.db", 300, seed=4, limit=6)
    told = [outcome for record in records for _, outcome in record.attempts if outcome.quota is not None]
    assert {outcome.status for outcome in told} >= {"success", "error"}
    waited = [record for record in records if record.attempts and record.latency > 20]
    assert len(waited) > 10, "there is something to get right"
    result, found = differences(f"sqlite:///{tmp_path / 'books.db'}")
    assert found == [], "\n".join(found[:12])
    assert result.same == result.calls == len(records)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20, 26))
def test_other_weeks_come_out_the_same_too(seed: int, tmp_path: Path) -> None:
    """Run with: pytest -m campaign tests/replay."""
    records = record_week(tmp_path / "books.db", 4_000, seed=seed)
    told, found = differences(f"sqlite:///{tmp_path / 'books.db'}")
    assert found == []
    assert told.same == told.calls == len(records)
