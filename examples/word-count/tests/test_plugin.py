"""Tests of an author: the plugin runs inside the test, and the host is a fake."""

import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "..", "..", "sdks", "python", "src")]

import kodex  # noqa: E402
from kodex.testing import FakeHost  # noqa: E402
from plugin import plugin  # noqa: E402


class WordCount(unittest.TestCase):
    def test_texts_are_counted(self):
        host = FakeHost(plugin)
        for text, words, lines in [("", 0, 0), ("one", 1, 1), (" one\ttwo\nthree ", 3, 2)]:
            with self.subTest(text):
                counted = host.call_tool("count", {"text": text})
                want = {"words": words, "lines": lines, "characters": len(text)}
                self.assertEqual(counted, want)

    def test_other_inputs_are_refused(self):
        for wrong in [{}, {"text": None}, {"text": ["a"]}]:
            with self.subTest(wrong), self.assertRaises(kodex.ToolInputError):
                FakeHost(plugin).call_tool("count", wrong)

    def test_only_long_prompts_are_remarked_upon(self):
        host = FakeHost(plugin, config={"long": 2})
        self.assertIsNone(host.call_hook("prompt.submit", {"prompt": "one two"}))
        self.assertEqual(host.logs, [])
        reply = host.call_hook("prompt.submit", {"prompt": "one two three"})
        self.assertIn("3 words", reply["context"])
        self.assertEqual(host.logs, [("info", "long prompt", {"words": 3})])


if __name__ == "__main__":
    unittest.main()
