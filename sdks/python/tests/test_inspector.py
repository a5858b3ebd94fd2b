"""The inspector: what plugins declare in code, and why some cannot."""

import os
import unittest

from first_runtime_plugins import REFUSED, manifest, plugin
from raw_client import Folder, RawClient

DECLARED = '''
import kodex
plugin = kodex.Plugin(" p ", "1.2", "Does things.", [" b", "a", "b"], api=">=1")
plugin.permission("fs:read ${project}/src/**", "reads sources")
plugin.requires("jq", "git")

@plugin.on_activate
def start(): raise RuntimeError("inspection activates no plugin of this form")

@plugin.hook("prompt.submit")
def submit(payload): pass

@plugin.hook("tool.before", priority=-5, timeout=1.5, required=True)
def before(payload, ctx): pass

@plugin.hook("*", timeout="2m")
def every(payload, ctx): pass

@plugin.tool(timeout="500ms", read_only=True, destructive=False)
def plain(input):
    """Does one thing.

    At length.
    """

@plugin.tool("full", description="d", input_schema={"type": "object"}, output_schema={"type": "array"})
async def other(input): pass
'''

TYPED = '''
from __future__ import annotations
import kodex
from typing import Any, Dict, List, Literal, Optional, TypedDict
plugin = kodex.Plugin("p", "1", "d")

class Inner(TypedDict, total=False):
    name: str

class Input(TypedDict):
    """What to look for."""
    text: str
    n: int
    deep: List[Inner]
    more: Dict[str, float]
    way: Literal["up", "down"]
    maybe: Optional[bool]
    anything: Any

class Odd(TypedDict):
    when: complex

@plugin.tool()
def typed(input: Input): pass

@plugin.tool()
def odd(input: Odd): pass

@plugin.tool()
def untyped(input): pass

@plugin.tool()
def loose(input: dict, ctx: kodex.Context) -> dict: pass
'''


class InspectorTest(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.cleanup)
        self.client = RawClient("--inspect")
        self.addCleanup(self.client.__exit__)

    def inspect(self, source, context=None, name="a_plugin.py"):
        path = self.folder.write(name, source)
        return self.client.request("inspect", {"source": {"file": path}, "context": context or {}})

    def manifest(self, source, context=None):
        answer = self.inspect(source, context)
        self.assertIn("result", answer, answer)
        return answer["result"]["manifest"]


class FirstRuntime(InspectorTest):
    def test_it_becomes_an_identity_that_answers_every_hook(self):
        found = self.manifest(plugin(manifest(" a ", " v1 ", " d ", (" z ", "b", "b", ""))))
        want = {
            "manifest": 1,
            "plugin": {
                "name": "a",
                "version": "v1",
                "description": "d",
                "capabilities": ["b", "z"],
            },
            "hook": [{"on": "*"}],
            "run": {"kind": "python", "entry": "a_plugin.py"},
        }
        self.assertEqual(found, want)

    def test_what_is_refused_and_why(self):
        for source, code, text in REFUSED:
            with self.subTest(source):
                error = self.inspect(source, {"org": 1})["error"]
                got = error["code"], error["data"]["code"], error["message"]
                self.assertEqual(got, (-32000, f"load.python.{code}", text))

    def test_it_is_activated_with_the_context_and_may_then_say_more(self):
        body = """
    def activate(self, context):
        self.manifest = PluginManifest("other", "2", context["text"], ("c",))
    def handle_hook(self, hook, payload): pass
"""
        found = self.manifest(plugin(body=body), {"text": "of the user"})["plugin"]
        want = {"name": "x", "version": "2", "description": "of the user", "capabilities": ["c"]}
        self.assertEqual(found, want)

    def test_it_takes_one_after_the_other(self):
        for n in range(50):
            found = self.manifest(f"print('loaded')\nN = {n}\n" + plugin(manifest(f"p{n}")))
            self.assertEqual(found["plugin"]["name"], f"p{n}")
            self.assertIn("error", self.inspect("raise SystemExit(3)\n"))
        self.client.close()
        self.assertEqual(self.client.exit_status(), 0)
        self.assertEqual(os.listdir(self.folder.name), ["a_plugin.py"])

    def test_threads_that_never_end_do_not_keep_it(self):
        head = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
        self.manifest(head + plugin())
        self.assertEqual(self.client.request("shutdown")["result"], None)
        self.assertEqual(self.client.exit_status(), 0)

    def test_objects_of_packages(self):
        self.folder.write("inspected_package.py", plugin() + "\nnested = type('N', (), {'P': P})\n")
        for reference, want in [
            ("inspected_package:P", "x"),
            ("inspected_package:nested.P", "x"),
            ("inspected_package:get_plugin [extra]", "x"),
            ("inspected_package:nothing", "module 'inspected_package' has no attribute 'nothing'"),
            ("inspected_package", "'module' object is not callable"),
            ("not_there:P", "No module named 'not_there'"),
        ]:
            with self.subTest(reference):
                source = {"object": reference, "path": [self.folder.name]}
                answer = self.client.request("inspect", {"source": source, "context": {}})
                if "error" in answer:
                    self.assertEqual(answer["error"]["message"], want)
                else:
                    self.assertEqual(answer["result"]["manifest"]["plugin"]["name"], want)
                    self.assertEqual(answer["result"]["manifest"]["run"]["entry"], reference)

    def test_requests_that_make_no_sense(self):
        for params in [
            None,
            {},
            {"source": {}},
            {"source": {"file": 7}},
            {"source": {"file": "x"}, "context": []},
        ]:
            error = self.client.request("inspect", params)["error"]
            self.assertEqual((error["code"], error["data"]["code"]), (-32602, "params.invalid"))
        self.assertEqual(self.client.request("call", {})["error"]["code"], -32601)


