"""From a file, a text or a mapping to a `GatewayConfig`, or to every mistake in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmgate_plugins.config.checks import cross_check
from llmgate_plugins.config.document import Document, plain_document
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.litellm_proxy import models_beside, plain_models, with_models
from llmgate_plugins.config.litellm_settings import leave_aside
from llmgate_plugins.config.plugin_checks import allowed_plugins, plugin_problems
from llmgate_plugins.config.problems import Locator, document_path, explain, in_order
from llmgate_plugins.config.reading import document_of, read_file
from llmgate_plugins.config.salvage import STAND_IN_ENTRY, without
from llmgate_plugins.errors import ConfigurationError, Problem

__all__ = ["Report", "check_config", "load_config", "parse_config"]

_log = logging.getLogger("llmgate.config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a configuration.

    Attributes:
        config: What it says; None if there are errors.
        errors: Mistakes. They keep a gateway from being built, save those that show only beside
            prices and capabilities: that under some policy nobody is left to serve.
        warnings: What works but should be known, settings without a meaning here included.
    """

    config: GatewayConfig | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no mistake in it."""
        return not self.errors


def load_config(
    source: str | Path | Mapping[str, Any], *, model_list: Sequence[Mapping[str, Any]] | None = None
) -> GatewayConfig:
    """The configuration in a YAML file, or in Python objects of the same shape.

    References to secrets are not followed. What has no meaning here is listed in
    `config.ignored` and logged in one line.

    Args:
        model_list: The deployments, for a source that has none. Left out, those in the `config.yaml`
            beside the file count: so a gateway's file for a LiteLLM proxy is whole by itself.

    Raises:
        ConfigurationError: With every mistake in `problems`.
    """
    return _accepted(_read(source, model_list))


def parse_config(text: str, *, file: str = "<text>") -> GatewayConfig:
    """The configuration in a YAML text; `file` is its name in messages.

    Raises:
        ConfigurationError: With every mistake in `problems`.
    """
    return _accepted(document_of(text, file=file))


def check_config(
    source: str | Path | Mapping[str, Any], *, secrets: bool = True, plugins: bool = True
) -> Report:
    """Everything there is to say about a configuration. Raises nothing.

    Args:
        secrets: Also follow every reference to a secret, and say which lead nowhere.
        plugins: Also look which plugins are installed, from what and in which version. None is
            imported.
    """
    try:
        report = _examine(_read(source), secrets=secrets, plugins=plugins)
        return report if report.config is None else _beside_deployments(report, report.config)
    except ConfigurationError as error:
        return Report(config=None, errors=error.problems)


def _beside_deployments(report: Report, config: GatewayConfig) -> Report:
    """What shows only beside prices and capabilities: who is left under which policy, by how much hard
    limits may be passed."""
    if not config.budgets and not config.limits and not config.policies:
        return report
    from llmgate_plugins.catalog import Catalog  # tables of prices; only wanted here
    from llmgate_plugins.config.candidates import candidate_problems
    from llmgate_plugins.config.deployments import build_deployments
    from llmgate_plugins.config.overshoot import overshoots, unpriced

    deployments = build_deployments(config, Catalog(overrides=config.price_overrides()), secrets=False)
    found = [
        *overshoots(config, deployments),
        *unpriced(config, deployments),
        *candidate_problems(config, deployments),
    ]
    errors = [problem for problem in found if problem.severity == "error"]
    warnings = [problem for problem in found if problem.severity != "error"]
    return replace(
        report,
        config=None if errors else config,
        errors=in_order((*report.errors, *errors)),
        warnings=in_order((*config.warnings, *warnings)),
    )


def _read(
    source: str | Path | Mapping[str, Any], model_list: Sequence[Mapping[str, Any]] | None = None
) -> Document:
    if isinstance(source, Mapping):
        document = plain_document(source)
        return document if model_list is None else with_models(document, plain_models(model_list))
    if isinstance(source, str | Path):
        document = read_file(source)
        return with_models(
            document, models_beside(source) if model_list is None else plain_models(model_list)
        )
    raise ConfigurationError(
        problems=[
            Problem(
                message=f"a configuration is a file name or a mapping, not {type(source).__name__}",
                remedy="give the path of llmgate.yaml",
            )
        ]
    )


def _accepted(document: Document) -> GatewayConfig:
    report = _examine(document)
    if report.config is None or report.errors:
        raise ConfigurationError(problems=report.errors)
    ignored = report.config.ignored
    if ignored:
        names = ", ".join(problem.path for problem in ignored)
        _log.warning("%s: no meaning here, ignored: %s", document.file or "configuration", names)
    return report.config


def _examine(document: Document, *, secrets: bool = False, plugins: bool = False) -> Report:
    locator = Locator(document.file, document.place)
    if not isinstance(document.value, Mapping):
        what = "is empty" if document.value is None else "is not a mapping"
        problem = Problem(
            message=f"the document {what}",
            remedy="it begins with model_list:",
            file=document.file,
            line=document.place.line,
        )
        return Report(config=None, errors=(*document.problems, problem))
    kept, notes = leave_aside(document.value)
    ignored = tuple(
        locator.problem(path, note.message, note.remedy, severity=note.severity) for path, note in notes
    )
    try:
        config = GatewayConfig.model_validate(kept)
        found: tuple[Problem, ...] = ()
    except ValidationError as error:
        found = tuple(explain(error, kept, GatewayConfig, locator))
        rest = _salvaged(kept, error)
        if rest is None:
            if plugins:
                found += tuple(_of_plugins_alone(kept, locator))
            return Report(config=None, errors=in_order((*document.problems, *found)), warnings=ignored)
        config = rest
    config._locator = locator
    checked = cross_check(config)
    errors = [*document.problems, *found, *(problem for problem in checked if problem.severity == "error")]
    if secrets:
        from llmgate_plugins.config.deployments import missing_secrets

        # Where parts were cut out, a key may be among them: then only written references count.
        errors += missing_secrets(config, usual=not found)
    if plugins:
        errors += plugin_problems(config, allowed_plugins(config))
    warnings = in_order((*ignored, *(problem for problem in checked if problem.severity != "error")))
    config._remember(ignored, warnings)
    return Report(config=None if errors else config, errors=in_order(errors), warnings=warnings)


def _of_plugins_alone(kept: Mapping[str, Any], locator: Locator) -> Iterable[Problem]:
    """What is wrong with plugins where nothing else can be checked, such as without a `model_list`."""
    try:
        config = GatewayConfig.model_validate(
            {"model_list": [STAND_IN_ENTRY], "plugins": kept.get("plugins") or ()}
        )
    except ValidationError:
        return ()
    config._locator = locator
    return plugin_problems(config, allowed_plugins(config))


def _salvaged(kept: Mapping[str, Any], error: ValidationError) -> GatewayConfig | None:
    """The configuration without its mistakes, good for nothing but further checks."""
    paths = [document_path(found["loc"], kept) for found in error.errors(include_url=False)]
    if any(path[:1] in ((), ("credential_list",)) for path in paths) or ("model_list",) in paths:
        return None
    try:
        return GatewayConfig.model_validate(without(kept, paths))
    except ValidationError:
        return None
