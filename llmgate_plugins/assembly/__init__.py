"""From a configuration to everything a gateway is built with."""

from llmgate_plugins.assembly.assembling import assemble

__all__ = ["assemble"]
