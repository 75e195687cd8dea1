"""Experiments and feedback in LiteLLM's router: on every face, whole and streamed."""

from __future__ import annotations

import pytest
from litellm_llmgate import call_id_of
from support.litellm_routers import FACES, Saw, ask, entry, registered, text_of

from llmgate_plugins import Context, use_context
from llmgate_plugins.experiments import Arm, Experiment, Prompt
from llmgate_plugins.plugins import Experiments


def treated(**arm):
    """Every user is a candidate."""
    arms = [Arm(name="control"), Arm(name="candidate", weight=1.0, **arm)]
    return Experiments([Experiment(name="e", arms=arms)])


@pytest.mark.parametrize("face", FACES)
async def test_an_arm_asks_in_other_words(sim, face):
    provider = sim.provider("one")
    plugin = treated(prompt=Prompt(system="Be brief."), params={"temperature": 0.5})
    router, registration = registered([entry("fast", "one", provider)], plugin)
    with use_context(Context(user="ada")):
        assert await ask(face, router, "fast")
    body = provider.requests[-1].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["temperature"] == 0.5
    assert registration.gateway.decisions[-1].experiments == {"e": "candidate"}


@pytest.mark.parametrize("face", FACES)
async def test_an_arm_asks_another_group(sim, face):
    usual, other = sim.provider("usual"), sim.provider("other")
    router, _ = registered(
        [entry("fast", "usual", usual), entry("strong", "other", other)], treated(model="strong")
    )
    with use_context(Context(user="ada")):
        assert await ask(face, router, "fast")
    assert (len(usual.requests), len(other.requests)) == (0, 1)


async def test_an_answer_is_judged(sim):
    provider = sim.provider("one")
    router, registration = registered([entry("fast", "one", provider)])
    answers = [
        router.completion("fast", [{"role": "user", "content": "hello"}]),
        await router.acompletion("fast", [{"role": "user", "content": "hello"}]),
    ]
    stream = router.completion("fast", [{"role": "user", "content": "hello"}], stream=True)
    assert text_of(stream)
    gateway = registration.gateway
    given = [gateway.feedback(call_id_of(one), 0.5) for one in (*answers, stream)]
    assert [one.call_id for one in given] == [one.call_id for one in gateway.decisions]
    assert {one.deployment for one in given} == {"one"}


def test_a_response_of_the_proxy_says_it_in_a_header():
    assert call_id_of({"x-llmgate-call-id": "abc"}) == "abc"
    with pytest.raises(ValueError, match="x-llmgate-call-id"):
        call_id_of({})


@pytest.mark.parametrize("words", [{"litellm_session_id": "s-1"}, {"metadata": {"session_id": "s-1"}}])
async def test_litellms_session_is_one_that_nobody_has_to_believe(sim, words):
    saw = Saw()
    router, _ = registered([entry("fast", "one", sim.provider("one"))], saw)
    assert await ask("acompletion", router, "fast", **words)
    assert [request.session for request in saw.requests] == ["s-1"]
    assert saw.contexts[0].session is None
