"""Lists plugins as the first Python runtime does: by executing every file.

``python3 listing.py SDK FOLDER``, where SDK is the folder that holds ``kodex_plugin_system``.
"""

import sys

sys.path.insert(0, sys.argv[1])

from kodex_plugin_system import PluginManager  # noqa: E402

plugins = PluginManager()
plugins.load_file_plugins(sys.argv[2])
plugins.load_entry_point_plugins()
for manifest in plugins.list_manifests():
    capabilities = ",".join(manifest.capabilities) or "-"
    print(f"{manifest.name} v{manifest.version} | {capabilities} | {manifest.description}")
