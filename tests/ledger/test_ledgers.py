"""What every ledger does, told once and run on each."""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.books import answer, intent, record, settlement

from llmgate_plugins.context import Context
from llmgate_plugins.ledger import MemoryLedger, labels_of, open_ledger
from llmgate_plugins.ledger.plain import plain_text
from llmgate_plugins.records import Selection
from llmgate_plugins.services import Feedback, Ledger, Standing
from llmgate_plugins.types import ErrorClass, Failure, Scope, Usage

WHO = Context(
    tenant="acme", team="search", user="ann", region="eu", data_class="pii", priority=3, extra={"desk": "7"}
)


WHO_WAS_FIRST = pytest.mark.parametrize("ledger", ["memory", "sqlite, full", "postgres"], indirect=True)
"""Those that tell whether a settlement was the first: from an outbox, that shows later."""


@pytest.fixture(params=["memory", "sqlite", "sqlite, full", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    urls = {
        "memory": lambda: "memory",
        "sqlite": lambda: f"sqlite:///{tmp_path}/books.db",
        "sqlite, full": lambda: f"sqlite:///{tmp_path}/books.db?durability=full",
    }
    url = urls.get(request.param, lambda: request.getfixturevalue("postgres_url"))()
    ledger = open_ledger(f"{url}?outbox={tmp_path}/outbox" if request.param == "postgres" else url)
    yield ledger
    ledger.close()


def test_an_attempt_is_an_intent_until_it_is_settled(ledger: Ledger) -> None:
    assert answer(ledger.open_attempt(intent())) is None
    row = ledger.attempts("c1")[0]
    assert (row["status"], row["estimate_nano_usd"], row["cost_nano_usd"]) == ("intent", 70, 0)
    assert (row["latency_s"], row["estimated"]) == (None, False)
    assert (row["price_source"], row["price_as_of"]) == ("litellm", "2026-11-01")
    done = settlement(model="gpt-4o-mini-2024", first_token=0.1, finish_reason="stop")
    assert answer(ledger.settle_attempt("c1", 1, done)) is True
    row = ledger.attempts("c1")[0]
    assert (row["status"], row["cost_nano_usd"], row["served_model"]) == ("success", 50, "gpt-4o-mini-2024")
    assert (row["input_tokens"], row["output_tokens"], row["reasoning_tokens"]) == (10, 5, 2)
    assert (row["latency_s"], row["first_token_s"], row["finish_reason"]) == (0.5, 0.1, "stop")


def test_opening_an_attempt_again_changes_nothing(ledger: Ledger) -> None:
    answer(ledger.open_attempt(intent(estimate=70)))
    answer(ledger.settle_attempt("c1", 1, settlement()))
    answer(ledger.open_attempt(intent(estimate=99)))
    assert [(row["status"], row["estimate_nano_usd"]) for row in ledger.attempts()] == [("success", 70)]


@WHO_WAS_FIRST
def test_an_attempt_settles_once(ledger: Ledger) -> None:
    answer(ledger.open_attempt(intent()))
    assert answer(ledger.settle_attempt("c1", 1, settlement("cancelled", 20))) is True
    assert answer(ledger.settle_attempt("c1", 1, settlement("success", 90))) is False
    assert [(row["status"], row["cost_nano_usd"]) for row in ledger.attempts()] == [("cancelled", 20)]


@WHO_WAS_FIRST
def test_an_attempt_that_was_never_opened_cannot_be_settled(ledger: Ledger) -> None:
    assert answer(ledger.settle_attempt("c1", 1, settlement())) is False
    answer(ledger.open_attempt(intent()))
    assert answer(ledger.settle_attempt("c1", 2, settlement())) is False
    assert ledger.attempts()[0]["status"] == "intent"


@pytest.mark.parametrize("status", ["intent", "unknown", "open", ""])
def test_only_an_end_settles_an_attempt(ledger: Ledger, status: str) -> None:
    answer(ledger.open_attempt(intent()))
    with pytest.raises(ValueError, match="cannot be settled"):
        ledger.settle_attempt("c1", 1, settlement(status))


@WHO_WAS_FIRST
def test_answers_keep_the_order_of_the_questions_without_waiting(ledger: Ledger) -> None:
    early = ledger.settle_attempt("c1", 1, settlement())
    ledger.open_attempt(intent())
    first, second = (ledger.settle_attempt("c1", 1, settlement()) for _ in range(2))
    ledger.open_attempt(intent())
    assert [answer(pending) for pending in (early, first, second)] == [False, True, False]


def test_a_call_has_one_terminal_row(ledger: Ledger) -> None:
    answer(ledger.close_call(record(costs=(50, 30))))
    answer(ledger.close_call(record(costs=(1,), status="cancelled")))
    (row,) = ledger.calls()
    assert (row["status"], row["attempts"], row["cost_nano_usd"]) == ("success", 2, 80)
    assert (row["input_tokens"], row["served_by"], row["model"]) == (20, "openai-eu", "fast")
    assert row["decision"]["cost_nano_usd"] == 80
    assert row["decision"]["call_id"] == "c1"


def test_who_called_and_the_tags_stand_in_both_rows_and_apart(ledger: Ledger) -> None:
    tags = {"tenant": "spoofed", "extra:desk": "9", "feature": "x"}
    answer(ledger.open_attempt(intent(labels=labels_of(WHO, tags))))
    answer(ledger.close_call(record(context=WHO, tags=tags)))
    for row in (*ledger.attempts(), *ledger.calls()):
        assert (row["tenant"], row["team"], row["user_id"]) == ("acme", "search", "ann")
        assert (row["required_region"], row["data_class"], row["feature"]) == ("eu", "pii", None)
        assert (row["extra"], row["tags"]) == ({"desk": "7"}, tags)
    assert ledger.calls()[0]["priority"] == 3
    assert ledger.attempts()[0]["region"] == "eu"


def test_a_failed_call_keeps_its_reasons_and_not_its_errors(ledger: Ledger) -> None:
    class Heavy(Exception):
        pass

    failure = Failure(error_class=ErrorClass.RATE_LIMIT, scope=Scope.DEPLOYMENT, status=429)
    answer(ledger.open_attempt(intent()))
    answer(
        ledger.settle_attempt(
            "c1", 1, settlement("error", error_class=ErrorClass.RATE_LIMIT, http_status=429)
        )
    )
    answer(ledger.close_call(record(error=Heavy("slow down"), failure=failure, problems=[("p", "h", "e")])))
    row, call = ledger.attempts()[0], ledger.calls()[0]
    assert (row["error_class"], row["http_status"]) == ("rate_limit", 429)
    assert call["status"] == "error"
    assert call["problems"] == [{"plugin": "p", "hook": "h", "error": "e"}]
    assert call["decision"]["attempts"][0]["error_class"] == "rate_limit"
    assert not [found for found in gc.get_objects() if type(found) is Heavy]


def test_rows_come_oldest_first_and_by_call(ledger: Ledger) -> None:
    for call_id, number, at in (("b", 2, 30.0), ("b", 1, 20.0), ("a", 1, 25.0)):
        answer(ledger.open_attempt(intent(call_id, number, at=at)))
    for call_id, at in (("z", 2.0), ("y", 1.0), ("x", 2.0)):
        answer(ledger.close_call(record(call_id, at=at)))
    assert [(row["call_id"], row["number"]) for row in ledger.attempts()] == [("b", 1), ("a", 1), ("b", 2)]
    assert [row["number"] for row in ledger.attempts("b")] == [1, 2]
    assert [row["call_id"] for row in ledger.calls()] == ["y", "x", "z"]
    assert ledger.attempts("nobody") == ledger.calls("nobody") == []


def test_recovery_books_old_intents_at_their_estimate(ledger: Ledger) -> None:
    for number, at in enumerate((100.0, 100.0, 190.0, 200.0), 1):
        answer(ledger.open_attempt(intent(number=number, at=at, estimate=7 * number)))
    answer(ledger.settle_attempt("c1", 1, settlement(cost=3)))
    assert ledger.recover(older_than=60, now=250.0) == 1
    assert ledger.recover(older_than=60, now=250.0) == 0
    assert ledger.recover(older_than=50, now=250.0) == 1, "exactly as old is not older"
    found = [(row["status"], row["cost_nano_usd"], row["estimated"]) for row in ledger.attempts()]
    assert found == [
        ("success", 3, False),
        ("unknown", 14, True),
        ("unknown", 21, True),
        ("intent", 0, False),
    ]


@WHO_WAS_FIRST
def test_a_late_settlement_replaces_what_recovery_booked_once_and_says_so(ledger: Ledger) -> None:
    answer(ledger.open_attempt(intent(at=100.0, estimate=70)))
    assert ledger.recover(older_than=10, now=200.0) == 1
    assert [(row["status"], row["late"], row["settled_at"]) for row in ledger.attempts()] == [
        ("unknown", False, 200.0)
    ]
    assert answer(ledger.settle_attempt("c1", 1, settlement("success", 50, at=300.0))) is True
    assert answer(ledger.settle_attempt("c1", 1, settlement("error", 10, at=400.0))) is False
    assert ledger.recover(older_than=10, now=500.0) == 0
    (row,) = ledger.attempts()
    assert (row["status"], row["cost_nano_usd"], row["estimated"]) == ("success", 50, False)
    assert (row["late"], row["settled_at"]) == (True, 300.0)


def test_what_was_used_is_summed_up_by_who_used_it_and_by_parts_of_time(ledger: Ledger) -> None:
    for number, (at, team, cost) in enumerate(
        [(100.0, "a", 5), (159.9, "a", 7), (160.0, "a", 11), (161.0, "b", 13), (219.0, None, 17)], 1
    ):
        answer(ledger.open_attempt(intent(number=number, at=at, labels=labels_of(Context(team=team)))))
        answer(ledger.settle_attempt("c1", number, settlement(cost=cost)))
    answer(ledger.open_attempt(intent("c2", at=170.0, reserve=90, reserve_tokens=8, expires=200.0)))
    answer(ledger.open_attempt(intent("c3", at=170.0)))
    answer(ledger.settle_attempt("c3", 1, settlement("skipped", 0)))
    everyone = answer(ledger.standing({}, since=100.0, until=219.0))
    assert everyone.used == ((100.0, 4, 4 * 17, 36),)
    (under_way,) = everyone.open
    assert (under_way.call_id, under_way.number, under_way.estimate) == ("c2", 1, 70)
    assert (under_way.reserve, under_way.reserve_tokens, under_way.expires) == (90, 8, 200.0)
    team = answer(ledger.standing({"team": "a", "provider": "openai"}, since=0.0, until=300.0, part=60.0))
    assert team.used == ((60.0, 1, 17, 5), (120.0, 2, 34, 18))
    nobody = answer(ledger.standing({"team": None}, since=0.0, until=300.0))
    assert (nobody.used, len(nobody.open)) == (((0.0, 1, 17, 17),), 1)
    ledger.recover(older_than=0, now=250.0)
    assert answer(ledger.standing({"team": None}, since=0.0, until=300.0)).used == ((0.0, 2, 17, 87),)
    assert answer(ledger.standing({"team": "x"}, since=0.0, until=300.0)) == Standing()
    with pytest.raises(ValueError, match="told apart by 'price'"):
        ledger.standing({"price": "x"}, since=0.0, until=1.0)


@pytest.mark.parametrize("name", ["job", 'od"d', "ü", "a.b", "$[0]"])
def test_what_was_used_is_told_apart_by_tags_and_further_facts(ledger: Ledger, name: str) -> None:
    for number, (tag, fact, cost) in enumerate(
        [("x", "1", 5), ("x", "2", 7), ("y", "1", 11), (None, "x", 13)], 1
    ):
        labels = labels_of(Context(extra={name: fact}), {} if tag is None else {name: tag})
        answer(ledger.open_attempt(intent(number=number, labels=labels)))
        answer(ledger.settle_attempt("c1", number, settlement(cost=cost)))
    answer(ledger.open_attempt(intent("c2", labels=labels_of(Context(), {name: "x"}), reserve=90)))

    def spent(where: dict[str, str | None]) -> int:
        found = answer(ledger.standing(where, since=0.0, until=2_000.0)).used
        return found[0][3] if found else 0

    tag, extra = f"tag:{name}", f"extra:{name}"
    assert [spent({tag: one}) for one in ("x", "y", None, "z")] == [12, 11, 13, 0]
    assert [spent({extra: one}) for one in ("1", "2", "x", None)] == [16, 7, 13, 0]
    assert spent({tag: "x", extra: "1"}) == 5
    assert [one.reserve for one in answer(ledger.standing({tag: "x"}, since=0.0, until=2_000.0)).open] == [90]
    with pytest.raises(ValueError, match="told apart by 'tag:'"):
        ledger.standing({"tag:": "x"}, since=0.0, until=1.0)


def test_what_shadows_of_calls_have_used_is_kept_apart(ledger: Ledger) -> None:
    for call_id, shadow_of in (("c1", None), ("c1-shadow", "c1")):
        call = record(call_id, shadow_of=shadow_of)
        answer(ledger.open_attempt(intent(call_id, call=call)))
        answer(ledger.settle_attempt(call_id, 1, settlement(cost=50 if shadow_of is None else 7)))
        answer(ledger.open_attempt(intent(call_id, 2, call=call)))
        answer(ledger.close_call(call))
    spent = {
        which: answer(ledger.standing({}, since=0.0, until=2_000.0, shadow_calls=which))
        for which in ("without", "only", "with")
    }
    assert {which: one.used[0][3] for which, one in spent.items()} == {"without": 50, "only": 7, "with": 57}
    assert [one.call_id for one in spent["only"].open] == ["c1-shadow"]
    assert answer(ledger.standing({}, since=0.0, until=2_000.0)) == spent["without"]
    assert [row["shadow_of"] for row in (*ledger.calls(), *ledger.attempts())] == [
        *(None, "c1"),
        *(None, None, "c1", "c1"),
    ]


def test_arms_of_experiments_stand_in_the_call_and_by_experiment(ledger: Ledger) -> None:
    answer(ledger.close_call(record("c1", experiments={"tone": "b", "size": "a"}, units={"tone": "5fa1"})))
    answer(ledger.close_call(record("c2", error=RuntimeError("no"), at=999.0, experiments={"tone": "a"})))
    answer(ledger.close_call(record("c3")))
    ledger.flush()
    assert [row["experiments"] for row in ledger.calls()] == [{"tone": "a"}, {"tone": "b", "size": "a"}, None]
    found = [tuple(row.values()) for row in ledger.assignments()]
    assert found == [
        ("tone", "c2", "a", None, 999.0),
        ("size", "c1", "a", None, 1_000.0),
        ("tone", "c1", "b", "5fa1", 1_000.0),
    ]
    assert [row["experiment"] for row in ledger.assignments("c1")] == ["size", "tone"]


def test_feedback_is_kept_once_also_before_its_call_is_there(ledger: Ledger) -> None:
    good = Feedback(id="f1", call_id="c1", at=5.0, score=0.9, comment="well \0 done", source="user")
    answer(ledger.add_feedback(good))
    answer(ledger.add_feedback(Feedback(id="f1", call_id="c1", at=6.0, score=0.1)))
    answer(ledger.add_feedback(Feedback(id="f0", call_id="c2", at=7.0, name="helpful", score=math.nan)))
    ledger.flush()
    first, second = ledger.feedback()
    assert (first["id"], first["score"], first["comment"]) == ("f1", 0.9, "well \\x00 done")
    assert (second["id"], second["name"], second["score"]) == ("f0", "helpful", None)
    assert ledger.feedback("c1") == [first]


def test_the_rule_and_the_shape_of_a_request_stand_in_the_row_of_the_call(ledger: Ledger) -> None:
    shape = {"messages": 2, "input_tokens": 90, "tools": 3, "fallbacks": ["strong"]}
    answer(ledger.close_call(record("c1", rule="rules[0]", shape=shape)))
    answer(ledger.close_call(record("c2")))
    assert [(row["rule"], row["shape"]) for row in ledger.calls()] == [("rules[0]", shape), (None, None)]


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE attempts; --",
        ":name %s ? {x}",
        "日本語🙂",
        "half \ud800 surrogate",
        "nul \0 inside",
        "x" * 10_000,
        "",
    ],
)
def test_text_of_any_kind_is_only_text(ledger: Ledger, text: str) -> None:
    labels = labels_of(Context(tenant=text), {text: text})
    answer(ledger.open_attempt(intent(text, labels=labels)))
    assert answer(ledger.settle_attempt(text, 1, settlement())) is True
    assert answer(ledger.standing({"tenant": text}, since=0, until=2_000)).used == ((0, 1, 17, 50),)
    answer(ledger.close_call(record(text, reason=text, tags={text: text})))
    (row,), (call,) = ledger.attempts(text), ledger.calls(text)
    safe = plain_text(text)
    assert row["tags"] == call["tags"] == call["decision"]["tags"] == {safe: safe}
    assert row["call_id"] == row["tenant"] == call["call_id"] == call["reason"]
    assert "\0" not in row["call_id"]
    row["call_id"].encode()


