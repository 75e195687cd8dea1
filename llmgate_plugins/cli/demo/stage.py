"""What the demo plays on: three simulated providers, a configuration file, one gateway."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmgate_plugins._discovery import installed
from llmgate_plugins.cli.demo.mask_emails import MaskEmails
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.transports.by_provider import GROUP

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway
    from llmgate_plugins.testing import ProviderSimulator

__all__ = ["ROLES", "Stage", "all_speak_anthropic", "is_there", "set_up"]

CONFIG = """\
model_list:
  - model_name: fast
    litellm_params: {{model: openai/gpt-4o-mini, api_key: not-needed,
                     api_base: "{alpha}"}}
    model_info: {{id: alpha, region: us}}
  - model_name: fast
    litellm_params: {{model: openai/gpt-4.1-mini, api_key: not-needed,
                     api_base: "{beta}"}}
    model_info: {{id: beta, region: eu}}
  - model_name: fast
    litellm_params: {{model: {third}, api_key: not-needed,
                     api_base: "{gamma}"}}
    model_info: {{id: gamma, region: eu}}
policies:
  default: {{prefer: weighted, deadline: 20s}}
ledger: {ledger}
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything that is set up.

    Attributes:
        file: The configuration that the gateway was built from.
        text: What stands in it.
        roles: Provider -> what it will do.
        runner: The one event loop of all asynchronous calls, as an application has it.
        seed: Of every random choice. `prefer: weighted` draws by the ids of calls.
    """

    simulator: ProviderSimulator
    gateway: Gateway
    file: Path
    text: str
    roles: dict[str, str]
    runner: asyncio.Runner
    seed: int

    @property
    def requests(self) -> dict[str, list[Any]]:
        """Provider -> the requests that reached it."""
        return {name: list(self.simulator.provider(name).requests) for name in self.roles}


ROLES = ("alpha", "beta", "gamma")
_WHY_NOT = "not every host here has a client for Anthropic's"


@contextmanager
def set_up(calls: int, seed: int, *, fast: bool) -> Iterator[Stage]:
    """Start the providers, write the configuration, build the gateway; and take it all down again.

    Raises:
        ConfigurationError: The simulator's package is not installed.
    """
    from llmgate_plugins.gateway import Gateway

    mixed = all_speak_anthropic()
    dies, allows = max(1, calls // 6), max(1, calls // 8)
    roles = {
        "alpha": f"OpenAI's wire; dies after {dies} requests",
        "beta": f"OpenAI's wire; allows {allows} requests a minute, then says 429",
        "gamma": "Anthropic's wire; healthy" if mixed else f"OpenAI's wire; healthy ({_WHY_NOT})",
    }
    with tempfile.TemporaryDirectory(prefix="llmgate-demo-") as folder, _simulator(seed) as simulator:
        alpha, beta, gamma = (simulator.provider(name) for name in ROLES)
        for provider in (alpha, beta, gamma):
            provider.pace(first=0.0 if fast else 0.03, piece=0.0 if fast else 0.002)
        alpha.die_after(dies)
        beta.throttle(allows, per=60.0)
        database = is_there("sqlalchemy")
        text = CONFIG.format(
            alpha=alpha.openai_base_url,
            beta=beta.openai_base_url,
            third="anthropic/claude-haiku-4-5" if mixed else "openai/gpt-4o",
            gamma=gamma.anthropic_base_url if mixed else gamma.openai_base_url,
            ledger=f"sqlite:///{folder}/books.db" if database else "memory",
        )
        file = Path(folder) / "llmgate.yaml"
        file.write_text(text, encoding="utf-8")
        generator = random.Random(seed)  # noqa: S311 - how long to wait before a retry
        with (
            Gateway.from_config(file, plugins=[MaskEmails()], random=generator) as gateway,
            asyncio.Runner() as runner,
        ):
            yield Stage(
                simulator=simulator,
                gateway=gateway,
                file=file,
                text=text,
                roles=roles,
                runner=runner,
                seed=seed,
            )


def all_speak_anthropic() -> bool:
    """Whether every host that is installed has a client for Anthropic's wire."""
    langchain = not is_there("langchain_llmgate") or any(
        map(is_there, ("langchain_anthropic", "langchain_litellm"))
    )
    return langchain and any(one.name == "litellm" for one in installed(GROUP))


def is_there(module: str) -> bool:
    """Whether this module is installed; nothing is imported."""
    return find_spec(module) is not None


def _simulator(seed: int) -> ProviderSimulator:
    try:
        from llmgate_plugins.testing import ProviderSimulator as Simulator
    except ImportError as missing:
        raise ConfigurationError(
            problems=[
                Problem(
                    message=f"the demo's providers need the package {missing.name}",
                    remedy="pip install 'llmgate-plugins[all]'",
                )
            ]
        ) from missing
    return Simulator(seed=seed)
