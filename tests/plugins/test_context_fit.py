"""After a context overflow: which deployments have room, and which surely have not."""

from __future__ import annotations

from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.values import Tries, a_deployment, a_request, an_error

from llmgate_plugins.decisions import Drop
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.plugins.context_fit import ContextFit, fits, fitting, overflow_floor
from llmgate_plugins.testing import PluginContract
from llmgate_plugins.types import Deployment, ErrorClass

TOO_LONG = ErrorClass.CONTEXT_LENGTH


class TestContextFit(PluginContract):
    def make_plugin(self) -> object:
        return ContextFit()


def sized(window: int | None, id: str = "a", **fields: Any) -> Deployment:
    return a_deployment(id, context_window=window, **fields)


def overflowed(window: int | None = None, message: str = "") -> Tries:
    tries = Tries()
    tries.fail(sized(window), an_error(TOO_LONG, ProviderError(message)))
    return tries


def test_a_window_that_is_not_known_fits() -> None:
    assert fits(sized(None), a_request("x" * 1_000_000), 10_000_000)


def test_input_and_answer_must_both_have_room() -> None:
    request = a_request("x" * 4_000, params={"max_tokens": 500})  # 1,000 tokens and 500
    assert fits(sized(1_500), request)
    assert not fits(sized(1_499), request)


def test_inputs_of_an_embedding_have_a_window_each() -> None:
    request = a_request().replace(messages=(), operation="embedding", params={"input": ["x" * 4_000] * 10})
    assert fits(sized(1_000), request)
    assert not fits(sized(1_000), request, 1_001)


def test_the_newer_name_of_the_longest_answer_is_read_as_well() -> None:
    request = a_request("x" * 4_000, params={"max_completion_tokens": 3_000})
    assert fits(sized(4_000), request)
    assert not fits(sized(3_999), request)


def test_what_configuration_fixes_counts_where_the_request_says_nothing() -> None:
    fixed = sized(2_000, params={"max_tokens": 1_001})
    assert not fits(fixed, a_request("x" * 4_000))
    assert fits(fixed, a_request("x" * 4_000, params={"max_tokens": 10}))


def test_an_answer_nobody_bounds_gets_a_small_reserve() -> None:
    assert fits(sized(1_256), a_request("x" * 4_000))
    assert not fits(sized(1_255), a_request("x" * 4_000))


def test_what_is_known_beats_the_estimate() -> None:
    assert not fits(sized(8_000), a_request("short"), at_least=8_001)
    assert fits(sized(8_001), a_request("short"), at_least=8_001)


def test_many_are_judged_in_one_reading() -> None:
    group = [sized(100, "small"), sized(10_000, "large"), sized(None, "unknown")]
    assert fitting(group, a_request("x" * 4_000)) == {"large", "unknown"}


def test_nothing_has_overflowed_yet() -> None:
    tries = Tries()
    tries.fail(sized(8_000), an_error(ErrorClass.SERVER))
    assert overflow_floor(tries.call) == 0
    assert ContextFit().narrow_deployments(a_request("x" * 4_000), (sized(10),), tries.call) is None


def test_the_request_is_longer_than_the_window_it_overflowed() -> None:
    tries = overflowed(8_000)
    tries.fail(sized(4_000, "b"), an_error(TOO_LONG))
    assert overflow_floor(tries.call) == 8_001


def test_an_overflow_of_an_unknown_window_still_counts_as_one() -> None:
    assert overflow_floor(overflowed().call) == 1


@pytest.mark.parametrize(
    ("message", "least"),
    [
        ("This model's maximum context length is 8192 tokens, however you requested 9000 tokens", 9_000),
        ("This model's maximum context length is 8192 tokens. Your messages resulted in 8500 tokens.", 8_500),
        ("This model's maximum context length is 8192 tokens.", 8_193),
        ("prompt is too long: 206640 tokens > 200000 maximum", 206_640),
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed",
            1_200_000,
        ),
        ("maximum context length is 100 tokens ... for a total of at least 262145 tokens", 262_145),
        ("too long", 1),
    ],
)
def test_a_provider_that_counted_is_believed(message: str, least: int) -> None:
    assert overflow_floor(overflowed(None, message).call) == least


def test_after_an_overflow_what_is_no_larger_is_dropped() -> None:
    group = (sized(8_000, "same"), sized(200_000, "larger"), sized(None, "unknown"))
    drop = ContextFit().narrow_deployments(a_request("short by the estimate"), group, overflowed(8_000).call)
    assert drop == Drop({"same": "context_window"})


def test_nothing_is_dropped_where_all_have_room() -> None:
    assert ContextFit().narrow_deployments(a_request(), (sized(9_000, "b"),), overflowed(8_000).call) is None


@every_face
def test_a_long_request_falls_back_only_to_what_can_hold_it(face: str) -> None:
    error = ProviderError("too long", status=400, code="context_length_exceeded")
    s = scene(
        {"small": [error], "no-larger": [], "larger": ["done"]},
        ContextFit(),
        deployments=[
            deployment("small", context_window=8_000),
            deployment("no-larger", alias="strong", context_window=8_000),
            deployment("larger", alias="strong", context_window=100_000),
        ],
        fallbacks={"fast": ["strong"]},
    )
    told = ask(face, s.gateway, "fast", "a long story")
    assert told.text == "done"
    assert s.sent == ["small", "larger"]
    assert told.record.selections[1].dropped["no-larger"][0] == "context_window"
