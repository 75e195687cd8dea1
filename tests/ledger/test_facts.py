"""What an outbox keeps of a row is read by whoever finds it there: after a crash, by another version."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.books import intent, record, settlement

from llmgate_plugins.context import Context
from llmgate_plugins.ledger import SqlLedger, lines, plain
from llmgate_plugins.ledger.entries import step_of
from llmgate_plugins.ledger.facts import READERS, intent_facts
from llmgate_plugins.ledger.lines import brief_line, step_in, step_line
from llmgate_plugins.ledger.outbox import Outbox
from llmgate_plugins.ledger.plain import json_bytes
from llmgate_plugins.types import ErrorClass, Failure, Price, Scope, Usage


class Name(str):
    """Text of the application's own kind."""

    __slots__ = ()


TEXT = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["\0", "half \ud83d", "日本語🙂", 'a "quoted"\nline', "\\u0000", Name("own")]),
)
SOMETIMES = st.none() | TEXT
FACTS = st.dictionaries(TEXT, TEXT, max_size=3)
NUMBERS = st.integers(0, 2**70)
SECONDS = st.floats() | st.none()
WHO = st.builds(Context, tenant=SOMETIMES, user=SOMETIMES, policy=SOMETIMES, extra=FACTS)
USAGE = st.builds(
    Usage, input=NUMBERS, reasoning=NUMBERS, image_output=NUMBERS, estimated=st.booleans(), tier=TEXT
)
PRICES = st.none() | st.builds(Price, source=TEXT, as_of=TEXT)
RECORDS = st.builds(
    record,
    TEXT,
    st.lists(NUMBERS, max_size=3).map(tuple),
    WHO,
    error=st.none() | st.just(ValueError("no")),
    failure=st.none()
    | st.builds(Failure, error_class=st.sampled_from(ErrorClass), scope=st.sampled_from(Scope)),
    tags=FACTS,
    experiments=FACTS,
    rule=SOMETIMES,
    shadow_of=SOMETIMES,
    trace_id=SOMETIMES,
    first_token=SECONDS,
)
LABELS = st.dictionaries(st.sampled_from(["tenant", "key", "tag:a", "extra:ü", "tag:\ud83d"]), TEXT)
SUBJECTS = st.one_of(
    st.tuples(
        st.just("open"),
        st.builds(
            intent,
            TEXT,
            labels=LABELS,
            estimate=NUMBERS,
            expires=SECONDS,
            selection=st.integers(0, 3),
            call=st.none() | RECORDS,
        ),
    ),
    st.tuples(
        st.just("settle"),
        st.tuples(
            TEXT,
            st.integers(1, 9),
            st.builds(
                settlement, usage=USAGE, price=PRICES, code=SOMETIMES, first_token=SECONDS, model=SOMETIMES
            ),
        ),
    ),
    st.tuples(st.just("close"), RECORDS),
)


@given(SUBJECTS)
@example(("open", intent("c", expires=math.inf)))
def test_of_what_stands_in_a_file_the_same_row_is_made_as_of_what_was_handed_over(
    handed_over: tuple[str, Any],
) -> None:
    kind, subject = handed_over
    read = step_in(brief_line(READERS[kind](subject)))
    assert read is not None
    whole = step_of(kind, subject)
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in whole.values.items()
    }
    if whole.kind == "close":
        assert read.values.pop("decision") == "{}" != values.pop("decision")
        assert read.values.pop("problems") == values.pop("problems")
    assert (read.kind, read.values) == (whole.kind, values)


def line(text: str) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text.encode()), text.encode())


WRITTEN = (
    (
        '["open",["c1",1,1000.0,"fast","first",70,80,90,1060.5,2],{"team":"search","tag:a":"b"},'
        '["openai-eu","openai","gpt-4o-mini","eu","key-1",["litellm","2026-11-01"]],'
        '["fast","chat",true,3,"trace","default","7","other"]]'
    ),
    (
        '["settle",["c1",1],["error",1001.0,50,0.5,0.25,"stop","gpt-4o-mini-2024","timeout","deployment","slow",504],'
        '[true,"batch",10,1,2,3,4,5,6,7,8,9],["config",""]]'
    ),
    (
        '["close",["c1",1000.0,"fast","chat",true,"success",0.6,0.3,"Guard","why","what","trace","default","7",'
        '"rule 1","other"],{"a":"b"},{"prompt":"new"},[{"team":"search"},3,{"desk":"7"}],'
        '[[["openai-us","openai","gpt-4o","fast"],["error",null,20],[true,"",1,0,0,0,0,0,2,0,0,0],"timeout"],'
        '[["openai-eu","openai","gpt-4o-mini","strong"],["success","gpt-4o-mini-2024",30],'
        '[false,"",10,0,0,0,0,0,5,0,0,0],null]]]'
    ),
    (
        '{"kind":"open","values":{"call_id":"c2","number":1,"at":1000.0,"alias":"fast","reason":"first",'
        '"deployment":"openai-eu","provider":"openai","model":"gpt-4o-mini","tags":"{}","extra":"{}"}}'
    ),
)
"""Lines as version 0.1.0 writes them. Others may be found in an outbox for years: leave them as they are."""


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/books.db")
    yield ledger
    ledger.close()


def left_behind(folder: Path, *lines: bytes) -> None:
    """An outbox of a process that is gone."""
    outbox = Outbox(folder, sync=False)
    with mock.patch("llmgate_plugins.ledger.outbox.step_line", lambda one: one):
        outbox.put(lines)  # type: ignore[arg-type]
    outbox.close()


