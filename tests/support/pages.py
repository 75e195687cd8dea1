"""Runs what a page of documentation shows: its Python, its commands, its files, its output.

An HTML comment before a fenced block says what it is, where that is not plain:

    <!-- file: name -->      written to the page's directory instead of being run
    <!-- output -->          what the block before it prints; `...` stands for anything
    <!-- run -->             a console session whose `llmgate` and `python` commands are run
    <!-- same as: path -->   the text of that file of the project, as which it is written
    <!-- not run: reason --> Python that cannot run here

Providers are simulated: their usual addresses lead to a simulator, keys are made up, and
an entry of a configuration without an address is given one there.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics
from opentelemetry.util._once import Once

from llmgate_plugins.testing import ProviderSimulator

__all__ = [
    "DOCS",
    "PAGES",
    "ROOT",
    "RUN_PAGES",
    "Block",
    "Session",
    "blocks_of",
    "matches",
    "own_telemetry",
    "simulated_world",
]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN_PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
"""Pages that work as they are shown."""
PAGES = (*RUN_PAGES, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("integrations/*/README.md")))
"""Every page that users read; those of the adapters outline what is shown at length in `docs/`."""

SIMULATOR = "http://127.0.0.1:8399"
"""The address that pages show for `llmgate simulate`."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\s*$")
_MARK = re.compile(r"^ *<!-- (?P<word>file|output|run|same as|not run)(?:: (?P<value>.+?))? -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block: `mark` is the word of the comment before it, `value` what follows the colon."""

    page: Path
    language: str
    text: str
    line: int
    mark: str | None = None
    value: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    mark: re.Match[str] | None = None
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, lines = (fence["language"], fence["indent"], number), []
        elif opened is not None and fence and not fence["language"]:
            language, _, start = opened
            text = "\n".join(lines) + "\n"
            word, value = (mark["word"], mark["value"] or "") if mark else (None, "")
            found.append(Block(page, language, text, start, word, value))
            opened = mark = None
        elif opened is not None:
            lines.append(line.removeprefix(opened[1]))
        elif line.strip():
            mark = _MARK.match(line)
    assert opened is None, f"{page}: the block of line {opened and opened[2]} does not end"
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether this was printed; `...` stands for anything, spaces at line ends for nothing."""
    pattern = re.escape(_trimmed(expected)).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, _trimmed(printed), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


class Session:
    """One page, read from top to bottom by someone who tries everything."""

    def __init__(self, directory: Path, simulator: ProviderSimulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""

    def run(self, block: Block) -> None:
        """Do what the block is for; fail if it does not work as shown."""
        if block.mark == "file":
            self._write(block)
        elif block.mark == "output":
            text = self.printed.replace(self.simulator.url, SIMULATOR)
            assert matches(block.text, text), f"{block.place}: printed was\n{text}"
        elif block.mark == "same as":
            assert block.text == (ROOT / block.value).read_text(encoding="utf-8"), f"{block.place}: differs"
            (self.directory / Path(block.value).name).write_text(block.text, encoding="utf-8")
        elif block.mark == "run":
            self._console(block)
        elif block.language == "python" and block.mark is None:
            self._python(block)

    def _python(self, block: Block) -> None:
        source = "\n" * block.line + self._here(block.text)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(source, str(block.page), "exec"), self.names)
        self.printed = out.getvalue()

    def _write(self, block: Block) -> None:
        text = self._here(block.text)
        if block.language == "yaml":
            text = self._with_addresses(text)
        target = self.directory / block.value
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _here(self, text: str) -> str:
        return text.replace(SIMULATOR, self.simulator.url)

    def _with_addresses(self, text: str) -> str:
        """The configuration with simulated providers instead of real ones."""
        document = yaml.safe_load(text)
        for entry in document.get("model_list", ()):
            params = entry["litellm_params"]
            params.setdefault("api_key", "sk-made-up-for-this-page")
            provider = params["model"].partition("/")[0]
            simulated = self.simulator.provider(provider)
            anthropic = provider == "anthropic"
            params.setdefault(
                "api_base", simulated.anthropic_base_url if anthropic else simulated.openai_base_url
            )
        return yaml.safe_dump(document, sort_keys=False)

    def _console(self, block: Block) -> None:
        expected: list[str] = []
        shown: list[str] = []
        for line in block.text.splitlines():
            if line.startswith("$ "):
                expected.append(line)
                shown.append(line)
                shown += self._command(line[2:]).splitlines()
            else:
                expected.append(line)
        printed = "\n".join(shown).replace(self.simulator.url, SIMULATOR)
        assert matches("\n".join(expected), printed), f"{block.place}: printed was\n{printed}"

    def _command(self, line: str) -> str:
        words = shlex.split(line)
        program, *arguments = words
        if program == "llmgate":
            arguments = ["-c", "from llmgate_plugins.cli import main; main()", *arguments]
        elif program != "python":
            raise AssertionError(f"only llmgate and python can be run here: {line}")
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.stdout + done.stderr


@contextlib.contextmanager
def simulated_world(simulator: ProviderSimulator) -> Iterator[Mapping[str, str]]:
    """Environment variables under which the clients of providers reach the simulator, and nothing else."""
    openai, anthropic = simulator.provider("openai"), simulator.provider("anthropic")
    world = {
        "OPENAI_API_KEY": "sk-made-up-for-openai",
        "ANTHROPIC_API_KEY": "sk-made-up-for-anthropic",
        "GROQ_API_KEY": "sk-made-up-for-groq",
        **dict.fromkeys(("OPENAI_BASE_URL", "OPENAI_API_BASE"), openai.openai_base_url),
        **dict.fromkeys(
            ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL", "ANTHROPIC_API_BASE"), anthropic.anthropic_base_url
        ),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    before = {name: os.environ.get(name) for name in world}
    os.environ.update(world)
    try:
        yield world
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def own_telemetry() -> Iterator[None]:
    """OpenTelemetry's global providers, to which every gateway listens, are a page's own and end with it."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((trace, "_TRACER_PROVIDER"), (metrics, "_METER_PROVIDER")):
            patch.setattr(module, name, None)
            patch.setattr(module, f"{name}_SET_ONCE", Once())
        yield
