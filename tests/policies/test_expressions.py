"""Rules in CEL: read once, held against a call, and closed where they cannot be evaluated."""

from __future__ import annotations

import builtins
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.values import a_call, a_deployment, a_request

from llmgate_plugins.context import Context
from llmgate_plugins.plugins import Policies
from llmgate_plugins.plugins.policies.chain import Chains
from llmgate_plugins.policies.expressions import Expression
from llmgate_plugins.types import LazyMessages, Message

NOBODY = Context()
EU, US = a_deployment("eu", region="eu"), a_deployment("us", region="us")


def holds(text: str, context: Context = NOBODY, **request: Any) -> bool:
    return Expression(text).holds(
        a_request(**request), context, lambda name: {"quick": "fast"}.get(name, name)
    )


def test_an_expression_reads_facts_of_the_context_and_of_the_request() -> None:
    assert holds("context.team == 'ml' && request.alias == 'fast'", Context(team="ml"), model="quick")
    assert not holds("context.team == 'ml'", Context(team="ads"))
    assert holds("context.priority >= 2 || request.stream", Context(priority=3))
    assert holds("request.input_tokens > 1000", messages=(Message(role="user", content="word " * 2000),))
    assert not holds("request.input_tokens > 1000")
    assert holds("request.max_tokens > 99 && request.tools == 1", params={"max_tokens": 100, "tools": [{}]})
    assert holds("'plan' in context.extra && context.extra.plan == 'gold'", Context(extra={"plan": "gold"}))
    assert holds("tags.exists(name, name.startsWith('job'))", tags={"job-1": "x"})


def test_what_is_not_declared_is_the_empty_text() -> None:
    assert holds("context.team == '' && !context.user.startsWith('u')")


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        ("context.team == 'ml' && request.alias == 'fast' && !request.stream", True),
        ("context.team == 'request.input_tokens'", True),
        ("request.input_tokens > 5", False),
        ("request.tools > 0", False),
        ("'job' in tags", False),
    ],
)
def test_what_depends_on_the_caller_is_told_apart(text: str, trusted: bool) -> None:
    assert Expression(text).trusted is trusted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("context.team ==", "column 16: Syntax error"),
        ("context.team = 'x'", "column 14: = is no comparison, write =="),
        ("", "column 1"),
        ("context.taem == 'x'", "context has no taem"),
        ("request.messages_ == 1", "request has no messages_"),
        ("team == 'x'", "there is no 'team'"),
        ("context['team'] == 'x'", "write context.NAME"),
        ("context.team.shout() == 'X'", "there is no function 'shout'"),
        ("1 + 1", "must be true or false, not int"),
        ("request.input_tokens", "must be true or false, not int"),
        ("context.team", "must be true or false, not str"),
        ("request.input_tokens > 'many'", "does not go together: request.stream is true or false"),
        ("context.priority + context.team == 'x'", "does not go together"),
        ("request.input_tokens == 'a'", "request.input_tokens is a number, and here is compared with text"),
        ("'1' != context . priority", "context.priority is a number, and here is compared with text"),
        (
            "context.team == 3 || request.tools == 2",
            "context.team is text, and here is compared with a number",
        ),
        ("context.team in ['search', 3]", "context.team is text, and here is compared with a number"),
        ("context.team == null", "context.team is text, and here is compared with nothing"),
        ("request.stream == 'true'", "request.stream is true or false, and here is compared with text"),
        ("request.tools.startsWith('x')", "startsWith does not go with what it is asked of"),
    ],
)
def test_a_mistake_is_found_when_it_is_read(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "tags.job == 'nightly'",
        "context.extra.plan == 'gold'",
        "100 / request.max_tokens > 1",
        "int(context.user) > 5",
        "1 + request.tools == 2u && request.stream == true && -1 != context.priority",
        "size(context.team) == 3 || 3 == context.team.size() || context.team.size() == 3",
        "'context.team == 3' == context.team || context.team in ['a', \"request.tools == 'b'\"]",
        "tags.job == 3 || context.extra.plan == 7 || 3 == context.extra.plan",
    ],
)
def test_what_only_some_calls_lack_is_no_mistake(text: str) -> None:
    assert Expression(text).constant is None


def test_a_constant_is_known_as_one() -> None:
    assert (Expression("true").constant, Expression("1 > 2").constant) == (True, False)
    assert Expression("context.team == ''").constant is None


def test_messages_are_not_read_for_an_expression_that_does_not_ask_how_long_they_are() -> None:
    def read(native: str) -> Message:
        raise AssertionError("read")

    messages = LazyMessages(["x", "y"], read)
    assert holds("context.team == '' && request.messages == 2", messages=messages)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "cel":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"llmgate-plugins\[cel\]"):
        Expression("true")


# ---------------------------------------------------------------- in rules


RULES = [
    {"when": "tags.level == 'low'", "use": "eu"},
    {"when": "context.team == 'ml'", "use": "us"},
]


def left(context: Context = NOBODY, **fields: Any) -> tuple[list[str], Any]:
    policies = Policies({"eu": {"region": ["eu"], "prefer": "cheapest"}, "us": {"region": ["us"]}}, RULES)
    request = a_request(**fields)
    call = a_call(request, context)
    policies.admit_request(request, context, call)
    drop = policies.narrow_deployments((EU, US), context, call)
    return [one.id for one in (EU, US) if drop is None or one.id not in drop.reasons], call


def test_an_expression_chooses_and_the_rest_of_the_rules_follow() -> None:
    assert left(Context(team="ml"), tags={"level": "high"})[0] == ["us"]
    assert left(tags={"level": "low"})[0] == ["eu"]
    assert left(tags={"level": "high"})[0] == ["eu", "us"]


def test_of_a_rule_that_cannot_be_evaluated_the_constraints_hold_and_nothing_else() -> None:
    served, call = left()  # no tag called level: the expression fails
    assert served == ["eu"]
    ((plugin, hook, problem),) = call.record.problems
    assert (plugin, hook) == ("Policies", "admit_request")
    assert problem.startswith("rule 1 could not be evaluated, its constraints hold: KeyError")
    assert [one.prefer for one in call.policies] == [None]
    served, call = left(Context(team="ml"))
    assert served == []  # both: nothing widens
    assert (call.record.policy, call.record.rule) == ("us", "rule 2")


def test_one_expression_serves_many_threads() -> None:
    expression = Expression("context.user.startsWith('u1') && request.input_tokens < 100")
    users = [f"u{number}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda user: expression.holds(a_request(), Context(user=user), str), users))
    assert told == [user.startswith("u1") for user in users]


def test_callers_tags_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chains, "MOST", 10)
    policies = Policies(
        {f"p{place}": {"region": ["eu"]} for place in range(5)},
        [{"when": f"tags.t{place} == ''", "use": f"p{place}"} for place in range(5)],
    )
    for number in range(1 << 5):
        tags = {f"t{place}": "x" for place in range(5) if number >> place & 1}
        call = a_call(a_request(tags=tags))
        policies.admit_request(call.request, NOBODY, call)
        assert [one.name for one in call.policies] == [f"p{n}" for n in range(5) if f"t{n}" not in tags]
    chains, kept = [policies._chains.start], 0
    while chains:
        one = chains.pop()
        chains.extend(one._next.values())
        kept += len(one._next)
    assert kept == 10
