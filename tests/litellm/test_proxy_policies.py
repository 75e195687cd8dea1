"""Policies, experiments and shadows in the LiteLLM proxy as a real process, seen at the sockets."""

from __future__ import annotations

import json
import time

import openai
import pytest
from click.testing import CliRunner, Result
from litellm_llmgate import call_id_of
from support.litellm_proxy import Proxy
from support.litellm_routers import HELLO, text_of
from support.patience import PATIENCE

from llmgate_plugins import Gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.testing import Fault

WAYS = ("whole", "stream")
PLACED = ("in-eu", "in-us", "anywhere")


def asked(proxy: Proxy, who: str, model: str, way: str, **body):
    """(text, headers) of the answer to who has the key sk-WHO."""
    raw = proxy.client_of(f"sk-{who}").chat.completions.with_raw_response.create(
        model=model, messages=HELLO, stream=way == "stream", extra_body=body
    )
    found = raw.parse()
    return text_of(list(found)) if way == "stream" else found.choices[0].message.content, raw.headers


class Arrivals:
    """Requests that arrive at these providers from now on."""

    def __init__(self, proxy: Proxy, *names: str) -> None:
        self._providers = {name: proxy.sim.provider(name) for name in names}
        self._before = {name: len(one.requests) for name, one in self._providers.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Provider -> how many, of those that had any."""
        counts = {name: len(one.requests) - self._before[name] for name, one in self._providers.items()}
        return {name: number for name, number in counts.items() if number}


def at_the_prompt(proxy: Proxy, *words: str) -> Result:
    """The command line, beside the proxy's files."""
    return CliRunner().invoke(llmgate, [*words, "--config", str(proxy.folder / "llmgate.yaml")])


def until(look, is_there):
    """What is found, once it is there."""
    end = time.monotonic() + PATIENCE
    while not is_there(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


# ---------------------------------------------------------------- who may serve


@pytest.mark.parametrize("way", WAYS)
def test_a_rule_by_team_keeps_calls_in_their_region(proxy, way):
    arrivals = Arrivals(proxy, *PLACED)
    for _ in range(3):
        text, headers = asked(proxy, "support-of-bob", "placed", way)
        assert text
    assert arrivals.counts == {"in-eu": 3}
    assert headers["x-llmgate-deployment"] == "in-eu"
    assert (headers["x-llmgate-policy"], headers["x-llmgate-policy-version"]) == ("european", "7")
    assert (headers["x-llmgate-rule"], headers["x-llmgate-dropped"]) == ("rule 1", "region=2")


@pytest.mark.parametrize("way", WAYS)
def test_nor_does_a_failure_make_them_leave_it(proxy, way):
    proxy.sim.provider("in-eu").fail_always(Fault("server"))
    arrivals = Arrivals(proxy, *PLACED)
    with pytest.raises(openai.InternalServerError):
        asked(proxy, "support-of-eve", "placed", way)
    assert set(arrivals.counts) == {"in-eu"}


@pytest.mark.parametrize("way", WAYS)
def test_a_teams_metadata_bind_its_calls_to_a_region(proxy, way):
    arrivals = Arrivals(proxy, *PLACED)
    asked(proxy, "in-the-eu-of-bob", "placed", way)
    assert arrivals.counts == {"in-eu": 1}


@pytest.mark.parametrize("metadata", [{"place": "eu"}, {"tags": ["place:eu"]}], ids=["metadata", "tags"])
def test_a_callers_tag_narrows(proxy, metadata):
    arrivals = Arrivals(proxy, *PLACED)
    _, headers = asked(proxy, "sales-of-bob", "placed", "whole", metadata=metadata)
    assert arrivals.counts == {"in-eu": 1}
    assert headers["x-llmgate-rule"] == "rule 3"


@pytest.mark.parametrize("way", WAYS)
def test_litellms_own_strategy_decides_where_no_policy_speaks(proxy, way):
    arrivals = Arrivals(proxy, *PLACED, "dear", "cheap")
    for model in ("placed", "priced"):
        for _ in range(4):
            _, headers = asked(proxy, "sales-of-bob", model, way)
            assert "x-llmgate-policy" not in headers
    assert not arrivals.counts.keys() & {"in-eu", "cheap"}, "its weights are a millionth"
    assert sum(arrivals.counts.values()) == 8


@pytest.mark.parametrize("who", ["sales-of-ada", "by-name-of-bob"], ids=["a rule", "the team's metadata"])
@pytest.mark.parametrize("way", WAYS)
def test_a_preference_outweighs_litellms_strategy(proxy, who, way):
    arrivals = Arrivals(proxy, "dear", "cheap")
    _, headers = asked(proxy, who, "priced", way)
    assert arrivals.counts == {"cheap": 1}
    assert headers["x-llmgate-policy"] == "thrifty"


# ---------------------------------------------------------------- nobody may


@pytest.mark.parametrize("way", WAYS)
def test_where_nobody_may_serve_nothing_is_sent_and_the_client_sees_why(proxy, way):
    before = proxy.sent()
    with pytest.raises(openai.PermissionDeniedError) as caught:
        asked(proxy, "support-of-bob", "american", way)
    assert proxy.sent() == before
    assert "no deployment of 'american' may serve this call (also-us: region)" in caught.value.body["message"]
    assert caught.value.body["type"] == "request_denied"
    headers = caught.value.response.headers
    assert (headers["x-llmgate-policy"], headers["x-llmgate-dropped"]) == ("european", "region=1")
    told = at_the_prompt(proxy, "explain", headers["x-llmgate-call-id"])
    assert told.exit_code == 0, told.output
    assert "also-us" in told.output


@pytest.mark.parametrize("way", WAYS)
def test_a_denied_request_says_which_call_it_was(proxy, way):
    with pytest.raises(openai.PermissionDeniedError) as caught:
        proxy.client.chat.completions.create(
            model="fast", messages=[{"role": "user", "content": "a forbidden word"}], stream=way == "stream"
        )
    told = at_the_prompt(proxy, "explain", caught.value.response.headers["x-llmgate-call-id"])
    assert "forbidden words are not sent" in told.output


@pytest.mark.parametrize("way", WAYS)
def test_litellm_falls_back_to_another_group_under_the_same_policy(proxy, way):
    arrivals = Arrivals(proxy, "us-first", *PLACED)
    assert asked(proxy, "support-of-bob", "american-first", way)[0]
    assert arrivals.counts == {"in-eu": 1}


# ---------------------------------------------------------------- experiments


def test_users_stay_in_their_arms_and_the_results_are_told(proxy):
    arrivals = Arrivals(proxy, "old", "new")
    arms = {}
    for _ in range(2):
        for number in range(8):
            _, headers = asked(proxy, f"lab-of-user{number}", "old", WAYS[number % 2])
            arm = headers["x-llmgate-experiments"].removeprefix("newer=")
            assert arms.setdefault(number, arm) == arm
            assert headers["x-llmgate-deployment"] == {"control": "old", "newer": "new"}[arm]
    assert set(arms.values()) == {"control", "newer"}
    assert sum(arrivals.counts.values()) == 16
    (result,) = until(
        lambda: json.loads(at_the_prompt(proxy, "experiments", "newer", "--json").stdout),
        lambda results: results and sum(arm["calls"] for arm in results[0]["arms"]) == 16,
    )
    assert [arm["arm"] for arm in result["arms"]] == ["control", "newer"]


def test_an_answer_is_judged_by_its_response(proxy):
    client = proxy.client_of("sk-lab-of-judge")
    raw = client.chat.completions.with_raw_response.create(model="fast", messages=HELLO)
    with Gateway.from_config(
        {
            "model_list": [{"model_name": "x", "litellm_params": {"model": "openai/x", "api_key": "sk-x"}}],
            "ledger": f"sqlite:///{proxy.folder / 'books.db'}",
        }
    ) as judge:
        given = judge.feedback(call_id_of(raw), 0.5)
    (row,) = proxy.ledger.feedback(given.call_id)
    assert row["score"] == 0.5


# ---------------------------------------------------------------- shadows


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_follows_the_answer_and_changes_nothing_of_it(proxy, way):
    original, copy = proxy.sim.provider("original"), proxy.sim.provider("copy")
    original.reply("The answer.")
    copy.reply("Another one.")
    copy.pace(first=2 * PATIENCE)
    before, began = len(copy.requests), time.monotonic()
    text, headers = asked(proxy, "sales-of-bob", "copied", way)
    assert text == "The answer."
    assert time.monotonic() - began < PATIENCE, "nobody waits for the copy"
    assert headers["x-llmgate-deployment"] == "original"
    until(lambda: len(copy.requests), lambda number: number == before + 1)
    assert copy.requests[-1].body["messages"] == original.requests[-1].body["messages"]


def test_copies_are_compared_and_their_failures_are_nobodys(proxy):
    proxy.sim.provider("copy").fail_always(Fault("server"))
    assert asked(proxy, "sales-of-bob", "copied", "whole")[0]
    (traffic,) = until(
        lambda: json.loads(at_the_prompt(proxy, "shadow", "--json").stdout)["traffic"],
        lambda found: found and found[0]["copies"] > found[0]["succeeded"],
    )
    assert (traffic["name"], traffic["deployment"]) == ("beside", "copy")
