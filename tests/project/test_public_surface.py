"""What is public is named, documented and stays what the module docstrings say."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from types import ModuleType

import pytest

import llmgate_plugins
from llmgate_plugins import errors

PUBLIC = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(llmgate_plugins.__path__, "llmgate_plugins.")
    if not any(part.startswith("_") for part in name.split("."))
)


@pytest.fixture(params=PUBLIC)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_the_top_level_names_are_sorted_and_there() -> None:
    names = llmgate_plugins.__all__
    assert names == sorted(names)
    assert [name for name in names if not hasattr(llmgate_plugins, name)] == []


def test_every_public_module_says_its_job_and_names_what_it_offers(module: ModuleType) -> None:
    assert module.__doc__
    names = getattr(module, "__all__", None)
    assert names is not None, "has no __all__"
    assert [name for name in names if not hasattr(module, name)] == []


def test_every_public_class_and_function_is_documented(module: ModuleType) -> None:
    bare = [
        f"{name}.{member}" if member else name
        for name in module.__all__
        if getattr(getattr(module, name), "__module__", "") == module.__name__
        for member in undocumented(getattr(module, name))
    ]
    assert bare == []


def undocumented(thing: object) -> list[str]:
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return []
    found = [] if inspect.getdoc(thing) else [""]
    if inspect.isclass(thing) and thing.__module__ != "llmgate_plugins.typing":  # told in the hook specs
        found += [
            name
            for name, member in vars(thing).items()
            if not name.startswith("_")
            and (inspect.isfunction(member) or isinstance(member, property | classmethod))
            and not inspect.getdoc(getattr(thing, name))
        ]
    return found


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    drawn = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([\s│├└─]*)([A-Z]\w+)", line)
        if not match or match[2] == "One":
            continue
        depth = len(match[1])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        drawn[match[2]] = stack[-1][1] if stack else "Exception"
        stack.append((depth, match[2]))
    real = {
        name: thing.__bases__[0].__name__
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, Exception) and thing.__module__ == errors.__name__
    }
    assert drawn == real


def test_importing_the_core_loads_no_host_and_nothing_heavy() -> None:
    code = (
        "import sys, llmgate_plugins; llmgate_plugins.Gateway; "
        "heavy = {'langchain_core', 'litellm', 'sqlalchemy', 'yaml', 'httpx', 'openai', 'click', 'rich', "
        "'genai_prices', 'h11', 'pytest', 'keyring'}; print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
