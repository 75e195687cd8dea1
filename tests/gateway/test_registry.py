"""Everything that does not fit the contract is refused while building, naming plugin, hook and remedy."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import pytest
from support.plugins import Admit, Begin, Witness

from llmgate_plugins import (
    Attempt,
    Call,
    Context,
    Deployment,
    Drop,
    Gateway,
    GiveUp,
    Outcome,
    PluginRefused,
    Request,
    Response,
    Retry,
    Skip,
    hookimpl,
)
from llmgate_plugins._registry import Registry
from llmgate_plugins.plugins import Failover, Limits, default_plugins


class NoHooks:
    pass


class Misspelt:
    @hookimpl
    def admit_requests(self, request): ...


class Unmarked:
    def admit_request(self, request): ...

    @hookimpl
    def end_call(self, record): ...


class WrongParameter:
    @hookimpl
    def admit_request(self, reqest): ...


class KeywordOnly:
    @hookimpl
    def admit_request(self, *, request): ...


class Catchall:
    @hookimpl
    def admit_request(self, **anything): ...


class WrongParameterType:
    @hookimpl
    def admit_request(self, request: Response): ...


class WrongReturnType:
    @hookimpl
    def admit_request(self, request: Request) -> bool: ...


class WrongAsyncReturnType:
    @hookimpl
    async def begin_attempt(self, attempt: Attempt) -> Skip | str | None: ...


class StringRanking:
    @hookimpl
    def rank_deployments(self, deployments: Sequence[Deployment]) -> str: ...


class TellsBack:
    @hookimpl
    def end_attempt(self, outcome: Outcome) -> bool: ...


class Wrapping:
    @hookimpl(wrapper=True)
    def admit_request(self, request):
        return (yield)


class Yielding:
    @hookimpl
    def admit_request(self, request):
        yield request


REFUSALS = [
    (NoHooks, "is a class, not an instance", "have you forgotten the ()? Write NoHooks()"),
    (NoHooks(), "has no hooks", "mark a method with @hookimpl"),
    (object(), "has no hooks", "mark a method"),
    (Misspelt(), "hook admit_requests: is not a hook", "did you mean admit_request?"),
    (Unmarked(), "hook admit_request: is not marked", "put @hookimpl above it"),
    (WrongParameter(), "hook admit_request: asks for 'reqest'", "did you mean request?"),
    (KeywordOnly(), "hook admit_request: takes request, which cannot be filled", "name plain parameters"),
    (Catchall(), "takes **anything", "name plain parameters"),
    (WrongParameterType(), "annotates request as Response, but is given Request", "annotate it as Request"),
    (WrongReturnType(), "returns bool", "answer with Request | Response | None"),
    (WrongAsyncReturnType(), "hook begin_attempt: returns str", "answer with Wait | Skip | Reselect | None"),
    (StringRanking(), "returns str", "Ranking"),
    (TellsBack(), "hook end_attempt: returns bool", "answer with None"),
    (Wrapping(), "is a wrapper", "begin_attempt and end_attempt"),
    (Yielding(), "is a generator", "return the answer"),
]


@pytest.mark.parametrize(("plugin", "what", "remedy"), REFUSALS)
def test_what_does_not_fit_is_refused_with_plugin_hook_and_remedy(
    plugin: object, what: str, remedy: str
) -> None:
    with pytest.raises(PluginRefused) as refused:
        Registry([plugin])
    name = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    assert f"plugin {name!r}" in str(refused.value)
    assert what in str(refused.value)
    assert remedy in str(refused.value)


def test_what_was_refused_is_refused_again_and_what_fits_one_hook_not_thereby_another() -> None:
    class Twice:
        @hookimpl(specname="end_call")
        def told(self, record): ...

    Registry([Twice()])
    Twice.told.llmgate_impl["specname"] = "admit_request"  # type: ignore[attr-defined]
    for _ in range(2):
        with pytest.raises(PluginRefused, match="asks for 'record'"):
            Registry([Twice()])


def test_a_plugins_class_ends_with_the_last_who_holds_it() -> None:
    class Passing:
        @hookimpl
        def end_call(self, record): ...

    told = weakref.ref(Passing.end_call)
    Registry([Passing()])
    del Passing
    gc.collect()
    assert told() is None


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(PluginRefused, match="another plugin has the same name"):
        Registry([Begin(name="x"), Admit(lambda r: None, name="x")])


class Fitting(Protocol):
    """Someone's own protocol for what they need of a request."""

    model: str


