"""Tests of an author: SQLite in memory with the plugin's own journal, and a clock moved by hand."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "plugins", "notes")
sys.path[:0] = [ROOT, os.path.join(HERE, "..", "..", "..", "sdks", "python", "src")]

import kodex  # noqa: E402
from kodex.testing import FakeHost  # noqa: E402
from plugin import plugin  # noqa: E402

MIGRATIONS = os.path.join(ROOT, "migrations")
DAY = 86_400


class Notes(unittest.TestCase):
    def setUp(self):
        self.host = FakeHost(plugin, migrations=MIGRATIONS)
        self.addCleanup(self.host.close)

    def add(self, text):
        self.host.clock.advance(1)
        return self.host.call_tool("add_note", {"text": text})["id"]

    def found(self, **input):
        return [note["text"] for note in self.host.call_tool("find_notes", input)["notes"]]

    def test_notes_are_found_by_words_and_tags_the_newest_first(self):
        self.add("Buy milk #shop")
        self.add("100 % wool\\cotton #Shop #shop")
        self.add("Call Ann_Lee")
        for input, want in [
            ({"word": "MILK"}, ["Buy milk #shop"]),
            ({"word": "%"}, ["100 % wool\\cotton #Shop #shop"]),
            ({"word": "_"}, ["Call Ann_Lee"]),
            ({"word": "l\\c"}, ["100 % wool\\cotton #Shop #shop"]),
            ({"word": "nothing"}, []),
            ({"tag": "#SHOP"}, ["100 % wool\\cotton #Shop #shop", "Buy milk #shop"]),
            ({}, ["Call Ann_Lee", "100 % wool\\cotton #Shop #shop", "Buy milk #shop"]),
        ]:
            with self.subTest(input):
                self.assertEqual(self.found(**input), want)
        self.assertEqual(self.host.call_tool("find_notes", {})["n_added"], 3)

    def test_a_note_goes_with_its_tags(self):
        note = self.add("Buy milk #shop")
        self.assertEqual(self.host.call_tool("forget_note", {"id": note}), {"forgotten": 1})
        self.assertEqual(self.host.call_tool("forget_note", {"id": note}), {"forgotten": 0})
        self.assertEqual(self.host.db.query("SELECT * FROM tags"), [])

    def test_old_notes_are_forgotten_by_one_at_a_time(self):
        for n in range(205):
            self.add(f"old {n}")
        self.host.clock.advance(2 * DAY)
        self.add("new")
        with self.host.state.lock("forget_old_notes"):
            with self.assertRaisesRegex(kodex.ToolInputError, "ask again later"):
                self.host.call_tool("forget_old_notes", {"days": 1})
        reply = self.host.call_tool("forget_old_notes", {"days": 1})
        self.assertEqual(reply, {"forgotten": 205})
        self.assertEqual(self.found(), ["new"])
        self.assertEqual(self.host.state.get("forgotten_at"), self.host.clock.now * 1000)

    def test_inputs_that_make_no_sense_are_refused(self):
        for tool, input in [
            ("add_note", {}),
            ("add_note", {"text": " "}),
            ("find_notes", {"word": 7}),
            ("find_notes", {"tag": None}),
            ("forget_note", {"id": ["a"]}),
            ("forget_old_notes", {"days": "many"}),
            ("forget_old_notes", {"days": -1}),
        ]:
            with self.subTest(tool=tool, input=input), self.assertRaises(kodex.ToolInputError):
                self.host.call_tool(tool, input)
        self.assertEqual(self.found(), [])

    def test_a_prompt_is_given_fitting_notes_once_an_hour(self):
        self.add("The printer is in room 4")
        payload = {"prompt": "Where is the Printer?", "session_id": "s", "context": ["before"]}
        reply = self.host.call_hook("prompt.submit", payload)
        self.assertEqual(reply["prompt"], payload["prompt"])
        self.assertEqual(reply["context"][0], "before")
        self.assertIn("- The printer is in room 4", reply["context"][1])
        self.assertIsNone(self.host.call_hook("prompt.submit", payload))
        self.assertIsNotNone(self.host.call_hook("prompt.submit", {**payload, "session_id": "t"}))
        self.host.clock.advance(3600)
        self.assertIsNotNone(self.host.call_hook("prompt.submit", payload))
        for prompt in ("", "is it in?", "nothing fits"):
            self.assertIsNone(self.host.call_hook("prompt.submit", {"prompt": prompt}))


class Journal(unittest.TestCase):
    def test_notes_from_before_there_were_tags_get_them(self):
        host = FakeHost(plugin, migrations=MIGRATIONS, upto=2)
        self.addCleanup(host.close)
        for n in range(150):
            text = f"note {n} #tag{n % 2}" if n % 3 else f"note {n}"
            host.db.execute(
                "INSERT INTO notes VALUES (:id, :text, :at)",
                {"id": f"{n:03}", "text": text, "at": "2026-01-02T03:04:05Z"},
            )
        self.assertEqual(host.upgrade(), {"0003_tag_old_notes": {"scanned": 150, "migrated": 100}})
        self.assertEqual(host.db.query_one("SELECT count(*) AS n FROM tags")["n"], 100)
        # After an interruption it goes on where it was, and what it did twice does no harm.
        again = host.run_step("0003_tag_old_notes", progress="099")
        self.assertEqual(again, {"scanned": 50, "migrated": 0})
        self.assertEqual(host.db.query_one("SELECT count(*) AS n FROM tags")["n"], 100)


if __name__ == "__main__":
    unittest.main()
