"""A conformance suite for plugins: subclass it, name your plugin, run pytest.

    from llmgate_plugins.testing import PluginContract
    from llmgate_speedlimit import SpeedLimit

    class TestSpeedLimit(PluginContract):
        def make_plugin(self):
            return SpeedLimit(per_minute=60)

The plugin is put into real gateways over a scripted provider on a virtual clock, asked on
every face, and fed failures, cancellations and threads.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmgate_plugins._registry import Registry, plugin_name
from llmgate_plugins.alerts import Alert
from llmgate_plugins.context import Context
from llmgate_plugins.errors import LLMGateError, RequestDenied
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.hookspecs import RULES
from llmgate_plugins.testing.clock import VirtualClock, VirtualSleeper
from llmgate_plugins.testing.faces import FACES, Told, ask
from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.scripted import ScriptedProvider
from llmgate_plugins.testing.steps import Hang, Step, Stream
from llmgate_plugins.types import Deployment, Message, Price, Request

__all__ = ["PluginContract"]

PRICE = Price(input=1_000_000, output=2_000_000)

STORIES: Mapping[str, Mapping[str, Sequence[Step]]] = {
    "all well": {"east": ["fine"], "west": ["fine"]},
    "one dead": {"east": [Fault("server")], "west": ["fine"]},
    "throttled": {"east": [Fault("rate_limit", retry_after=1)], "west": [Fault("overloaded"), "fine"]},
    "a callers mistake": {"east": [Fault("invalid_request")], "west": ["fine"]},
    "no money, no key": {"east": [Fault("quota")], "west": [Fault("authentication")]},
    "a cut stream": {"east": [Stream("half ", finish_reason=None)], "west": ["fine"]},
    "all down": {"east": [Fault("server")], "west": [Fault("timeout")]},
}
"""What happens to a call, by name."""

ALERTS: Sequence[Alert] = (
    Alert(kind="budget_threshold", subject="team:search", summary="80 % of the day's budget is spent."),
    Alert(
        kind="credential_dead",
        subject="env:KEY",
        summary="The key <env:KEY> is refused & left out.\nA second line: 1 > 0.",
        severity="critical",
        facts={"status": 401, "share": 0.5, "provider": "openai", "known": True, "until": None},
    ),
    Alert(kind="credential_dead", subject="env:KEY", summary="It works again.", resolved=True),
    Alert(kind="model_retirement", subject="east", summary="Ümläute, 漢字 and a ✓. " * 80, severity="info"),
)
"""What a channel is told."""


class PluginContract:
    """What any plugin must hold to. Override `make_plugin`; the rest as your plugin needs.

    Attributes:
        contexts: Who calls. Add those your plugin treats differently.
        prompts: What they ask.
        alerts: What it is told, if it is a channel for alerts.
    """

    contexts: Sequence[Context] = (Context(), Context(tenant="acme", team="search", user="ada", priority=3))
    prompts: Sequence[str] = ("hello", "a longer question, with numbers: 1 2 3 and an e-mail: a@b.example")

    alerts: Sequence[Alert] = ALERTS

    def make_plugin(self) -> object:
        """A new instance of the plugin, as an application would make it."""
        raise NotImplementedError(f"{type(self).__name__}.make_plugin must return your plugin")

    def deployments(self) -> Sequence[Deployment]:
        """What the gateway has to choose from; ids "east" and "west" are scripted."""
        return [
            Deployment(
                id=name,
                alias="fast",
                provider="scripted",
                model=f"model-{name}",
                region=region,
                price=PRICE,
                capabilities=frozenset({"tools", "json_schema"}),
            )
            for name, region in (("east", "us"), ("west", "eu"))
        ]

    # ------------------------------------------------------------ the suite

    def test_it_fits_the_hook_contract(self) -> None:
        """It is an instance with hooks of the right names, parameters and types."""
        Registry([self.make_plugin()])

    def test_two_gateways_can_have_one_each(self) -> None:
        """Nothing global: two instances in two gateways do not know of each other."""
        assert self.make_plugin() is not self.make_plugin()
        Registry([self.make_plugin()])
        Registry([self.make_plugin()])

    @pytest.mark.parametrize("story", STORIES)
    @pytest.mark.parametrize("face", FACES)
    def test_it_answers_as_promised_whatever_happens(self, face: str, story: str) -> None:
        """Answers are of the promised types, nothing but a denial is raised, books balance."""
        for told, stage in self._told(face, story):
            self._check(told, stage)

    @pytest.mark.parametrize("story", STORIES)
    def test_it_decides_alike_on_every_face(self, story: str) -> None:
        """The same calls are answered, denied and sent to the same deployments everywhere."""
        decisions = {face: [_decision(told) for told, _ in self._told(face, story)] for face in FACES}
        streamed = {face: decisions.pop(face) for face in ("stream", "astream")}
        for group in (decisions, streamed):
            first, *others = group.values()
            for other in others:
                assert other == first

    @pytest.mark.parametrize("face", FACES)
    def test_it_changes_nothing_it_is_handed(self, face: str) -> None:
        """Requests are values: a change is a new request, never a mutation."""
        stage = self._stage("all well")
        params = {"tools": [{"type": "function", "function": {"name": "f"}}], "stop": ["x"]}
        tags = {"job": "7"}
        request = Request(
            model="fast",
            messages=(Message(role="user", content=({"type": "text", "text": self.prompts[0]},)),),
            params=params,
            tags=tags,
            stream=face in ("stream", "astream"),
        )
        before = copy.deepcopy((request.messages, params, tags))
        ask(face, stage.gateway, request)
        assert (request.messages, params, tags) == before

    def test_a_reader_who_leaves_is_told_to_it_like_any_end(self) -> None:
        """An abandoned stream and a cancelled task raise no error in it."""
        for face in ("stream", "astream"):
            stage = self._stage({"east": [Stream("a", "b", "c")], "west": [Stream("a", "b", "c")]})
            self._check(ask(face, stage.gateway, prompt=self.prompts[0], take=1), stage)
        stage = self._stage({"east": [Hang()], "west": [Hang()]})
        asyncio.run(stage.cancelled(self.prompts[0]))
        assert stage.problems() == []

    def test_many_threads_may_use_it_at_once(self) -> None:
        """One instance serves all threads of an application."""
        stage = self._stage("one dead")

        def one(number: int) -> Told:
            context = self.contexts[number % len(self.contexts)]
            return ask("sync", stage.gateway, prompt=f"question {number}", context=context)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(80)))
        assert stage.problems() == []

    def test_a_channel_takes_every_alert(self) -> None:
        """What it is told as an alert it delivers or leaves, without an error."""
        stage = self._stage("all well")
        for alert in self.alerts:
            error = stage.gateway.alerts.try_out(alert).get(stage.name)
            assert error is None, f"it failed to deliver {alert!r}: {error!r}"

    # ------------------------------------------------------------ how

    def _stage(self, story: str | Mapping[str, Sequence[Step]]) -> Stage:
        return Stage(
            self.make_plugin(), self.deployments(), STORIES[story] if isinstance(story, str) else story
        )

    def _told(self, face: str, story: str) -> list[tuple[Told, Stage]]:
        stage = self._stage(story)
        return [
            (ask(face, stage.gateway, prompt=prompt, context=context, tags={"job": "7"}), stage)
            for context in self.contexts
            for prompt in self.prompts
        ]

    def _check(self, told: Told, stage: Stage) -> None:
        mine = [problem for problem in told.record.problems if problem[0] == stage.name]
        assert mine == [], f"it failed in {mine[0][1]}: {mine[0][2]}"
        if isinstance(told.error, LLMGateError) and getattr(told.error, "plugin", None) == stage.name:
            assert isinstance(told.error, RequestDenied), f"it raised instead of denying: {told.error}"
        assert stage.books_balance(), "attempts and calls in the ledger do not add up"


class Stage:
    """A gateway with the plugin under test, and what is around it."""

    def __init__(
        self, plugin: object, deployments: Sequence[Deployment], script: Mapping[str, Sequence[Step]]
    ) -> None:
        clock = VirtualClock()
        sleeper = VirtualSleeper(clock)
        self.name = plugin_name(plugin)
        self.gateway = Gateway(
            deployments,
            plugins=[plugin],
            transport=ScriptedProvider(script, default=None, sleeper=sleeper),
            clock=clock,
            sleeper=sleeper,
            random=random.Random(0),  # noqa: S311 - decisions must be the same on every face
            deadline=60.0,
        )

    async def cancelled(self, prompt: str) -> None:
        """A call that hangs and is cancelled."""
        task = asyncio.create_task(self.gateway.acomplete("fast", prompt))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def problems(self) -> list[tuple[str, str, str]]:
        """Everything the plugin failed in."""
        return [
            problem
            for record in self.gateway.decisions
            for problem in record.problems
            if problem[0] == self.name and problem[1] in RULES
        ]

    def books_balance(self) -> bool:
        """Whether the sum of all attempts is the sum of all calls."""
        ledger = self.gateway.services.ledger
        attempts = sum(int(row["cost_nano_usd"]) for row in ledger.attempts())
        return attempts == sum(int(row["cost_nano_usd"]) for row in ledger.calls())


def _decision(told: Told) -> tuple[Any, ...]:
    return (type(told.error), told.record.status, told.tried, told.statuses)
