"""Follow the references in a configuration: to the environment, to files, to a keyring, to credentials."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from llmgate_plugins.config.checks import registered_providers
from llmgate_plugins.config.deployment_config import DeploymentConfig, DeploymentParams
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.problems import Path
from llmgate_plugins.config.providers import may_have_usual_key, split_model, usual_keys
from llmgate_plugins.config.shielding import secrets_in
from llmgate_plugins.errors import Problem, SecretNotFound
from llmgate_plugins.secrets import Secret

__all__ = ["References", "config_secrets"]

_PREFIX: Final = "os.environ/"
_NOT_TEXT: Final = frozenset({"api_key", "extra_headers"})
_TEXT: Final = frozenset(DeploymentParams.model_fields) - _NOT_TEXT
"""Parameters that are needed as they are, not as a `Secret`."""


class References:
    """Follows the references of one configuration.

    Names that the file's own `environment_variables` hold are taken from there, as
    LiteLLM's proxy does by copying them into the environment.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._own = config.environment_variables
        self._credentials = {entry.credential_name: entry for entry in config.credential_list}
        self._registered = registered_providers(config)

    def parameters(self, index: int, entry: DeploymentConfig) -> tuple[dict[str, Any], list[Problem]]:
        """What is written for an entry, over what its credential lends, and what cannot be found.

        Texts are looked up; secrets stay unread.
        """
        found: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, value in self._written(entry).items():
            if name not in _TEXT:
                found[name] = self._within(value)
                continue
            try:
                found[name] = self.text(value)
            except SecretNotFound as error:
                path = ("model_list", index, "litellm_params", name)
                problems.append(self._missing(path, error))
        return found, problems

    def text(self, value: Any) -> Any:
        """The value; if it is `os.environ/NAME`, what stands there.

        Raises:
            SecretNotFound: The variable is not set.
        """
        if isinstance(value, str) and value.startswith(_PREFIX):
            value = Secret(value)
        return self._findable(value).look_up() if isinstance(value, Secret) else value

    def key(self, written: Mapping[str, Any], provider: str) -> Secret | None:
        """The key that is written, or the provider's usual one where that is safe."""
        key = written.get("api_key")
        if isinstance(key, Secret):
            return key
        names = usual_keys(provider)
        if not names or not may_have_usual_key(provider, written.get("api_base")):
            return None
        name = next((name for name in names if name in self._own or os.environ.get(name)), names[0])
        return self._findable(Secret(f"env:{name}"))

    def missing(self, *, usual: bool) -> list[Problem]:
        """A problem for every reference that leads nowhere, told at its first place."""
        told: dict[str, Problem] = {}
        also: dict[str, list[str]] = {}
        for path, secret, remark in self._uses(usual):
            reference = f"{remark}{secret.reference}"
            if reference in told:
                also[reference].append(self._place(path))
                continue
            try:
                secret.look_up()
            except SecretNotFound as error:
                problem = self._missing(path, error)
                told[reference] = replace(problem, message=remark + problem.message)
                also[reference] = []
        return [
            replace(problem, message=f"{problem.message}; also {', '.join(also[name][:5])}")
            if also[name]
            else problem
            for name, problem in told.items()
        ]

    def _uses(self, usual: bool) -> Iterator[tuple[Path, Secret, str]]:
        """Every reference, with where it stands and a remark for the message."""
        for index, entry in enumerate(self._config.model_list):
            path: Path = ("model_list", index, "litellm_params")
            for name, value in self._written(entry).items():
                referring = isinstance(value, str) and name in _TEXT and value.startswith(_PREFIX)
                yield from self._in(Secret(value) if referring else value, (*path, name))
            yield from self._in(dict(entry.model_info), ("model_list", index, "model_info"))
            if usual:
                key = self._usual(entry)
                if key is not None:
                    yield path, key, "no api_key is written, and "
        for index, plugin in enumerate(self._config.plugins):
            yield from self._in(plugin.options, ("plugins", index, "options"))
        for index, channel in enumerate(self._config.alerts.channels):
            yield from self._in(dict(channel), ("alerts", "channels", index))

    def _usual(self, entry: DeploymentConfig) -> Secret | None:
        written = self._written(entry)
        split = split_model(str(written.get("model")), written.get("custom_llm_provider"), self._registered)
        return self.key(written, split[0]) if split and "api_key" not in written else None

    def _in(self, value: Any, path: Path) -> Iterator[tuple[Path, Secret, str]]:
        for where, secret in secrets_in(value, path):
            if secret.reference is not None:
                # A new one each time: what is only looked at must not be remembered.
                yield where, self._findable(Secret(secret.reference)), ""

    def _written(self, entry: DeploymentConfig) -> dict[str, Any]:
        params = entry.litellm_params
        own = {name: value for name, value in dict(params).items() if value is not None}
        credential = self._credentials.get(params.litellm_credential_name or "")
        return {**credential.credential_values, **own} if credential else own

    def _findable(self, secret: Secret) -> Secret:
        """The same secret, able to find what the file's `environment_variables` hold."""
        reference = secret.reference or ""
        name = reference.removeprefix(_PREFIX).removeprefix("env:")
        if name == reference or name not in self._own:
            return secret
        return Secret(f"env:{name}", resolvers={"env": lambda variable: self._own[variable].look_up()})

    def _within(self, value: Any) -> Any:
        if isinstance(value, Secret):
            return self._findable(value)
        if isinstance(value, Mapping):
            return {name: self._within(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._within(inner) for inner in value]
        return value

    def _missing(self, path: Path, error: SecretNotFound) -> Problem:
        problem = error.problems[0]
        return self._config.locator.problem(path, problem.message, problem.remedy)

    def _place(self, path: Path) -> str:
        line = self._config.locator.line_of(path)
        return f"line {line}" if line else f"model_list[{path[1]}]"


def config_secrets(config: GatewayConfig) -> Callable[[Any], Any]:
    """What gives back a value with every secret in it able to find what it refers to."""
    return References(config)._within
