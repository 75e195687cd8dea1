"""A state or ledger is given opened: an address in its place is refused, and not shown."""

from __future__ import annotations

from typing import Any

import pytest
from support.values import a_deployment

from llmgate_plugins import ConfigurationError, Gateway


@pytest.mark.parametrize(
    ("name", "address"), [("state", "redis://:hush@db"), ("ledger", "sqlite:///hush.db")]
)
def test_an_address_in_place_of_what_it_leads_to_is_refused(name: str, address: str) -> None:
    given: dict[str, Any] = {name: address}
    with pytest.raises(ConfigurationError, match=rf"{name}= is given an address.*open_{name}") as refused:
        Gateway([a_deployment("a")], **given)
    assert "hush" not in str(refused.value)
