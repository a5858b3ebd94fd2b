"""Database and values of the fake host: the rules of a host, as far as SQLite in memory goes."""

import asyncio
import os
import sys
import unittest
from datetime import datetime, timezone
from decimal import Decimal

from raw_client import SDK, Folder

sys.path.insert(0, SDK)

import kodex  # noqa: E402
from kodex._fake_sql import Statement, split  # noqa: E402
from kodex.testing import FakeHost  # noqa: E402
from kodex_plugin_system import PluginManifest  # noqa: E402

NOTES = """
CREATE TABLE notes (
    id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, done BOOLEAN NOT NULL DEFAULT FALSE,
    at TIMESTAMPTZ, doc JSON, price TEXT, cost NUMERIC, blob BLOB
);
CREATE TABLE tags (note INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE, tag TEXT);
CREATE TRIGGER shout AFTER INSERT ON notes WHEN new.text = 'loud' BEGIN
    UPDATE notes SET text = 'LOUD' WHERE id = new.id;
END;
"""


class FakeTest(unittest.TestCase):
    """A folder of migrations and a plugin whose hook runs a function of the test."""

    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.cleanup)
        self.folder.write("0001_notes.sql", NOTES)
        self.plugin = kodex.Plugin("p", "1", "d")
        self.body = None
        self.plugin.hook("h")(lambda payload, ctx: self.body(ctx))

        @self.plugin.hook("async")
        async def run(payload, ctx):
            return await self.body(ctx)

    def host(self, **more):
        host = FakeHost(self.plugin, migrations=self.folder.name, **more)
        self.addCleanup(host.close)
        return host

    def refused(self, code, function, *arguments):
        with self.assertRaises(kodex.HostError) as raised:
            function(*arguments)
        self.assertEqual(raised.exception.code, code, raised.exception)
        return str(raised.exception)


