"""Plugin files in the form of the first Python runtime, and what loading each must come to."""

IMPORT = "from kodex_plugin_system.base import PluginManifest\n"
METHODS = """
    def activate(self, context): pass
    def handle_hook(self, hook, payload): return {"hook": hook}
"""


def plugin(manifest="PluginManifest('x', '1', 'd')", body=METHODS, head=IMPORT):
    """The source of a plugin file."""
    factory = "\ndef get_plugin():\n    return P()\n"
    return f"{head}\nclass P:\n    manifest = {manifest}\n{body}{factory}"


def manifest(name="x", version="1", description="d", capabilities=()):
    """The source of a manifest."""
    return f"PluginManifest({name!r}, {version!r}, {description!r}, {capabilities!r})"


NO_ACTIVATE = "    def handle_hook(self, hook, payload): pass\n"
NO_HANDLE = "    def activate(self, context): pass\n"
RAISES = """
    def activate(self, context): raise ValueError(f"no key among {sorted(context)}")
    def handle_hook(self, hook, payload): pass
"""

#: source of the file, code of the inspector, text
REFUSED = [
    ("x = 1\n", "no_get_plugin", "missing get_plugin()"),
    ("get_plugin = None\n", "no_get_plugin", "missing get_plugin()"),
    ("get_plugin = 5\n", "raised", "'int' object is not callable"),
    ("def get_plugin(): raise RuntimeError('boom')\n", "raised", "boom"),
    ("def get_plugin(): raise RuntimeError\n", "raised", ""),
    ("def get_plugin(): raise KeyError('org')\n", "raised", "'org'"),
    ("1/0\n", "raised", "division by zero"),
    ("import not_there_at_all\n", "raised", "No module named 'not_there_at_all'"),
    (
        "def get_plugin(): return None\n",
        "not_a_manifest",
        "Plugin must expose a PluginManifest as 'manifest'",
    ),
    (
        plugin("{'name': 'x'}"),
        "not_a_manifest",
        "Plugin must expose a PluginManifest as 'manifest'",
    ),
    (plugin(manifest(" ")), "invalid", "Plugin manifest name must be non-empty"),
    (plugin(manifest(" x ", "")), "invalid", "Plugin 'x' must define a version"),
    (plugin(manifest("x", "1", "\t")), "invalid", "Plugin 'x' must define a description"),
    (plugin(manifest("", "", "")), "invalid", "Plugin manifest name must be non-empty"),
    (plugin(manifest("x", " ", " ")), "invalid", "Plugin 'x' must define a version"),
    (plugin(body=NO_ACTIVATE), "invalid", "Plugin 'x' is missing activate()"),
    (plugin(body=NO_HANDLE), "invalid", "Plugin 'x' is missing handle_hook()"),
    (plugin(body="    pass\n"), "invalid", "Plugin 'x' is missing activate()"),
    (plugin(manifest(capabilities=(1,))), "raised", "'int' object has no attribute 'strip'"),
    (plugin(body=RAISES), "activate_failed", "no key among ['org']"),
    (
        plugin(body=METHODS.replace("pass", "self.manifest.name = 'y'")),
        "activate_failed",
        "cannot assign to field 'name'",
    ),
]
