"""From the section `plugins` to the plugins of other packages, loaded if they are what is allowed."""

from __future__ import annotations

from llmgate_plugins._discovery import Misfit
from llmgate_plugins._loading import Loaded, make
from llmgate_plugins.config import GatewayConfig
from llmgate_plugins.config.plugin_checks import allowed_plugins, plugin_problems
from llmgate_plugins.errors import ConfigurationError, PluginRefused

__all__ = ["loaded_plugins"]


def loaded_plugins(config: GatewayConfig) -> list[Loaded]:
    """Those that the file names, in its order.

    Raises:
        ConfigurationError: Some are not what is allowed; then none is imported.
        PluginRefused: Some cannot be imported or made.
    """
    misfits = tuple(plugin_problems(config))
    if misfits:
        raise ConfigurationError(problems=misfits)
    loaded: list[Loaded] = []
    refused: list[PluginRefused] = []
    for path, one, found in allowed_plugins(config):
        if isinstance(found, Misfit):
            continue
        place = config.locator.problem(path, "")
        try:
            plugin = make(one, found)
        except PluginRefused as error:
            refused.append(error.at(place))
        else:
            loaded.append(Loaded(plugin=plugin, name=one.name, source=found.source, place=place))
    if refused:
        raise refused[0].beside(refused[1:])
    return loaded
