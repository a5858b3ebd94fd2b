"""How much memory the first Python runtime holds once it has loaded a folder of plugins.

``python3 resident.py SDK FOLDER``, where SDK is the folder that holds ``kodex_plugin_system``. Prints
one line: ``{"plugins": N, "resident_kb": N}``.
"""

import sys

from measure import answer

sys.path.insert(0, sys.argv[1])

from kodex_plugin_system import PluginManager  # noqa: E402

plugins = PluginManager()
plugins.load_file_plugins(sys.argv[2])
with open("/proc/self/status", encoding="ascii") as status:
    resident_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
answer({"plugins": len(plugins.plugins), "resident_kb": resident_kb})