class Database(FakeTest):
    def test_values_come_back_as_from_a_host_with_sqlite(self):
        db = self.host().db
        at = datetime(2026, 1, 2, 3, 4, 5, 600, timezone.utc)
        for column, value, want in [
            ("done", True, True),
            ("at", at, at),
            ("doc", {"a": [1, None]}, {"a": [1, None]}),
            ("doc", [1, {"b": 2}], [1, {"$json": {"b": 2}}]),
            ("price", Decimal("1.10"), "1.10"),
            ("cost", Decimal("1.10"), 1.1),
            ("cost", Decimal("1e400"), float("inf")),
            ("blob", b"\x00\xff", b"\x00\xff"),
            ("id", (1 << 62) + 1, (1 << 62) + 1),
            ("price", float("-inf"), "-Inf"),
            ("blob", None, None),
        ]:
            with self.subTest(column=column, value=value):
                sql = f"INSERT INTO notes (text, {column}) VALUES ('x', ?) RETURNING {column}"
                self.assertEqual(db.query(sql, [value]), [(want,)])
                self.assertEqual(db.query_one(f"SELECT {column} FROM notes"), (want,))
                self.assertEqual(db.execute("DELETE FROM notes"), 1)
        self.refused("db.statement", db.query, "SELECT ?", [float("nan")])

    def test_columns_tell_their_types(self):
        host = self.host()
        sql = "SELECT id, at AS seen, count(*) AS n, :x AS x FROM notes WHERE text = :x GROUP BY 1"
        for statement, params, want in [
            (sql, {"x": "a"}, ["integer", "timestamptz", "any", "any"]),
            ("INSERT INTO tags VALUES (?, ?) RETURNING tag, note", [1, "a"], ["text", "integer"]),
            ("WITH n AS (SELECT done FROM notes) SELECT * FROM n", [], ["boolean"]),
        ]:
            host.db.execute("INSERT OR IGNORE INTO notes (id, text) VALUES (1, 'one')")
            raw = host._link.request("db/query", {"sql": statement, "params": params})
            self.assertEqual([column["type"] for column in raw["columns"]], want)

    def test_parameters(self):
        for sql, params, text, values in [
            ("SELECT ?, ?", [1, 2], "SELECT ?1, ?2", [1, 2]),
            ("SELECT $2, ?1", [1, 2], "SELECT ?2, ?1", [1, 2]),
            ("SELECT :b, :a, :b", {"a": 1, "b": 2}, "SELECT ?1, ?2, ?1", [2, 1]),
            ("SELECT ':a ?', \":b\", [?], `$1` -- ?", [], None, []),
            ("SELECT /* ? */ 'it''s ?', a::text, b[1:2] ;", None, None, []),
            (
                "SELECT größe$1 FROM t WHERE a=:a;-- end",
                {"a": 1},
                "SELECT größe$1 FROM t WHERE a=?1;-- end",
                [1],
            ),
        ]:
            with self.subTest(sql):
                self.assertEqual(Statement(sql).bind(params), (text or sql, values))
        for sql, params, words in [
            ("SELECT ?", [], "has 1 positional parameters, but 0"),
            ("SELECT 1", [1], "has 0 positional parameters, but 1"),
            ("SELECT $3", [1], "has 3 positional parameters, but 1"),
            ("SELECT ?, $1", [1], "`?` stands beside a numbered"),
            ("SELECT :a", [1], "`:a` needs named"),
            ("SELECT ?", {"a": 1}, "positional parameters need an array"),
            ("SELECT :a", {}, "no value was given for `:a`"),
            ("SELECT :a", {"a": 1, "b": 2}, "no parameter `:b`"),
            ("SELECT 1; SELECT 2", [], "more than one statement"),
            (" -- nothing\n;", [], "the statement is empty"),
            ("SELECT 'a", [], r"no end (character 8)"),
            ("SELECT /* a", [], "a comment has no end"),
            ("SELECT $a", [], "`$` begins no parameter"),
            ("SELECT ?0", [1], "out of range"),
            ("SELECT 1\0", [], "NUL"),
        ]:
            with self.subTest(sql):
                self.assertIn(
                    words, self.refused("db.statement", lambda: Statement(sql).bind(params))
                )

    def test_a_file_is_split_where_its_statements_end(self):
        script = "-- a;\nCREATE TABLE a (b TEXT DEFAULT ';');\n" + NOTES + "-- end;"
        self.assertEqual(len(list(split(script))), 4)

    def test_what_a_plugin_may_not_do(self):
        db = self.host().db
        for sql, code in [
            ("CREATE TABLE more (a)", "db.refused"),
            ("DROP TABLE notes", "db.refused"),
            ("ATTACH 'file' AS other", "db.refused"),
            ("PRAGMA journal_mode = OFF", "db.refused"),
            ("BEGIN", "db.refused"),
            ("COMMIT", "db.refused"),
            ("SAVEPOINT a", "db.refused"),
            ("SELECT load_extension('x')", "db.refused"),
            ("SELECT * FROM nothing", "db.sql"),
            ("SELEC 1", "db.sql"),
            ("INSERT INTO notes (text) VALUES (NULL)", "db.constraint"),
            ("INSERT INTO tags (note) VALUES (77)", "db.constraint"),
        ]:
            with self.subTest(sql):
                self.refused(code, db.query, sql)
                # Asked again it is judged again.
                self.refused(code, db.query, sql)
        self.assertEqual(len(db.query("SELECT name FROM pragma_table_info('tags')")), 2)

    def test_too_many_rows(self):
        db = self.host().db
        many = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT {}) SELECT i FROM n"
        )
        self.assertEqual(len(db.query(many.format(10_000))), 10_000)
        self.refused("db.too_many_rows", db.query, many.format(10_001))
        self.refused("db.too_many_rows", db.query_one, many.format(2))
        read = db.pages(many.format(10_001), n_rows=3_000)
        self.assertEqual(sum(row["i"] for row in read), 10_001 * 5_001)

    def test_changes_are_counted_without_those_of_triggers(self):
        db = self.host().db
        self.assertEqual(db.execute("INSERT INTO notes (text) VALUES ('a'), ('loud')"), 2)
        self.assertEqual(db.execute("UPDATE notes SET done = TRUE"), 2)
        self.assertEqual(db.execute("SELECT 1"), 0)
        self.assertEqual(db.query("SELECT text FROM notes ORDER BY text")[0], ("LOUD",))

    def test_transactions(self):
        host = self.host()

        def texts():
            return [row[0] for row in host.db.query("SELECT text FROM notes ORDER BY id")]

        def add(text):
            kodex.db.execute("INSERT INTO notes (text) VALUES (?)", [text])

        def commits(ctx):
            with ctx.db.transaction() as tx:
                tx.execute("INSERT INTO notes (text) VALUES ('a')")
                add("b")

        def inner_fails(ctx):
            with ctx.db.transaction():
                add("c")
                try:
                    with ctx.db.transaction():
                        add("d")
                        add("a")
                except kodex.DbConstraint:
                    add("e")

        def raises(ctx):
            with ctx.db.transaction(), ctx.db.transaction():
                add("f")
                raise ZeroDivisionError

        def swallows(ctx):
            with ctx.db.transaction():
                add("g")
                try:
                    add("a")
                except kodex.DbConstraint:
                    pass

        for body, kind, want in [
            (commits, None, ["a", "b"]),
            (inner_fails, None, ["a", "b", "c", "e"]),
            (raises, ZeroDivisionError, ["a", "b", "c", "e"]),
            (swallows, kodex.HostError, ["a", "b", "c", "e"]),
        ]:
            with self.subTest(body.__name__):
                self.body = body
                if kind is None:
                    host.call_hook("h")
                else:
                    self.assertRaises(kind, host.call_hook, "h")
                self.assertEqual(texts(), want)
                add_more = host.db.execute("UPDATE notes SET done = TRUE")
                self.assertEqual(add_more, len(want))

    def test_a_transaction_ends_with_its_call_and_with_its_time(self):
        host = self.host()
        kept = []

        def leaves_open(ctx):
            kept.append(ctx.db.transaction())
            kept[0].__enter__()
            kept[0].execute("INSERT INTO notes (text) VALUES ('a')")

        self.body = leaves_open
        host.call_hook("h")
        self.assertEqual(host.db.query("SELECT * FROM notes"), [])
        self.refused("db.transaction", kept[0].query, "SELECT 1")
        kept[0].__exit__(ValueError, None, None)
        with self.assertRaisesRegex(RuntimeError, "over"):
            kept[0].query("SELECT 1")

        def takes_long(ctx):
            with ctx.db.transaction() as tx:
                host.clock.advance(5)
                tx.execute("INSERT INTO notes (text) VALUES ('a')")

        self.body = takes_long
        self.refused("db.transaction", host.call_hook, "h")
        self.assertEqual(host.db.query("SELECT * FROM notes"), [])

    def test_pages_and_cursors(self):
        host = self.host()
        for text in "abcde":
            host.db.execute("INSERT INTO notes (text) VALUES (?)", text.split())

        def body(ctx):
            kept.append(ctx.db.pages("SELECT text FROM notes", n_rows=2))
            return next(kept[0])[0]

        kept = []
        self.body = body
        self.assertEqual(host.call_hook("h"), "a")
        self.assertEqual(next(kept[0])[0], "b")
        self.refused("db.transaction", next, kept[0])

        def in_transaction(ctx):
            with ctx.db.transaction():
                ctx.db.pages("SELECT 1")

        self.body = in_transaction
        self.refused("db.transaction", host.call_hook, "h")

    def test_coroutines(self):
        host = self.host()

        async def body(ctx):
            db = ctx.db.aio
            async with db.transaction():
                await db.execute("INSERT INTO notes (text) VALUES ('a')")
                # A task of its own, outside of the transaction, finds the database busy.
                other = asyncio.get_running_loop().run_in_executor(
                    None, ctx.db.execute, "INSERT INTO notes (text) VALUES ('b')"
                )
                try:
                    await other
                except kodex.HostError as error:
                    busy = error.code
            return [busy, [row["text"] async for row in db.pages("SELECT text FROM notes")]]

        self.body = body
        self.assertEqual(host.call_hook("async"), ["store.busy", ["a"]])

    def test_without_migrations_there_is_no_database(self):
        host = FakeHost(self.plugin)
        self.assertIn("migrations", self.refused("db.undeclared", host.db.query, "SELECT 1"))


