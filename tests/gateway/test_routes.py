"""Aliases and fallbacks: nested, each once; loops and names that lead nowhere are refused, all at once."""

from __future__ import annotations

import pytest
from support.gateways import deployment

from llmgate_plugins import ConfigurationError, UnknownModel
from llmgate_plugins.routes import AliasTable

FAST, STRONG, LOCAL = deployment("a"), deployment("s", "strong"), deployment("l", "local")


def test_nested_fallbacks_follow_depth_first_each_once() -> None:
    table = AliasTable(
        [FAST, STRONG, LOCAL],
        fallbacks={"fast": ["strong", "local"], "strong": ["local"]},
        aliases={"quick": "fast"},
    )
    assert table.chain("fast") == ("fast", "strong", "local")
    assert table.chain("quick") == ("fast", "strong", "local")
    assert table.chain("local") == ("local",)


def test_a_circle_of_fallbacks_ends_where_it_began() -> None:
    table = AliasTable([FAST, STRONG], fallbacks={"fast": ["strong"], "strong": ["fast"]})
    assert table.chain("fast") == ("fast", "strong")
    assert table.chain("strong") == ("strong", "fast")


def test_a_calls_own_fallbacks_replace_the_configured_ones() -> None:
    table = AliasTable([FAST, STRONG, LOCAL], fallbacks={"fast": ["strong"]}, aliases={"near": "local"})
    assert table.chain("fast", ["near", "fast"]) == ("fast", "local")
    assert table.chain("fast", []) == ("fast",)


def test_a_deployment_can_be_a_fallback_by_its_id() -> None:
    table = AliasTable([FAST, STRONG], fallbacks={"fast": ["s"]})
    assert [one.id for alias in table.chain("fast") for one in table.deployments(alias)] == ["a", "s"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aliases": {"x": "y", "y": "x"}}, "alias loop: x -> y -> x"),
        ({"aliases": {"x": "nowhere"}}, "alias 'x' leads to 'nowhere', which has no deployment"),
        ({"fallbacks": {"fast": ["nowhere"]}}, "'fast' falls back to 'nowhere', which has no deployment"),
    ],
)
def test_what_leads_nowhere_or_in_circles_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AliasTable([FAST, STRONG], **options)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        AliasTable([FAST, FAST], aliases={"x": "nowhere"}, fallbacks={"fast": ["gone"]})
    assert len(refused.value.problems) == 3


def test_an_unknown_name_is_told_with_what_is_known() -> None:
    with pytest.raises(UnknownModel, match="known are fast, strong"):
        AliasTable([FAST, STRONG]).deployments("zzz")
