"""The names of the first Python runtime, so that its plugins and programs run unchanged.

Plugins need the manifest alone, so what only programs use is imported at first use.
"""

from .base import Plugin, PluginManifest
from .errors import HookExecutionError, PluginError, PluginLoadError, PluginValidationError

__all__ = [
    "CapabilityRegistry",
    "HookExecutionError",
    "LoadDiagnostic",
    "Plugin",
    "PluginError",
    "PluginLoadError",
    "PluginManager",
    "PluginManifest",
    "PluginValidationError",
]

_AT_FIRST_USE = {
    "CapabilityRegistry": "registry",
    "LoadDiagnostic": "manager",
    "PluginManager": "manager",
    "manager": "manager",
    "registry": "registry",
}


def __getattr__(name):
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_AT_FIRST_USE[name]}")
    found = module if name == _AT_FIRST_USE[name] else getattr(module, name)
    globals()[name] = found
    return found
