"""A simulator per test, and LiteLLM's global lists as they were before it."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import warnings

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import pytest
from support.litellm_callbacks import callbacks_as_before
from support.litellm_proxy import running_proxy

from llmgate_plugins.testing import ProviderSimulator

litellm.suppress_debug_info = True
litellm.disable_aiohttp_transport = True  # its sessions are never closed and complain much later


@pytest.fixture
def sim():
    with ProviderSimulator(seed=7) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def proxy(tmp_path_factory):
    """One for all tests: it takes twenty seconds of CPU to start."""
    with running_proxy(tmp_path_factory.mktemp("proxy"), tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy_providers(request):
    yield
    if "proxy" in request.fixturenames:
        request.getfixturevalue("proxy").heal()


@pytest.fixture(autouse=True)
async def _traces_of_this_test_are_removed():
    with callbacks_as_before():
        yield
    kept = litellm.in_memory_llm_clients_cache
    for client in list(kept.cache_dict.values()):
        for one in (client, getattr(client, "client", None)):
            close = getattr(one, "aclose", None) or getattr(one, "close", None)
            closing = close() if close is not None else None
            if inspect.isawaitable(closing):
                with contextlib.suppress(RuntimeError):  # of another loop, which is closed
                    await closing
    kept.flush_cache()


@pytest.fixture(autouse=True, scope="session")
def _what_litellm_never_closes_is_dropped_quietly():
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


LITELLMS_OWN_WARNINGS = (
    "ignore:.*`ReadOnly` qualifier:UserWarning",
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore:Accessing the .model_:DeprecationWarning",
    "ignore:coroutine 'OpenAIChatCompletion:RuntimeWarning",  # made in a thread, dropped if cancelled then
    "ignore::ResourceWarning",  # it never closes its clients
    "ignore:unclosed:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items):
    """What LiteLLM itself warns of does not fail our tests; its deprecations do."""
    for item in items:
        if item.path.parent.name == "litellm":
            for warning in LITELLMS_OWN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
