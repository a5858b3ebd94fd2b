"""The shortcuts around JSON against slow and obvious ways to know the same."""

import json
import random
import sys
import unittest

from raw_client import SDK

sys.path.insert(0, SDK)

from kodex import _json  # noqa: E402

TEXTS = [
    "",
    "a[{",
    "\\",
    '"',
    '}]\\"',
    '\\\\"[[[',
    "\n[",
    "ü{",
    "\U0001f600",
    "\\ud800",
    "[]",
    '""',
]


def depth(value):
    """How deep arrays and objects nest."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def random_value(rng, levels):
    kind = rng.random()
    if levels == 0 or kind < 0.3:
        return rng.choice([*TEXTS, 1, -2.5, None, True])
    if kind < 0.65:
        return [random_value(rng, levels - 1) for _ in range(rng.randint(0, 4))]
    names = [rng.choice(TEXTS) + str(n) for n in range(rng.randint(0, 4))]
    return {name: random_value(rng, levels - 1) for name in names}


class Shortcuts(unittest.TestCase):
    def test_depth_is_the_depth(self):
        rng = random.Random(7)
        for _ in range(3_000):
            value = random_value(rng, rng.randint(0, 8))
            text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
            for limit in range(1, 8):
                self.assertEqual(_json.nests_deeper(text, limit), depth(value) > limit, text)

    def test_depth_of_what_is_no_document(self):
        for text, want in [
            ("[" * 500_000, True),
            ("[" * 64, False),
            ("]" * 100 + "[" * 65, True),
            ('"' + "[" * 100, False),
            ("", False),
        ]:
            self.assertEqual(_json.nests_deeper(text, 64), want, text[:80])

    def test_writing_is_that_of_the_json_module(self):
        rng = random.Random(8)
        for _ in range(3_000):
            value = random_value(rng, 5)
            want = json.dumps(value, separators=(",", ":"))
            self.assertEqual(_json.dumps(value), want)
            self.assertEqual(_json.loads(want), value)

    def test_a_failure_leaves_nothing_behind(self):
        inner = [object()]
        state = [{"a": inner}]
        with self.assertRaises(_json.Unsendable):
            _json.dumps(state)
        inner[0] = 1
        self.assertEqual(_json.dumps(state), '[{"a":[1]}]')

    def test_half_surrogates_are_seen_and_whole_ones_pass(self):
        pieces = ["\ud83d", "\ude00", "\U0001f600", "\\", "\\ud83d", "a", '"']
        rng = random.Random(9)
        for _ in range(5_000):
            text = "".join(rng.choices(pieces, k=rng.randint(0, 6)))
            # Two halves in the right order become one character on the way, as in every reader.
            whole = json.loads(json.dumps(text))
            try:
                whole.encode()
                halves = False
            except UnicodeEncodeError:
                halves = True
            if halves:
                with self.assertRaises(_json.Unsendable, msg=ascii(text)):
                    _json.dumps([text])
            else:
                self.assertEqual(json.loads(_json.dumps([text])), [whole])

    def test_numbers_beyond_a_double_are_seen(self):
        limit = int(sys.float_info.max)
        for value, sendable in [
            (limit, True),
            (-limit, True),
            (limit * 2, False),
            (-limit * 2, False),
            (10**308, True),
            (10**309, False),
            ("9" * 1000, True),
        ]:
            for wrapped in (value, [value], {"a": [value]}, {"x" * 400: value}):
                try:
                    _json.dumps(wrapped)
                except _json.Unsendable:
                    self.assertFalse(sendable, str(value)[:20])
                else:
                    self.assertTrue(sendable, str(value)[:20])


if __name__ == "__main__":
    unittest.main()
