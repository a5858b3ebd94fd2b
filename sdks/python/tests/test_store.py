"""Database, values and data steps: what goes over the wire, and from which call."""

import os
import sys
import unittest
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum

from raw_client import SDK, Folder, RawClient, said

sys.path.insert(0, SDK)

import kodex  # noqa: E402
from kodex._db import Row, Rows  # noqa: E402
from kodex._values import from_wire, parameters, to_wire  # noqa: E402

UTC = timezone.utc


class Values(unittest.TestCase):
    def test_parameters(self):
        class Size(IntEnum):
            LARGE = 3

        class Word(str, Enum):
            A = "a"

        for value, want in [
            (None, None),
            (True, True),
            (Size.LARGE, 3),
            (Word.A, "a"),
            (1 << 53, 1 << 53),
            ((1 << 53) + 1, {"$int": "9007199254740993"}),
            (-(1 << 63), {"$int": "-9223372036854775808"}),
            (1 << 63, {"$numeric": "9223372036854775808"}),
            (1.0, 1.0),
            (float("nan"), {"$float": "NaN"}),
            (float("inf"), {"$float": "Infinity"}),
            (float("-inf"), {"$float": "-Infinity"}),
            (b"\x00\xff", {"$bytes": "AP8="}),
            (bytearray(b""), {"$bytes": ""}),
            (memoryview(b"hi"), {"$bytes": "aGk="}),
            (Decimal("1.10"), {"$numeric": "1.10"}),
            (Decimal("1E+3"), {"$numeric": "1E+3"}),
            ({"a": [1]}, {"$json": {"a": [1]}}),
            ({"$int": "1"}, {"$json": {"$int": "1"}}),
            ([1, (b"", None)], [1, [{"$bytes": ""}, None]]),
            (kodex.Json([1]), {"$json": [1]}),
            (date(2026, 1, 2), "2026-01-02"),
            (time(3, 4, 5), "03:04:05"),
            (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00.000000Z"),
            (
                datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=2))),
                "2026-01-02T01:04:05.000006Z",
            ),
            (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ]:
            with self.subTest(value=value):
                got = to_wire(value)
                self.assertEqual(got, want)
                self.assertIs(type(got), type(want))

    def test_what_would_arrive_as_something_else_is_refused_with_its_place(self):
        for given, kind, words in [
            ([1, datetime(2026, 1, 2)], ValueError, r"parameter 2: .*no time zone.*timezone.utc"),
            ({"at": datetime(2026, 1, 2)}, ValueError, "parameter :at: .*no time zone"),
            ([[datetime(2026, 1, 2)]], ValueError, "parameter 1: .*no time zone"),
            ([Decimal("NaN")], ValueError, "parameter 1: the decimal NaN"),
            ([timedelta(1)], TypeError, "a timedelta cannot be sent"),
            ([{1, 2}], TypeError, "a set cannot be sent"),
            ([object()], TypeError, "an? object cannot be sent"),
            ("text", TypeError, r"not str; write \(value,\)"),
            (7, TypeError, "not int"),
            ({1: 2}, TypeError, "the name of a parameter"),
        ]:
            with self.subTest(given=given), self.assertRaisesRegex(kind, words):
                parameters(given)

    def test_results(self):
        for json, kind, want in [
            (7, "integer", 7),
            ({"$int": "9007199254740993"}, "integer", 9007199254740993),
            ({"$float": "-Infinity"}, "real", float("-inf")),
            ({"$bytes": "AP8="}, "blob", b"\x00\xff"),
            ({"$numeric": "1.10"}, "numeric", Decimal("1.10")),
            ({"$json": {"$int": "1"}}, "json", {"$int": "1"}),
            ([1, {"$int": "5"}], "int8[]", [1, 5]),
            ("2026-01-02", "date", "2026-01-02"),
            ("2026-01-02T03:04:05Z", "text", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05Z", "timestamptz", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02 03:04:05", "timestamptz", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            (
                "2026-01-02T03:04:05.25+02:00",
                "timestamp with time zone",
                datetime(2026, 1, 2, 1, 4, 5, 250_000, UTC),
            ),
            (
                ["2026-01-02T03:04:05.123456789Z"],
                "timestamptz[]",
                [datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)],
            ),
            ("infinity", "timestamptz", "infinity"),
        ]:
            with self.subTest(json=json, kind=kind):
                self.assertEqual(from_wire(json, kind), want)
        self.assertTrue(
            from_wire({"$float": "NaN"}, "real") != from_wire({"$float": "NaN"}, "real")
        )
        with self.assertRaisesRegex(ValueError, "unknown tag"):
            from_wire({"$date": "x"}, "date")


