"""From the section `plugins` to the plugins of other packages, loaded if they are what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins._discovery import NotFound
from llmgate_plugins._loading import Loaded, make
from llmgate_plugins.config import GatewayConfig
from llmgate_plugins.config.plugin_checks import Found
from llmgate_plugins.errors import PluginRefused

__all__ = ["loaded_plugins"]


def loaded_plugins(config: GatewayConfig, plugins: Sequence[Found]) -> list[Loaded]:
    """Those that the file names, in its order.

    Raises:
        PluginRefused: Some are not what is allowed, or cannot be imported or made.
    """
    loaded: list[Loaded] = []
    refused: list[PluginRefused] = []
    for path, one, found in plugins:
        place = config.locator.problem(path, "")
        if isinstance(found, NotFound):
            raise PluginRefused(found.message, plugin=one.name, remedy=found.remedy).at(place)
        try:
            plugin = make(one, found)
        except PluginRefused as error:
            refused.append(error.at(place))
        else:
            loaded.append(Loaded(plugin=plugin, name=one.name, source=found.source, place=place))
    if refused:
        raise refused[0].beside(refused[1:])
    return loaded
