"""Shadows are compared pair by pair, from the books."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.gateways import PRICE, deployment

from llmgate_plugins import Gateway, Price
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.insight.shadows import Paired, read_shadows
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.plugins import Policies
from llmgate_plugins.plugins.shadow import Shadow, ShadowPolicies, ShadowPolicy, ShadowTraffic
from llmgate_plugins.testing import Fault, ScriptedProvider

DEAR = Price(input=3_000_000, output=6_000_000)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('shadows') / 'books.db'}"
    script = {"a": ["one two three four"], "c": ["ok"], "b": [*["one two three five"] * 39, Fault("server")]}
    fleet = [
        deployment("a", "fast", price=PRICE),
        deployment("c", "fast", price=Price(input=1, output=1)),
        deployment("b", "next", price=DEAR),
    ]
    gateway = Gateway(
        fleet,
        plugins=[
            ShadowTraffic([Shadow(name="candidate", to="next", similarity=True)]),
            ShadowPolicies([ShadowPolicy(policy="saving")]),
            Policies({"default": {"prefer": "ordered"}, "saving": {"prefer": "cheapest"}}),
        ],
        transport=ScriptedProvider(script, default=None),
        ledger=SqlLedger(url),
    )
    with gateway:
        for _ in range(40):
            gateway.complete("fast", "hello there")
            assert gateway.follow_ups.wait(30)
    return url


def test_copies_are_compared_with_their_originals_pair_by_pair(url: str) -> None:
    (row,) = read_shadows(url).traffic
    assert (row.name, row.deployment, row.copies, row.succeeded) == ("candidate", "b", 40, 39)
    assert row.price.ratio == pytest.approx(3.0, rel=0.01)
    assert (row.price.pairs, row.price.low) == (39, pytest.approx(row.price.ratio))
    assert row.length.ratio == 1.0
    assert row.same_finish == 1.0
    assert 0.5 < (row.similarity or 0) < 1
    assert row.cost > 0


def test_what_a_shadow_policy_would_have_done_is_added_up(url: str) -> None:
    (row,) = read_shadows(url).policies
    assert (row.policy, row.selections, row.agreeing, row.errors) == ("saving", 40, 0, 0)
    assert row.instead == {("a", "c"): 40}
    assert row.agreement is not None
    assert row.agreement.high < 0.1
    assert row.expected < row.real_expected


def test_the_command_shows_both_in_80_columns(url: str) -> None:
    result = CliRunner().invoke(llmgate, ["shadow", "--ledger", url])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    for word in ("candidate", "x3.00", "Policy saving in shadow", "0 of 40"):
        assert word in result.output, result.output
    told = json.loads(CliRunner().invoke(llmgate, ["shadow", "--ledger", url, "--json"]).output)
    assert told["traffic"][0]["copies"] == 40


def test_a_span_without_shadows_is_told(url: str) -> None:
    result = CliRunner().invoke(llmgate, ["shadow", "--ledger", url, "--until", "2020-01-01"])
    assert "No shadows in the books" in result.output


def test_an_interval_needs_enough_pairs() -> None:
    assert Paired.of(0, 0.0, 0.0) == Paired(0)
    few = Paired.of(5, 0.0, 0.0)
    assert (few.ratio, few.low) == (1.0, None)
    many = Paired.of(100, 0.0, 4.0)
    assert many.low is not None
    assert many.high is not None
    assert many.low < 1.0 < many.high
    assert many.low == pytest.approx(1 / many.high)
