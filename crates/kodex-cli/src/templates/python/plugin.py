"""A Kodex plugin: give it a name, say what it does, and change what it answers."""

from kodex_plugin_system.base import PluginManifest


class MyPlugin:
    manifest = PluginManifest(
        name="my-plugin",
        version="0.1.0",
        description="Describe what your plugin does.",
        capabilities=("hook.name",),
    )

    def activate(self, context):
        """Called once, before the first hook, with what the user configured for this plugin."""
        self.context = context

    def handle_hook(self, hook, payload):
        """Called for every hook; return None where there is nothing to say."""
        if hook == "hook.name":
            return {"plugin": self.manifest.name, "payload": payload}
        return None


def get_plugin():
    """Kodex calls this when it loads the file."""
    return MyPlugin()
