"""`llmgate simulate`: runs simulated providers on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from llmgate_plugins.testing import Fault, ProviderSimulator, RecordedRequest, SimulatedProvider

__all__ = ["simulate"]

_DEFAULT_PORT = 8399
_KEY = "sk-simulated"


@click.command("simulate")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULT_PORT,
    show_default=True,
    help="Where to listen on 127.0.0.1; 0 takes any free port.",
)
@click.option("--provider", "names", multiple=True, metavar="NAME", help="A provider to serve (repeatable).")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=KIND[:RATE]",
    help="What goes wrong at a provider, and how often from 0 to 1 (repeatable).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def simulate(port: int, names: tuple[str, ...], faults: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Serve simulated providers until Ctrl-C.

    They speak the OpenAI and the Anthropic wire, take any API key, and answer without
    a model. Example: llmgate simulate --provider alpha --fault alpha=rate_limit:0.3
    """
    try:
        from llmgate_plugins.testing.simulator import ProviderSimulator
    except ImportError as error:
        raise click.ClickException(
            f"{error.name} is not installed: pip install 'llmgate-plugins[testing]'"
        ) from None
    names = names or ("alpha", "beta")
    planned = [_fault(text, names) for text in faults]
    try:
        simulator = ProviderSimulator(seed=seed, port=port, on_request=_log_json if as_json else _log)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}; try --port 0"
        ) from None
    try:
        providers = [simulator.provider(name) for name in names]
    except ValueError as error:
        simulator.close()
        raise click.UsageError(str(error)) from None
    for name, fault, rate in planned:
        simulator.provider(name).fail_rate(rate, fault)
    with simulator:
        click.echo(_json_head(simulator, providers) if as_json else _head(simulator, providers))
        _wait()
    if not as_json:
        click.echo(f"Stopped after {sum(len(one.requests) for one in providers)} requests.")


def _fault(text: str, names: Sequence[str]) -> tuple[str, Fault, float]:
    """Reads NAME=KIND[:RATE]."""
    from llmgate_plugins.testing import Fault

    name, equals, rest = text.partition("=")
    kind, _, share = rest.partition(":")
    if not equals or name not in names:
        raise click.BadParameter(
            f"{text!r} must be NAME=KIND[:RATE] with NAME one of {', '.join(names)}", param_hint="--fault"
        )
    try:
        return name, Fault(kind), _rate(share)  # type: ignore[arg-type]  # an unknown kind is refused by Fault
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--fault") from None


def _rate(text: str) -> float:
    rate = float(text) if text else 1.0
    if not 0 <= rate <= 1:
        raise ValueError(f"the rate {text} is not between 0 and 1")
    return rate


def _head(simulator: ProviderSimulator, providers: Sequence[SimulatedProvider]) -> str:
    lines = [f"Simulated providers at {simulator.url} (any API key). Ctrl-C stops.", ""]
    for one in providers:
        lines += [
            f"{one.name}",
            f"  OpenAI     {one.openai_base_url}",
            f"  Anthropic  {one.anthropic_base_url}",
        ]
    return "\n".join([*lines, "", "A llmgate.yaml to begin with:", "", _configuration(providers)])


def _configuration(providers: Sequence[SimulatedProvider]) -> str:
    """One alias over all of them, OpenAI and Anthropic in turn."""
    lines = ["model_list:"]
    for index, one in enumerate(providers):
        model = "anthropic/claude-haiku-4-5" if index % 2 else "openai/gpt-4o-mini"
        base = one.anthropic_base_url if index % 2 else one.openai_base_url
        lines += [
            "  - model_name: fast",
            "    litellm_params:",
            f"      model: {model}",
            f"      api_base: {base}",
            f"      api_key: {_KEY}",
        ]
    return "\n".join(lines) + "\n"


def _json_head(simulator: ProviderSimulator, providers: Sequence[SimulatedProvider]) -> str:
    head: dict[str, Any] = {
        "url": simulator.url,
        "providers": {
            one.name: {"openai": one.openai_base_url, "anthropic": one.anthropic_base_url}
            for one in providers
        },
        "config": _configuration(providers),
    }
    return json.dumps(head)


def _log(provider: SimulatedProvider, request: RecordedRequest) -> None:
    at = time.strftime("%H:%M:%S", time.localtime(request.at))
    path = request.path.removeprefix(f"/{provider.name}")
    took = f"{(request.seconds or 0) * 1000:.0f} ms"
    line = f"{at} {provider.name} {request.method} {path} {request.status or '-'} {request.outcome} {took}"
    with contextlib.suppress(OSError):  # nobody reads any more; the providers go on
        click.echo(line if len(line) <= 80 else f"{line[:77]}...")


def _log_json(provider: SimulatedProvider, request: RecordedRequest) -> None:
    entry = {
        "at": request.at,
        "provider": provider.name,
        "method": request.method,
        "path": request.path,
        "status": request.status,
        "outcome": request.outcome,
        "seconds": request.seconds,
    }
    with contextlib.suppress(OSError):
        click.echo(json.dumps(entry))


def _wait() -> None:
    """Until Ctrl-C, or until the process is told to end."""
    over = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        while not over.wait(3600):
            pass
    except KeyboardInterrupt:
        click.echo("", err=True)
    finally:
        signal.signal(signal.SIGTERM, before)
