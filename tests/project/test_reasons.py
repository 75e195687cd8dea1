"""Every reason code that a built-in plugin gives stands in the list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmgate_plugins
from llmgate_plugins.plugins.health import scopes
from llmgate_plugins.plugins.narrowing import PARTS
from llmgate_plugins.policies.reasons import REASONS as OF_POLICIES
from llmgate_plugins.reasons import REASONS

PACKAGE = Path(llmgate_plugins.__file__).parent
SOURCES = sorted(path for folder in ("plugins", "_engine") for path in (PACKAGE / folder).rglob("*.py"))
KNOWN = {(one.decision, one.code) for one in REASONS}
DECISIONS = {"Skip": "skipped", "GiveUp": "gave up", "RequestDenied": "denied"}


def codes_in(path: Path) -> Iterator[tuple[str, str]]:
    """Codes that are written where they are given."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        decision = DECISIONS.get(node.func.id)
        named = [keyword.value for keyword in node.keywords if keyword.arg in ("code", "reason")]
        first = node.args[:1] if decision != "denied" else []
        for value in (*first, *named):
            if decision is not None and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield decision, value.value


def test_codes_are_found_at_all() -> None:
    found = {code for path in SOURCES for code in codes_in(path)}
    assert {("skipped", "retry_budget"), ("gave up", "ejected"), ("denied", "policy")} <= found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_code_is_in_the_list(path: Path) -> None:
    assert set(codes_in(path)) <= KNOWN


def test_so_are_those_that_are_put_together() -> None:
    ailments = {*scopes._AILMENTS.values(), *scopes._CODES.values(), scopes._NOT_ALLOWED}
    dropped = {reason for _, reason in ailments}
    dropped |= {f"no_{capability}" for capability in (*PARTS.values(), "tools", "json_schema")}
    dropped |= {*OF_POLICIES, "region", "context_window", "probing"}
    assert {("dropped", code) for code in dropped} <= KNOWN


def test_each_says_what_it_means_once_for_each_plugin() -> None:
    assert all(one.meaning.endswith(".") for one in REASONS)
    assert len({(one.decision, one.plugin, one.code) for one in REASONS}) == len(REASONS)