class Journal(FakeTest):
    def setUp(self):
        super().setUp()
        self.folder.write("0002_lower.sql", "-- Texts in lower case.\n-- kodex: code\n")
        self.folder.write("0003_index.sql", "CREATE INDEX by_text ON notes (text);")
        self.folder.write("0004_more.postgres.sql", "SELECT 1;")
        self.folder.write("0004_more.sqlite.sql", "CREATE TABLE more (a INTEGER);")
        self.folder.write("readme.txt", "no step")

        @self.plugin.step("0002_lower")
        def lower(step):
            after, n = step.progress or 0, 0
            for row in step.db.query(
                "SELECT id, text FROM notes WHERE id > ? ORDER BY id", [after]
            ):
                text = row["text"].lower()
                step.db.execute("UPDATE notes SET text = ? WHERE id = ?", [text, row["id"]])
                n += 1
                step.save(row["id"], scanned=n, migrated=n)
            return None

    def test_the_whole_journal_runs_by_itself(self):
        host = self.host()
        self.assertEqual(host.db.query("SELECT * FROM more"), [])
        self.assertEqual(host.upgrade(), {})

    def test_a_step_is_tested_on_old_rows(self):
        host = self.host(upto=1)
        self.refused("db.sql", host.db.query, "SELECT * FROM more")
        host.db.execute("INSERT INTO notes (text) VALUES ('ONE'), ('Two')")
        self.assertEqual(host.upgrade(), {"0002_lower": {"scanned": 2, "migrated": 2}})
        self.assertEqual(host.progress, {"0002_lower": 2})
        texts = host.db.query("SELECT text FROM notes ORDER BY id")
        self.assertEqual(texts, [("one",), ("two",)])
        host.db.query("SELECT * FROM more")
        host.db.execute("INSERT INTO notes (text) VALUES ('THREE')")
        again = host.run_step("0002_lower", progress=2)
        self.assertEqual(again, {"scanned": 1, "migrated": 1})
        self.body = lambda ctx: ctx.request("step/progress", {"progress": 1})
        self.refused("step.outside", host.call_hook, "h")

    def test_a_step_without_its_code_is_named(self):
        self.folder.write("0005_lost.sql", "-- kodex: code")
        with self.assertRaisesRegex(LookupError, "no step '0005_lost'"):
            self.host()

    def test_folders_that_are_no_journal(self):
        for name, words in [("5_a.sql", "is no step"), ("0001_other.sql", "the number 0001")]:
            with self.subTest(name):
                path = self.folder.write(name, "SELECT 1;")
                with self.assertRaisesRegex(ValueError, words):
                    self.host()
                os.remove(path)

    def test_a_file_that_fails_leaves_nothing(self):
        self.folder.write("0005_bad.sql", "CREATE TABLE half (a INTEGER);\nCREATE TABLE half (b);")
        self.refused("db.sql", self.host)

    def test_steps_of_the_first_runtime(self):
        class Old:
            manifest = PluginManifest("old", "1", "d")

            def activate(self, context):
                pass

            def handle_hook(self, hook, payload):
                return kodex.db.query_one("SELECT count(*) AS n FROM notes")["n"]

            def step_0002_lower(self, step):
                return {"migrated": kodex.db.execute("INSERT INTO notes (text) VALUES ('a')")}

        host = FakeHost(Old(), migrations=self.folder.name)
        self.assertEqual(host.call_hook("h"), 1)


