"""What a deployment cannot do, as far as anybody knows, keeps requests that need it away."""

from __future__ import annotations

import timeit
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.values import a_deployment, a_request

from llmgate_plugins.capabilities import lacks
from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.plugins import Capabilities, ContextConstraints
from llmgate_plugins.types import Deployment, LazyMessages, Message, Request

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
PDF = {"type": "file", "file": {"filename": "report.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
TEXT = {"type": "text", "text": "what is this?"}


def able(id: str, *capabilities: str, **fields: Any) -> Deployment:
    return a_deployment(id, capabilities=frozenset(capabilities), **fields)


def showing(*parts: dict[str, Any]) -> Request:
    return a_request(messages=(Message(role="user", content=(TEXT, *parts)),))


def narrow(request: Request, *deployments: Deployment) -> dict[str, str]:
    drop = Capabilities().narrow_deployments(request, deployments)
    return dict(drop.reasons) if drop is not None else {}


BLIND = able("blind", "tools")
SEEING = able("seeing", "tools", "vision")
UNKNOWN = a_deployment("unknown")


def test_images_go_only_to_models_that_see() -> None:
    assert narrow(showing(IMAGE), BLIND, SEEING, UNKNOWN) == {"blind": "no_vision"}
    assert narrow(showing(), BLIND, SEEING, UNKNOWN) == {}
    assert narrow(a_request(), BLIND) == {}


@pytest.mark.parametrize("part", [IMAGE, {"type": "image", "source": {}}, {"type": "input_image"}])
def test_an_image_is_known_in_every_shape(part: dict[str, Any]) -> None:
    assert narrow(showing(part), BLIND) == {"blind": "no_vision"}


@pytest.mark.parametrize(
    ("part", "capability"),
    [
        (SOUND, "audio_input"),
        (PDF, "pdf_input"),
        ({"type": "document", "source": {"media_type": "application/pdf"}}, "pdf_input"),
        ({"type": "file", "file": {"file_id": "x", "format": "application/pdf"}}, "pdf_input"),
    ],
)
def test_sound_and_pdf_count_beside_somebody_who_reads_them(part: dict[str, Any], capability: str) -> None:
    reader = able("reader", capability)
    assert narrow(showing(part), BLIND, reader, UNKNOWN) == {"blind": f"no_{capability}"}
    assert narrow(showing(part), BLIND, UNKNOWN) == {}


def test_a_file_that_is_no_pdf_goes_anywhere() -> None:
    table = {"type": "file", "file": {"filename": "table.csv", "file_data": "data:text/csv;base64,AAAA"}}
    assert narrow(showing(table), BLIND, able("reader", "pdf_input")) == {}


def test_the_first_thing_missing_is_the_reason() -> None:
    request = showing(IMAGE).replace(
        params={"tools": [{}], "response_format": {"type": "json_schema", "json_schema": {}}}
    )
    assert narrow(request, able("a", "vision"), BLIND, able("c", "tools", "json_schema")) == {
        "a": "no_tools",
        "blind": "no_json_schema",
        "c": "no_vision",
    }


def test_a_hosts_own_structure_may_be_asked_for_by_a_tool_call() -> None:
    class AnswerFormat(dict[str, Any]):
        pass

    request = a_request(params={"response_format": AnswerFormat(type="json_schema")})
    assert narrow(request, BLIND, able("mute", "vision")) == {"mute": "no_json_schema"}


def test_flags_say_what_they_say_and_no_more() -> None:
    partly = able("partly", "vision", info={"supports_vision": True})
    assert not lacks(partly, "tools")
    denied = able("denied", "vision", info={"supports_function_calling": False})
    assert lacks(denied, "tools")
    assert lacks(a_deployment(info={"supports_vision": False}), "vision")
    assert not lacks(a_deployment(), "vision")


def test_a_hosts_messages_are_read_only_if_they_might_hold_an_image() -> None:
    def read(raw: Any) -> Message:
        reads.append(raw)
        content = raw["content"]
        return Message(role="user", content=content if isinstance(content, str) else tuple(content))

    reads: list[Any] = []
    text = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]
    assert narrow(a_request(messages=LazyMessages(text, read)), BLIND, SEEING) == {}
    picture = [{"role": "user", "content": [TEXT, IMAGE]}]
    assert narrow(a_request(messages=LazyMessages(picture, read)), SEEING, UNKNOWN) == {}
    assert reads == []
    assert narrow(a_request(messages=LazyMessages(picture, read)), BLIND) == {"blind": "no_vision"}
    assert len(reads) == 1


def test_the_same_need_of_the_same_group_gives_the_same_drop() -> None:
    group, plugin = (BLIND, SEEING), Capabilities()
    first = plugin.narrow_deployments(showing(IMAGE), group)
    assert first == Drop({"blind": "no_vision"})
    assert plugin.narrow_deployments(showing(IMAGE), group) is first
    assert plugin.narrow_deployments(showing(IMAGE), (BLIND, SEEING)) is not first


def test_the_same_region_of_the_same_group_gives_the_same_drop() -> None:
    group, plugin = (a_deployment("eu", region="eu"), a_deployment("us", region="us")), ContextConstraints()
    first = plugin.narrow_deployments(group, Context(region="eu"))
    assert plugin.narrow_deployments(group, Context(region="eu")) is first
    assert plugin.narrow_deployments(group, Context(region="us")) == Drop({"eu": "region"})


def test_a_group_that_can_change_is_looked_at_each_time() -> None:
    group, plugin = [SEEING], Capabilities()
    assert plugin.narrow_deployments(showing(IMAGE), group) is None
    group.append(BLIND)
    assert plugin.narrow_deployments(showing(IMAGE), group) == Drop({"blind": "no_vision"})


def test_many_groups_are_not_remembered_for_ever() -> None:
    plugin = Capabilities()
    for _ in range(1_000):
        plugin.narrow_deployments(showing(IMAGE), (BLIND, SEEING))
    assert len(plugin._gaps._known) <= 256
    assert len(plugin._drops._known) <= 256


def test_thousands_of_deployments_cost_what_a_few_cost() -> None:
    request, plugin = a_request(params={"tools": [{}]}), Capabilities()
    few = tuple(able(str(n), "tools") for n in range(10))
    many = tuple(able(str(n), "tools" if n % 2 else "vision") for n in range(10_000))
    for group in (few, many):
        plugin.narrow_deployments(request, group)
        best = min(
            timeit.repeat(lambda group=group: plugin.narrow_deployments(request, group), number=500, repeat=5)
        )
        assert best / 500 < 50e-6  # going through 10,000 takes milliseconds


@every_face
def test_a_fallback_never_reaches_a_model_that_cannot_see(face: str) -> None:
    s = scene(
        {"seeing": [ProviderError("down", status=500)] * 3, "blind": [], "other": ["a cat"]},
        Capabilities(),
        deployments=[
            deployment("seeing", capabilities=frozenset({"vision"})),
            deployment("blind", alias="cheap", capabilities=frozenset({"tools"})),
            deployment("other", alias="cheap", capabilities=frozenset({"vision"})),
        ],
        fallbacks={"fast": ["cheap"]},
    )
    request = Request(
        model="fast",
        messages=(Message(role="user", content=(TEXT, IMAGE)),),
        stream=face in ("stream", "astream"),
    )
    told = ask(face, s.gateway, request)
    assert told.text == "a cat"
    assert "blind" not in s.sent
    assert told.record.selections[1].dropped["blind"][0] == "no_vision"
