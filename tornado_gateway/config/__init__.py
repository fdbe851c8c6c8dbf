"""Configuration: one YAML text to frozen, checked settings. Imports nothing else of ours, and knows no plugin."""

from tornado_gateway.config.problems import ConfigError, Problem
from tornado_gateway.config.settings import (
    LimitsSettings,
    ModelDefaults,
    ModelsSettings,
    PluginEntry,
    ServerSettings,
    Settings,
    TLSSettings,
    UpstreamSettings,
)

__all__ = [
    "ConfigError",
    "LimitsSettings",
    "ModelDefaults",
    "ModelsSettings",
    "PluginEntry",
    "Problem",
    "ServerSettings",
    "Settings",
    "TLSSettings",
    "UpstreamSettings",
]