class Results(unittest.TestCase):
    def test_a_row_reads_by_place_by_name_and_as_a_dict(self):
        columns = [{"name": name, "type": "any"} for name in ("id", "text", "id")]
        rows = Rows({"columns": columns, "rows": [[1, "a", 9], [2, None, 8]], "changed": 3})
        first, second = rows
        self.assertEqual((first[0], first["text"], first[-1], first[1:]), (1, "a", 9, ("a", 9)))
        self.assertEqual(first["id"], 1)
        self.assertEqual(dict(second), {"id": 2, "text": None})
        self.assertEqual(second.as_dict(), dict(second))
        self.assertEqual((list(first), len(first)), ([1, "a", 9], 3))
        self.assertEqual((first.get("text"), first.get("none", 5)), ("a", 5))
        self.assertEqual(first, (1, "a", 9))
        self.assertNotEqual(first, second)
        self.assertEqual(repr(second), "Row(id=2, text=None)")
        self.assertEqual((rows.columns, rows.n_changed), (["id", "text", "id"], 3))
        self.assertEqual(rows.dicts(), [{"id": 1, "text": "a"}, {"id": 2, "text": None}])
        with self.assertRaisesRegex(KeyError, "no column 'nothing'; there are id, text"):
            first["nothing"]
        with self.assertRaises(IndexError):
            first[3]
        self.assertIsInstance(first, Row)


HEAD = """
import asyncio, threading
import kodex
from kodex import db, state
plugin = kodex.Plugin("p", "1", "d")
"""


