"""What hosts build on: admission apart, their own candidates and pick, stepping."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from support.gateways import deployment, scene
from support.plugins import Admit, Narrow, Rank, Witness

from llmgate_plugins import (
    Call,
    ConfigurationError,
    Context,
    Deployment,
    Gateway,
    Message,
    ProviderError,
    Request,
    RequestDenied,
    Response,
)
from llmgate_plugins.gateway import Open, Send
from llmgate_plugins.testing import ScriptedProvider, Stream

HELLO = Request(model="fast", messages=(Message(role="user", content="hello"),))


class Host(ScriptedProvider):
    """A host with deployments of its own, which picks the last one where nobody ranks."""

    def __init__(self, script: dict, ids: Sequence[str]) -> None:
        super().__init__(script, default=None)
        self.own = {id: deployment(id, "group") for id in ids}
        self.picked: list[list[str]] = []

    def candidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        return list(self.own.values()) if alias == "group" else []

    async def acandidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        await asyncio.sleep(0)
        return self.candidates(alias, request, call)

    def pick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        self.picked.append([one.id for one in deployments])
        return deployments[-1]

    async def apick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        return self.pick(deployments, request, call)


def both(gateway: Gateway, request: Request, transport: ScriptedProvider) -> list[str]:
    return [
        gateway.complete(request, transport=transport).text,
        asyncio.run(gateway.acomplete(request, transport=transport)).text,
    ]


def test_with_no_opinion_the_host_picks_and_failed_ones_are_left_out() -> None:
    host = Host({"x": ["x"], "y": ["y"], "z": [ProviderError("dead", status=503)]}, "xyz")
    gateway = Gateway()
    assert both(gateway, Request(model="group"), host) == ["y", "y"]
    assert host.picked == [["x", "y", "z"], ["x", "y"]] * 2


def test_a_ranking_of_ours_goes_before_the_hosts_pick() -> None:
    host = Host({"x": ["x"], "y": ["y"]}, "xy")
    gateway = Gateway(plugins=[Rank("x")])
    assert both(gateway, Request(model="group"), host) == ["x", "x"]
    assert host.picked == []


def test_the_host_picks_among_what_narrowing_leaves() -> None:
    host = Host({"x": ["x"], "y": ["y"]}, "xy")
    gateway = Gateway(plugins=[Narrow({"y": "region"})])
    assert both(gateway, Request(model="group"), host) == ["x", "x"]
    assert host.picked == [["x"], ["x"]]


def test_admission_can_run_before_the_rest_of_a_call() -> None:
    witness = Witness()
    s = scene({"a": ["fine"]}, Admit(lambda r: r.replace(tags={"seen": "yes"})), witness)
    call = s.gateway.admit(HELLO, context=Context(team="t"))
    assert call.request.tags == {"seen": "yes"}
    assert witness.heard == ["admit_request"]
    assert s.gateway.complete(call).text == "fine"
    assert witness.heard.count("admit_request") == 1
    assert witness.records[0].call_id == call.id
    assert witness.records[0].context.team == "t"


def test_an_admitted_call_may_be_streamed() -> None:
    s = scene({"a": [Stream("a", "b")]})
    call = s.gateway.admit(HELLO)
    assert "".join(chunk.text for chunk in s.gateway.stream(call)) == "ab"
    assert s.gateway.decisions[-1].stream


def test_a_denied_admission_is_booked() -> None:
    def deny(request: Request) -> None:
        raise RequestDenied("no")

    s = scene({"a": ["x"]}, Admit(deny))
    with pytest.raises(RequestDenied):
        s.gateway.admit(HELLO)

    async def main() -> None:
        with pytest.raises(RequestDenied):
            await s.gateway.aadmit(HELLO)

    asyncio.run(main())
    assert [row["status"] for row in s.ledger.calls()] == ["denied", "denied"]


def test_a_call_the_host_answers_itself_is_dismissed_once() -> None:
    witness = Witness()
    s = scene({"a": ["x"]}, witness)
    call = s.gateway.admit(HELLO)
    s.gateway.dismiss(call)
    s.gateway.dismiss(call)
    asyncio.run(s.gateway.adismiss(call))
    assert witness.heard == ["admit_request", "end_call answered"]
    assert s.gateway.decision(call.id) is call.record


def test_a_host_may_step_a_stream_with_its_own_chunks() -> None:
    from llmgate_plugins import Chunk

    s = scene({"a": ["x"], "b": ["x"]})
    steps = s.gateway.steps(HELLO.replace(stream=True))
    opened = next(steps)
    assert isinstance(opened, Open)
    assert opened.attempt.deployment.id == "a"
    opened = steps.throw(ConnectionResetError("reset"))
    assert opened.attempt.deployment.id == "b"
    got = [steps.send(iter([Chunk(text="one"), Chunk(text="two"), Chunk(finish_reason="stop")])), *steps]
    assert [chunk.text for chunk in got] == ["one", "two", ""]
    assert s.gateway.decisions[-1].status == "success"


def test_a_stepping_host_gets_the_final_error() -> None:
    s = scene({"a": ["x"]})
    steps = s.gateway.steps(HELLO)
    assert isinstance(next(steps), Send)
    error = ProviderError("bad", status=400)
    with pytest.raises(ProviderError) as raised:
        steps.throw(error)
    assert raised.value is error
    assert s.books_balance()


def test_a_gateway_without_a_transport_says_so() -> None:
    with pytest.raises(ConfigurationError, match="has no transport"):
        Gateway([deployment("a")]).complete("fast", "hi")


def test_the_same_call_id_and_seed_give_the_same_record() -> None:
    def story() -> dict:
        s = scene({"a": [ProviderError("x", status=503)], "b": ["fine"]}, seed=7)
        s.gateway.complete("fast", "hi")
        return s.gateway.decisions[-1].to_dict()

    assert story() == story()


def test_call_ids_are_time_ordered_uuids() -> None:
    import uuid

    s = scene({"a": ["x"]})
    ids = []
    for _ in range(5):
        s.gateway.complete("fast", "hi")
        s.clock.advance(1)
        ids.append(s.gateway.decisions[-1].call_id)
    assert ids == sorted(ids)
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


def test_prompts_dicts_and_messages_are_all_understood() -> None:
    s = scene({"a": ["x"]})
    s.gateway.complete("fast", "hi")
    s.gateway.complete("fast", [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
    s.gateway.complete("fast", [Message(role="user", content="hi")], temperature=0.5)
    asked = [request for _, request in s.provider.sent]
    assert [[m.role for m in one.messages] for one in asked] == [["user"], ["system", "user"], ["user"]]
    assert asked[2].params == {"temperature": 0.5}


def test_a_plugins_own_answer_reaches_a_stepping_host() -> None:
    s = scene({"a": ["x"]}, Admit(lambda r: Response.of("cached")))
    assert [step.text for step in s.gateway.steps(HELLO)] == ["cached"]
