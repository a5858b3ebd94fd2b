"""What a plugin of the first Python runtime is: a manifest and two methods.

``PluginManifest`` behaves as a frozen data class but is written by hand: importing ``dataclasses``
would cost every worker more time than its handshake. Those who do use ``dataclasses`` functions on
a manifest get them; the table they need is built when it is first looked at.
"""

from .errors import PluginValidationError

_FIELDS = ("name", "version", "description", "capabilities")


class _OnDemand:
    """An attribute of the data class machinery, taken from a twin class at first use."""

    def __init__(self, attribute):
        self.attribute = attribute

    def __get__(self, instance, owner):
        import dataclasses

        default = dataclasses.field(default_factory=tuple)
        fields = [(name, "str") for name in _FIELDS[:3]]
        fields.append(("capabilities", "tuple[str, ...]", default))
        twin = dataclasses.make_dataclass("PluginManifest", fields, frozen=True)
        for attribute in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(PluginManifest, attribute, getattr(twin, attribute))
        return getattr(twin, self.attribute)


class PluginManifest:
    """Who a plugin is and what it offers."""

    __dataclass_fields__ = _OnDemand("__dataclass_fields__")
    __dataclass_params__ = _OnDemand("__dataclass_params__")
    __match_args__ = _FIELDS
    __annotations__ = {
        "name": "str",
        "version": "str",
        "description": "str",
        "capabilities": "tuple[str, ...]",
    }

    def __init__(self, name, version, description, capabilities=()):
        # Through the instance's dict, because plain assignment is refused below.
        self.__dict__.update(
            name=name, version=version, description=description, capabilities=capabilities
        )

    def normalized(self) -> "PluginManifest":
        """The same manifest without stray blanks, with sorted and distinct capabilities."""
        offered = {capability.strip() for capability in self.capabilities}
        return PluginManifest(
            self.name.strip(),
            self.version.strip(),
            self.description.strip(),
            tuple(sorted(offered - {""})),
        )

    def validate(self) -> None:
        """Raises ``PluginValidationError`` naming the first text that is missing."""
        if not self.name.strip():
            raise PluginValidationError("Plugin manifest name must be non-empty")
        for field, what in (("version", "a version"), ("description", "a description")):
            if not getattr(self, field).strip():
                raise PluginValidationError(f"Plugin '{self.name}' must define {what}")

    def __setattr__(self, name, value):
        _refuse_change("assign to", name)

    def __delattr__(self, name):
        _refuse_change("delete", name)

    def __replace__(self, **changes):
        return type(self)(**{**{name: getattr(self, name) for name in _FIELDS}, **changes})

    def _key(self):
        return (self.name, self.version, self.description, self.capabilities)

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __repr__(self):
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in _FIELDS)
        return f"{type(self).__qualname__}({inside})"


def _refuse_change(action, name):
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot {action} field {name!r}")


class Plugin:
    """The form of a plugin, for type checkers and as an optional parent class."""

    manifest: PluginManifest

    def activate(self, context: "dict[str, object]") -> None:
        """Called once, before any hook, with the user's configuration."""

    def handle_hook(self, hook: str, payload: "dict[str, object]") -> "dict[str, object] | None":
        """Called for every hook; ``None`` means nothing to say."""


def accept(plugin) -> PluginManifest:
    """Checks that an object can serve as a plugin and gives it its normalised manifest.

    Loaders of every kind use this one function, so that they agree on rules and messages.
    """
    declared = getattr(plugin, "manifest", None)
    if not isinstance(declared, PluginManifest):
        refusal = PluginValidationError("Plugin must expose a PluginManifest as 'manifest'")
        refusal.code = "load.python.not_a_manifest"
        raise refusal
    manifest = declared.normalized()
    manifest.validate()
    plugin.manifest = manifest
    for method in ("activate", "handle_hook"):
        if not callable(getattr(plugin, method, None)):
            raise PluginValidationError(f"Plugin '{manifest.name}' is missing {method}()")
    return manifest
