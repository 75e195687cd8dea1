"""Read a YAML document into plain values, keeping the line of every one of them.

The text is taken as a stream of parser events, so that limits on size, depth and
aliases are applied before anything is expanded or built.
"""

from __future__ import annotations

from pathlib import Path

from llmgate_plugins.config.document import MAX_BYTES, Document, refusal

__all__ = ["document_of", "read_file"]


def read_file(path: str | Path) -> Document:
    """The document in a file.

    Raises:
        ConfigurationError: It cannot be read, is no UTF-8, too large, or no YAML.
    """
    name = str(path)
    if "\n" in name or "\0" in name or not name:
        raise refusal("this is no file name", "give the path of a file, or a mapping")
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refusal("no such file", "check the path", name) from None
    except IsADirectoryError:
        raise refusal("this is a directory", "name the file in it", name) from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refusal(f"cannot be read: {reason}", "check the file and its permissions", name) from None
    if len(content) > MAX_BYTES:
        raise refusal(f"larger than {MAX_BYTES // 1024} KiB", "is this the right file?", name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refusal("not UTF-8", "save the file as UTF-8", name, line) from None
    return document_of(text, file=name)


def document_of(text: str, *, file: str | None = None) -> Document:
    """The document in a text.

    Raises:
        ConfigurationError: It is no YAML, or beyond one of the limits.
    """
    from llmgate_plugins.config.composing import compose  # loads yaml

    if len(text) > MAX_BYTES:
        raise refusal(f"larger than {MAX_BYTES // 1024} KiB", "is this the right file?", file)
    return compose(text, file)