class OverTheWire(unittest.TestCase):
    """The raw client plays the host."""

    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.cleanup)

    def start(self, source, name="p"):
        self.client = RawClient("--file", self.folder.write("plugin_file.py", source))
        self.addCleanup(self.client.__exit__)
        answer = self.client.initialize(name)
        self.assertIn("result", answer, answer)

    def asked(self, method, params):
        """The next message is this request; gives its id."""
        message = self.client.message()
        self.assertEqual((message.get("method"), message.get("params")), (method, params))
        return message["id"]

    def serve(self, method, params, result):
        self.client.send(id=self.asked(method, params), result=result)

    def refuse(self, method, params, code):
        error = {"code": -32000, "message": "no", "data": {"code": code}}
        self.client.send(id=self.asked(method, params), error=error)

    def test_plugins_of_the_first_runtime(self):
        self.start(
            """
from kodex import db
from kodex_plugin_system import PluginManifest

class Old:
    manifest = PluginManifest("old", "1", "d")
    def activate(self, context):
        assert type(context) is dict
        self.n = 1
    def handle_hook(self, hook, payload):
        return db.execute("DELETE FROM t", [self.n])
    def step_0002_backfill(self, step):
        step.save(step.progress, scanned=1)

def get_plugin():
    return Old()
""",
            name="old",
        )
        call = self.client.start_call("any")
        self.serve("db/query", {"sql": "DELETE FROM t", "params": [1], "call": call}, DONE)
        self.assertEqual(self.client.outcome(call), {"reply": 5})
        call = self.client.start_call("0002_backfill", {"progress": 7}, kind="step")
        self.serve("step/progress", {"progress": 7, "counts": {"scanned": 1}}, None)
        self.assertEqual(self.client.outcome(call), {"reply": {"scanned": 1}})
        call = self.client.start_call("0003_other", {"progress": None}, kind="step")
        self.assertEqual(self.client.outcome(call)[2], "method.unknown")

    def test_values_can_be_read_while_the_plugin_is_activated(self):
        source = HEAD + (
            "@plugin.on_activate\ndef begin():\n    plugin.n = state.get('n')\n"
            "@plugin.hook('h')\ndef h(payload): return plugin.n\n"
        )
        self.client = RawClient("--file", self.folder.write("plugin_file.py", source))
        self.addCleanup(self.client.__exit__)
        self.client.n_sent = 1
        params = {"contract": {"version": 1, "features": []}, "plugin": "p"}
        self.client.send(id=1, method="initialize", params=params)
        self.serve("state/get", {"key": "n"}, {"value": 5, "version": 1})
        self.assertEqual(self.client.message()["id"], 1)
        self.assertEqual(self.client.call("h"), {"reply": 5})

    def test_a_call_that_waits_in_a_coroutine_is_refused(self):
        self.start(
            HEAD
            + """
@plugin.hook("h")
async def h(payload):
    try:
        with eval(payload): pass
    except RuntimeError as error:
        return str(error)
"""
        )
        for python, words in [
            ("db.query('SELECT 1')", "await db.aio..."),
            ("db.transaction()", "await db.aio..."),
            ("db.pages('SELECT 1')", "asyncio.to_thread"),
            ("state.get('k')", "await state.aio..."),
            ("state.lock('k')", "await state.aio..."),
        ]:
            with self.subTest(python):
                self.assertIn(words, self.client.call("h", python)["reply"])

    def test_coroutines_side_by_side_keep_their_calls_and_transactions_apart(self):
        self.start(
            HEAD
            + """
@plugin.hook("h")
async def h(payload):
    async with db.aio.transaction():
        return await deeper(payload)

async def deeper(payload):
    return await db.aio.execute("DELETE FROM t", [payload])
"""
        )
        one = self.client.start_call("h", "one")
        begin_one = self.asked("db/begin", {"call": one})
        two = self.client.start_call("h", "two")
        begin_two = self.asked("db/begin", {"call": two})
        self.client.send(id=begin_two, result={"tx": 22})
        asked = {"sql": "DELETE FROM t", "params": ["two"], "tx": 22, "call": two}
        in_two = self.asked("db/query", asked)
        self.client.send(id=begin_one, result={"tx": 11})
        asked = {"sql": "DELETE FROM t", "params": ["one"], "tx": 11, "call": one}
        self.serve("db/query", asked, DONE)
        self.serve("db/commit", {"tx": 11}, None)
        self.assertEqual(self.client.outcome(one), {"reply": 5})
        self.client.send(id=in_two, result=DONE)
        self.serve("db/commit", {"tx": 22}, None)
        self.assertEqual(self.client.outcome(two), {"reply": 5})

    def test_threads(self):
        """One of ``to_thread`` belongs to its call, any other to none."""
        self.start(
            HEAD
            + """
@plugin.hook("async")
async def h(payload):
    return await asyncio.to_thread(db.execute, "DELETE FROM t")

@plugin.hook("plain")
def plain(payload):
    thread = threading.Thread(target=lambda: db.execute("DELETE FROM u"))
    with db.transaction():
        thread.start()
        thread.join()
        return db.execute("DELETE FROM v")
"""
        )
        call = self.client.start_call("async")
        self.serve("db/query", {"sql": "DELETE FROM t", "call": call}, DONE)
        self.assertEqual(self.client.outcome(call), {"reply": 5})
        call = self.client.start_call("plain")
        self.serve("db/begin", {"call": call}, {"tx": 1})
        self.serve("db/query", {"sql": "DELETE FROM u"}, DONE)
        self.serve("db/query", {"sql": "DELETE FROM v", "tx": 1, "call": call}, DONE)
        self.serve("db/commit", {"tx": 1}, None)
        self.assertEqual(self.client.outcome(call), {"reply": 5})

    def test_a_cancelled_coroutine_rolls_back_and_answers_at_once(self):
        self.start(
            HEAD
            + "@plugin.hook('h')\nasync def h(payload):\n"
            + "    async with db.aio.transaction():\n        await db.aio.query('SELECT 1')\n"
        )
        call = self.client.start_call("h")
        self.serve("db/begin", {"call": call}, {"tx": 3})
        self.asked("db/query", {"sql": "SELECT 1", "tx": 3, "call": call})
        self.client.send(method="$/cancel", params={"id": call})
        self.asked("db/rollback", {"tx": 3})
        self.assertEqual(said(self.client.message())[2], "call.cancelled")

    def test_a_cancelled_statement_answers_without_its_result(self):
        self.start(
            HEAD
            + "@plugin.hook('h')\ndef h(payload):\n"
            + "    with db.transaction():\n        db.query('SELECT 1')\n"
        )
        call = self.client.start_call("h")
        self.serve("db/begin", {"call": call}, {"tx": 3})
        self.asked("db/query", {"sql": "SELECT 1", "tx": 3, "call": call})
        self.client.send(method="$/cancel", params={"id": call})
        self.asked("db/rollback", {"tx": 3})
        self.assertEqual(said(self.client.message())[2], "call.cancelled")
        # The transaction is over for what comes next.
        call = self.client.start_call("h")
        self.serve("db/begin", {"call": call}, {"tx": 4})
        self.serve("db/query", {"sql": "SELECT 1", "tx": 4, "call": call}, DONE)
        self.serve("db/commit", {"tx": 4}, None)
        self.assertEqual(self.client.outcome(call), {})

    def test_the_async_forms_ask_the_same(self):
        self.start(
            HEAD
            + """
@plugin.hook("pages")
async def pages(payload):
    return [row[0] async for row in db.aio.pages("SELECT 1", n_rows=1)]

@plugin.hook("state")
async def values(payload, ctx):
    values = ctx.state.aio
    async with values.lock("k", ttl=1.5) as lease:
        await lease.renew(2)
        await values.set("a", 1, ttl=0.1, under=lease)
    await values.update("n", lambda n: n + 1, 0)
    return [[key async for key in values.list("a")], await values.delete("a"),
            await values.get("a", "none"), (await values.entry("a")) is None]

@plugin.step("0001_a")
async def step(step):
    await step.save_async(1, missing=2)
"""
        )
        call = self.client.start_call("pages")
        columns = [{"name": "n", "type": "any"}]
        page = {"columns": columns, "rows": [[1]], "changed": 0, "cursor": 9}
        self.serve("db/query", {"sql": "SELECT 1", "page": 1, "call": call}, page)
        self.serve("db/fetch", {"cursor": 9, "page": 1}, {"columns": columns, "rows": [[2]]})
        self.assertEqual(self.client.outcome(call), {"reply": [1, 2]})
        call = self.client.start_call("state")
        lease = {"key": "k", "token": 1, "until_ms": 1500}
        renewed = {**lease, "until_ms": 2000}
        done = {"done": True, "version": 1}
        self.serve("state/lock", {"key": "k", "ttl_ms": 1500}, lease)
        self.serve("state/renew", {"lease": lease, "ttl_ms": 2000}, renewed)
        asked = {"key": "a", "value": 1, "ttl_ms": 100, "under": renewed}
        self.serve("state/set", asked, done)
        self.serve("state/unlock", {"lease": renewed}, {"held": True})
        self.serve("state/get", {"key": "n"}, {})
        self.serve("state/set", {"key": "n", "value": 1, "if_version": 0}, done)
        key = {"key": "a", "version": 1, "bytes": 1}
        self.serve("state/list", {"prefix": "a", "limit": 1000}, {"keys": [key]})
        self.serve("state/delete", {"key": "a"}, done)
        self.serve("state/get", {"key": "a"}, {})
        self.serve("state/get", {"key": "a"}, {})
        self.assertEqual(self.client.outcome(call), {"reply": [["a"], True, "none", True]})
        call = self.client.start_call("0001_a", {"progress": None}, kind="step")
        self.serve("step/progress", {"progress": 1, "counts": {"missing": 2}}, None)
        self.assertEqual(self.client.outcome(call), {"reply": {"missing": 2}})

    def test_errors_have_classes_where_a_plugin_handles_them(self):
        self.start(
            HEAD
            + "@plugin.hook('h')\ndef h(payload):\n    try: db.query('SELECT 1')\n"
            + "    except kodex.HostError as error:\n"
            + "        return [type(error).__name__, error.code, error.is_retryable]\n"
        )
        for code, name, retryable in [
            ("db.sql", "HostError", False),
            ("db.constraint", "DbConstraint", False),
            ("db.conflict", "DbConflict", True),
            ("store.busy", "HostError", True),
            ("host.busy", "HostError", True),
            ("state.locked", "StateLocked", True),
            ("state.lease_lost", "LeaseLost", False),
            ("db.undeclared", "HostError", False),
        ]:
            with self.subTest(code):
                call = self.client.start_call("h")
                self.refuse("db/query", {"sql": "SELECT 1", "call": call}, code)
                self.assertEqual(self.client.outcome(call), {"reply": [name, code, retryable]})

    def test_nothing_of_it_is_loaded_before_it_is_used(self):
        self.start(
            "import sys, kodex\nplugin = kodex.Plugin('p', '1', 'd')\n"
            "plugin.hook('h')(lambda payload: [n for n in sys.modules if 'kodex._' in n])\n"
        )
        loaded = self.client.call("h")["reply"]
        for module in ("kodex._db", "kodex._state", "kodex._step", "kodex._values"):
            self.assertNotIn(module, loaded)


