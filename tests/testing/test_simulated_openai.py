"""The OpenAI wire, as the real client reads it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from llmgate_plugins.testing import ProviderSimulator, Question, Reply, SimulatedProvider
from llmgate_plugins.types import Usage

HI: Any = [{"role": "user", "content": "Hi there"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather at a place",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["location"],
        },
    },
}
JOKE = {
    "type": "object",
    "properties": {"setup": {"type": "string"}, "rating": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["setup", "rating"],
    "additionalProperties": False,
}


def ask(client: openai.OpenAI, text: str = "Hi there", **params: Any) -> Any:
    return client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": text}], **params
    )


def test_a_plain_answer_repeats_the_question_and_is_counted(gpt: openai.OpenAI) -> None:
    answer = ask(gpt)
    assert answer.choices[0].message.content == "You said: Hi there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 5)
    assert answer.usage.total_tokens == 10


async def test_a_stream_has_the_same_words_and_the_usage_in_its_last_chunk(
    async_gpt: openai.AsyncOpenAI,
) -> None:
    stream = await async_gpt.chat.completions.create(
        model="gpt-4o", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: Hi there"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_include_usage_reports_none(gpt: openai.OpenAI) -> None:
    assert all(chunk.usage is None for chunk in ask(gpt, stream=True))


@pytest.mark.parametrize(
    "choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_tool_the_words_suggest_is_called_with_what_they_say(gpt: openai.OpenAI, choice: Any) -> None:
    answer = ask(gpt, "What is the weather in Oslo for 3 days?", tools=[WEATHER], tool_choice=choice)
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"location": "Oslo", "days": 3}
    assert call.id.startswith("call_")


def test_a_streamed_tool_call_comes_in_pieces(gpt: openai.OpenAI) -> None:
    deltas = [
        chunk.choices[0].delta.tool_calls[0]
        for chunk in ask(gpt, "weather in Oslo", tools=[WEATHER], stream=True)
        if chunk.choices[0].delta.tool_calls
    ]
    assert deltas[0].function.name == "get_weather"
    assert [delta.id is not None for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    assert json.loads("".join(delta.function.arguments for delta in deltas))["location"] == "Oslo"
    assert len(deltas) > 2


def test_no_tool_is_called_when_nothing_suggests_it_or_it_is_forbidden(gpt: openai.OpenAI) -> None:
    assert ask(gpt, "Good morning", tools=[WEATHER]).choices[0].message.tool_calls is None
    answer = ask(gpt, "weather in Oslo", tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.tool_calls is None


def test_several_tools_are_called_at_once_unless_that_is_forbidden(gpt: openai.OpenAI) -> None:
    clock = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}
    both = ask(gpt, "The weather and the time, please", tools=[WEATHER, clock])
    assert [call.function.name for call in both.choices[0].message.tool_calls] == ["get_weather", "get_time"]
    one = ask(gpt, "The weather and the time, please", tools=[WEATHER, clock], parallel_tool_calls=False)
    assert len(one.choices[0].message.tool_calls) == 1


def test_after_the_tools_result_it_answers_in_words(gpt: openai.OpenAI) -> None:
    asked = ask(gpt, "weather in Oslo", tools=[WEATHER]).choices[0].message
    answer = gpt.chat.completions.create(
        model="gpt-4o",
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "weather in Oslo"},
            asked.model_dump(exclude_none=True, exclude={"annotations"}),
            {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "snow"},
        ],
    )
    assert answer.choices[0].message.content == "The tool says: snow"


def test_structured_output_conforms_to_its_schema(gpt: openai.OpenAI) -> None:
    schema = {"name": "joke", "strict": True, "schema": JOKE}
    answer = ask(gpt, "A joke rated 9", response_format={"type": "json_schema", "json_schema": schema})
    joke = json.loads(answer.choices[0].message.content)
    assert set(joke) == {"setup", "rating"}
    assert joke["rating"] == 5  # the 9 of the words, held within the schema's bounds


def test_json_mode_answers_with_the_keys_the_words_name(gpt: openai.OpenAI) -> None:
    answer = ask(gpt, "Answer in JSON with 'setup' and 'end' keys", response_format={"type": "json_object"})
    assert set(json.loads(answer.choices[0].message.content)) == {"setup", "end"}


def test_the_token_limit_and_stop_sequences_are_kept(gpt: openai.OpenAI) -> None:
    cut = ask(gpt, max_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("You said", "length")
    stopped = ask(gpt, stop=[":", " there"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("You said", "stop")


def test_several_choices_count_the_prompt_once(gpt: openai.OpenAI) -> None:
    answer = ask(gpt, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 15)


def test_a_provider_says_what_it_is_told_to(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    def shout(question: Question) -> Reply:
        return Reply(
            text=question.text.upper(), usage=Usage(input=70, cached_input=30, output=4, reasoning=6)
        )

    provider.reply(shout)
    answer = ask(gpt)
    assert answer.choices[0].message.content == "HI THERE"
    assert answer.usage.prompt_tokens == 100
    assert answer.usage.prompt_tokens_details.cached_tokens == 30
    assert answer.usage.completion_tokens == 10
    assert answer.usage.completion_tokens_details.reasoning_tokens == 6

    provider.reply(Reply(tool_calls=[("f", {"ü": 1})], reasoning_tokens=5))
    answer = ask(gpt)
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"ü": 1}'
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5

    provider.reply(None)
    assert ask(gpt).choices[0].message.content == "You said: Hi there"


def test_a_script_mixes_answers_and_health(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.script("one", None, Reply(text="three", model="gpt-other"))
    answers = [ask(gpt) for _ in range(4)]
    assert [a.choices[0].message.content for a in answers] == [
        "one",
        "You said: Hi there",
        "three",
        "You said: Hi there",
    ]
    assert [a.model for a in answers] == ["gpt-4o", "gpt-4o", "gpt-other", "gpt-4o"]


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_have_length_one_and_do_not_change(gpt: openai.OpenAI, form: Any) -> None:
    def embed(text: list[str]) -> list[list[float]]:
        made = gpt.embeddings.create(
            model="text-embedding-3-small", input=text, dimensions=8, encoding_format=form
        )
        return [list(one.embedding) for one in made.data] if form == "float" else [[made.usage.total_tokens]]

    assert embed(["a", "b"]) == embed(["a", "b"])
    if form == "float":
        one, other = embed(["a", "b"])
        assert sum(x * x for x in one) == pytest.approx(1.0)
        assert one != other


def test_the_clients_default_base64_embedding_is_decoded(gpt: openai.OpenAI) -> None:
    plain = gpt.embeddings.create(model="m", input="a", dimensions=4, encoding_format="float")
    packed = gpt.embeddings.create(model="m", input="a", dimensions=4)
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_models_are_listed_and_unknown_ones_refused(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.models = ("gpt-4o",)
    assert [model.id for model in gpt.models.list()] == ["gpt-4o"]
    with pytest.raises(openai.NotFoundError) as caught:
        gpt.chat.completions.create(model="gpt-99", messages=HI)
    assert caught.value.code == "model_not_found"


def test_limits_and_ids_stand_in_the_headers(gpt: openai.OpenAI, provider: SimulatedProvider) -> None:
    provider.throttle(3, per=60)
    headers = gpt.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI).headers
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-remaining-requests"] == "2"
    assert headers["x-ratelimit-reset-requests"] == "1m0s"
    assert headers["x-request-id"].startswith("req_")


def test_a_throttled_provider_refuses_what_is_too_much(
    gpt: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.throttle(2, per=60)
    ask(gpt)
    ask(gpt)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(gpt)
    assert caught.value.code == "rate_limit_exceeded"
    assert 55 <= int(caught.value.response.headers["retry-after"]) <= 60


def test_keys_are_checked_and_never_shown(sim: ProviderSimulator) -> None:
    strict = sim.provider("strict", keys={"sk-right-key"})
    for key, error in (("sk-right-key", None), ("sk-wrong-key-123", openai.AuthenticationError)):
        with openai.OpenAI(base_url=strict.openai_base_url, api_key=key, max_retries=0) as client:
            if error is None:
                ask(client)
            else:
                with pytest.raises(error) as caught:
                    ask(client)
                assert key not in str(caught.value)
    assert [request.authorization() for request in strict.requests] == ["sk-right-key", "sk-wrong-key-123"]
    assert "right-key" not in repr(strict.requests)
    assert "wrong-key" not in repr(strict.requests)


def test_each_provider_keeps_its_own_log(sim: ProviderSimulator, gpt: openai.OpenAI) -> None:
    ask(gpt)
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client:
        ask(client, "to the default provider")
    (one,) = sim.provider("alpha").requests
    (other,) = sim.default.requests
    assert (one.method, one.path, one.status, one.outcome) == (
        "POST",
        "/alpha/v1/chat/completions",
        200,
        "answered",
    )
    assert one.headers["authorization"] == "****"
    assert other.body["messages"][0]["content"] == "to the default provider"


def test_the_same_seed_gives_the_same_ids() -> None:
    ids = []
    for _ in range(2):
        with ProviderSimulator(seed=3) as sim, openai.OpenAI(base_url=f"{sim.url}/v1", api_key="k") as client:
            ids.append([ask(client).id for _ in range(3)])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_the_responses_api_and_unknown_providers_are_not_found(
    gpt: openai.OpenAI, sim: ProviderSimulator
) -> None:
    with pytest.raises(openai.NotFoundError):
        gpt.responses.create(model="gpt-4o", input="Hi")
    nobody = f"{sim.url}/nobody/v1"
    with (
        openai.OpenAI(base_url=nobody, api_key="k", max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        ask(client)


def test_images_are_accepted(gpt: openai.OpenAI) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    answer = gpt.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}],  # type: ignore[list-item]
    )
    assert answer.choices[0].message.content == "You said: Look (with 1 attachment)"


def test_a_hundred_requests_at_once_are_all_answered(provider: SimulatedProvider, gpt: openai.OpenAI) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: ask(gpt, f"number {n}").choices[0].message.content, range(100)))
    assert answers == [f"You said: number {n}" for n in range(100)]
    assert sorted(request.number for request in provider.requests) == list(range(1, 101))
