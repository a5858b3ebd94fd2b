"""What authors of plugins use: declarations, contexts, reply makers and the fake host."""

import asyncio
import functools
import os
import subprocess
import sys
import unittest

from raw_client import HERE, SDK

sys.path.insert(0, SDK)

import kodex  # noqa: E402
from kodex.testing import FakeHost  # noqa: E402
from kodex_plugin_system import PluginManifest, PluginValidationError  # noqa: E402


def declare():
    return kodex.Plugin("p", "1", "d")


class Signatures(unittest.TestCase):
    def test_a_context_is_passed_where_there_is_a_place_for_it(self):
        class Methods:
            def one(self, payload):
                return "payload"

            def two(self, payload, anything):
                return type(anything).__name__

            def __call__(self, payload, ctx):
                return type(ctx).__name__

        for function, want in [
            (lambda payload: "payload", "payload"),
            (lambda payload, ctx: type(ctx).__name__, "Context"),
            (lambda payload, limit=5: limit, 5),
            (lambda payload, ctx=None: type(ctx).__name__, "Context"),
            (lambda payload, context=None: type(context).__name__, "Context"),
            (lambda *payload: len(payload), 1),
            (lambda payload, *, key=2: key, 2),
            (Methods().one, "payload"),
            (Methods().two, "Context"),
            (Methods(), "Context"),
            (functools.partial(lambda first, payload: first, "bound"), "bound"),
            (functools.partial(lambda first, payload, ctx: type(ctx).__name__, 1), "Context"),
        ]:
            with self.subTest(function=function):
                plugin = declare()
                self.assertIs(plugin.hook("h")(function), function)
                self.assertEqual(FakeHost(plugin).call_hook("h"), want)


class Replies(unittest.TestCase):
    def test_decisions(self):
        self.assertEqual(kodex.allow(), {"decision": "allow"})
        self.assertEqual(kodex.ask("sure?"), {"decision": "ask", "reason": "sure?"})
        self.assertEqual(kodex.deny("no"), {"decision": "deny", "reason": "no"})


class TheFakeHost(unittest.TestCase):
    def test_a_declared_plugin(self):
        plugin, seen = declare(), []

        @plugin.on_activate
        def begin(ctx):
            seen.append((ctx.kind, ctx.plugin, ctx.config, ctx.grants))

        @plugin.on_deactivate
        def end():
            seen.append("end")

        @plugin.hook("*")
        def every(payload, ctx):
            ctx.log.error("hook", name=ctx.name)
            return ctx.clock.now()

        @plugin.tool("t")
        def tool(input, ctx):
            if ctx.remaining <= 4:
                raise kodex.ToolInputError("too late")
            return ctx.request("state/get", {"key": input})

        with FakeHost(plugin, config={"a": 1}, grants=("state",), timeout=5) as host:
            host.serve("state/get", lambda params: params["key"] * 2)
            host.clock.advance(2.5)
            self.assertEqual(host.call_hook("any"), 1_700_000_002.5)
            self.assertEqual(host.call_tool("t", "ab"), "abab")
            self.assertEqual(host.logs, [("error", "hook", {"name": "any"})])
            self.assertEqual(host.requests[-1], ("state/get", {"key": "ab"}))
            with self.assertRaises(LookupError):
                host.call_tool("any")
        self.assertEqual(seen, [("activate", "p", {"a": 1}, ("state",)), "end"])

    def test_a_tool_knows_its_caller(self):
        plugin = kodex.Plugin("p", "1", "d")
        plugin.tool("who")(lambda input, ctx: ctx.caller)
        host = FakeHost(plugin)
        caller = {"call_id": "7", "source": {"kind": "session", "address": "s-1"}}
        self.assertEqual(host.call_tool("who", {"caller": "me"}, caller=caller), caller)
        self.assertIsNone(host.call_tool("who", {"caller": "me"}))

    def test_what_could_not_be_sent_fails_in_the_test(self):
        plugin = declare()
        plugin.hook("h")(lambda payload: {1, 2})
        with self.assertRaisesRegex(ValueError, "set is not JSON"):
            FakeHost(plugin).call_hook("h")

    def test_a_handler_gets_a_copy_as_from_a_wire(self):
        plugin, payload = declare(), {"list": (1, 2)}
        plugin.hook("h")(lambda payload: payload["list"].append(3) or payload)
        self.assertEqual(FakeHost(plugin).call_hook("h", payload), {"list": [1, 2, 3]})
        self.assertEqual(payload, {"list": (1, 2)})

    def test_the_host_refuses_what_nobody_serves(self):
        plugin = declare()
        plugin.hook("h")(lambda payload, ctx: ctx.request("moon/phase"))
        with self.assertRaises(kodex.HostError) as raised:
            FakeHost(plugin).call_hook("h")
        self.assertEqual(raised.exception.code, "host.method.unknown")

    def test_coroutines(self):
        plugin = declare()

        @plugin.hook("h")
        async def h(payload, ctx):
            await asyncio.sleep(0)
            return [await ctx.clock.now_async(), await ctx.request_async("m", 1)]

        with FakeHost(plugin) as host:
            host.serve("m", lambda params: params)
            self.assertEqual(host.call_hook("h"), [1_700_000_000.0, 1])

    def test_a_plugin_of_the_first_runtime(self):
        class Old:
            manifest = PluginManifest(" old ", "1", "d")

            def activate(self, context):
                self.context = context

            def handle_hook(self, hook, payload):
                return {"hook": hook, "context": self.context} if payload else None

        host = FakeHost(Old(), config={"org": "acme"})
        want = {"hook": "h", "context": {"org": "acme"}}
        self.assertEqual(host.call_hook("h", {"x": 1}), want)
        self.assertIsNone(host.call_hook("h"))

    def test_a_plugin_that_would_be_refused_is_refused(self):
        with self.assertRaisesRegex(Exception, "must expose a PluginManifest"):
            FakeHost(object())
        with self.assertRaisesRegex(Exception, "must define a version"):
            FakeHost(kodex.Plugin("p", "", "d"))
        self.assertTrue(issubclass(PluginValidationError, Exception))


class Examples(unittest.TestCase):
    def test_their_own_tests_pass(self):
        for example in ("word-count", "notes"):
            with self.subTest(example):
                tests = os.path.join(HERE, "..", "..", "..", "examples", example, "tests")
                command = [sys.executable, "-m", "unittest", "discover", "-s", tests]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stderr, r"Ran [1-9]")


if __name__ == "__main__":
    unittest.main()