def test_lines_that_an_earlier_version_wrote_are_read_as_they_were_meant(
    books: SqlLedger, tmp_path: Path
) -> None:
    left_behind(tmp_path / "books.db.outbox", *map(line, WRITTEN))
    row, other = books.attempts()
    assert (row["call_id"], row["number"], row["at"], row["alias"], row["reason"]) == (
        "c1", 1, 1000.0, "fast", "first",
    )  # fmt: skip
    assert (row["estimate_nano_usd"], row["reserve_nano_usd"], row["reserve_tokens"]) == (70, 80, 90)
    assert (row["expires"], row["decision_id"]) == (1060.5, "c1.2")
    assert (row["team"], row["tags"], row["extra"]) == ("search", {"a": "b"}, {})
    assert (row["deployment"], row["provider"], row["model"]) == ("openai-eu", "openai", "gpt-4o-mini")
    assert (row["region"], row["credential"]) == ("eu", "key-1")
    assert (row["requested_model"], row["operation"], row["stream"]) == ("fast", "chat", True)
    assert (row["priority"], row["trace_id"], row["shadow_of"]) == (3, "trace", "other")
    assert (row["policy"], row["policy_version"]) == ("default", "7")
    assert (row["status"], row["settled_at"], row["cost_nano_usd"]) == ("error", 1001.0, 50)
    assert (row["latency_s"], row["first_token_s"], row["finish_reason"]) == (0.5, 0.25, "stop")
    assert (row["served_model"], row["error_class"], row["scope"]) == (
        "gpt-4o-mini-2024", "timeout", "deployment",
    )  # fmt: skip
    assert (row["code"], row["http_status"]) == ("slow", 504)
    assert (row["price_source"], row["price_as_of"]) == ("config", "")
    assert (row["estimated"], row["service_tier"]) == (True, "batch")
    tokens = ["input", "cached_input", "cache_write", "cache_write_1h", "audio_input", "image_input"]
    tokens += ["output", "reasoning", "audio_output", "image_output"]
    assert [row[f"{one}_tokens"] for one in tokens] == [10, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert (other["call_id"], other["status"], other["tags"]) == ("c2", "intent", {})

    (call,) = books.calls()
    assert (call["call_id"], call["at"], call["model"], call["stream"]) == ("c1", 1000.0, "fast", True)
    assert (call["status"], call["latency_s"], call["first_token_s"]) == ("success", 0.6, 0.3)
    assert (call["denied_by"], call["reason"], call["error"]) == ("Guard", "why", "what")
    assert (call["trace_id"], call["policy"], call["policy_version"]) == ("trace", "default", "7")
    assert (call["rule"], call["shadow_of"], call["experiments"]) == ("rule 1", "other", {"prompt": "new"})
    assert (call["team"], call["priority"], call["extra"]) == ("search", 3, {"desk": "7"})
    assert (call["tags"], call["attempts"], call["cost_nano_usd"]) == ({"a": "b"}, 2, 50)
    assert (call["first_deployment"], call["served_by"]) == ("openai-us", "openai-eu")
    assert (call["served_provider"], call["served_alias"]) == ("openai", "strong")
    assert (call["served_model"], call["error_class"]) == ("gpt-4o-mini-2024", "timeout")
    assert (call["input_tokens"], call["output_tokens"], call["estimated"]) == (11, 7, True)
    assert (call["decision"], call["problems"]) == ({}, [])


def test_what_a_later_version_says_besides_is_left_out_and_what_it_says_otherwise_is_put_aside(
    books: SqlLedger, tmp_path: Path
) -> None:
    more = WRITTEN[0].replace(",2],", ',2,"more"],').removesuffix("]") + ',"more"]'
    left_behind(
        tmp_path / "books.db.outbox",
        line(more),
        line('["move",["c1",1],"elsewhere"]'),
        line('["settle",["c1",1]]'),
        line(WRITTEN[3]),
    )
    assert [row["call_id"] for row in books.attempts()] == ["c1", "c2"]
    aside = (tmp_path / "books.db.outbox" / "rejected").read_text()
    assert ('"elsewhere"' in aside, '"settle"' in aside, aside.count("\n")) == (True, True, 2)


def test_of_more_rows_than_are_remembered_the_file_has_the_whole(books: SqlLedger) -> None:
    with mock.patch("llmgate_plugins.ledger.writer.REMEMBERED", 2), books._writer.gate:
        for number in range(5):
            books.close_call(record(f"c{number}")).result(timeout=0)
        ((file, extent),) = books._writer.outbox.waiting_of_all().items()
        lines = file.read_bytes()[extent.done : extent.end].splitlines(keepends=True)
        decisions = [step.values["decision"] for step in map(step_in, lines) if step is not None]
        assert [one == "{}" for one in decisions] == [True] * 2 + [False] * 3
    assert [row["decision"]["call_id"] for row in books.calls()] == [f"c{number}" for number in range(5)]


def test_where_orjson_is_missing_lines_say_the_same() -> None:
    handed_over = intent("ü\n", labels={"tag:a": "日本語"}, expires=1.5e16)
    facts = intent_facts(handed_over)
    with mock.patch.object(lines, "_dumps", json_bytes), mock.patch.dict(sys.modules, orjson=None):
        plain.quick_json.cache_clear()
        without = brief_line(facts)
    plain.quick_json.cache_clear()
    assert without == brief_line(facts)
    assert step_in(without) == step_of("open", handed_over)


def test_a_step_is_read_as_it_was_written() -> None:
    step = step_of("close", record("ü\n", tags={"a": "日本語"}))
    assert step_in(step_line(step)) == step
    assert step_in(step_line(step)[:-1]) is None
    assert step_in(step_line(step).replace(b"close", b"cLose")) is None
