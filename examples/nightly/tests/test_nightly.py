"""Tests of an author: heartbeats and jobs happen when the test says so, and no agent is run."""

import os
import sys
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "plugins", "nightly")
sys.path[:0] = [ROOT, os.path.join(HERE, "..", "..", "..", "sdks", "python", "src")]

import plugin as nightly  # noqa: E402
from kodex.testing import FakeHost  # noqa: E402

DAY = 86_400


class Nightly(unittest.TestCase):
    def setUp(self):
        self.host = FakeHost(nightly.plugin)
        self.addCleanup(self.host.close)

    def letters(self):
        return [self.host.state.get(key) for key in self.host.state.list("letter/")]

    def test_a_report_is_asked_for_once_a_day(self):
        self.assertEqual(self.host.beat(), {"n_started": 1})
        self.host.clock.advance(60)
        self.assertIsNone(self.host.beat())
        self.host.clock.advance(DAY)
        self.assertEqual(self.host.beat(), {"n_started": 1})
        asked = [(run.key, run.destination) for run in self.host.runs]
        self.assertEqual(
            asked,
            [
                ("report 2023-11-14", ("file", "2023-11-14.md")),
                ("report 2023-11-15", ("file", "2023-11-15.md")),
            ],
        )
        self.assertIn("the report of 2023-11-14", self.host.runs[0].input)

    def test_it_is_sent_when_it_is_there_and_once(self):
        self.host.beat()
        self.host.beat()
        self.assertEqual(self.host.jobs, [])
        self.host.runs[0].complete()
        self.host.beat()
        self.host.beat()
        self.assertEqual(len(self.host.jobs), 1)
        self.host.run_jobs()
        self.assertEqual(self.letters(), ["The report of 2023-11-14 is there."])

    def test_a_letter_that_is_posted_again_is_the_same_one(self):
        post = nightly.post

        def fails_once(job, letter, text):
            post(job, letter, text)
            if job.attempt == 1:
                raise ConnectionError("the answer was lost")

        self.host.beat()
        self.host.runs[0].complete()
        self.host.beat()
        with mock.patch.object(nightly, "post", fails_once):
            self.host.run_jobs()
            job = self.host.jobs[0]
            self.assertEqual((job.status, job.error), ("pending", "the answer was lost"))
            self.host.clock.advance(1)
            self.host.run_jobs()
        self.assertEqual((job.status, job.attempt, len(self.letters())), ("completed", 2, 1))
        self.assertEqual(job.result, {"letter": job.effects["letter"]})

    def test_a_report_that_failed_is_not_sent(self):
        self.host.beat()
        self.host.runs[0].fail("no time")
        self.host.beat()
        self.assertEqual(self.host.jobs, [])


if __name__ == "__main__":
    unittest.main()
