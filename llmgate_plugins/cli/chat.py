"""`llmgate chat`: one prompt through a configuration, printed as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from llmgate_plugins.cli.output import pairs, print_json, wrapped
from llmgate_plugins.context import Context
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.types import Message, Request

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway
    from llmgate_plugins.records import DecisionRecord

__all__ = ["chat", "found_config"]

_USUAL: Final = "llmgate.yaml"
_WHO: Final = (
    *("tenant", "team", "project", "user", "feature", "cohort", "environment"),
    *("region", "data_class", "policy"),
)
_EXAMPLE: Final = tuple(
    Problem(message=line)
    for line in (
        "Write one, for example:",
        "    model_list:",
        "      - model_name: fast",
        "        litellm_params: {model: openai/gpt-4o-mini, api_key: env:OPENAI_API_KEY}",
    )
)


def _who_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each fact of the context."""
    for name in reversed(_WHO):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, metavar="NAME", help=f"The context's {name.replace('_', ' ')}.")(
            command
        )
    return command


@click.command("chat")
@click.argument("prompt", required=False)
@click.option("--config", "-c", "file", metavar="FILE", help=f"Configuration (default: {_USUAL} here).")
@click.option("--model", "-m", metavar="ALIAS", help="What to ask for (default: the file's first).")
@click.option("--system", "-s", metavar="TEXT", help="A system message.")
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="T", help="Sampling temperature.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Seconds in all.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A label (repeatable).")
@_who_options
@click.option("--priority", type=click.IntRange(0, 3), default=1, help="0 is lowest, 3 is critical.")
@click.option("--explain", is_flag=True, help="Also say how the deployment was chosen.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def chat(
    prompt: str | None,
    file: str | None,
    model: str | None,
    system: str | None,
    no_stream: bool,
    max_tokens: int | None,
    temperature: float | None,
    timeout: float | None,
    tags: tuple[str, ...],
    priority: int,
    explain: bool,
    as_json: bool,
    **who: str | None,
) -> None:
    """Send PROMPT and print the answer as it comes.

    Without PROMPT, or with -, it is read from stdin. What it took is printed on stderr.
    """
    from llmgate_plugins.gateway import Gateway  # with all it needs; not for --help

    labels = pairs(tags, "--tag")
    text = _prompt(prompt)
    params = {"max_tokens": max_tokens, "temperature": temperature}
    with Gateway.from_config(found_config(file)) as gateway:
        getattr(gateway.transport, "prepare", lambda _: None)(gateway.deployments.values())
        messages = [Message(role="user", content=text)]
        if system is not None:
            messages.insert(0, Message(role="system", content=system))
        request = Request(
            model=model or next(iter(gateway.deployments.values())).alias,
            messages=messages,
            params={name: value for name, value in params.items() if value is not None},
            tags=labels,
            timeout=timeout,
            stream=not no_stream,
        )
        try:
            answer = _ask(gateway, request, Context(priority=priority, **who), silent=as_json)  # type: ignore[arg-type]  # names of the context
        finally:
            if gateway.decisions and not as_json:
                _tell(gateway.decisions[-1], explain)
        if as_json:
            print_json(_plain(answer, gateway.decisions[-1], explain))


def found_config(file: str | None) -> Path:
    """The configuration to use.

    Raises:
        ConfigurationError: None was named, and there is none here.
    """
    path = Path(file or _USUAL)
    if file is None and not path.exists():
        raise ConfigurationError(
            problems=[Problem(message=f"there is no {_USUAL} here, and --config names no other"), *_EXAMPLE]
        )
    return path


def _prompt(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise click.UsageError("what shall be asked? Give a PROMPT, or - to read it from stdin")
    text = sys.stdin.read() if prompt is None or prompt == "-" else prompt
    if not text.strip():
        raise click.UsageError("the prompt is empty")
    return text


def _ask(gateway: Gateway, request: Request, context: Context, *, silent: bool) -> str:
    """Returns the text; unless `silent`, it is printed as it comes."""
    if not request.stream:
        text = gateway.complete(request, context=context).text
        if not silent:
            click.echo(text)
        return text
    pieces: list[str] = []
    stream: Any = gateway.stream(request, context=context)
    try:
        with closing(stream):
            for chunk in stream:
                if chunk.text:
                    pieces.append(chunk.text)
                    if not silent:
                        click.echo(chunk.text, nl=False)
    finally:
        if not silent and pieces:
            click.echo()
    return "".join(pieces)


def _tell(record: DecisionRecord, explain: bool) -> None:
    from llmgate_plugins.cli.decisions import explanation, summary

    if explain:
        click.echo("\n" + "\n".join(explanation(record)), err=True)
    else:
        click.echo(wrapped(f"[{summary(record)}]", " "), err=True)


def _plain(text: str, record: DecisionRecord, explain: bool) -> dict[str, Any]:
    told = record.to_dict()
    last = told["attempts"][-1] if told["attempts"] else {}
    return {
        "text": text,
        "deployment": told["served_by"],
        "model": last.get("model"),
        "finish_reason": last.get("finish_reason"),
        "attempts": len(told["attempts"]),
        "usage": told["usage"],
        "cost_usd": told["cost_usd"],
        "cost_per_1k_nano_usd": told["cost_per_1k_nano_usd"],
        "latency_s": told["latency_s"],
        "first_token_s": told["first_token_s"],
        "call_id": told["call_id"],
        **({"decision": told} if explain else {}),
    }
