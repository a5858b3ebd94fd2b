"""Asks the plugin through `kodex`, as an agent would. Run it with `python3 {{test}}`.

The name begins with `_`, so Kodex does not take this file for a plugin.
"""

import json
import os
import shutil
import subprocess
import unittest

PLUGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "{{file}}")
KODEX = os.environ.get("KODEX", "kodex")


def emit(hook, payload):
    """What this plugin replies, with no other plugin around."""
    command = [KODEX, "--plugin-dir", os.path.dirname(PLUGIN), "emit", hook, "--payload", json.dumps(payload)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return [reply for reply in json.loads(done.stdout) if reply.get("plugin") == "my-plugin"]


@unittest.skipIf(shutil.which(KODEX) is None, "kodex is not on the search path; set KODEX")
class Replies(unittest.TestCase):
    def test_the_plugin_can_be_loaded(self):
        subprocess.run([KODEX, "check", PLUGIN], check=True)

    def test_its_own_hook_is_answered(self):
        self.assertEqual(emit("hook.name", {"a": 1}), [{"plugin": "my-plugin", "payload": {"a": 1}}])

    def test_other_hooks_are_not(self):
        self.assertEqual(emit("some.other.hook", {}), [])


if __name__ == "__main__":
    unittest.main()
