"""Keys that expire and models that are retired are told in time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from support.channels import BriefContract, Listener
from support.gateways import Scene, deployment

from llmgate_plugins import Alert, Deployment, Endpoint, Gateway, Secret
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.dates import moment_of
from llmgate_plugins.plugins import ExpiryAlerts
from llmgate_plugins.testing import ask

DAY = 86_400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def keyed(id: str, expires: Any, key: str = "env:KEY") -> Deployment:
    return deployment(id, endpoint=Endpoint(api_key=Secret(key)), info={"key_expires": expires})


def due(plugin: ExpiryAlerts, day: str) -> list[Alert]:
    return list(plugin.due(at(day)))


@pytest.mark.parametrize("expires", ["2026-12-31", date(2026, 12, 31), "2027-01-01T00:00:00+00:00"])
def test_a_key_is_told_from_two_weeks_before_until_it_is_changed(expires: Any) -> None:
    plugin = ExpiryAlerts([keyed("east", expires)])
    assert due(plugin, "2026-12-17") == []
    (near,) = due(plugin, "2026-12-19")
    assert (near.kind, near.subject, near.severity) == ("key_expiry", "env:KEY", "warning")
    assert near.summary == "Key env:KEY expires on 2026-12-31, in 13 days."
    (nearer,) = due(plugin, "2026-12-30")
    assert (nearer.severity, nearer.summary) == ("critical", "Key env:KEY expires on 2026-12-31, in 2 days.")
    (last,) = due(plugin, "2026-12-31T12:00:00")
    assert last.summary == "Key env:KEY expires on 2026-12-31, within a day."
    (gone,) = due(plugin, "2027-02-01")
    assert (gone.severity, gone.summary) == ("critical", "Key env:KEY has expired on 2026-12-31.")


def test_a_key_of_several_deployments_is_told_once() -> None:
    plugin = ExpiryAlerts([keyed("east", "2026-12-31"), keyed("west", "2026-12-31"), deployment("south")])
    assert [one.subject for one in due(plugin, "2026-12-30")] == ["env:KEY"]


def test_a_model_that_is_retired_is_told_for_information_then_as_a_warning() -> None:
    plugin = ExpiryAlerts([deployment("east")], retires=lambda _: date(2026, 12, 31))
    assert due(plugin, "2026-12-01") == []
    (early,) = due(plugin, "2026-12-10")
    assert (early.kind, early.subject, early.severity) == ("model_retirement", "east", "info")
    assert early.summary == (
        "Model scripted/model-east is retired by its provider on 2026-12-31, in 22 days."
    )
    (late,) = due(plugin, "2026-12-26")
    assert late.severity == "warning"
    assert due(plugin, "2027-01-05")[0].summary.endswith("was retired by its provider on 2026-12-31.")


def test_it_is_looked_at_once_an_hour_and_told_once() -> None:
    listener = Listener()
    now = 1_800_000_000.0
    expires = datetime.fromtimestamp(now + 5 * DAY, UTC).isoformat()
    scene = Scene({"east": ["fine"] * 100}, [listener, ExpiryAlerts([keyed("east", expires)])])
    for _ in range(40):
        assert ask("sync", scene.gateway).text == "fine"
        scene.clock.advance(600)
    assert scene.gateway.alerts.flush(10)
    assert listener.words == ["env:KEY warning"] * 2, "again after four hours"


def test_a_configured_gateway_knows_from_the_catalogue_when_models_are_retired() -> None:
    cards = {card.name: card for card in Catalog().all("chat") if card.deprecation is not None}
    name, card = next((name, card) for name, card in cards.items() if card.provider == "openai")
    model = {"model_name": "fast", "litellm_params": {"model": name, "api_key": "sk-any"}}
    made = Gateway.from_config({"model_list": [model]}, check_secrets=False)
    plugin = next(one for _, one in made.plugins if isinstance(one, ExpiryAlerts))
    assert card.deprecation is not None
    (alert,) = due(plugin, card.deprecation.isoformat())
    assert (alert.kind, alert.facts["day"]) == ("model_retirement", card.deprecation.isoformat())


@pytest.mark.parametrize("wrong", ["soon", "31.12.2026", 20261231, True, "2026-13-01"])
def test_a_date_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="write 2026-12-31"):
        moment_of(wrong)


class TestExpiryAlerts(BriefContract):
    def make_plugin(self) -> ExpiryAlerts:
        return ExpiryAlerts([keyed("east", "2026-12-31")])
