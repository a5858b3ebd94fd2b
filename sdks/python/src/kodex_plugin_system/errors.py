"""The exceptions of the first Python runtime, under their old names."""


class PluginError(Exception):
    """Everything that this module raises on purpose."""


class PluginValidationError(PluginError):
    """An object cannot serve as a plugin."""

    #: Kodex's stable code for the rule that was broken.
    code = "load.python.invalid"


class PluginLoadError(PluginError):
    """A plugin failed to load while loading was strict."""


class HookExecutionError(PluginError):
    """A plugin failed on a hook while the call was fail-fast."""
