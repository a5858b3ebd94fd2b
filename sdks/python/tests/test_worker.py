"""A worker with plugins that do what plugins should not do. All through its pipes."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest

from raw_client import SDK, WORKER, Folder, RawClient

HEAD = """
import kodex, os, sys, threading, time
plugin = kodex.Plugin("p", "1", "d")
"""
RAISED, REFUSED, CANCELLED, NO_METHOD = -32000, -32001, -32002, -32601


class WorkerTest(unittest.TestCase):
    """Starts workers over plugin files that a test writes."""

    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.cleanup)

    def start(self, source, *arguments, name="p", context=None, features=None):
        path = self.folder.write("plugin_file.py", source)
        client = RawClient("--file", path, *arguments)
        self.addCleanup(client.__exit__)
        more = {} if features is None else {"features": features}
        answer = client.initialize(name, context, **more)
        self.assertIn("result", answer, answer)
        return client

    def hook(self, body, head=HEAD, **options):
        """A worker whose hook `h` has this body."""
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        return self.start(f"{head}\n@plugin.hook('h')\ndef h(payload, ctx):\n{lines}", **options)


class Replies(WorkerTest):
    def test_a_reply_that_cannot_be_sent_is_an_error_of_the_call(self):
        client = self.hook(
            "return eval(payload['python'])", HEAD + "ring = []; ring.append(ring)\n"
        )
        for python, code, word in [
            ("float('nan')", "plugin.reply.unserialisable", "float"),
            ("[1.0, float('-inf')]", "plugin.reply.unserialisable", "float"),
            ("ring", "plugin.reply.unserialisable", "ircular"),
            ("{1, 2}", "plugin.reply.unserialisable", "set is not JSON serializable"),
            ("object()", "plugin.reply.unserialisable", "object is not JSON serializable"),
            ("b'x'", "plugin.reply.unserialisable", "bytes is not JSON serializable"),
            ("{(1, 2): 3}", "plugin.reply.unserialisable", "keys must be"),
            ("'\\ud800'", "plugin.reply.unserialisable", "surrogate"),
            ("{'a\\udc00b': 1}", "plugin.reply.unserialisable", "surrogate"),
            ("10 ** 400", "plugin.reply.unserialisable", "double"),
            ("{'x': [10 ** 400]}", "plugin.reply.unserialisable", "double"),
            ("'x' * (1 << 20)", "plugin.reply.too_large", "1048576"),
            (
                "__import__('functools').reduce(lambda a, _: [a], range(70), 1)",
                "plugin.reply.too_deep",
                "64",
            ),
            (
                "__import__('functools').reduce(lambda a, _: [a], range(9**5), 1)",
                "plugin.reply.unserialisable",
                "deep",
            ),
        ]:
            with self.subTest(python):
                number, message, got = client.call("h", {"python": python})
                self.assertEqual((number, got), (RAISED, code), message)
                self.assertIn(word, message)
        self.assertEqual(
            client.call("h", {"python": "{1: None, 2.5: True, None: 'é'}"}),
            {"reply": {"1": None, "2.5": True, "null": "é"}},
        )

    def test_what_only_looks_dangerous_is_sent(self):
        client = self.hook("return eval(payload['python'])")
        for python in (
            "'9' * 400",
            "10 ** 308",
            "'\\\\ud800'",
            "'\U0001f600'",
            "'[{' * 200",
            "(1, 2)",
        ):
            with self.subTest(python):
                want = json.loads(json.dumps(eval(python)))
                self.assertEqual(client.call("h", {"python": python}), {"reply": want})

    def test_the_digits_are_those_of_the_first_runtime(self):
        client = self.hook("return [1e16, 0.1 + 0.2, 1.0, 5e-324, 'ü\\u2028', 1 << 70]")
        client.start_call("h")
        text = client.line()
        self.assertIn(
            r'[1e+16,0.30000000000000004,1.0,5e-324,"\u00fc\u2028",1180591620717411303424]', text
        )


class Raising(WorkerTest):
    def test_what_a_handler_raises_is_its_answer(self):
        client = self.hook("exec(payload['python'])")
        for python, message in [
            ("raise ValueError('no such thing')", "no such thing"),
            ("raise ValueError", ""),
            ("raise KeyError('k')", "'k'"),
            ("1/0", "division by zero"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("sys.exit()", "SystemExit"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("raise GeneratorExit", "GeneratorExit"),
            ("raise MemoryError('much')", "much"),
            ("raise kodex.ToolInputError('only tools refuse')", "only tools refuse"),
            ("raise ValueError('half \\ud800')", "half \\ud800"),
        ]:
            with self.subTest(python):
                got = client.call("h", {"python": python})
                self.assertEqual(got, (RAISED, message, "plugin.raised"))

    def test_recursion_without_end_is_survived(self):
        client = self.hook("def down(): return down()\ndown()")
        for _ in range(3):
            number, message, _ = client.call("h")
            self.assertEqual(number, RAISED)
            self.assertIn("recursion", message)

    def test_an_exception_whose_text_raises(self):
        client = self.hook("class E(Exception):\n    def __str__(self): return 1/0\nraise E()")
        self.assertEqual(client.call("h")[1], "E, whose text raised ZeroDivisionError")

    def test_the_traceback_is_the_plugins_and_bounded(self):
        client = self.hook("def down(n): return down(n - 1) if n else 1/0\ndown(payload['n'])")
        for n in (2, 300):
            client.start_call("h", {"n": n})
            details = client.message()["error"]["data"]
            self.assertIn("plugin_file.py", details["traceback"])
            self.assertNotIn("_serve.py", details["traceback"])
            self.assertLessEqual(len(details["traceback"]), 8 << 10)
            self.assertTrue(details["traceback"].rstrip().endswith("division by zero"))

    def test_a_long_text_is_cut(self):
        client = self.hook("raise ValueError('x' * 5_000_000)")
        message = client.call("h")[1]
        self.assertTrue(message.endswith("x..."))
        self.assertLess(len(message), 100_000)


class Streams(WorkerTest):
    def test_nothing_that_a_plugin_prints_reaches_the_protocol(self):
        client = self.hook(
            """
            print("printed \\ud800 ü")
            sys.stdout.write("written")
            os.write(1, b"by descriptor\\n")
            subprocess.run("echo by a child; cat", shell=True, check=True)
            sys.__stdout__.write("by the original\\n")
            return input_ends()
            """.replace("            ", ""),
            HEAD
            + "import subprocess\nprint('at import')\n"
            + "def input_ends():\n    try: input()\n    except EOFError: return True\n",
        )
        self.assertEqual(client.call("h"), {"reply": True})
        log = client.log()
        for text in (
            "at import",
            "printed \\ud800 ü",
            "written",
            "by descriptor",
            "by a child",
            "by the original",
        ):
            self.assertIn(text, log)

    def test_a_child_of_the_plugin_holds_neither_pipe(self):
        client = self.hook(
            "child = subprocess.Popen(['sleep', '60'], close_fds=False)\nreturn child.pid",
            HEAD + "import subprocess\n",
        )
        child = client.call("h")["reply"]
        try:
            client.close()
            self.assertEqual(client.exit_status(), 0)
            self.assertEqual(client.line(), "")
        finally:
            os.kill(child, signal.SIGKILL)

    def test_a_forked_child_cannot_answer(self):
        client = self.hook(
            """
            child = os.fork()
            if child: os.waitpid(child, 0)
            ctx.log.info('once')
            return child == 0
            """.replace("            ", "")
        )
        client.start_call("h")
        self.assertEqual(client.message()["params"]["message"], "once")
        self.assertEqual(client.message()["result"], {"reply": False})
        self.assertEqual(client.request("shutdown")["result"], None)
        self.assertEqual(client.line(), "")

    def test_a_forked_child_that_goes_on_does_not_finish_the_plugin(self):
        head = HEAD + "@plugin.on_deactivate\ndef end(): open('ended', 'a').write('x')\n"
        client = self.hook("os.chdir(payload)\nreturn os.fork() == 0", head)
        self.assertEqual(client.call("h", self.folder.name), {"reply": False})
        client.close()
        self.assertEqual(client.exit_status(), 0)
        with open(os.path.join(self.folder.name, "ended"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "x")


class Ending(WorkerTest):
    def test_threads_that_never_end_do_not_keep_it(self):
        head = HEAD + "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        for by_request in (True, False):
            client = self.hook("print('no newline', end='')", head)
            self.assertEqual(client.call("h"), {})
            if by_request:
                self.assertEqual(client.request("shutdown")["result"], None)
            else:
                client.close()
            self.assertEqual(client.exit_status(), 0)
            self.assertIn("no newline", client.log())

    def test_deactivate_runs_once_and_may_fail(self):
        head = HEAD + "@plugin.on_deactivate\ndef end():\n    print('ending')\n    1/0\n"
        client = self.hook("pass", head)
        self.assertEqual(client.request("shutdown")["result"], None)
        self.assertEqual(client.exit_status(), 0)
        self.assertEqual(client.log().count("ending"), 1)
        self.assertIn("ZeroDivisionError", client.log())

    def test_an_old_plugin_may_have_deactivate(self):
        client = self.start(
            """
            from kodex_plugin_system import PluginManifest
            class P:
                manifest = PluginManifest(" p ", "1", "d")
                def activate(self, context): self.context = context
                def handle_hook(self, hook, payload): return [hook, payload, self.context]
                def deactivate(self): print("ending")
            get_plugin = P
            """,
            context={"org": "acme"},
        )
        self.assertEqual(client.call("any.hook", 7), {"reply": ["any.hook", 7, {"org": "acme"}]})
        self.assertEqual(client.call("t", kind="tool")[0], NO_METHOD)
        client.close()
        self.assertEqual(client.exit_status(), 0)
        self.assertIn("ending", client.log())

    def test_a_host_that_stops_reading_ends_it(self):
        client = self.hook("return 'x' * 100_000")
        client.process.stdout.close()
        params = {
            "kind": "hook",
            "name": "h",
            "payload": 0,
            "timeout_ms": 9000,
            "deadline_unix_ms": 0,
        }
        request = {"jsonrpc": "2.0", "id": 2, "method": "call", "params": params}
        os.write(client.process.stdin.fileno(), json.dumps(request).encode() + b"\n")
        self.assertEqual(client.process.wait(30), 0)


class Deadlines(WorkerTest):
    def check_broken_off(self, client, payload=None, timeout=0.1):
        started = time.monotonic()
        got = client.call("h", payload, timeout=timeout)
        self.assertEqual(got, (CANCELLED, "the call was cancelled", "call.cancelled"))
        self.assertGreaterEqual(time.monotonic() - started, timeout)

    def test_busy_and_sleeping_handlers_are_broken_off(self):
        client = self.hook("if payload == 'fine': return 1\nwhile True: eval(payload)")
        for payload in ("0", "time.sleep(60)", "threading.Event().wait()", "ctx.request('m')"):
            with self.subTest(payload):
                if "request" in payload:
                    ident = client.start_call("h", payload, timeout=0.1)
                    self.assertEqual(client.message()["method"], "m")
                    self.assertEqual(client.outcome(ident)[0], CANCELLED)
                else:
                    self.check_broken_off(client, payload)
                self.assertEqual(client.call("h", "fine"), {"reply": 1})

    def test_cleaning_up_works_and_except_exception_does_not_swallow(self):
        client = self.hook(
            """
            try:
                while True:
                    try: time.sleep(60)
                    except Exception: pass
            finally:
                ctx.log.info('cleaned')
            """.replace("            ", "")
        )
        ident = client.start_call("h", timeout=0.1)
        self.assertEqual(client.message()["params"]["message"], "cleaned")
        self.assertEqual(client.outcome(ident)[0], CANCELLED)

    def test_who_swallows_is_reminded(self):
        client = self.hook(
            """
            n = 0
            while n < 3:
                try: time.sleep(60)
                except BaseException: n += 1
            return n
            """.replace("            ", "")
        )
        self.assertEqual(client.call("h", timeout=0.1), {"reply": 3})

    def test_a_quick_call_after_a_slow_one_has_its_own_time(self):
        client = self.hook("time.sleep(payload)\nreturn payload")
        for _ in range(3):
            self.assertEqual(client.call("h", 0.0, timeout=0.2), {"reply": 0.0})
            self.assertEqual(client.call("h", 0.4, timeout=30), {"reply": 0.4})

    def test_a_call_that_comes_late_is_not_begun(self):
        client = self.hook("open(payload, 'w')")
        path = os.path.join(self.folder.name, "begun")
        params = {
            "kind": "hook",
            "name": "h",
            "payload": path,
            "timeout_ms": 1000,
            "deadline_unix_ms": int(time.time() * 1000) - 50,
        }
        answer = client.request("call", params)
        self.assertEqual(answer["error"]["data"]["code"], "call.cancelled")
        self.assertFalse(os.path.exists(path))

    def test_calls_behind_a_slow_one_are_cancelled_with_it(self):
        client = self.hook("time.sleep(60) if payload == 'slow' else open(payload, 'w')")
        path = os.path.join(self.folder.name, "begun")
        slow = client.start_call("h", "slow", timeout=0.3)
        queued = client.start_call("h", path, timeout=60)
        client.send(method="$/cancel", params={"id": queued})
        self.assertEqual(client.outcome(slow)[0], CANCELLED)
        self.assertEqual(client.outcome(queued)[0], CANCELLED)
        self.assertFalse(os.path.exists(path))

    def test_a_cancel_reaches_who_waits_for_the_host_at_once(self):
        client = self.hook("ctx.request('m')")
        ident = client.start_call("h", timeout=3600)
        self.assertEqual(client.message()["method"], "m")
        client.send(method="$/cancel", params={"id": ident})
        self.assertEqual(client.outcome(ident)[0], CANCELLED)

    def test_handlers_see_the_time_that_is_left(self):
        client = self.hook("return ctx.remaining")
        left = client.call("h", timeout=5)["reply"]
        self.assertTrue(4 < left <= 5, left)

    def test_a_timer_that_the_plugin_took_is_taken_back(self):
        body = "if payload: signal.setitimer(signal.ITIMER_REAL, 0)\nelse: time.sleep(60)"
        client = self.hook(body, HEAD + "import signal\n")
        self.assertEqual(client.call("h", True, timeout=0.1), {})
        # The next call finds no timer left once the first deadline is past.
        time.sleep(0.2)
        self.check_broken_off(client, False)

    def test_an_alarm_of_the_plugins_own_is_its_business(self):
        client = self.hook(
            "signal.signal(signal.SIGALRM, signal.SIG_IGN)\nreturn 1", HEAD + "import signal\n"
        )
        for _ in range(3):
            self.assertEqual(client.call("h", timeout=0.5), {"reply": 1})


class HostServices(WorkerTest):
    def test_logs_come_as_they_are(self):
        client = self.hook("ctx.log.warning(payload, ok=1, bad=object(), nan=float('nan'))")
        ident = client.start_call("h", [1, "ü"])
        params = client.message()["params"]
        self.assertEqual((params["level"], params["message"]), ("warning", "[1, 'ü']"))
        self.assertEqual((params["fields"]["ok"], params["fields"]["nan"]), ("1", "nan"))
        self.assertEqual(client.outcome(ident), {})

    def test_a_flood_of_logs_goes_to_standard_error(self):
        client = self.hook("for n in range(20_000): ctx.log.debug(n)\nreturn 'done'")
        started = time.monotonic()
        ident, n_lines = client.start_call("h", timeout=60), 0
        while True:
            message = client.message()
            if message.get("id") == ident:
                break
            n_lines += 1
        self.assertEqual(message["result"], {"reply": "done"})
        self.assertLess(n_lines, 2_000 + 1_000 * (time.monotonic() - started))
        self.assertEqual(n_lines + client.log().count("debug: "), 20_000)

    def test_without_the_features_it_helps_itself(self):
        client = self.hook(
            "ctx.log.info('here', n=1)\nreturn abs(ctx.clock.now() - time.time()) < 5", features=[]
        )
        self.assertEqual(client.call("h"), {"reply": True})
        self.assertIn("info: here", client.log())

    def test_threads_ask_the_host_while_the_main_thread_waits_for_them(self):
        client = self.hook(
            """
            got = []
            threads = [threading.Thread(target=lambda n=n: got.append(ctx.request('m', n))) for n in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            return sorted(got)
            """.replace("            ", "")
        )
        ident = client.start_call("h", timeout=30)
        self.answer_all(client, ident, list(range(8)))

    def test_threads_ask_the_host_while_the_worker_is_idle_or_busy(self):
        head = HEAD + (
            "def ask(ctx):\n"
            "    while True: replies.append(ctx.request('m', 1)); time.sleep(0.001)\n"
            "replies = []\n"
        )
        client = self.hook(
            "if payload: threading.Thread(target=ask, args=(ctx,), daemon=True).start()\nreturn len(replies)",
            head,
        )
        client.start_call("h", True)
        n_answered = n_calls = 0
        waiting = client.n_sent
        while n_calls < 100 or n_answered < 100:
            message = client.message()
            if message.get("method") == "m":
                n_answered += 1
                client.send(id=message["id"], result=n_answered)
            else:
                self.assertEqual(message["id"], waiting)
                n_calls += 1
                waiting = client.start_call("h", False)

    def answer_all(self, client, ident, want):
        while True:
            message = client.message()
            if "method" not in message:
                self.assertEqual((message["id"], message["result"]), (ident, {"reply": want}))
                return
            client.send(id=message["id"], result=message["params"])

    def test_requests_do_not_count_against_the_rate_of_log_lines(self):
        client = self.hook("for n in range(2_500): ctx.request('m', n)\nctx.log.info('done')")
        ident = client.start_call("h", timeout=60)
        for n in range(2_500):
            message = client.message()
            self.assertEqual(message["params"], n)
            client.send(id=message["id"], result=None)
        self.assertEqual(client.message()["params"]["message"], "done")
        self.assertEqual(client.outcome(ident), {})

    def test_coroutines_leave_the_host_room(self):
        client = self.start(
            HEAD
            + "import asyncio\n@plugin.hook('h')\nasync def h(payload, ctx):\n"
            + "    asked = (ctx.request_async('m', n) for n in range(300))\n"
            + "    return sum(await asyncio.gather(*asked))\n"
        )
        ident = client.start_call("h")
        asked = [client.message() for _ in range(256)]
        # The next line is the answer to this: no further request came.
        self.assertEqual(client.call("none")[2], "method.unknown")
        for message in asked:
            client.send(id=message["id"], result=1)
        for _ in range(44):
            client.send(id=client.message()["id"], result=1)
        self.assertEqual(client.outcome(ident), {"reply": 300})

    def test_a_thread_that_waits_does_not_keep_calls_from_the_main_thread(self):
        client = self.hook(
            """
            if payload:
                threading.Thread(target=lambda: ctx.log.info(ctx.request('m'))).start()
                # The thread reads the line from now on.
                while not ctx._link.worker.channel._reading.locked(): time.sleep(0.001)
            return payload
            """.replace("            ", "")
        )
        first = client.start_call("h", True)
        got = [client.message(), client.message()]
        (asked,) = [message for message in got if message.get("method") == "m"]
        self.assertIn(first, [message["id"] for message in got if "method" not in message])
        for _ in range(3):
            self.assertEqual(client.call("h", False), {"reply": False})
        client.send(id=asked["id"], result="answered")
        self.assertEqual(client.message()["params"]["message"], "answered")
        self.assertEqual(client.call("h", False), {"reply": False})

    def test_each_thread_goes_on_with_its_own_answer(self):
        body = """
            def ask(name): ctx.log.info(ctx.request('m', name))
            for n in range(payload): threading.Thread(target=ask, args=(n,)).start()
            """
        client = self.hook(body.replace("            ", ""))
        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
            ident, asked, done = client.start_call("h", 4), {}, False
            while len(asked) < 4 or not done:
                message = client.message()
                if "method" in message:
                    asked[message["params"]] = message["id"]
                else:
                    done = message["id"] == ident
            for n in order:
                client.send(id=asked[n], result=n)
                self.assertEqual(client.message()["params"]["message"], str(n))

    def test_the_end_of_the_host_is_an_error_for_who_waits(self):
        client = self.hook("try: ctx.request('m')\nexcept kodex.HostError as e: print(e.code)")
        client.start_call("h")
        self.assertEqual(client.message()["method"], "m")
        client.close()
        self.assertEqual(client.exit_status(), 0)
        self.assertIn("host.closed", client.log())


ASYNC = (
    HEAD
    + """
import asyncio
started = []

@plugin.hook("h")
async def h(payload, ctx):
    started.append(payload)
    try:
        await asyncio.sleep(payload)
    finally:
        ctx.log.info("left", n=len(started))
    return payload

@plugin.hook("gather")
async def gather(payload, ctx):
    return await asyncio.gather(*[ctx.request_async("m", n) for n in range(payload)])

@plugin.hook("now")
async def now(payload, ctx):
    return await ctx.clock.now_async()

@plugin.hook("raise")
async def raise_(payload):
    raise ValueError(payload)

@plugin.hook("plain")
def plain(payload, ctx):
    return ctx.request("m", payload) if payload else "plain"

@plugin.hook("stuck")
def stuck(payload):
    time.sleep(60)

@plugin.on_activate
async def begin(ctx):
    await asyncio.sleep(0)
    print("async activated")

@plugin.on_deactivate
async def end():
    await asyncio.sleep(0)
    print("async deactivated")
"""
)


class Coroutines(WorkerTest):
    def start_async(self):
        client = self.start(ASYNC)
        self.assertIn("async activated", client.log())
        return client

    def answers(self, client, n):
        """The next n answers by id; log lines are passed over."""
        found = {}
        while len(found) < n:
            message = client.message()
            if "method" not in message:
                error = message.get("error")
                found[message["id"]] = error["data"]["code"] if error else message["result"]
        return found

    def test_calls_run_side_by_side(self):
        client = self.start_async()
        slow = client.start_call("h", 600, timeout=900)
        quick = [client.start_call("h", 0.01) for _ in range(20)]
        plain = client.start_call("plain", 0)
        found = self.answers(client, 21)
        self.assertEqual(
            found, {**{one: {"reply": 0.01} for one in quick}, plain: {"reply": "plain"}}
        )
        client.send(method="$/cancel", params={"id": slow})
        self.assertEqual(self.answers(client, 1), {slow: "call.cancelled"})

    def test_deadlines_hold(self):
        client = self.start_async()
        calls = [client.start_call(name, 600, timeout=0.1) for name in ("h", "stuck")]
        self.assertEqual(self.answers(client, 2), dict.fromkeys(calls, "call.cancelled"))
        self.assertEqual(client.call("plain", 0), {"reply": "plain"})

    def test_the_host_is_asked_by_coroutines_and_functions(self):
        client = self.start_async()
        gather = client.start_call("gather", 5)
        asked = [client.message() for _ in range(5)]
        for message in reversed(asked):
            client.send(id=message["id"], result=message["params"])
        self.assertEqual(client.outcome(gather), {"reply": [0, 1, 2, 3, 4]})
        plain = client.start_call("plain", "x")
        behind = client.start_call("gather", 0)
        message = client.message()
        client.send(id=message["id"], result="y")
        self.assertEqual(self.answers(client, 2), {plain: {"reply": "y"}, behind: {"reply": []}})
        now = client.start_call("now")
        client.send(id=client.message()["id"], result={"unix_ms": 1500})
        self.assertEqual(client.outcome(now), {"reply": 1.5})

    def test_errors_and_unknown_names(self):
        client = self.start_async()
        self.assertEqual(client.call("raise", "no"), (RAISED, "no", "plugin.raised"))
        self.assertEqual(client.call("nope")[0], NO_METHOD)
        client.send_line("no json")
        self.assertEqual(client.message()["error"]["code"], -32700)
        self.assertEqual(client.request("nope")["error"]["code"], NO_METHOD)

    def test_shutdown_ends_running_calls(self):
        client = self.start_async()
        running = client.start_call("h", 600, timeout=900)
        self.assertEqual(client.call("plain", 0), {"reply": "plain"})
        client.send(id=99, method="shutdown")
        self.assertEqual(self.answers(client, 2), {running: "call.cancelled", 99: None})
        self.assertEqual(client.exit_status(), 0)
        self.assertIn("async deactivated", client.log())

    def test_the_end_of_input_ends_it(self):
        client = self.start_async()
        client.start_call("h", 600, timeout=900)
        client.close()
        self.assertEqual(client.exit_status(), 0)
        self.assertIn("async deactivated", client.log())

    def test_an_old_plugin_may_be_async_too(self):
        client = self.start(
            """
            from kodex_plugin_system import PluginManifest
            class P:
                manifest = PluginManifest("p", "1", "d")
                def activate(self, context): pass
                async def handle_hook(self, hook, payload): return hook
            get_plugin = P
            """
        )
        self.assertEqual(client.call("any"), {"reply": "any"})


class Bounds(WorkerTest):
    def test_they_are_those_that_the_host_told(self):
        path = self.folder.write("p.py", HEAD + "@plugin.hook('h')\ndef h(p): return p\n")
        client = RawClient("--file", path)
        self.addCleanup(client.__exit__)
        params = {
            "contract": {"version": 1, "features": []},
            "plugin": "p",
            "context": {},
            "limits": {"frame_bytes": 4096, "depth": 100},
        }
        self.assertIn("result", client.request("initialize", params))
        deep = json.loads("[" * 90 + "]" * 90)
        self.assertEqual(client.call("h", deep), {"reply": deep})
        self.assertEqual(client.call("h", [deep] * 2), {"reply": [deep] * 2})
        client.start_call("h", "x" * 5000)
        self.assertEqual(client.message()["error"]["data"]["code"], "wire.frame.too_long")


class Starting(WorkerTest):
    def refuse(self, source, *arguments):
        path = self.folder.write("plugin_file.py", source)
        client = RawClient("--file", path, *arguments)
        self.addCleanup(client.__exit__)
        error = client.initialize("p")["error"]
        return error["code"], error["message"], error["data"]["code"]

    def test_a_plugin_that_cannot_start_says_why(self):
        for source, message, code in [
            ("x = 1\n", "missing get_plugin()", "load.python.no_get_plugin"),
            ("raise RuntimeError('at import')\n", "at import", "load.python.raised"),
            ("raise SystemExit(2)\n", "SystemExit: 2", "load.python.raised"),
            (
                "get_plugin = object\n",
                "Plugin must expose a PluginManifest as 'manifest'",
                "load.python.not_a_manifest",
            ),
            (
                HEAD + "plugin = kodex.Plugin(' ', '1', 'd')\n",
                "Plugin manifest name must be non-empty",
                "load.python.invalid",
            ),
            (
                HEAD + "@plugin.on_activate\ndef a(ctx): raise KeyError(ctx.plugin)\n",
                "'p'",
                "plugin.raised",
            ),
            (
                HEAD + "@plugin.hook('h')\n@plugin.hook('h')\ndef a(p): pass\n",
                "hook 'h' is declared twice",
                "load.python.raised",
            ),
        ]:
            with self.subTest(source):
                self.assertEqual(self.refuse(source), (RAISED, message, code))

    def test_another_factory_may_be_named(self):
        source = HEAD + "mine, plugin = plugin, None\ndef build(): return mine\n"
        client = self.start(source, "--attr", "build")
        self.assertEqual(client.call("h")[0], NO_METHOD)
        self.assertEqual(self.refuse(source, "--attr", "other")[1], "missing other()")

    def test_the_root_is_importable_and_only_then(self):
        self.folder.write("beside.py", "VALUE = 7\n")
        source = HEAD + "import beside\n@plugin.hook('h')\ndef h(p): return beside.VALUE\n"
        client = self.start(source, "--root", self.folder.name)
        self.assertEqual(client.call("h"), {"reply": 7})
        self.assertEqual(self.refuse(source)[1], "No module named 'beside'")

    def test_a_package_is_loaded_by_its_object(self):
        self.folder.write("some_package/__init__.py", "")
        self.folder.write(
            "some_package/inner.py",
            HEAD + "class Outer:\n    build = staticmethod(lambda: plugin)\n",
        )
        client = RawClient("--object", "some_package.inner:Outer.build", "--path", self.folder.name)
        self.addCleanup(client.__exit__)
        self.assertIn("result", client.initialize("p"))

    def test_an_installed_package_cannot_stand_in_for_the_sdk(self):
        self.folder.write("kodex/__init__.py", "raise SystemExit('shadowed')\n")
        self.folder.write("json.py", "raise SystemExit('shadowed')\n")
        self.start(HEAD + "import json\n", "--root", self.folder.name, "--path", self.folder.name)

    def test_no_compiled_file_is_read_or_written(self):
        path = self.folder.write(
            "plugin_file.py", HEAD + "VALUE = 1\n@plugin.hook('h')\ndef h(p): return VALUE\n"
        )
        stamp = os.stat(path)
        import py_compile

        other = self.folder.write(
            "other.py", HEAD + "VALUE = 2\n@plugin.hook('h')\ndef h(p): return VALUE\n"
        )
        os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        cached = py_compile.compile(
            other,
            cfile=os.path.join(
                self.folder.name, "__pycache__", f"plugin_file.{sys.implementation.cache_tag}.pyc"
            ),
        )
        before = os.listdir(os.path.dirname(cached))
        client = RawClient("--file", path)
        self.addCleanup(client.__exit__)
        client.initialize("p")
        self.assertEqual(client.call("h"), {"reply": 1})
        self.assertEqual(os.listdir(os.path.dirname(cached)), before)

    def test_wrong_arguments_are_told(self):
        for arguments in ([], ["--nonsense"], ["--file", "a", "--inspect"]):
            done = subprocess.run(
                [sys.executable, "-I", WORKER, *arguments], capture_output=True, check=False
            )
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertNotEqual(done.stderr, b"")

    def test_the_start_imports_almost_nothing(self):
        """What the loop needs costs as little as starting Python; see the readme."""
        path = self.folder.write(
            "plugin_file.py",
            HEAD.replace("os, sys, threading, time", "sys")
            + "@plugin.hook('h')\ndef h(p): return sorted(sys.modules)\n",
        )
        bare = subprocess.run(
            [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        client = RawClient("--file", path)
        self.addCleanup(client.__exit__)
        client.initialize("p")
        more = set(client.call("h")["reply"]) - set(bare)
        allowed = {
            "__future__",
            "_json",
            "_signal",
            "gc",
            "_functools",
            "kodex_local_plugin_plugin_file",
        }
        self.assertEqual({name for name in more - allowed if not name.startswith("kodex")}, set())
        self.assertNotIn("kodex._aio", more)


class AnotherPython(unittest.TestCase):
    def test_the_ordinary_json_module_does_the_same(self):
        """Pythons without the C parts fall back to `json`."""
        code = """
import sys
sys.modules["_json"] = None
sys.path.insert(0, sys.argv[1])
from kodex import _json
assert _json.dumps({"a": [1.5, "\\u00e9"]}) == '{"a":[1.5,"\\\\u00e9"]}'
assert _json.loads(' {"a": 1} ') == {"a": 1}
for text in ("", "{", "NaN", "1 2"):
    try: _json.loads(text)
    except ValueError: continue
    raise SystemExit(text)
try: _json.loads_envelope('{"a": 1, "a": 2}')
except KeyError: pass
else: raise SystemExit("twice")
"""
        subprocess.run([sys.executable, "-c", code, SDK], check=True)


if __name__ == "__main__":
    unittest.main()
