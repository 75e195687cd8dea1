"""Amounts, times and tables as they are printed."""

from __future__ import annotations

import click
import pytest

from llmgate_plugins import Usage
from llmgate_plugins.cli.output import cells, count, pairs, seconds, short, table, tokens, usd


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0"),
        (1, "$0.000000001"),
        (3_160, "$0.0000032"),
        (75_000, "$0.000075"),
        (12_345_678, "$0.0123"),
        (1_500_000_000, "$1.50"),
        (1_234_567_000_000_000, "$1,234,567.00"),
    ],
)
def test_small_amounts_keep_two_telling_digits(nano: int, shown: str) -> None:
    assert usd(nano) == shown


def test_times_tokens_and_counts_are_short() -> None:
    assert (seconds(None), seconds(0.0123), seconds(1.257)) == ("-", "12 ms", "1.26 s")
    assert (seconds(0.9994), seconds(0.9996)) == ("999 ms", "1.00 s")
    assert tokens(Usage(input=1, cached_input=2, cache_write=3, output=4, reasoning=5)) == "6 in, 9 out"
    assert tokens(Usage(input=1, estimated=True)) == "about 1 in, 0 out"
    assert (count(1, "call"), count(2, "call")) == ("1 call", "2 calls")


def test_a_table_folds_its_last_column_to_80() -> None:
    lines = table([("a", 5, "word " * 40), ("long name", 12345, "x")], ["name", "n", "what"], right=[1])
    assert max(map(len, lines)) <= 80
    assert lines[0] == "name           n  what"
    assert lines[1].startswith("a              5  word word")
    assert lines[2].startswith(" " * 18 + "word")
    assert lines[-1] == "long name  12345  x"


def test_wide_characters_take_two_columns() -> None:
    lines = table([("検索チーム", "1"), ("mail", "12"), ("e\u0301quipe", "3")], ["team", "n"], right=[1])
    assert [cells(line) for line in lines] == [14, 14, 14, 14]
    folded = table([("a", "検索チーム " * 20)], ["team", "what"])
    assert max(cells(line) for line in folded) <= 80
    assert short("検索チームの名前", 9) == "検索チ..."
    assert short("検索", 4) == "検索"


def test_labels_are_pairs() -> None:
    assert pairs(["a=b", "c=d=e"], "--tag") == {"a": "b", "c": "d=e"}
    with pytest.raises(click.BadParameter, match="'a' must be KEY=VALUE"):
        pairs(["a"], "--tag")