def test_numbers_that_json_does_not_have_become_null(ledger: Ledger) -> None:
    choice = Selection(alias="fast", considered=("a", "b"), scores={"a": float("inf"), "b": 0.5})
    answer(ledger.close_call(record(selections=[choice])))
    assert ledger.calls()[0]["decision"]["selections"][0]["scores"] == {"a": None, "b": 0.5}


@WHO_WAS_FIRST
def test_threads_lose_and_double_nothing_and_all_sums_agree(ledger: Ledger) -> None:
    settled: list[bool] = []

    def work(seed: int) -> None:
        for turn in range(25):
            call_id = f"{turn}"  # the same calls in every thread: all but one of them repeat
            for number in (1, 2):
                answer(ledger.open_attempt(intent(call_id, number, at=float(turn))))
                settled.append(answer(ledger.settle_attempt(call_id, number, settlement(cost=number * 10))))
            answer(ledger.close_call(record(call_id, costs=(10, 20), at=float(turn))))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rows, calls = ledger.attempts(), ledger.calls()
    assert (len(rows), len(calls), sum(settled)) == (50, 25, 50)
    for column in ("cost_nano_usd", "input_tokens", "output_tokens", "reasoning_tokens"):
        assert sum(row[column] for row in rows) == sum(call[column] for call in calls)