class Declared(InspectorTest):
    def test_everything_declared_is_told(self):
        want = {
            "manifest": 1,
            "plugin": {
                "name": "p",
                "version": "1.2",
                "description": "Does things.",
                "capabilities": ["a", "b"],
                "api": ">=1",
            },
            "hook": [
                {"on": "prompt.submit"},
                {"on": "tool.before", "priority": -5, "timeout": "1500ms", "required": True},
                {"on": "*", "timeout": "2m"},
            ],
            "tool": [
                {
                    "name": "plain",
                    "description": "Does one thing.",
                    "timeout": "500ms",
                    "annotations": {"read_only": True, "destructive": False},
                },
                {
                    "name": "full",
                    "description": "d",
                    "input_schema": {"type": "object"},
                    "output_schema": {"type": "array"},
                },
            ],
            "permission": [{"allow": "fs:read ${project}/src/**", "reason": "reads sources"}],
            "requires": {"bin": ["jq", "git"]},
            "run": {"kind": "python", "entry": "a_plugin.py"},
        }
        self.assertEqual(self.manifest(DECLARED), want)

    def test_schemas_come_from_typed_dicts(self):
        tools = {tool["name"]: tool.get("input_schema") for tool in self.manifest(TYPED)["tool"]}
        inner = {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "additionalProperties": False,
        }
        properties = {
            "text": {"type": "string"},
            "n": {"type": "integer"},
            "deep": {"type": "array", "items": inner},
            "more": {"type": "object", "additionalProperties": {"type": "number"}},
            "way": {"enum": ["up", "down"]},
            "maybe": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "anything": {},
        }
        want = {
            "type": "object",
            "description": "What to look for.",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        self.assertEqual(tools, {"typed": want, "odd": None, "untyped": None, "loose": None})

    def test_what_is_declared_wrongly_is_refused(self):
        head = "import kodex\nplugin = kodex.Plugin('p', '1', 'd')\n"
        for source, code, text in [
            (
                "import kodex\nplugin = kodex.Plugin('', '1', 'd')\n",
                "invalid",
                "Plugin manifest name must be non-empty",
            ),
            (
                head + "@plugin.hook('h', timeout='soon')\ndef h(p): pass\n",
                "raised",
                "a span is written as",
            ),
            (
                head + "@plugin.tool('t')\ndef h(p): pass\nplugin.tool('t')(h)\n",
                "raised",
                "tool 't' is declared twice",
            ),
            ("plugin = 5\n", "no_get_plugin", "missing get_plugin()"),
        ]:
            with self.subTest(source):
                error = self.inspect(source)["error"]
                self.assertEqual(error["data"]["code"], f"load.python.{code}")
                self.assertIn(text, error["message"])


if __name__ == "__main__":
    unittest.main()
