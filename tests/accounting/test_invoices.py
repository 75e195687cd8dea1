"""Invoices checked by hand (`invoices.yaml`): from a provider's answer to the tokens and money of the row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from support.invoices import INVOICES, Invoice, booked, catalogue, serving

from llmgate_plugins.catalog import Catalog
from llmgate_plugins.types import BUCKETS

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:The model '.*' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the .model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:pytest.PytestUnraisableExceptionWarning"),
]

TERM = re.compile(r"(\d+) x (\d+(?:\.\d+)?)")


@pytest.fixture(scope="module")
def put() -> Iterator[Callable[[Invoice], str]]:
    with serving() as putting:
        yield putting


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder: Path = tmp_path_factory.mktemp("prices")
    return catalogue(folder)


@pytest.mark.parametrize("invoice", INVOICES, ids=[f"{one['by']}: {one['what']}" for one in INVOICES])
def test_an_answer_is_booked_as_the_invoice_says(
    invoice: Invoice, put: Callable[[Invoice], str], catalog: Catalog
) -> None:
    (row,), record = booked(invoice, put(invoice), catalog)

    assert {bucket: row[f"{bucket}_tokens"] for bucket in BUCKETS} == dict.fromkeys(BUCKETS, 0) | invoice[
        "buckets"
    ]
    assert row["service_tier"] == invoice.get("tier")
    assert row["estimated"] is invoice.get("estimated", False)
    assert row["status"] == "success"
    assert row["cost_nano_usd"] == invoice["nano"]

    ((_, outcome),) = record.attempts
    assert outcome.price is not None
    if "charged" in invoice:
        assert (row["price_source"], outcome.usage.charged) == ("provider", invoice["nano"])
    else:
        assert row["price_source"] == ("config" if "configured" in invoice else "litellm")
        assert row["price_as_of"] == outcome.price.as_of
        if "apart" not in invoice:
            assert outcome.price.cost(outcome.usage) == row["cost_nano_usd"], (
                "the row says how it was counted"
            )
    assert (record.cost, record.usage) == (outcome.cost, outcome.usage)


@pytest.mark.parametrize(
    "invoice",
    [one for one in INVOICES if "sum" in one or "apart" in one],
    ids=lambda one: f"{one['by']}: {one['what']}",
)
def test_the_arithmetic_of_each_invoice_is_right(invoice: Invoice) -> None:
    """Its terms are the buckets, in order, at the price that the table names; they add up to the amount."""
    told = invoice["apart"] if "apart" in invoice else invoice["sum"]
    terms = [(int(tokens), Fraction(usd)) for tokens, usd in TERM.findall(told)]
    assert " + ".join(f"{tokens} x {usd}" for tokens, usd in TERM.findall(told)) == told
    buckets = list(invoice["buckets"].values())
    if "apart" in invoice:
        assert sum(tokens for tokens, _ in terms) == sum(buckets)
    else:
        assert [tokens for tokens, _ in terms] == buckets
    assert invoice["nano"] == math.ceil(sum(tokens * usd * 1000 for tokens, usd in terms))


def test_there_are_invoices_for_each_way_in_and_each_known_mistake() -> None:
    assert len(INVOICES) >= 60
    ways = {one["by"] for one in INVOICES}
    assert {"core", "core-stream", "litellm", "litellm-stream", "langchain", "langchain-stream"} <= ways
    assert sum("seen" in one for one in INVOICES) >= 35
    assert set(BUCKETS) == {bucket for one in INVOICES for bucket in one["buckets"]}
