"""OpenAI's token tables: found on this machine, read in the background, never fetched."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["PATTERNS", "encoding_for", "loaded", "name_for", "prepare_counting"]

_ADDRESS: Final = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""Where the tables come from. It is only ever hashed: caches name their files so."""

_SHA256: Final = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}

PATTERNS: Final = {
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k_base": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How text is cut before pairs of bytes are joined, as tiktoken's own definitions have it."""

_lock = threading.Lock()
_known: dict[str, Encoding | None] = {}
_loading: dict[str, threading.Thread] = {}


def name_for(model: str) -> str | None:
    """The table that this model of OpenAI's counts with; None for a model it is not known of.

    "openai/gpt-4o", "gpt-4o-2024-08-06" and "ft:gpt-4o:..." are the same to it.
    """
    try:
        import tiktoken.model  # noqa: F401 - is it there?
    except ImportError:
        return None
    return _name_for(model.rpartition("/")[2])


@lru_cache(maxsize=1024)
def _name_for(model: str) -> str | None:
    """As tiktoken has it, which goes through all beginnings of names for each model that it does not know."""
    from tiktoken.model import encoding_name_for_model

    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return None
    return "o200k_base" if name == "o200k_harmony" else name


def encoding_for(name: str, *, wait: bool) -> Encoding | None:
    """The table, if it is there; None without tiktoken or its file, or as long as it is being read.

    Args:
        wait: Wait until it is read: a few tenths of a second, once per process.
    """
    if name in _known:
        return _known[name]
    thread = _begin(name)
    if wait and thread is not None:
        thread.join()
    return _known.get(name)


def loaded(name: str) -> Encoding | None:
    """The table, if it has been read."""
    return _known.get(name)


def prepare_counting() -> None:
    """Begin to read the tables in the background, so that worst cases are counted soon.

    Without tiktoken, or without their files, it changes nothing.
    """
    for name in _SHA256:
        _begin(name)


def _begin(name: str) -> threading.Thread | None:
    """The thread that reads a table; None if it has been read."""
    with _lock:
        if name in _known:
            return None
        thread = _loading.get(name)
        if thread is None or not thread.is_alive():  # a fork leaves the thread behind
            thread = threading.Thread(target=_load, args=(name,), name=f"llmgate-{name}", daemon=True)
            _loading[name] = thread
            thread.start()
        return thread


def _load(name: str) -> None:
    made: Encoding | None = None
    try:
        ranks = _ranks(name)
        if ranks is not None:
            import tiktoken

            made = tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
    except (ImportError, OSError, ValueError):
        made = None
    _known[name] = made


def _ranks(name: str) -> dict[bytes, int] | None:
    """What a table has, by the first file that is truly it."""
    if name not in _SHA256 or util.find_spec("tiktoken") is None:
        return None
    file_name = hashlib.sha1(_ADDRESS.format(name).encode(), usedforsecurity=False).hexdigest()
    for folder in _folders():
        file = folder / file_name
        if file.is_file():
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() == _SHA256[name]:
                pairs = (line.split() for line in content.splitlines() if line)
                return {base64.b64decode(token): int(rank) for token, rank in pairs}
    return None


def _folders() -> Iterator[Path]:
    """tiktoken's own cache, and what LiteLLM ships; LiteLLM itself is not imported."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if folder := os.environ.get(variable):
            yield Path(folder)
    yield Path(tempfile.gettempdir()) / "data-gym-cache"
    spec: Any = util.find_spec("litellm")  # of a top-level name: finds, and executes nothing
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "litellm_core_utils" / "tokenizers"
