"""Replays the recorded exchanges of the contract against a worker of this SDK."""

import glob
import json
import os
import unittest

from raw_client import HERE, RawClient

CASES = os.path.join(HERE, "..", "..", "..", "contract", "cases", "v1")
SUPPORTED = {"agent", "cancel", "db", "exact-numbers", "job", "state", "step"}


def read_cases():
    """Every case as its head and its steps."""
    cases = []
    for path in sorted(glob.glob(os.path.join(CASES, "*.jsonl"))):
        with open(path, encoding="utf-8") as file:
            for line in file:
                step = json.loads(line)
                if "case" in step:
                    cases.append((step, []))
                else:
                    cases[-1][1].append(step)
    return cases


class Mismatch(AssertionError):
    """What the worker said is not what the case expects."""


def match(pattern, got, at="$"):
    """Raises ``Mismatch`` where ``got`` differs from the pattern."""
    if isinstance(pattern, str) and pattern.startswith("<") and pattern.endswith(">"):
        kinds = {
            "<any>": object,
            "<any string>": str,
            "<optional string>": str,
            "<any number>": (int, float),
            "<any object>": dict,
        }
        fits = isinstance(got, kinds[pattern]) and not (
            isinstance(got, bool) and "number" in pattern
        )
    elif isinstance(pattern, dict) and isinstance(got, dict):
        return match_object(pattern, got, at)
    elif isinstance(pattern, list) and isinstance(got, list):
        fits = len(pattern) == len(got)
        for index, (one, other) in enumerate(zip(pattern, got)):
            match(one, other, f"{at}[{index}]")
    else:
        fits = type(pattern) is type(got) and pattern == got
    if not fits:
        raise Mismatch(f"at {at}: expected {str(pattern)[:300]}, got {str(got)[:300]}")
    return None


def match_object(pattern, got, at):
    for key, wanted in pattern.items():
        if key == "<more>" or (key not in got and wanted == "<optional string>"):
            continue
        if key not in got:
            raise Mismatch(f"at {at}: {key!r} is missing in {str(got)[:300]}")
        match(wanted, got[key], f"{at}.{key}")
    extra = set(got) - set(pattern)
    if extra and "<more>" not in pattern:
        raise Mismatch(f"at {at}: unexpected {sorted(extra)} in {str(got)[:300]}")


class Replay:
    """One case on one worker."""

    def __init__(self, client):
        self.client = client
        self.its_id = None

    def step(self, step):
        if step["dir"] == "host":
            self.say(step)
        else:
            self.hear(step)

    def say(self, step):
        if step.get("close"):
            return self.client.close()
        if "hex" in step:
            data = bytes.fromhex(step["hex"]) + b"\n"
        else:
            data = b"".join(self.fill(line) for line in lines_of(step))
        return self.client.send_bytes(data)

    def fill(self, line):
        return line.replace('"<its id>"', json.dumps(self.its_id)).encode() + b"\n"

    def hear(self, step):
        if "exit" in step:
            status, rest = self.client.exit_status(), self.client.line()
            if (status, rest) != (step["exit"], ""):
                raise Mismatch(f"ended with {status}, saying {rest!r}")
        elif "any_order" in step:
            self.hear_all(list(step["any_order"]))
        else:
            self.hear_one(step["expect"], step.get("holds", ""))

    def hear_one(self, pattern, holds):
        line = self.client.line()
        message = json.loads(line)
        match(pattern, message)
        if holds not in line:
            raise Mismatch(f"{holds!r} does not stand in {line[:300]!r}")
        if "method" in message:
            self.its_id = message.get("id")

    def hear_all(self, patterns):
        while patterns:
            got = self.client.message()
            for pattern in patterns:
                try:
                    match(pattern, got)
                except Mismatch:
                    continue
                patterns.remove(pattern)
                break
            else:
                raise Mismatch(f"nothing expects {str(got)[:300]}; left: {str(patterns)[:300]}")


def lines_of(step):
    if "together" in step:
        return step["together"]
    if "repeat" in step:
        parts = step["repeat"]
        return [parts["head"] + parts["unit"] * parts["times"] + parts["tail"]]
    return [step["line"] + ("\r" if step.get("cr") else "")]


class RecordedExchanges(unittest.TestCase):
    def test_every_case(self):
        cases = [case for case in read_cases() if case[0]["subject"] == "plugin"]
        self.assertGreater(len(cases), 85)
        for head, steps in cases:
            if head.get("needs", "cancel") in SUPPORTED:
                with self.subTest(head["case"]):
                    self.replay(head, steps)

    def replay(self, head, steps):
        with RawClient("--file", os.path.join(HERE, "case_plugin.py")) as client:
            if head.get("handshake", True):
                self.assertIn("result", client.initialize("case-plugin"))
            replay = Replay(client)
            for number, step in enumerate(steps, 1):
                try:
                    replay.step(step)
                except AssertionError as error:
                    self.fail(f"step {number} ({str(step)[:200]}): {error}")

    def test_case_names_are_unique(self):
        names = [head["case"] for head, _ in read_cases()]
        self.assertEqual(sorted(set(names)), sorted(names))


class Patterns(unittest.TestCase):
    """The comparison itself can fail."""

    def test_differences_are_seen(self):
        for pattern, got in [
            (1, 1.0),
            (1, True),
            ({"a": 1}, {"a": 1, "b": 2}),
            ({"a": 1}, {}),
            ([1], [1, 2]),
            ("<any string>", 7),
            ("<any number>", True),
            ({"a": "<optional string>"}, {"a": None}),
        ]:
            with self.subTest(pattern=pattern), self.assertRaises(Mismatch):
                match(pattern, got)

    def test_equals_are_equal(self):
        for pattern, got in [
            ("<any>", None),
            ({"a": "<optional string>"}, {}),
            ({"<more>": True}, {"a": 1}),
            ([{"a": "<any number>"}], [{"a": 0.5}]),
        ]:
            match(pattern, got)


if __name__ == "__main__":
    unittest.main()
