"""One gateway for many threads and tasks at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from support.gateways import scene
from support.plugins import AsyncWitness, Witness

from llmgate_plugins import Context, ProviderError, current_context, use_context


def test_32_threads_share_a_gateway_and_the_books_balance() -> None:
    witness = Witness()
    s = scene({"a": ["fine", ProviderError("x", status=503)] * 200, "b": ["from b"]}, witness)

    def ask(n: int) -> str:
        with use_context(Context(team=f"team-{n % 4}")):
            return s.gateway.complete("fast", f"question {n}", tags={"n": str(n)}).text

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(320)))
    assert set(answers) == {"fine", "from b"}
    assert len(s.ledger.calls()) == 320
    assert s.books_balance()
    assert Counter(witness.heard)["end_call success"] == 320
    for record in s.gateway.decisions:
        assert record.context.team == f"team-{int(record.tags['n']) % 4}"


def test_1000_tasks_share_a_gateway_with_async_plugins() -> None:
    witness = AsyncWitness()
    s = scene({"a": ["fine", ProviderError("x", status=503)] * 500, "b": ["from b"]}, witness)

    async def ask(n: int) -> str:
        with use_context(Context(user=str(n))):
            answer = await s.gateway.acomplete("fast", "hi", tags={"n": str(n)})
            assert current_context().user == str(n)
            return answer.text

    async def main() -> list[str]:
        return await asyncio.gather(*(ask(n) for n in range(1000)))

    answers = asyncio.run(main())
    assert len(answers) == 1000
    assert len(s.ledger.calls()) == 1000
    assert all(record.context.user == record.tags["n"] for record in s.gateway.decisions)
    assert s.books_balance()
    ids = [row["call_id"] for row in s.ledger.calls()]
    assert len(set(ids)) == 1000


def test_decisions_can_be_looked_up_while_others_are_made() -> None:
    s = scene({"a": ["fine"]})
    for number in range(1_000):  # as many as are remembered
        s.gateway.complete("fast", "hi", call_id=f"first-{number}")

    def ask(n: int) -> None:
        call_id = f"then-{n}"
        s.gateway.complete("fast", "hi", call_id=call_id)
        record = s.gateway.decision(call_id)
        assert record is not None
        assert record.call_id == call_id
        assert s.gateway.decision("nobody") is None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(400)))
