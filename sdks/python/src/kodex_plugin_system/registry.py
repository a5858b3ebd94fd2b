"""Which plugins offer a capability."""


class CapabilityRegistry:
    """An index from capability to plugins, in the order in which they were added."""

    def __init__(self):
        self._offers = {}

    def index(self, plugin) -> None:
        """Adds one plugin under each capability of its manifest."""
        for capability in plugin.manifest.capabilities:
            self._offers.setdefault(capability, []).append(plugin)

    def index_many(self, plugins) -> None:
        """Adds several plugins."""
        for plugin in plugins:
            self.index(plugin)

    def get(self, capability: str) -> tuple:
        """The plugins that offer a capability; empty when none does."""
        return tuple(self._offers.get(capability, ()))

    def all_capabilities(self) -> "tuple[str, ...]":
        """Every capability that was seen, sorted."""
        return tuple(sorted(self._offers))

    def describe(self) -> "dict[str, list[str]]":
        """Plugin names by capability."""
        return {
            capability: [plugin.manifest.name for plugin in self._offers[capability]]
            for capability in self.all_capabilities()
        }
