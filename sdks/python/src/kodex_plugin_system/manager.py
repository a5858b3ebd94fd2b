"""Loading and calling plugins in this process, as programs written for the first runtime do.

``kodex`` itself does not use this: it runs each plugin in a worker. Nothing here limits time or
access.
"""

import dataclasses
import pathlib
import sys

from kodex._load import import_file

from .base import accept
from .errors import HookExecutionError, PluginLoadError, PluginValidationError


@dataclasses.dataclass(frozen=True)
class LoadDiagnostic:
    """What happened to one candidate: ``loaded``, ``skipped`` or ``error``."""

    source: str
    plugin_name: str
    status: str
    message: str


class PluginManager:
    """Holds active plugins and calls them in the order of their registration."""

    def __init__(self, *, continue_on_error=True, default_context=None):
        self.continue_on_error = continue_on_error
        self.default_context = default_context or {}
        self._plugins = []
        self._names = set()
        self._diagnostics = []

    @property
    def plugins(self) -> tuple:
        """The active plugins."""
        return tuple(self._plugins)

    @property
    def diagnostics(self) -> "tuple[LoadDiagnostic, ...]":
        """What happened while loading, in order."""
        return tuple(self._diagnostics)

    def register(self, plugin, *, context=None, source="runtime") -> None:
        """Checks, activates and adds a plugin."""
        name = accept(plugin).name
        if name in self._names:
            raise PluginValidationError(f"Duplicate plugin name '{name}' is not allowed")
        plugin.activate({**self.default_context, **(context or {})})
        self._plugins.append(plugin)
        self._names.add(name)
        self._note(source, "loaded", "ok", name)

    def load_entry_point_plugins(self, group="kodex.plugins") -> int:
        """Loads what installed packages announce; returns how many became active."""
        return sum(
            self._try(f"entrypoint:{point.name}", lambda point=point: point.load()())
            for point in _entry_points(group)
        )

    def load_file_plugins(self, directory, *, pattern="*.py") -> int:
        """Loads the plugin files of a folder; returns how many became active."""
        folder = pathlib.Path(directory)
        if not folder.exists():
            self._note(str(folder), "skipped", "plugin directory missing")
            return 0
        files = [file for file in sorted(folder.glob(pattern)) if not file.name.startswith("_")]
        return sum(self._try(str(file), lambda file=file: _build(file)) for file in files)

    def emit(self, hook, payload, *, fail_fast=False) -> list:
        """Calls every plugin on a hook and gathers what they say, failures included."""
        gathered = []
        for plugin in self._plugins:
            name = plugin.manifest.name
            try:
                said = plugin.handle_hook(hook, payload)
            except Exception as error:
                if fail_fast:
                    text = f"Plugin '{name}' failed on hook '{hook}': {error}"
                    raise HookExecutionError(text) from error
                said = {"plugin": name, "error": str(error), "hook": hook}
            if said is not None:
                gathered.append(said)
        return gathered

    def list_manifests(self) -> tuple:
        """The manifests of the active plugins, in the order of their registration."""
        return tuple(plugin.manifest for plugin in self._plugins)

    def doctor_report(self) -> dict:
        """Counts, names and diagnostics, ready to be printed as JSON."""
        return {
            "plugin_count": len(self._plugins),
            "plugin_names": sorted(self._names),
            "diagnostics": [dict(vars(diagnostic)) for diagnostic in self._diagnostics],
        }

    def _note(self, source, status, message, name="-"):
        self._diagnostics.append(LoadDiagnostic(source, name, status, message))

    def _try(self, source, build):
        """Builds and registers one candidate: 1 when it became active, 0 when not."""
        try:
            plugin = build()
            if plugin is _NO_FACTORY:
                self._note(source, "skipped", "missing get_plugin()")
                return 0
            self.register(plugin, source=source)
        except Exception as error:
            self._note(source, "error", str(error))
            if self.continue_on_error:
                return 0
            import traceback

            text = f"Failed to load plugin from {source}: {error}\n{traceback.format_exc()}"
            raise PluginLoadError(text) from error
        return 1


_NO_FACTORY = object()


def _build(file):
    module = import_file(file)
    factory = getattr(module, "get_plugin", None)
    return _NO_FACTORY if factory is None else factory()


def _entry_points(group):
    from importlib.metadata import entry_points

    if sys.version_info >= (3, 10):
        return entry_points(group=group)
    return entry_points().get(group, ())