def test_closing_twice_is_fine_and_rows_can_still_be_read(ledger: Ledger) -> None:
    ledger.open_attempt(intent())
    ledger.close()
    ledger.close()
    ledger.flush()
    assert [row["call_id"] for row in ledger.attempts()] == ["c1"]


def test_the_same_calls_give_equal_rows_in_both_ledgers(tmp_path: Path) -> None:
    failure = Failure(error_class=ErrorClass.OVERLOADED, scope=Scope.PROVIDER, status=529)
    selection = Selection(
        alias="fast",
        considered=("a", "b"),
        dropped={"b": ("region", "eu")},
        order=("a",),
        scores={"a": 1},
    )

    def script(ledger: Ledger) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        estimated = Usage(input=3, cached_input=4, cache_write=5, output=6, reasoning=7, estimated=True)
        ledger.open_attempt(intent("c1", 1, at=5, labels=labels_of(WHO, {"a": "b"})))
        ledger.open_attempt(intent("c1", 2, at=6.5, reason="retry"))
        ledger.open_attempt(intent("c2", 1, at=7))
        ledger.settle_attempt("c1", 1, settlement("error", 0, error_class="overloaded", http_status=529))
        ledger.settle_attempt("c1", 2, settlement("abandoned", usage=estimated, latency=2, first_token=1))
        ledger.close_call(record("c1", (0, 50), WHO, tags={"a": "b"}, selections=[selection], stream=True))
        ledger.close_call(record("c3", (), at=9, status="denied", denied_by="budget", reason="no money"))
        ledger.close_call(record("c4", (5, 0), at=10, error=ValueError("x"), failure=failure))
        ledger.recover(older_than=10, now=100)
        return ledger.attempts(), ledger.calls()

    sql = open_ledger(f"sqlite:///{tmp_path}/books.db")
    memory_rows, sql_rows = script(MemoryLedger()), script(sql)
    sql.close()
    assert memory_rows == sql_rows
    assert [list(row) for row in memory_rows[0]] == [list(row) for row in sql_rows[0]], (
        "same keys, same order"
    )
    assert [list(row) for row in memory_rows[1]] == [list(row) for row in sql_rows[1]]
    assert (len(sql_rows[0]), len(sql_rows[1])) == (3, 3)
