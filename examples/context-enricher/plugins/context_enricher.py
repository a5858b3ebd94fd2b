"""Puts the name of the organisation in front of every prompt."""

from kodex_plugin_system.base import PluginManifest


class ContextEnricher:
    """A plugin in the form of the first Python runtime: a manifest and two methods."""

    manifest = PluginManifest(
        name="context-enricher",
        version="0.1.0",
        description="Adds extra prompt context before execution.",
        capabilities=("prompt.preprocess", "context.enrich"),
    )

    def activate(self, context):
        self.org = context.get("org", "default-org")

    def handle_hook(self, hook, payload):
        if hook != "prompt.preprocess":
            return None
        prompt = str(payload.get("text", ""))
        return {"plugin": self.manifest.name, "text": f"[{self.org}] {prompt}".strip()}


def get_plugin():
    return ContextEnricher()
