"""A stream of a registered router that breaks after content: resumed, restarted or held, as the call says."""

from __future__ import annotations

import litellm
import pytest
from support.litellm_routers import HELLO, ends, entry, registered, rows, text_of

from llmgate_plugins import Gateway, RequestDenied, StreamInterrupted, hookimpl
from llmgate_plugins.testing import Fault

STORY = "Once upon a time there was a gateway that never lost a row."
BREAKS = ("cut", "truncated", "reset_midstream", "error_event", "malformed")
FACES = ("astream", "stream")


class ByName:
    @hookimpl
    def rank_deployments(self, deployments):
        return sorted(deployments, key=lambda deployment: deployment.id)


def broken_then_whole(sim, kind="cut", model="openai/gpt-4o-mini", **params):
    """A deployment whose stream breaks after three pieces, and one whose stream does not."""
    broken, whole = sim.provider("broken"), sim.provider("whole")
    for provider in (broken, whole):
        provider.reply(STORY)
    broken.fail_always(Fault(kind, after=3))
    return [entry("fast", "broken", broken), entry("fast", "whole", whole, model=model, **params)]


async def read(face, router, seen, on_break=None, **params):
    """Read a stream into `seen`, which keeps what came before an error."""
    if on_break is not None:
        params["metadata"] = {"llmgate_on_break": on_break}
    if face == "stream":
        stream = router.completion("fast", HELLO, stream=True, **params)
        seen.extend(stream)  # keeps what came before an error
        return stream
    stream = await router.acompletion("fast", HELLO, stream=True, **params)
    async for chunk in stream:
        seen.append(chunk)
    return stream


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("kind", BREAKS)
async def test_a_stream_is_resumed_as_one_whole_answer_exactly_once(sim, kind, face):
    router, registration = registered(broken_then_whole(sim, kind), ByName())
    seen = []
    stream = await read(face, router, seen, "resume")
    assert text_of(seen) == STORY
    assert len({chunk.id for chunk in seen}) == 1
    assert [chunk.choices[0].finish_reason for chunk in seen if chunk.choices[0].finish_reason] == ["stop"]
    assert [chunk.choices[0].delta.role for chunk in seen].count("assistant") == 1
    assert litellm.stream_chunk_builder(seen).choices[0].message.content == STORY
    assert ends(registration) == [("broken", "error"), ("whole", "success")]
    assert stream._hidden_params["llmgate"]["deployment"] == "whole"
    assert stream._hidden_params["llmgate"]["attempts"] == 2


@pytest.mark.parametrize("face", FACES)
async def test_what_breaks_in_mid_stream_is_booked_as_what_it_was(sim, face):
    expected = {
        "cut": ("truncated",),
        "truncated": ("truncated", "connection"),  # newer openai clients refuse such a stream themselves
        "reset_midstream": ("connection",),
        "error_event": ("server",),
        "malformed": ("bad_response",),
    }
    for kind, error_class in expected.items():
        router, registration = registered(broken_then_whole(sim, kind), ByName())
        await read(face, router, [], "resume")
        first, second = rows(registration)
        assert first["error_class"] in error_class, kind
        assert first["estimated"]
        assert first["output_tokens"] > 0
        assert not second["estimated"]


@pytest.mark.parametrize("face", FACES)
async def test_a_model_that_goes_on_from_a_beginning_is_given_it(sim, face):
    entries = broken_then_whole(sim, model="anthropic/claude-haiku-4-5", info_supports_assistant_prefill=True)
    whole = sim.provider("whole")
    whole.reply(lambda _: STORY[len(text_of(seen)) :])
    router, registration = registered(entries, ByName())
    seen = []
    await read(face, router, seen, "resume", max_tokens=50)
    assert text_of(seen) == STORY
    assert len({chunk.id for chunk in seen}) == 1
    last = whole.requests[0].body["messages"][-1]
    assert last["role"] == "assistant"
    said = last["content"] if isinstance(last["content"], str) else last["content"][0]["text"]
    assert said
    assert STORY.startswith(said)
    assert ends(registration) == [("broken", "error"), ("whole", "success")]


@pytest.mark.parametrize("face", FACES)
async def test_other_words_are_never_joined(sim, face):
    entries = broken_then_whole(sim)
    sim.provider("whole").reply("Something else entirely was told by the second one.")
    router, _ = registered(entries, ByName())
    seen = []
    with pytest.raises(litellm.APIConnectionError) as caught:
        await read(face, router, seen, "resume")
    assert isinstance(caught.value, StreamInterrupted)
    assert STORY.startswith(text_of(seen))
    assert caught.value.partial == text_of(seen) != ""


@pytest.mark.parametrize("face", FACES)
async def test_a_restart_says_so_and_begins_anew(sim, face):
    entries = broken_then_whole(sim)
    sim.provider("whole").reply("Something else entirely.")
    router, _ = registered(entries, ByName())
    seen = []
    await read(face, router, seen, "restart")
    told = [chunk.provider_specific_fields for chunk in seen]
    at = told.index({"llmgate": {"restarted": True}})
    assert STORY.startswith(text_of(seen[:at]))
    assert text_of(seen[:at])
    assert text_of(seen[at:]) == "Something else entirely."
    assert len({chunk.id for chunk in seen}) == 1
    assert told.count({"llmgate": {"restarted": True}}) == 1


@pytest.mark.parametrize("face", FACES)
async def test_what_is_held_back_fails_over_unseen(sim, face):
    entries = broken_then_whole(sim)
    sim.provider("whole").reply("Something else entirely.")
    router, registration = registered(entries, ByName())
    seen = []
    await read(face, router, seen, "hold")
    assert text_of(seen) == "Something else entirely."
    assert ends(registration) == [("broken", "error"), ("whole", "success")]


@pytest.mark.parametrize("face", FACES)
async def test_the_gateways_own_choice_holds_where_the_call_says_nothing(sim, face):
    gateway = Gateway(plugins=[ByName()], on_break="resume")
    router, _ = registered(broken_then_whole(sim), gateway=gateway)
    seen = []
    await read(face, router, seen)
    assert text_of(seen) == STORY
    with pytest.raises(StreamInterrupted):
        await read(face, router, [], "raise")


@pytest.mark.parametrize("face", FACES)
async def test_a_choice_that_is_none_is_the_callers_mistake(sim, face):
    router, registration = registered(
        broken_then_whole(sim), ByName(), fallbacks=[{"fast": ["whole"]}], num_retries=2
    )
    with pytest.raises(RequestDenied, match="llmgate_on_break must be one of") as caught:
        await read(face, router, [], "magic")
    assert caught.value.status_code == 400
    assert rows(registration) == []


@pytest.mark.parametrize("face", FACES)
async def test_a_caller_who_wants_usage_gets_that_of_the_attempt_that_ended_well(sim, face):
    router, registration = registered(broken_then_whole(sim), ByName())
    seen = []
    await read(face, router, seen, "resume", stream_options={"include_usage": True})
    usages = [chunk.usage for chunk in seen if getattr(chunk, "usage", None) is not None]
    assert [usage.completion_tokens for usage in usages] == [rows(registration)[1]["output_tokens"]]
