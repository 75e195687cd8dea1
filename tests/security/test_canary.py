"""A key goes through real calls in every host; afterwards it can be read nowhere but at the provider."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_llmgate import ChatLLMGate
from support.canary import Canary, Logs, of_error, reference, views, walked
from support.canary_hosts import FACES, HOSTS, Host, made

from llmgate_plugins.testing import Fault, ProviderSimulator

FAULTS: dict[str, Callable[[str], Fault]] = {
    "401": lambda key: Fault(
        "authentication", message=f"Incorrect API key provided: {key}.", body=_echo(key)
    ),
    "429": lambda key: Fault("rate_limit", message=f"Too many for {key}"),
    "500": lambda key: Fault("server", message=f"cannot log in {key!r} at https://proxy/?api_key={key}"),
    "echo": lambda key: Fault("unavailable", headers={"x-echo": f"Bearer {key}"}),
    "html": lambda key: Fault("html", body=f"<html>{key}</html>"),
    "broken": lambda key: Fault("error_event", message=f"lost {key}", after=2),
    "cut": lambda key: Fault("cut", after=2),
}
ENDS = ("success", *FAULTS, "refused", "cancelled")


A_DAY = 86_400.0


def _echo(key: str) -> dict[str, Any]:
    return {
        "error": {"message": f"Incorrect API key provided: {key}.", "type": "x", "code": "invalid_api_key"}
    }


def _given(kind: str) -> tuple[str, ...]:
    if kind.endswith("models"):
        return ("value",)
    return ("value", "env") if kind.startswith("litellm") else ("value", "env", "file")


STAGES = [(kind, given) for kind in HOSTS for given in _given(kind)]
FACES_OF = {"value": FACES, "env": ("astream",), "file": ("complete",)}
"""A key given as a value goes through every face; one given by reference through one, of each sort."""
CALLS = [(kind, given, face) for kind, given in STAGES for face in FACES_OF[given]]


@pytest.fixture(scope="module")
def sim() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=7) as simulator:
        yield simulator


class Stage:
    """One host with its canary, for all tests of this module."""

    def __init__(
        self, kind: str, given: str, sim: ProviderSimulator, directory: Path, environment: Any
    ) -> None:
        self.canary = Canary("plain" if given == "file" else "sk")
        self.files = directory
        self.provider = sim.provider(kind.replace(" ", "-").replace(":", "-") + given)
        key = reference(self.canary, given, directory, environment)
        self.host = made(kind, self.provider, key, f"sqlite:///{directory / 'books.db'}")
        self.dead = made(kind, self.provider, key, "memory", dead=True)

    def sinks(self, host: Host, said: Any, error: BaseException | None) -> Iterator[tuple[str, str | bytes]]:
        """Every place where something can be read after a call."""
        for thing in (*host.everything.given, said):
            yield from walked(f"plugin's {type(thing).__name__}", thing)
            yield f"repr {type(thing).__name__}", f"{thing!r} {thing}"
        if error is not None:
            yield from of_error(error)
        for record in host.gateway.decisions:
            yield "decision record", json.dumps(record.to_dict())
            yield "decision record", repr(record)
            for _, outcome in record.attempts:
                if outcome.error is not None:
                    yield from of_error(outcome.error)
        ledger = host.gateway.services.ledger
        ledger.flush()
        yield "ledger rows", repr([ledger.attempts(), ledger.calls()])
        for file in (*self.files.glob("books.db*"), *self.files.glob("books.db.outbox/*")):
            if file.is_file():
                yield f"file {file.name}", file.read_bytes()
        for span in host.spans.get_finished_spans():
            yield "span", span.to_json()
        for run in host.runs:
            yield "LangChain run", f"{run!r} {run.dict() if hasattr(run, 'dict') else vars(run)!r}"
        if host.cache is not None:
            yield "LangChain cache", repr(vars(host.cache))
        yield "command line", Path("/proc/self/cmdline").read_bytes()


@pytest.fixture(scope="module")
def stages(sim: ProviderSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    environment = pytest.MonkeyPatch()
    kept: dict[tuple[str, str], Stage] = {}

    def stage(kind: str, given: str) -> Stage:
        if (kind, given) not in kept:
            kept[kind, given] = Stage(kind, given, sim, tmp_path_factory.mktemp("canary"), environment)
        return kept[kind, given]

    yield stage
    environment.undo()


async def _carried_out(host: Host, face: str, end: str) -> tuple[Any, BaseException | None]:
    """What was said or raised. Holds no key among its variables."""
    before = len(host.provider.requests)
    try:
        if end == "cancelled" and face in ("acomplete", "astream"):
            task = asyncio.ensure_future(host.ask(face, f"{face} {end}"))
            while len(host.provider.requests) == before and not task.done():
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            task.cancel()
            return await task, None
        answer = host.ask(face, f"{face} {end}")
        return (await answer if inspect.isawaitable(answer) else answer), None
    except BaseException as error:
        return None, error


@pytest.mark.parametrize(("kind", "given", "face"), CALLS, ids=str)
async def test_the_key_is_read_by_nobody_but_the_provider(
    stages: Any, capfd: pytest.CaptureFixture[str], kind: str, given: str, face: str
) -> None:
    stage: Stage = stages(kind, given)
    found: list[str] = []
    for end in ENDS:
        if end == "cancelled" and face in ("complete", "stream"):
            continue
        host = stage.dead if end == "refused" else stage.host
        stage.provider.heal()
        if end in FAULTS:
            stage.provider.fail_always(FAULTS[end](stage.canary.reveal()))
        elif end == "cancelled":
            stage.provider.fail_always(Fault("stall", after=1 if face == "astream" else None))
        host.clock.advance(A_DAY)  # whatever the last failure has ejected may be asked again
        before = len(stage.provider.requests)
        with Logs() as logs, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            said, error = await _carried_out(host, face, end)
        assert (error is None) == (end == "success"), f"{end}: {error!r}"
        assert end == "refused" or len(stage.provider.requests) > before, f"{end}: {error!r}"
        leaks = stage.canary.leaks(stage.sinks(host, said, error))
        leaks += stage.canary.leaks(iter(logs.lines))
        leaks += stage.canary.leaks(("warning", str(one.message)) for one in warned)
        found += [f"{end}: {leak}" for leak in leaks]
        host.everything.given.clear()
        host.runs.clear()
        host.spans.clear()
        host.gateway._decisions.clear()
    out, err = capfd.readouterr()
    found += stage.canary.leaks(iter([("stdout", out), ("stderr", err)]))
    assert not found, "\n".join(found)
    assert {request.authorization() for request in stage.provider.requests} == {stage.canary.reveal()}


@pytest.mark.parametrize(("kind", "given"), STAGES, ids=str)
async def test_nothing_an_application_holds_shows_the_key(stages: Any, kind: str, given: str) -> None:
    stage: Stage = stages(kind, given)
    stage.provider.heal()
    await _carried_out(stage.host, "acomplete", "once more")
    things = stage.host.things.items()
    found = [leak for name, thing in things for leak in stage.canary.leaks(views(name, thing))]
    assert not found


CHAT = ["chat", "Hello"]


def _entry(params: dict[str, str]) -> dict[str, Any]:
    return {"model_name": "fast", "litellm_params": params}


@pytest.mark.parametrize("given", ["value", "env", "file"])
def test_a_gate_made_from_a_mapping_keeps_no_key(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = Canary("sk")
    params = {"model": "openai/gpt-4o-mini", "api_key": reference(canary, given, tmp_path, monkeypatch)}
    gate = ChatLLMGate(model="fast", config={"model_list": [_entry(params)]})
    assert not canary.leaks(views("gate", gate))
    if given == "value":
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(gate)
    else:
        assert pickle.loads(pickle.dumps(gate)).gateway.deployments.keys() == gate.gateway.deployments.keys()


COMMANDS = """
import json, sys
from llmgate_plugins.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    print(f"ended with {code}", flush=True)
"""
"""Several command lines in one process, since it takes its time to start."""


@pytest.mark.parametrize(
    ("commands", "end"),
    [
        *(([CHAT, [*CHAT, "--json"]], end) for end in ("success", "401", "500", "refused")),
        ([["config", "check"]], "success"),  # it asks no provider
    ],
    ids=["success", "401", "500", "refused", "config check"],
)
def test_the_command_line_shows_no_key(
    sim: ProviderSimulator, tmp_path: Path, commands: list[list[str]], end: str
) -> None:
    canary, provider = Canary("sk"), sim.provider(f"cli-{end}")
    provider.heal()
    if end in FAULTS:
        provider.fail_always(FAULTS[end](canary.reveal()))
    base = provider.closed_url if end == "refused" else provider.openai_base_url
    params = {"model": "openai/gpt-4o-mini", "api_base": base, "api_key": canary.reveal()}
    file = tmp_path / "llmgate.yaml"
    settings = {"router_settings": {"num_retries": 0}}
    file.write_text(json.dumps({"model_list": [_entry(params)], **settings}))
    words = [
        [*command, str(file)] if command[0] == "config" else [*command, "--config", str(file)]
        for command in commands
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(words)], capture_output=True, timeout=60, check=True
    )
    codes = re.findall(rb"ended with (\d+)", done.stdout)
    assert len(codes) == len(commands)
    assert set(codes) <= ({b"0"} if end == "success" else {b"1", b"2"}), done.stderr
    assert not canary.leaks(iter([("stdout", done.stdout), ("stderr", done.stderr)]))