class Values(FakeTest):
    def test_two_plugins_have_values_of_their_own(self):
        one = FakeHost(kodex.Plugin("one", "1", "d"))
        two = FakeHost(kodex.Plugin("two", "1", "d"))
        one.state.set("k", 1)
        self.assertEqual((one.state.get("k"), two.state.get("k")), (1, None))
        # Outside of a call the door of the process is the newest host's.
        self.assertIsNone(kodex.state.get("k"))

    def test_values(self):
        state = self.host().state
        self.assertEqual(state.get("k", "none"), "none")
        self.assertIsNone(state.entry("k"))
        first = state.set("k", None)
        self.assertEqual((state.get("k", "none"), state.entry("k").version), (None, first))
        self.assertGreater(state.set("other", 1), first)
        second = state.set("k", [1, {"a": "ü"}])
        self.assertGreater(second, first)
        self.assertFalse(state.compare_and_swap("k", 2, version=first))
        self.assertFalse(state.set_if_absent("k", 2))
        self.assertEqual(state.get("k"), [1, {"a": "ü"}])
        self.assertTrue(state.compare_and_swap("k", 2, version=second))
        self.assertFalse(state.delete("k", version=second))
        self.assertTrue(state.delete("k"))
        self.assertFalse(state.delete("k"))
        # A key that is written again does not return to an old version.
        self.assertTrue(state.set_if_absent("k", 3))
        self.assertGreater(state.entry("k").version, second + 1)
        self.assertEqual([state.update("n", lambda n: n + 1, 0) for _ in range(3)], [1, 2, 3])

    def test_values_that_last_for_a_while(self):
        host = self.host()
        host.state.set("k", 1, ttl=10)
        self.assertEqual(host.state.entry("k").expires_at, host.clock.now + 10)
        host.clock.advance(9.999)
        self.assertEqual(host.state.get("k"), 1)
        self.assertFalse(host.state.set_if_absent("k", 2))
        host.clock.advance(0.001)
        self.assertEqual((host.state.get("k"), list(host.state.list())), (None, []))
        self.assertTrue(host.state.set_if_absent("k", 2, ttl=1))

    def test_lists(self):
        state = self.host().state
        for n in range(1_002):
            state.set(f"a/{n:04}", n)
        state.set("b", "four")
        keys = list(state.list("a/"))
        self.assertEqual((len(keys), keys[0], keys[-1]), (1_002, "a/0000", "a/1001"))
        (key,) = state.list("b")
        self.assertEqual((key, key.n_bytes, key.expires_at), ("b", 6, None))
        self.assertEqual(state.entry(key).version, key.version)

    def test_locks(self):
        host = self.host()
        state = host.state
        tokens = []
        for _ in range(2):
            with self.assertRaises(ZeroDivisionError), state.lock("index") as lease:
                tokens.append(lease.token)
                self.refused("state.locked", state.lock("index").__enter__)
                1 / 0
        self.assertLess(*tokens)
        with state.lock("index", ttl=10) as lease:
            state.set("index", 1, under=lease)
            host.clock.advance(9)
            lease.renew(10)
            host.clock.advance(9)
            self.assertEqual(lease.until, host.clock.now + 1)
            state.set("index", 2, under=lease)
            host.clock.advance(1)
            with self.assertRaises(kodex.LeaseLost):
                state.set("index", 3, under=lease)
            self.assertRaises(kodex.LeaseLost, state.delete, "index", under=lease)
            self.assertRaises(kodex.LeaseLost, lease.renew)
            with state.lock("index"), self.assertRaises(kodex.LeaseLost):
                state.set("index", 4, under=lease)
        self.assertEqual(state.get("index"), 2)
        with self.assertRaises(kodex.StateLocked) as raised, state.lock("k"), state.lock("k"):
            pass
        self.assertIn("'k'", str(raised.exception))

    def test_limits(self):
        state = self.host().state
        for key in ("", " \t", "k" * 513, "a\0b"):
            self.refused("state.key", state.set, key, 1)
            self.refused("state.key", state.get, key)
        state.set("ü" * 512, "x" * (256 * 1024 - 2))
        self.assertIn(
            "262144", self.refused("state.too_large", state.set, "k", "x" * (256 * 1024 - 1))
        )
        for ttl in (0, -1, 11 * 366 * 86_400):
            self.refused("state.ttl", lambda: state.set("k", 1, ttl=ttl))
        self.refused("state.ttl", state.lock("k", ttl=86_401).__enter__)
        with self.assertRaises(ValueError):
            state.set("k", {1, 2})


if __name__ == "__main__":
    unittest.main()