DONE = {"columns": [], "rows": [], "changed": 5}


class Declaring(unittest.TestCase):
    def test_a_database_is_part_of_the_declaration(self):
        plugin = kodex.Plugin("p", "1", "d")
        self.assertNotIn("database", plugin.declaration())
        plugin.database()
        self.assertEqual(plugin.declaration()["database"], {"migrations": "migrations"})
        plugin.database("sql", renamed_from="old")
        want = {"migrations": "sql", "renamed_from": "old"}
        self.assertEqual(plugin.declaration()["database"], want)

    def test_names_of_steps(self):
        plugin = kodex.Plugin("p", "1", "d")
        for name in ("backfill", "0003", "0003_", "3_backfill", "0003_backfill.sql", "0003-x"):
            with self.subTest(name), self.assertRaisesRegex(ValueError, "named like its file"):
                plugin.step(name)
        plugin.step("0003_backfill")(lambda step: None)
        with self.assertRaisesRegex(ValueError, "twice"):
            plugin.step("0003_backfill")(lambda step: None)

    def test_outside_of_a_plugin_there_is_no_database(self):
        for use in (lambda: kodex.db.query("SELECT 1"), lambda: kodex.state.get("k")):
            with self.assertRaisesRegex(RuntimeError, "outside of a running plugin"):
                use()

    def test_the_names_of_the_package(self):
        for name in kodex.__all__:
            self.assertIsNotNone(getattr(kodex, name))
        with self.assertRaises(AttributeError):
            kodex.nothing
        self.assertTrue(os.path.exists(os.path.join(SDK, "kodex", "py.typed")))


if __name__ == "__main__":
    unittest.main()
