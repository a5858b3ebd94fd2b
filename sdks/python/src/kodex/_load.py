"""From a file or an object's name to a plugin, with the rules and texts of the first runtime.

The worker, the inspector and ``PluginManager`` all load through here.
"""

import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import spec_from_file_location

from kodex_plugin_system.base import accept
from kodex_plugin_system.errors import PluginValidationError

from . import Handler, given_handler, is_coroutine

#: Hooks whose handlers are kept.
HANDLERS = 256


class LoadFailure(Exception):
    """A plugin that could not be loaded: a stable code and the text for people."""

    def __init__(self, code, message, cause=None):
        super().__init__(message)
        self.code = code
        self.cause = cause


def add_paths(folders):
    """Makes the packages of further folders importable, editable installs included."""
    for folder in folders:
        if folder not in sys.path:
            import site

            site.addsitedir(folder)


def add_roots(folders):
    """Makes the modules beside a plugin importable.

    Before installed packages, behind the standard library: a plugin's ``queue.py`` must not break
    what the SDK and other packages import later.
    """
    at = 0
    while at < len(sys.path) and "-packages" not in sys.path[at]:
        at += 1
    sys.path[at:at] = folders


def module_name(path):
    """The name under which the first runtime imported a plugin file."""
    return f"kodex_local_plugin_{path.rsplit('/', 1)[-1].rsplit('.', 1)[0]}"


def import_file(path):
    """Executes a plugin file as a module of its own.

    Always from the source: a compiled file beside it is not what the user reviewed, and writing one
    would change the folder that the host watches.
    """
    path = str(path)
    spec = spec_from_file_location(module_name(path), path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"Unable to load plugin module from {path}")
    module = module_from_spec(spec)
    # Some of the standard library looks up a class's module by name, data classes for one.
    sys.modules[spec.name] = module
    try:
        code = spec.loader.source_to_code(spec.loader.get_data(path), path)
        exec(code, module.__dict__)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    return module


def import_object(reference):
    """Imports ``package.module:attribute.attribute``."""
    name, _, attributes = reference.partition("[")[0].strip().partition(":")
    __import__(name)
    found = sys.modules[name]
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def load(source, factory="get_plugin"):
    """Builds the plugin of ``("file", path)`` or ``("object", reference)`` and checks it.

    Nothing is activated. Raises ``LoadFailure``.
    """
    kind, place = source
    try:
        if kind == "file":
            plugin = _from_module(import_file(place), factory)
        else:
            plugin = _from_object(import_object(place))
    except LoadFailure:
        raise
    except BaseException as error:
        raise LoadFailure("load.python.raised", text_of(error), error) from error
    return check(plugin)


def check(plugin):
    """Applies the rules for plugins; gives the plugin back. Raises ``LoadFailure``."""
    try:
        if is_declared(plugin):
            plugin.manifest = plugin.manifest.normalized()
            plugin.manifest.validate()
        else:
            accept(plugin)
    except PluginValidationError as error:
        raise LoadFailure(error.code, str(error), error) from error
    except BaseException as error:
        raise LoadFailure("load.python.raised", text_of(error), error) from error
    return plugin


def is_declared(plugin):
    """Whether the plugin declares hooks and tools through ``kodex.Plugin``."""
    return hasattr(type(plugin), "__kodex_declared__")


class FirstRuntimePlugin:
    """A plugin in the form of the first runtime, with the doors of ``kodex.Plugin``."""

    def __init__(self, plugin):
        self.plugin = plugin
        self.manifest = plugin.manifest
        kind = type(plugin)
        steps = [getattr(kind, name) for name in dir(kind) if name.startswith("step_")]
        self.is_async = any(map(is_coroutine, [plugin.handle_hook, *steps]))
        self._handlers = {}

    def activate(self, link):
        """Passes the user's configuration."""
        self.plugin.activate(link.config)
        return []

    def deactivate(self):
        """The first runtime had no such step; a plugin that has the method gets it."""
        hook = getattr(self.plugin, "deactivate", None)
        done = hook() if callable(hook) else None
        return [done] if hasattr(done, "__await__") else []

    def find(self, kind, name):
        """It answers every hook, has no tools, and its step ``0003_x`` is ``step_0003_x``."""
        if kind == "step":
            step = getattr(self.plugin, f"step_{name}", None)
            return given_handler("Step", step) if callable(step) else None
        if kind != "hook":
            return None
        handler = self._handlers.get(name)
        if handler is None:
            if len(self._handlers) >= HANDLERS:
                self._handlers.clear()
            handler = self._handlers[name] = self._handler(name)
        return handler

    def _handler(self, name):
        plugin = self.plugin

        def run(payload):
            # Looked up at each call: a plugin may put another function in its place.
            return plugin.handle_hook(name, payload)

        return Handler(run, False, is_coroutine(plugin.handle_hook))


def _from_module(module, factory):
    build = getattr(module, factory, None)
    if build is not None:
        return build if is_declared(build) else build()
    plugin = getattr(module, "plugin", None)
    if is_declared(plugin):
        return plugin
    raise LoadFailure("load.python.no_get_plugin", f"missing {factory}()")


def _from_object(found):
    return found if is_declared(found) else found()


def text_of(error):
    """What the first runtime would have recorded of an exception: its text.

    Exceptions that would have ended that runtime say their kind too.
    """
    try:
        text = str(error)
    except Exception as second:
        return f"{type(error).__name__}, whose text raised {type(second).__name__}"
    if isinstance(error, Exception):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
