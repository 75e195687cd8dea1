"""From a configured deployment to the provider's own LangChain chat model: a table, open to more rows."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.secrets import Secret
from llmgate_plugins.types import Deployment

__all__ = ["PACKAGES", "Package", "build_model", "litellm_without_retries", "provider_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Which class of which package speaks to a provider, and what its arguments are called.

    Attributes:
        package: The distribution to install; its module has underscores for hyphens.
        key, url, headers: Arguments for key, address and further headers; None if the
            class has none, so that a deployment which needs it goes by way of LiteLLM.
        options: Client option in configuration -> argument.
        home: The provider's own address. Given where the class would otherwise take one
            from the environment, so that no key goes to an address it was not written beside.
    """

    package: str
    kind: str
    model: str = "model"
    key: str | None = "api_key"
    url: str | None = "base_url"
    headers: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    home: str | None = None


_OPENAI: Final = Package(
    package="langchain-openai",
    kind="ChatOpenAI",
    headers="default_headers",
    options={"organization": "organization"},
    home="https://api.openai.com/v1",
)
_OPENAI_LIKE: Final = Package(package="langchain-openai", kind="ChatOpenAI", headers="default_headers")
_BEDROCK: Final = Package(
    package="langchain-aws",
    kind="ChatBedrockConverse",
    key="bedrock_api_key",
    url="endpoint_url",
    options={
        "aws_region_name": "region_name",
        "aws_access_key_id": "aws_access_key_id",
        "aws_secret_access_key": "aws_secret_access_key",
        "aws_session_token": "aws_session_token",
        "aws_profile_name": "credentials_profile_name",
    },
)
_GEMINI: Final = Package(package="langchain-google-genai", kind="ChatGoogleGenerativeAI")

PACKAGES: Final[Mapping[str, Package]] = {
    "openai": _OPENAI,
    "openai_like": _OPENAI_LIKE,
    "custom_openai": _OPENAI_LIKE,
    "hosted_vllm": _OPENAI_LIKE,
    "lm_studio": _OPENAI_LIKE,
    "llamafile": _OPENAI_LIKE,
    "litellm_proxy": _OPENAI_LIKE,
    "azure": Package(
        package="langchain-openai",
        kind="AzureChatOpenAI",
        model="azure_deployment",
        url="azure_endpoint",
        headers="default_headers",
        options={"api_version": "api_version", "organization": "organization"},
    ),
    "anthropic": Package(
        package="langchain-anthropic",
        kind="ChatAnthropic",
        headers="default_headers",
        home="https://api.anthropic.com",
    ),
    "gemini": _GEMINI,
    "google_genai": _GEMINI,
    "vertex_ai": Package(
        package="langchain-google-vertexai",
        kind="ChatVertexAI",
        key=None,
        url=None,
        options={"vertex_project": "project", "vertex_location": "location"},
    ),
    "mistral": Package(package="langchain-mistralai", kind="ChatMistralAI"),
    "groq": Package(package="langchain-groq", kind="ChatGroq", headers="default_headers"),
    "bedrock": _BEDROCK,
    "bedrock_converse": _BEDROCK,
    "ollama": Package(package="langchain-ollama", kind="ChatOllama", key=None),
    "ollama_chat": Package(package="langchain-ollama", kind="ChatOllama", key=None),
    "cohere": Package(package="langchain-cohere", kind="ChatCohere", key="cohere_api_key"),
    "cohere_chat": Package(package="langchain-cohere", kind="ChatCohere", key="cohere_api_key"),
    "deepseek": Package(package="langchain-deepseek", kind="ChatDeepSeek", url="api_base"),
    "xai": Package(package="langchain-xai", kind="ChatXAI", url="xai_api_base"),
    "fireworks_ai": Package(package="langchain-fireworks", kind="ChatFireworks"),
    "together_ai": Package(package="langchain-together", kind="ChatTogether"),
    "perplexity": Package(package="langchain-perplexity", kind="ChatPerplexity", url=None),
    "openrouter": Package(package="langchain-openrouter", kind="ChatOpenRouter"),
    "nvidia_nim": Package(package="langchain-nvidia-ai-endpoints", kind="ChatNVIDIA"),
}
"""Provider (LiteLLM's name) -> package. What is not here, or not installed, goes by way of ChatLiteLLM."""

NO_KEY: Final = "not-needed"
"""For an address without a key of its own: keeps a client from sending the provider's usual one there."""


TOLD_AS: Final = {
    "gemini": "google_genai",
    "vertex_ai": "google_vertexai",
    "mistral": "mistralai",
    "bedrock": "amazon_bedrock",
    "bedrock_converse": "amazon_bedrock",
    "ollama_chat": "ollama",
    "cohere_chat": "cohere",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    **dict.fromkeys(("openai_like", "custom_openai", "hosted_vllm", "lm_studio", "litellm_proxy"), "openai"),
}
"""Provider (LiteLLM's name) -> LangChain's name, where they differ."""


