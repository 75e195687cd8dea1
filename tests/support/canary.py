"""A key that must not be seen, and every place where it might be."""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import json
import logging
import pickle
import secrets
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import yaml

from llmgate_plugins import Secret
from llmgate_plugins.catalog import Catalog

__all__ = ["SHAPES", "Canary", "Logs", "of_error", "views", "walked"]

SHAPES = {
    "sk": lambda: f"sk-proj-{secrets.token_urlsafe(36)}",
    "plain": lambda: f'{secrets.token_hex(6)}/+=&"{secrets.token_hex(6)}\\%{secrets.token_hex(6)}',
}
LOGGERS = ("", "openai", "httpx", "httpcore", "anthropic", "LiteLLM", "LiteLLM Router", "llmgate", "asyncio")
OURS = ("llmgate_plugins", "langchain_llmgate", "litellm_llmgate", "support", "test_canary")


class Canary:
    """A key. Its own repr shows nothing, so that a test's local variables do not count."""

    def __init__(self, shape: str) -> None:
        value = SHAPES[shape]()
        self.reveal = lambda: value
        self._forms: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return "Canary()"

    @property
    def forms(self) -> set[bytes]:
        """The key as it is, escaped for JSON and for URLs, and in base64 at any offset."""
        raw = self.reveal().encode()
        forms = {
            raw,
            quote(raw).encode(),
            quote(raw, safe="").encode(),
            json.dumps(raw.decode())[1:-1].encode(),
        }
        forms.add(repr(raw.decode())[1:-1].encode())
        for before in range(3):
            whole = (len(raw) + before) // 3 * 3 - before
            forms.add(base64.b64encode(bytes(before) + raw[:whole])[(0, 2, 3)[before] :])
        return forms

    def in_(self, told: str | bytes) -> bool:
        """Whether some form of it can be read there."""
        self._forms = self._forms or tuple(self.forms)
        said = told.encode(errors="replace") if isinstance(told, str) else told
        return any(form in said for form in self._forms)

    def leaks(self, sinks: Iterator[tuple[str, str | bytes]]) -> list[str]:
        """The names of the sinks in which it can be read."""
        return sorted({name for name, told in sinks if self.in_(told)})


def views(name: str, thing: Any) -> Iterator[tuple[str, str | bytes]]:
    """Everything that shows, copies or writes an object."""
    yield f"repr({name})", repr(thing)
    yield f"str({name})", str(thing)
    yield f"format({name})", f"{thing} {thing!r} {thing!a}"
    for label, text in walked(name, thing):
        yield label, text
    for copier in (copy.copy, copy.deepcopy):
        with contextlib.suppress(Exception):
            yield f"{copier.__name__}({name})", repr(copier(thing))
    for protocol in (0, pickle.HIGHEST_PROTOCOL):
        try:
            yield f"pickle({name}, {protocol})", pickle.dumps(thing, protocol)
        except Exception as error:
            yield f"pickle({name}) refused", f"{error!r}"
    for label, write in WRITERS.items():
        try:
            yield f"{label}({name})", str(write(thing))
        except Exception as error:
            yield f"{label}({name}) refused", f"{error!r}"


def _langchain(name: str) -> Any:
    def write(thing: Any) -> Any:
        import langchain_core.load.dump as dump

        return getattr(dump, name)(thing)

    return write


WRITERS: Mapping[str, Any] = {
    "json": lambda thing: json.dumps(thing, default=str),
    "json of vars": lambda thing: json.dumps(vars(thing), default=str),
    "yaml": yaml.dump,
    "asdict": dataclasses.asdict,
    "astuple": dataclasses.astuple,
    "model_dump": lambda thing: thing.model_dump(),
    "model_dump warnings": lambda thing: thing.model_dump(mode="json", fallback=str),
    "model_dump_json": lambda thing: thing.model_dump_json(fallback=str),
    "dict": dict,
    "list": list,
    "state": lambda thing: thing.__getstate__(),
    "reduce": lambda thing: thing.__reduce_ex__(4),
    "members": lambda thing: [getattr(thing, name, None) for name in dir(thing) if name != "reveal"],
    "to_dict": lambda thing: thing.to_dict(),
    "to_json": lambda thing: thing.to_json(),
    "lc dumps": _langchain("dumps"),
    "lc dumpd": _langchain("dumpd"),
}


