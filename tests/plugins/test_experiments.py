"""Experiments: who is assigned to which arm, what an arm changes, and what it cannot change."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import Told, ask, every_face
from support.gateways import Scene, deployment, scene

from llmgate_plugins import Context, Message, Request, RequestDenied, hookimpl
from llmgate_plugins.experiments import Arm, Experiment, Prompt
from llmgate_plugins.experiments.conditions import may_both_match
from llmgate_plugins.plugins import Experiments, Policies

ADA = Context(user="ada", region=None)


def split(name: str = "split", share: float = 0.5, **candidate: Any) -> Experiment:
    return Experiment(
        name=name,
        arms=[Arm(name="control", weight=1 - share), Arm(name="candidate", weight=share, **candidate)],
    )


def users_in(experiment: Experiment, arm: str, number: int = 1) -> list[str]:
    """The first users that are assigned to this arm."""
    found = (f"user-{at}" for at in range(10_000) if experiment.arm_of(f"user-{at}").name == arm)
    return [next(found) for _ in range(number)]


def user_in(experiment: Experiment, arm: str) -> Context:
    return Context(user=users_in(experiment, arm)[0])


# ---------------------------------------------------------------- assignment


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (0.7, 0.2, 0.1), (0.99, 0.01)])
def test_arms_get_the_shares_that_their_weights_say(weights: tuple[float, ...]) -> None:
    arms = [Arm(name=f"a{at}", weight=weight, model=f"m{at}") for at, weight in enumerate(weights)]
    experiment = Experiment(name="shares", arms=arms, control="a0")
    number = 20_000
    found = Counter(experiment.arm_of(f"unit {at}").name for at in range(number))
    chi_square = sum(
        (found[arm.name] - number * arm.weight) ** 2 / (number * arm.weight) for arm in experiment.arms
    )
    assert chi_square < 13.8  # 99.9 % of two degrees of freedom; fewer are less


@settings(max_examples=100, deadline=None)
@given(
    before=st.floats(0.01, 0.98), grown=st.floats(0.0, 0.98), units=st.lists(st.text(min_size=1), max_size=50)
)
def test_an_arm_that_grows_only_takes_units(before: float, grown: float, units: list[str]) -> None:
    after = min(before + grown, 0.99)
    small, large = split(share=before, model="x"), split(share=after, model="x")
    for unit in units:
        if small.arm_of(unit).name == "candidate":
            assert large.arm_of(unit).name == "candidate"


@settings(max_examples=100, deadline=None)
@given(weights=st.tuples(*[st.floats(0.05, 1.0)] * 4), factor=st.floats(0.1, 10.0))
def test_units_move_only_to_or_from_the_arm_whose_weight_changed(
    weights: tuple[float, ...], factor: float
) -> None:
    def of(weights: tuple[float, ...]) -> Experiment:
        whole = sum(weights)
        arms = [Arm(name=f"a{at}", weight=one / whole, model=f"m{at}") for at, one in enumerate(weights)]
        return Experiment(name="moves", arms=arms, control="a0")

    before, after = of(weights), of((*weights[:3], weights[3] * factor))
    for at in range(60):
        old, new = before.arm_of(str(at)).name, after.arm_of(str(at)).name
        assert old == new or (new if factor > 1 else old) == "a3"


def test_no_more_units_move_than_must() -> None:
    before, after = split(share=0.10, model="x"), split(share=0.25, model="x")
    names = [(before.arm_of(str(at)).name, after.arm_of(str(at)).name) for at in range(20_000)]
    moved = sum(old != new for old, new in names)
    assert abs(moved / 20_000 - 0.15) < 0.01


def test_experiments_draw_apart_from_each_other() -> None:
    one, other = split("one", model="x"), split("other", model="x")
    same = sum(one.arm_of(str(at)).name == other.arm_of(str(at)).name for at in range(4_000))
    assert 1_850 < same < 2_150


def test_another_process_assigns_alike() -> None:
    program = (
        "from llmgate_plugins.experiments import Arm, Experiment\n"
        "e = Experiment(name='split', arms=[Arm(name='control', weight=.5),"
        " Arm(name='candidate', weight=.5, model='x')])\n"
        "print(''.join(e.arm_of(f'user-{at}').name[1] for at in range(64)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = split(model="x")
    assert told.stdout.strip() == "".join(here.arm_of(f"user-{at}").name[1] for at in range(64))


@pytest.mark.parametrize(
    ("by", "context", "assigned"),
    [
        ("user", Context(user="ada"), True),
        ("user", Context(tenant="acme"), False),
        ("session", Context(session="s1"), True),
        ("tenant", Context(tenant="acme"), True),
        ("extra:shop", Context(extra={"shop": "12"}), True),
        ("extra:shop", Context(), False),
        ("call", Context(), True),
    ],
)
def test_a_call_without_the_key_is_not_assigned(by: str, context: Context, assigned: bool) -> None:
    arms = [Arm(name="control", weight=0.5), Arm(name="other", weight=0.5, params={"temperature": 0})]
    made = scene({"a": ["hello"]}, Experiments([Experiment(name="e", arms=arms, by=by)]))
    made.gateway.complete("fast", "hi", context=context)
    record = made.gateway.decisions[-1]
    assert bool(record.experiments) is assigned
    assert record.experiments.keys() == record.units.keys()
    assert "ada" not in str(record.units)


# ---------------------------------------------------------------- what an arm changes


def two_aliases(*plugins: object, **fields: Any) -> Scene:
    made = [deployment("a", "fast"), deployment("b", "strong", **fields)]
    return scene({"a": ["from a"] * 20, "b": ["from b"] * 20}, *plugins, deployments=made)


@every_face
def test_an_arm_asks_another_model(face: str) -> None:
    experiment = split(model="strong")
    made = two_aliases(Experiments([experiment]))
    treated = ask(face, made.gateway, context=user_in(experiment, "candidate"))
    usual = ask(face, made.gateway, context=user_in(experiment, "control"))
    assert (treated.text, usual.text) == ("from b", "from a")
    assert treated.record.experiments == {"split": "candidate"}
    assert usual.record.experiments == {"split": "control"}
    assert treated.record.model == "fast"


@every_face
def test_an_arm_asks_in_other_words(face: str) -> None:
    experiment = split(prompt=Prompt(system="Be brief.", template="Q: {prompt}\nA:"), params={"top_p": 0.5})
    made = scene({"a": ["hello"]}, Experiments([experiment]))
    asked = Request(
        model="fast",
        messages=(Message(role="system", content="Be long."), Message(role="user", content="Why {prompt}?")),
    )
    told: Told = ask(face, made.gateway, asked, context=user_in(experiment, "candidate"))
    assert told.error is None
    _, sent = made.provider.sent[0]
    assert [(one.role, one.text) for one in sent.messages] == [
        ("system", "Be brief."),
        ("user", "Q: Why {prompt}?\nA:"),
    ]
    assert sent.params["top_p"] == 0.5


@pytest.mark.parametrize(
    ("place", "said"), [("instead", "Mine."), ("before", "Mine.\n\nYours."), ("after", "Yours.\n\nMine.")]
)
def test_a_system_prompt_stands_instead_before_or_after(place: Any, said: str) -> None:
    asked = Request(
        model="m",
        messages=(
            Message(role="system", content="Yours."),
            Message(role="user", content="hi"),
            Message(role="system", content="amid"),
        ),
    )
    applied = Prompt(system="Mine.", place=place).applied(asked)
    assert [one.text for one in applied.messages] == [said, "hi", "amid"]


def test_pictures_stay_within_a_template() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    asked = Request(model="m", messages=(Message(role="user", content=(picture,)),))
    (message,) = Prompt(template="Look: {prompt}").applied(asked).messages
    assert message.content == ({"type": "text", "text": "Look: "}, picture)


@every_face
def test_an_arm_goes_on_under_another_policy(face: str) -> None:
    experiment = split(policy="only-b")
    policies = Policies({"default": {}, "only-b": {"only": ["b"]}})
    made = scene({"a": ["from a"], "b": ["from b"]}, policies, Experiments([experiment]))
    assert ask(face, made.gateway, context=user_in(experiment, "candidate")).text == "from b"


def test_an_arm_never_widens_what_a_calls_own_policy_allows() -> None:
    experiment = split(policy="loose", model="strong")
    policies = Policies({"default": {"region": ["eu"]}, "loose": {}})
    made = two_aliases(policies, Experiments([experiment]), region="us")
    told = ask("sync", made.gateway, context=user_in(experiment, "candidate"))
    assert told.error is not None
    assert made.sent == []
    assert told.record.selections[0].dropped == {"b": ("region", "Policies")}


def test_who_denies_sees_what_the_arm_asks() -> None:
    class NotStrong:
        @hookimpl
        def admit_request(self, request: Request) -> None:
            if request.model == "strong":
                raise RequestDenied("not for you")

    experiment = split(model="strong")
    made = two_aliases(NotStrong(), Experiments([experiment]))
    told = ask("sync", made.gateway, context=user_in(experiment, "candidate"))
    assert isinstance(told.error, RequestDenied)


def test_a_repeat_of_a_call_is_the_same_call_also_under_another_arm() -> None:
    both = [split(share=share, params={"top_p": 0.1}) for share in (0.99, 0.01)]
    user = Context(user="ada")
    made = scene({"a": ["once"]}, Experiments(both[:1]))
    made.gateway.complete("fast", "hi", context=user, call_id="same")
    later = Scene({"a": []}, [Experiments(both[1:])], state=made.state)
    assert later.gateway.complete("fast", "hi", context=user, call_id="same").text == "once"


# ---------------------------------------------------------------- several at once


def test_experiments_that_touch_different_things_run_on_one_call() -> None:
    words = split("words", 1.0, prompt=Prompt(system="Be brief."))
    models = split("models", 1.0, model="strong")
    made = two_aliases(Experiments([words, models]))
    told = ask("sync", made.gateway, context=ADA)
    assert told.text == "from b"
    assert told.record.experiments == {"words": "candidate", "models": "candidate"}


def test_experiments_that_would_touch_the_same_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="'one' and 'other' may both change model"):
        Experiments([split("one", model="x"), split("other", model="y")])


def test_experiments_for_different_calls_may_touch_the_same_thing() -> None:
    def of(name: str, team: str) -> Experiment:
        arms = split(model="strong", share=1.0).arms
        return Experiment(name=name, arms=arms, when={"team": team})

    made = two_aliases(Experiments([of("one", "search"), of("other", "ads")]))
    told = ask("sync", made.gateway, context=Context(user="ada", team="ads"))
    assert told.record.experiments == {"other": "candidate"}
    assert ask("sync", made.gateway, context=Context(user="ada")).record.experiments == {}


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ({"team": "ads"}, {"team": ["search", "ads"]}, True),
        ({"team": "ads"}, {"team": "search"}, False),
        ({"team": "ads"}, {"feature": "chat"}, True),
        ({"team": "eu-*"}, {"team": "us-*"}, True),  # nobody looks that closely
        ({"team": "eu-*"}, {"team": "us-1"}, False),
        ({"team": {"not": "ads"}}, {"team": "ads"}, False),
        ({"team": {"not": "ads"}}, {"team": "search"}, True),
        (None, {"team": "search"}, True),
    ],
)
def test_conditions_are_told_apart_where_that_is_sure(one: Any, other: Any, may: bool) -> None:
    assert may_both_match(one, other) is may
    assert may_both_match(other, one) is may


def test_of_conditions_that_nobody_can_tell_apart_the_first_has_the_call() -> None:
    def of(name: str) -> Experiment:
        return Experiment(name=name, arms=split(model="strong", share=1.0).arms, when=lambda *_: True)

    made = two_aliases(Experiments([of("one"), of("other")]))
    assert ask("sync", made.gateway, context=ADA).record.experiments == {"one": "candidate"}


def test_a_condition_may_be_an_expression() -> None:
    pytest.importorskip("cel")
    when = "context.team == 'ads' && request.alias == 'fast'"
    experiment = Experiment(name="e", arms=split(model="strong", share=1.0).arms, when=when)
    made = two_aliases(Experiments([experiment]))
    assert ask("sync", made.gateway, context=Context(user="ada", team="ads")).text == "from b"
    assert ask("sync", made.gateway, context=Context(user="ada", team="search")).text == "from a"


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([Arm(name="control", weight=1)], "compares two arms"),
        ([Arm(name="a", weight=0.5, model="x"), Arm(name="b", weight=0.5, model="y")], "no arm is control"),
        ([Arm(name="control", weight=0.5), Arm(name="b", weight=0.4, model="y")], "sum to 0.9"),
        ([Arm(name="control", weight=0.5), Arm(name="control", weight=0.5, model="y")], "have the name"),
        ([Arm(name="control", weight=0.5), Arm(name="b", weight=0.5)], "no arm changes anything"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(arms: list[Arm], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Experiment(name="e", arms=arms)


def test_a_template_has_one_place_for_the_users_words() -> None:
    with pytest.raises(ValueError, match="once"):
        Prompt(template="{prompt} and {prompt}")
