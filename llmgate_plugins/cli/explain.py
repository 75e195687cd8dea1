"""`llmgate explain`: why a call went where it went, or where a request would go now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from llmgate_plugins.cli.chat import found_config
from llmgate_plugins.cli.decisions import explanation
from llmgate_plugins.cli.output import print_json, wrapped
from llmgate_plugins.cli.reading import config_option, ledger_of, ledger_option
from llmgate_plugins.context import Context
from llmgate_plugins.errors import UnknownCall
from llmgate_plugins.messages import to_messages
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Request

if TYPE_CHECKING:
    from llmgate_plugins.foresight import Explanation
    from llmgate_plugins.gateway import Gateway

__all__ = ["explain"]

NOBODY_SERVES: Final = 1
"""Exit code where a request would be denied, or nobody may serve it."""

_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "priority": (int, "a number from 0 to 3"),
    "extra": (dict, "a mapping"),
}
"""Facts of a context that are no texts."""
MISSPELT: Final = 0.8
"""How near a key comes to one of a request (`difflib`) that is not meant to be a parameter."""

_OWN: Final = (
    "model",
    "messages",
    "prompt",
    "context",
    "tags",
    "stream",
    "operation",
    "fallbacks",
    "timeout",
)
"""Keys of a request in a file that are no parameters of the call."""


@click.command("explain")
@click.argument("call_id", required=False)
@click.option(
    "--request",
    "file",
    metavar="FILE",
    help="Instead of a past call: requests, as JSON or YAML ({model, messages, context, tags, ...}).",
)
@ledger_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    call_id: str | None, file: str | None, ledger: str | None, config: str | None, as_json: bool
) -> None:
    """Say why the call CALL_ID went where it went, or where a request would go now.

    CALL_ID may be the beginning of an id. With --request nothing is sent, reserved or written;
    the exit code is 1 where a request would be denied or nobody may serve it.

    \b
    llmgate explain 0199f3a2
    llmgate explain --request request.json
    """
    if (call_id is None) == (file is None):
        raise click.UsageError("give the id of a past call, or --request FILE for one that was not made")
    if file is not None:
        _foretell(file, config, as_json)
        return
    record = _recalled(ledger_of(ledger, config), call_id or "")
    if as_json:
        print_json(record.to_dict())
    else:
        click.echo("\n".join(explanation(record)))


def _recalled(url: str, call_id: str) -> DecisionRecord:
    from llmgate_plugins.insight.calls import find_calls

    rows = find_calls(url, call_id)
    if len(rows) != 1:
        raise UnknownCall(call_id, [row["call_id"] for row in rows], durable=True)
    return DecisionRecord.from_row(rows[0])


def _foretell(file: str, config: str | None, as_json: bool) -> None:
    from llmgate_plugins.gateway import Gateway

    asked = _requests(file)
    place = found_config(config)
    with Gateway.from_config(place, check_secrets=False, **_without_writing(place)) as gateway:
        told = [_told(gateway, one) for one in asked]
    if as_json:
        plain = [one.to_dict() for one in told]
        print_json(plain if len(plain) > 1 else plain[0])
    else:
        for number, one in enumerate(told):
            click.echo(("\n" if number else "") + "\n".join(_lines(one)))
        # An alias that is none is known to be none.
        decided = (one for one in told if one.record.status != "error")
        unknown = dict.fromkeys(sentence for one in decided for sentence in one.unknown)
        for number, sentence in enumerate(unknown):
            click.echo(("" if number else "\n") + wrapped(f"Not known: {sentence}", "  "))
    if not all(one.eligible for one in told):
        raise SystemExit(NOBODY_SERVES)


def _without_writing(config: Path) -> dict[str, Any]:
    """A ledger in a file that is not there would be made: then there is one in memory."""
    from llmgate_plugins.config import load_config
    from llmgate_plugins.ledger import MemoryLedger

    url = load_config(config).ledger.address
    path = Path(url.partition("?")[0].removeprefix("sqlite:///"))
    return {"ledger": MemoryLedger()} if url.startswith("sqlite:///") and not path.exists() else {}


def _lines(one: Explanation) -> list[str]:
    record = one.record
    if not one.eligible:
        head = "Would be denied." if record.status == "denied" else "Nobody may serve it."
    elif one.first is None:
        head = f"Would be answered by {record.denied_by}, without being sent."
    else:
        head = f"Would be sent to {one.first}."
    return [head, *explanation(record, one.foreseen)]


def _told(gateway: Gateway, asked: Mapping[str, Any]) -> Explanation:
    return gateway.explain(_request(asked), context=Context(**asked.get("context") or {}))


def _request(asked: Mapping[str, Any]) -> Request:
    fallbacks = asked.get("fallbacks")
    return Request(
        model=str(asked["model"]),
        messages=to_messages(asked.get("messages") or asked.get("prompt") or ""),
        params={name: value for name, value in asked.items() if name not in _OWN},
        tags={name: str(value) for name, value in (asked.get("tags") or {}).items()},
        stream=bool(asked.get("stream")),
        operation=asked.get("operation") or "chat",
        fallbacks=tuple(fallbacks) if fallbacks is not None else None,
        timeout=asked.get("timeout"),
    )


def _requests(file: str) -> list[Mapping[str, Any]]:
    """What a file asks for.

    Raises:
        ConfigurationError: It cannot be read.
        click.UsageError: Something in it is no request.
    """
    from llmgate_plugins.config.problems import closest
    from llmgate_plugins.config.reading import read_file

    value = read_file(file).value
    found = value if isinstance(value, list) else [value]
    known = Context.__dataclass_fields__
    for one in found:
        if not isinstance(one, Mapping) or not isinstance(one.get("model"), str):
            raise click.UsageError(f"{file}: a request is a mapping with at least a model: {{model: fast}}")
        for section in ("context", "tags"):
            if not isinstance(one.get(section) or {}, Mapping):
                raise click.UsageError(f"{file}: {section} must be a mapping")
        for name in one.get("context") or {}:
            if name not in known:
                remedy = closest(name, known) or f"there are: {', '.join(known)}"
                raise click.UsageError(f"{file}: context has no {name!r}; {remedy}")
            kind, said = _KINDS.get(name, (str, "a text"))
            if not isinstance(one["context"][name], kind):
                raise click.UsageError(f"{file}: {name} of context must be {said}")
        for name in one:  # anything else is a parameter, but a context that is misspelt is none
            if name not in _OWN and (remedy := closest(name, _OWN, MISSPELT)):
                raise click.UsageError(f"{file}: a request has no {name!r}; {remedy}")
        try:
            _request(one)
        except (TypeError, ValueError) as error:
            raise click.UsageError(f"{file}: {error}") from None
    if not found:
        raise click.UsageError(f"{file} asks for nothing")
    return found