class Partly:
    """Names what it wants, in its own order, with wider types and own defaults."""

    name = "partly"

    @hookimpl
    def admit_request(self, call: Call, request: object, own: int = 7) -> Request:
        raise NotImplementedError

    @hookimpl
    def narrow_deployments(self, deployments: Any, request: Fitting) -> Drop | None: ...

    @hookimpl
    def rank_deployments(self, deployments: Sequence[Deployment]) -> tuple[Deployment, ...]: ...

    @hookimpl
    def begin_attempt(self) -> Future[None]: ...

    @hookimpl
    async def recover_attempt(self, attempt: Attempt) -> Retry | GiveUp | None: ...

    @hookimpl
    def review_response(self, response: Response) -> Awaitable[Response | None]: ...

    @hookimpl
    def end_call(self, context: Context | None): ...


def test_narrower_answers_wider_parameters_and_pending_answers_fit() -> None:
    hooks = Registry([Partly()]).hooks
    assert [one.plugin for one in hooks.admit_request] == ["partly"]
    assert hooks.end_call


def test_each_implementation_is_handed_what_it_names() -> None:
    class Picky:
        @hookimpl
        def admit_request(self, call, request, own=7):
            return (request, call, own)

        @hookimpl
        def narrow_deployments(self):
            return "nothing"

        @hookimpl
        def rank_deployments(self, context):
            return context

        @hookimpl
        def end_call(self, record, request, context, call, services):
            return (record, request, context, call, services)

    hooks = Registry([Picky()]).hooks
    assert hooks.admit_request[0].ask("R", "X", "C", "S") == ("R", "C", 7)
    assert hooks.narrow_deployments[0].ask(1, 2, 3, 4, 5) == "nothing"
    assert hooks.rank_deployments[0].ask(1, 2, "X", 4, 5) == "X"
    assert hooks.end_call[0].ask(1, 2, 3, 4, 5) == (1, 2, 3, 4, 5)


def test_list_order_is_run_order_with_first_and_last_around_it() -> None:
    def plugin(name: str, **options: bool) -> object:
        class Plugin:
            @hookimpl(**options)
            def admit_request(self): ...

        Plugin.name = name
        return Plugin()

    order = [plugin("one"), plugin("last", trylast=True), plugin("two"), plugin("first", tryfirst=True)]
    order.append(plugin("three"))
    registry = Registry(order)
    assert [one.plugin for one in registry.hooks.admit_request] == ["first", "one", "two", "three", "last"]
    assert [name for name, _ in registry.plugins] == ["one", "last", "two", "first", "three"]


def test_one_plugin_may_implement_a_hook_twice_by_specname() -> None:
    class Two:
        @hookimpl(specname="admit_request")
        def size_limit(self, request: Request) -> None: ...

        @hookimpl(specname="admit_request")
        def word_list(self, request: Request) -> None: ...

    assert len(Registry([Two()]).hooks.admit_request) == 2


def test_a_module_may_be_a_plugin() -> None:
    import types

    module = types.ModuleType("house_rules")

    @hookimpl
    def admit_request(request): ...

    module.admit_request = admit_request
    assert Registry([module]).plugins[0][0] == "house_rules"


def test_registries_do_not_share_anything() -> None:
    one, two = Registry([Witness()]), Registry([])
    assert one.hooks.end_call
    assert not two.hooks.end_call
    assert not asyncio.iscoroutinefunction(one.hooks.end_call[0].ask)


def test_a_built_in_plugin_set_up_differently_takes_the_place_of_the_default_one() -> None:
    mine, tuned = Witness(), Failover(max_attempts=9)
    names = [name for name, _ in Gateway(plugins=[tuned, mine]).plugins]
    # Limits without any limit have nothing to do, and are left out.
    assert names == ["Witness", *(type(one).__name__ for one in default_plugins() if type(one) is not Limits)]
    assert dict(Gateway(plugins=[tuned, mine]).plugins)["Failover"] is tuned
    assert [name for name, _ in Gateway(plugins=[tuned, mine], defaults=False).plugins] == [
        "Failover",
        "Witness",
    ]
    with pytest.raises(PluginRefused, match="same name"):
        Gateway(plugins=[tuned, Failover()])
