"""Simulated providers and the real clients that talk to them.

The clients load no certificates: that is most of the time it takes to make one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anthropic
import openai
import pytest

from llmgate_plugins.testing import ProviderSimulator, SimulatedProvider


@pytest.fixture
def sim() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=7) as simulator:
        yield simulator


@pytest.fixture
def provider(sim: ProviderSimulator) -> SimulatedProvider:
    return sim.provider("alpha")


@pytest.fixture
def gpt(provider: SimulatedProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=provider.openai_base_url,
        api_key="sk-test-key",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=False),
    ) as client:
        yield client


@pytest.fixture
async def async_gpt(provider: SimulatedProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=provider.openai_base_url,
        api_key="sk-test-key",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(verify=False),
    ) as client:
        yield client


@pytest.fixture
def claude(provider: SimulatedProvider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=provider.anthropic_base_url,
        api_key="sk-ant-key",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(verify=False),
    ) as client:
        yield client


@pytest.fixture
async def async_claude(provider: SimulatedProvider) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=provider.anthropic_base_url,
        api_key="sk-ant-key",
        max_retries=0,
        http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
    ) as client:
        yield client