def provider_name(deployment: Deployment, model: BaseChatModel | None) -> str:
    """LangChain's name of a deployment's provider, without building its model.

    Args:
        model: The inner model, if there is one already.
    """
    if model is not None:
        return str(model._get_ls_params().get("ls_provider") or deployment.provider)
    return TOLD_AS.get(deployment.provider, deployment.provider)


def build_model(deployment: Deployment) -> BaseChatModel:
    """The inner chat model of a deployment. The only place where its secrets are revealed.

    Raises:
        ConfigurationError: No installed package speaks to this provider.
        SecretNotFound: A reference to a secret leads nowhere.
    """
    package = PACKAGES.get(deployment.provider)
    if package is not None and _fits(package, deployment):
        kind = _load(package.package, package.kind)
        if kind is not None:
            return kind(**_arguments(package, kind, deployment))
    kind = _load("langchain-litellm", "ChatLiteLLM")
    if kind is None:
        raise _not_installed(package, deployment)
    return kind(**_litellm_arguments(deployment))


def _fits(package: Package, deployment: Deployment) -> bool:
    endpoint = deployment.endpoint
    needed = (
        (endpoint.base_url, package.url),
        (endpoint.api_key, package.key),
        (endpoint.headers, package.headers),
    )
    return not any(value and argument is None for value, argument in needed)


def _load(package: str, kind: str) -> type[BaseChatModel] | None:
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ModuleNotFoundError:
        return None
    loaded: type[BaseChatModel] | None = getattr(module, kind, None)
    return loaded


def _arguments(package: Package, kind: type[BaseChatModel], deployment: Deployment) -> dict[str, Any]:
    endpoint = deployment.endpoint
    arguments: dict[str, Any] = {package.model: deployment.model}
    address = endpoint.base_url or package.home
    if address is not None and package.url is not None:
        arguments[package.url] = address
    if package.key is not None and endpoint.api_key is not None:
        arguments[package.key] = endpoint.api_key.reveal()
    elif package.key is not None and endpoint.base_url is not None:
        arguments[package.key] = NO_KEY
    if endpoint.headers and package.headers is not None:
        arguments[package.headers] = {name: value.reveal() for name, value in endpoint.headers.items()}
    for option, argument in package.options.items():
        if option in endpoint.options:
            arguments[argument] = _plain(endpoint.options[option])
    known = set(kind.model_fields) | {one.alias for one in kind.model_fields.values()}
    if "timeout" in endpoint.options and "timeout" in known:
        arguments["timeout"] = _seconds(endpoint.options["timeout"])
    if "max_retries" in known:
        arguments["max_retries"] = 0
    if "stream_usage" in known:
        arguments["stream_usage"] = True
    return arguments


def _litellm_arguments(deployment: Deployment) -> dict[str, Any]:
    endpoint = deployment.endpoint
    options = {name: _plain(value) for name, value in endpoint.options.items() if name != "stream_timeout"}
    arguments: dict[str, Any] = {
        "model": f"{deployment.provider}/{deployment.model}",
        "max_retries": 0,
        "request_timeout": _seconds(options.pop("timeout", None)),
        "organization": options.pop("organization", None),
        "model_kwargs": {**options, **litellm_without_retries(deployment.provider)},
    }
    if endpoint.base_url is not None:
        arguments["api_base"] = endpoint.base_url
        arguments["api_key"] = NO_KEY
    if endpoint.api_key is not None:
        arguments["api_key"] = endpoint.api_key.reveal()
    if endpoint.headers:
        arguments["extra_headers"] = {name: value.reveal() for name, value in endpoint.headers.items()}
    return arguments


def litellm_without_retries(provider: str) -> dict[str, Any]:
    """What keeps litellm, and the client below it, from retrying by themselves."""
    from litellm import openai_compatible_providers

    settings: dict[str, Any] = {"max_retries": 0, "num_retries": 0}
    if provider in openai_compatible_providers:
        # For some of them litellm drops the setting as unknown, and the OpenAI client then retries twice.
        settings["allowed_openai_params"] = ["max_retries"]
    return settings


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def _seconds(value: Any) -> float | None:
    """Seconds from a number, or from a duration as configuration writes it ("30s")."""
    if value is None or isinstance(value, int | float):
        return value
    from llmgate_plugins.config.quantities import parse_duration  # only where configuration is in use

    return parse_duration(value)


def _not_installed(package: Package | None, deployment: Deployment) -> ConfigurationError:
    own = f"pip install {package.package}, or " if package is not None else ""
    return ConfigurationError(
        problems=[
            Problem(
                message=f"deployment {deployment.id!r} needs a LangChain package "
                f"for the provider {deployment.provider!r}",
                remedy=f"{own}pip install langchain-litellm",
            )
        ]
    )