def walked(name: str, thing: Any, seen: set[int] | None = None, depth: int = 12) -> Iterator[tuple[str, str]]:
    """The repr of whatever can be reached through attributes of our own objects, and through containers.

    `native` is the host's own object, which a host sends with; it is shown by its repr alone.
    """
    seen = set() if seen is None else seen
    if depth == 0 or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        inside = [(f"{name}[{key!r}]", value) for key, value in list(thing.items())]
        inside += [(f"{name} key", key) for key in thing]
    elif isinstance(thing, Sequence | set | frozenset) and not isinstance(thing, str | bytes):
        inside = [(f"{name}[]", value) for value in thing]
    elif type(thing).__module__.partition(".")[0] in OURS and not isinstance(thing, Canary | Catalog):
        inside = [(f"{name}.{field}", value) for field, value in _attributes(thing) if field != "native"]
    else:
        yield name, repr(thing)
        return
    yield name, repr(getattr(thing, "native", None))
    for label, value in inside:
        yield from walked(label, value, seen, depth - 1)


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            with contextlib.suppress(AttributeError):
                yield slot, getattr(thing, slot)


def of_error(error: BaseException) -> Iterator[tuple[str, str | bytes]]:
    """Everything that can be read from an error and from what hangs on it."""
    told = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
    yield "traceback with locals", "".join(told.format())
    links, seen = [error], set()
    while links:
        one = links.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        links += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        name = f"error {type(one).__name__}"
        yield f"str({name})", str(one)
        yield f"repr({name})", repr(one)
        yield f"args({name})", repr(one.args)
        yield f"notes({name})", repr(getattr(one, "__notes__", ()))
        yield f"vars({name})", repr(getattr(one, "__dict__", {}))
        for protocol in (2, pickle.HIGHEST_PROTOCOL):
            with contextlib.suppress(Exception):
                yield f"pickle({name}, {protocol})", pickle.dumps(one, protocol)
        with contextlib.suppress(Exception):
            yield f"reduce({name})", repr(one.__reduce_ex__(4))
        for label in ("request", "response"):
            with contextlib.suppress(Exception):
                yield from _exchange(f"{name}.{label}", getattr(one, label))


def _exchange(name: str, exchange: Any) -> Iterator[tuple[str, str | bytes]]:
    yield f"{name}.headers", repr(list(exchange.headers.raw))
    yield f"{name}.url", str(exchange.url)
    with contextlib.suppress(Exception):
        yield f"{name}.content", exchange.content
    with contextlib.suppress(Exception):
        yield f"{name}.text", exchange.text
    if hasattr(exchange, "request"):
        yield from _exchange(f"{name}.request", exchange.request)


class Logs(logging.Handler):
    """All that is logged at any level while it is open, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: list[tuple[str, str]] = []
        self._before: list[tuple[logging.Logger, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.lines.append((f"log of {record.name}", f"{self.format(record)} {extra!r} {record.args!r}"))

    def __enter__(self) -> Self:
        for name in LOGGERS:
            logger = logging.getLogger(name)
            self._before.append((logger, logger.level))
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for logger, level in self._before:
            logger.setLevel(level)
            logger.removeHandler(self)


def reference(canary: Canary, given: str, directory: Any, environment: Any) -> str:
    """How configuration names the key: as a value, or by reference to a variable or a file."""
    name = f"CANARY_{secrets.token_hex(4).upper()}"
    if given == "env":
        environment.setenv(name, canary.reveal())
        return f"os.environ/{name}"
    if given == "file":
        (directory / name).write_text(canary.reveal() + "\n")
        return f"file:{directory / name}"
    return canary.reveal()


def secret(canary: Canary) -> Secret:
    return Secret(canary.reveal())
