"""A plugin that approves, in the form of the first Python runtime."""

from kodex_plugin_system.base import PluginManifest


class Approve:
    manifest = PluginManifest("bench-python", "1.0.0", "Approves.")

    def activate(self, context):
        pass

    def handle_hook(self, hook, payload):
        if hook != "prompt.preprocess":
            return None
        return {"decision": "approve", "tool": payload["tool_name"]}


def get_plugin():
    return Approve()
