"""Take the mistakes out of a document, so that the rest can be checked in the same go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llmgate_plugins.config.problems import Path

__all__ = ["STAND_IN", "STAND_IN_ENTRY", "without"]

STAND_IN: Final = "?"
"""A name in the place of one that is missing or wrong."""
STAND_IN_ENTRY: Final[Mapping[str, Any]] = {
    "model_name": STAND_IN,
    "litellm_params": {"model": f"openai/{STAND_IN}"},
}
"""An entry of `model_list` in the place of all of them."""
_STAND_INS: Final[Mapping[str, Mapping[Path, Any]]] = {
    "model_list": {
        **{(name,): value for name, value in STAND_IN_ENTRY.items()},
        ("litellm_params", "model"): f"openai/{STAND_IN}",
    },
    "plugins": {("name",): STAND_IN},
}
"""What stands in for the parts that the entries of these lists cannot do without."""


def without(value: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """A copy without what stands at these paths.

    Entries of `model_list` and `plugins` stay in place, so that lines still fit and names are
    still known; of other lists nothing is kept.
    """
    copy: dict[str, Any] = _copied(value)
    for path in paths:
        section = path[0] if path else ""
        if section in _STAND_INS and len(path) > 1:
            _mend_entry(copy[str(section)], path, _STAND_INS[str(section)])
        else:
            _remove(copy, _to_first_list(path))
    return copy


def _mend_entry(entries: list[Any], path: Path, stand_ins: Mapping[Path, Any]) -> None:
    index, inner = int(path[1]), _to_first_list(path[2:])
    if not inner or not isinstance(entries[index], dict):
        entries[index] = {}
    entry = entries[index]
    _remove(entry, inner)
    for needed, stand_in in stand_ins.items():
        holder: Any = entry
        for step in needed[:-1]:
            holder = holder.get(step)
        # What is no mapping has a mistake of its own, and its turn comes.
        if isinstance(holder, dict) and (needed[-1] not in holder or inner == needed):
            holder[needed[-1]] = _copied(stand_in)


def _remove(value: dict[str, Any], path: Path) -> None:
    holder: Any = value
    for step in path[:-1]:
        holder = holder.get(step)
        if not isinstance(holder, dict):
            return
    if path:
        holder.pop(path[-1], None)


def _to_first_list(path: Path) -> Path:
    numbers = [index for index, step in enumerate(path) if isinstance(step, int)]
    return path[: numbers[0]] if numbers else path


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return value
