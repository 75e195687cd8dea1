"""Installed plugins load by allow-list only, checked before they are imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.distributions import distribution

from llmgate_plugins import ConfigurationError, PluginRefused
from llmgate_plugins._discovery import Allowed, installed
from llmgate_plugins._loading import load_allowed
from llmgate_plugins._registry import Registry


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("LLMGATE_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    return tmp_path


def test_nothing_is_imported_that_is_not_allowed(site: Path) -> None:
    distribution(site, "llmgate-quiet", "1.0", {"quiet": "llmgate_quiet:Limit"})
    assert "quiet" in [one.name for one in installed()]
    assert load_allowed([]) == []
    assert "llmgate_quiet" not in sys.modules


def test_an_allowed_plugin_is_made_with_its_options(site: Path) -> None:
    distribution(
        site, "llmgate-limit", "1.2.0", {"limit": "llmgate_limit:Limit", "ready": "llmgate_limit:ready"}
    )
    made, ready = load_allowed(
        [
            Allowed(name="limit", dist="llmgate_limit", version="==1.2.0", options={"most": 5}),
            Allowed(name="ready"),
        ]
    )
    assert (made.most, ready.most) == (5, 9)
    assert Registry([made]).hooks.admit_request


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (Allowed(name="absent"), "plugin 'absent': is not installed"),
        (Allowed(name="pinned", dist="llmgate-other"), "comes from llmgate-pinned, not from llmgate-other"),
        (Allowed(name="pinned", version="2.0"), "llmgate-pinned is installed in version 1.0, allowed is 2.0"),
        (Allowed(name="twice"), "is claimed by several distributions: llmgate-pinned, llmgate-rival"),
    ],
)
def test_what_is_not_as_allowed_is_refused_before_import(site: Path, allowed: Allowed, message: str) -> None:
    distribution(
        site, "llmgate-pinned", "1.0", {"pinned": "llmgate_pinned:Limit", "twice": "llmgate_pinned:Limit"}
    )
    distribution(site, "llmgate-rival", "1.0", {"twice": "llmgate_rival:Limit"})
    with pytest.raises(ConfigurationError, match=message):
        load_allowed([allowed])
    assert "llmgate_pinned" not in sys.modules
    assert "llmgate_rival" not in sys.modules


def test_all_wrong_entries_are_told_at_once(site: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_allowed([Allowed(name="one"), Allowed(name="two")])
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize(
    ("entry", "options", "message"),
    [
        ("llmgate_{n}:nothing", {}, "cannot be imported"),
        ("llmgate_{n}:Limit", {"mast": 1}, r"takes no option mast \(did you mean most\? It takes most=1\)"),
        ("llmgate_{n}:broken", {}, "cannot start"),
        ("llmgate_{n}:ready", {"most": 1}, "takes no options"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution(
    site: Path, entry: str, options: dict[str, int], message: str
) -> None:
    name = f"b{abs(hash((entry, message))) % 10**6}"
    distribution(site, f"llmgate-{name}", "1.0", {name: entry.format(n=name)})
    with pytest.raises(PluginRefused, match=message) as refused:
        load_allowed([Allowed(name=name, options=options)])
    assert f"llmgate-{name} 1.0" in str(refused.value)


def test_the_environment_can_forbid_all_autoloading(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(site, "llmgate-off", "1.0", {"off": "llmgate_off:Limit"})
    monkeypatch.setenv("LLMGATE_DISABLE_PLUGIN_AUTOLOAD", "1")
    with pytest.raises(ConfigurationError, match="LLMGATE_DISABLE_PLUGIN_AUTOLOAD is set"):
        load_allowed([Allowed(name="off")])
