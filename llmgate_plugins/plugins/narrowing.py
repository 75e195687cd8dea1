"""Hard constraints: where a call may be served, and what a deployment must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.capabilities import lacks
from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.types import Deployment, LazyMessages, Message, Request

__all__ = ["Capabilities", "ContextConstraints"]

Deployments = Sequence[Deployment]

PARTS: Final[Mapping[str, str]] = {
    "image_url": "vision",
    "image": "vision",
    "input_image": "vision",
    "input_audio": "audio_input",
    "audio": "audio_input",
    "file": "pdf_input",
    "document": "pdf_input",
    "input_file": "pdf_input",
}
"""Type of a content part -> the capability to read it. Of files, only those that say they are PDF."""

OF_PARTS: Final = frozenset(PARTS.values())
BY_CONTRAST: Final = frozenset({"audio_input", "pdf_input"})
"""Capabilities that catalogues often leave out: lacking one counts only beside somebody who has it."""

FORMED: Final = "json_schema or tools"
"""A structured answer that the host itself asks for, by a tool call where a model has no JSON schemas."""
REASONS: Final[Mapping[str, str]] = {FORMED: "json_schema"}


class ContextConstraints:
    """Enforces region and data class of the context on every selection, fallbacks included.

    Fails closed: a deployment that declares no region does not serve a call that is bound
    to one. One that declares for which classes of data it is cleared serves no call of
    another class; one that declares none at all does, unless a policy asks for clearance
    (`Policy.cleared`). Reason codes: "region", "data_class".
    """

    def __init__(self) -> None:
        self._outside = PerGroup(_outside)

    @hookimpl
    def narrow_deployments(self, deployments: Deployments, context: Context) -> Drop | None:
        """Drops what is not in the region asked for, or not cleared for such data."""
        region, data_class = context.region, context.data_class
        if region is None and data_class is None:
            return None
        return self._outside.of(deployments, (region, data_class))


class Capabilities:
    """Drops deployments known not to do what the request plainly needs.

    Looks at `tools`, at a `response_format` with a JSON schema, and at images, audio and PDF
    in messages, those only where some deployment is known not to read them. A deployment of
    which no capabilities are known stays. Audio and PDF count only where another deployment
    is known to read them. Reason codes: "no_tools", "no_json_schema", "no_vision",
    "no_audio_input", "no_pdf_input".
    """

    def __init__(self) -> None:
        self._gaps = PerGroup(_gaps)
        self._drops = PerGroup(_drop)

    @hookimpl
    def narrow_deployments(self, request: Request, deployments: Deployments) -> Drop | None:
        """Drops what lacks a capability that the request needs."""
        of_words, of_parts = self._gaps.of(deployments, "")
        needed = _in_words(request.params, of_words) if of_words and request.params else ()
        if of_parts and not _is_plain(request.messages):
            needed += tuple(sorted(of_parts & _in_parts(request.messages)))
        return self._drops.of(deployments, needed) if needed else None


def _outside(deployments: Deployments, bound: tuple[str | None, str | None]) -> Drop | None:
    region, data_class = bound
    outside = {}
    for one in deployments:
        if region is not None and one.region != region:
            outside[one.id] = "region"
        elif data_class is not None and one.data_classes is not None and data_class not in one.data_classes:
            outside[one.id] = "data_class"
    return Drop(outside) if outside else None


def _gaps(deployments: Deployments, _key: str) -> tuple[frozenset[str], frozenset[str]]:
    """Capabilities that some of these are known to lack: those that words need, those that parts need."""
    found = set()
    for capability in ("tools", "json_schema", *OF_PARTS):
        able = [one for one in deployments if not lacks(one, capability)]
        if len(able) == len(deployments):
            continue
        if capability not in BY_CONTRAST or any(capability in one.capabilities for one in able):
            found.add(capability)
    return frozenset(found - OF_PARTS), frozenset(found & OF_PARTS)


def _drop(deployments: Deployments, needed: tuple[str, ...]) -> Drop | None:
    lacking = {}
    for one in deployments:
        for capability in needed:
            if _fails(one, capability):
                lacking[one.id] = f"no_{REASONS.get(capability, capability)}"
                break
    return Drop(lacking) if lacking else None


def _fails(deployment: Deployment, capability: str) -> bool:
    if capability == FORMED:
        return lacks(deployment, "json_schema") and lacks(deployment, "tools")
    return lacks(deployment, capability)


def _in_words(params: Mapping[str, Any], gaps: frozenset[str]) -> tuple[str, ...]:
    """What the call's words need, of that which somebody lacks."""
    needed = ("tools",) if "tools" in gaps and params.get("tools") else ()
    wanted = params.get("response_format")
    if "json_schema" in gaps and isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        return (*needed, "json_schema" if type(wanted) is dict else FORMED)
    return needed


def _is_plain(messages: Sequence[Message]) -> bool:
    """Whether it can be seen, without reading a host's messages, that they are text alone."""
    if isinstance(messages, LazyMessages):
        return all(isinstance(_content(native), str | None) for native in messages.native)
    return not [message for message in messages if type(message.content) is not str]


def _content(native: Any) -> Any:
    return native.get("content") if isinstance(native, Mapping) else getattr(native, "content", ())


def _in_parts(messages: Sequence[Message]) -> set[str]:
    found = set()
    for message in messages:
        if isinstance(message.content, str):
            continue
        for part in message.content:
            capability = PARTS.get(str(part.get("type")))
            if capability is not None and (capability != "pdf_input" or _is_pdf(part)):
                found.add(capability)
    return found


def _is_pdf(part: Mapping[str, Any]) -> bool:
    """Whether a file says that it is a PDF: by its media type or by its name."""
    for where in (part, part.get("file"), part.get("source")):
        if isinstance(where, Mapping):
            told = [
                where.get(name) for name in ("media_type", "mime_type", "format", "filename", "file_data")
            ]
            if any(isinstance(one, str) and _says_pdf(one) for one in told):
                return True
    return False


def _says_pdf(told: str) -> bool:
    start = told[:40].lower()
    return "application/pdf" in start or start == "pdf" or told[-4:].lower() == ".pdf"
