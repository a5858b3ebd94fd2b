"""Heartbeats, agent runs and jobs: the doors of the SDK over the fake host with a host's rules."""

import asyncio
import sys
import unittest

from raw_client import SDK

sys.path.insert(0, SDK)

import kodex  # noqa: E402
from kodex.testing import START, FakeHost  # noqa: E402
from kodex_plugin_system import PluginManifest  # noqa: E402

FILE = ("file", "report.md")


class WorkTest(unittest.TestCase):
    """A plugin whose heartbeat, job and hook run functions of the test."""

    def setUp(self):
        self.plugin = plugin = kodex.Plugin("p", "1", "d")
        self.on_beat = self.on_job = self.on_hook = lambda given: None
        plugin.heartbeat(lambda beat: self.on_beat(beat))
        plugin.job("work")(lambda job: self.on_job(job))
        plugin.job("low.one")(lambda job: self.on_job(job))
        plugin.hook("h")(lambda payload, ctx: self.on_hook(ctx))

    def host(self, **more):
        host = FakeHost(self.plugin, **more)
        self.addCleanup(host.close)
        return host

    def asks(self, *arguments, **named):
        """Makes the heartbeat ask for a run."""

        def beat(beat):
            beat.agent.dispatch(*arguments, **named)

        self.on_beat = beat

    def refused(self, code, function, *arguments, **named):
        with self.assertRaises(kodex.HostError) as raised:
            function(*arguments, **named)
        self.assertEqual(raised.exception.code, code, raised.exception)
        return str(raised.exception)


class Runs(WorkTest):
    def test_a_heartbeat_asks_once_and_counts_what_is_new(self):
        seen = []

        def beat(beat):
            seen.append(beat.agent.dispatch(f"day {int(beat.now // 86_400)}", FILE, "Report."))

        self.on_beat = beat
        host = self.host()
        self.assertEqual(host.beat(), {"n_started": 1})
        self.assertIsNone(host.beat())
        host.clock.advance(86_400)
        self.assertEqual(host.beat(), {"n_started": 1})
        self.assertEqual([one.is_new for one in seen], [True, False, True])
        self.assertEqual([seen[0].id == seen[1].id, seen[0].id == seen[2].id], [True, False])
        run = host.runs[0]
        self.assertEqual((run.id, len(run.id)), (seen[0].id, 36))
        shown = (run.key, run.destination, run.source, run.input, run.visibility)
        self.assertEqual(shown, ("day 19675", FILE, FILE, "Report.", "private"))

    def test_the_same_plugin_and_key_give_the_id_that_a_host_gives(self):
        self.asks("k", FILE, "i")
        self.on_hook = lambda ctx: ctx.jobs.enqueue("work", key="k").id
        host = self.host()
        host.beat()
        self.assertEqual(host.runs[0].id, "run_776e9c643a14b5e91d039a77beb6dd51")
        self.assertEqual(host.call_hook("h"), "job_78873f47846bf9c7609f425b862a82eb")

    def test_where_a_run_is(self):
        self.asks("k", FILE, "i")
        host = self.host()
        host.beat()
        id = host.runs[0].id
        agent = kodex.agent
        self.assertEqual((agent.find(id).status, agent.find(id).is_over), ("pending", False))
        host.runs[0].block("no key")
        self.assertEqual((agent.find(id).status, agent.find(id).error), ("blocked", "no key"))
        host.runs[0].complete()
        found = agent.find(id)
        self.assertEqual((found.status, found.result_at, found.error), ("completed", START, None))
        self.assertTrue(agent.cancel(id))
        self.assertEqual(agent.find(id).status, "completed")
        host.runs[0].fail("it gave up")
        self.assertEqual((agent.find(id).status, agent.find(id).error), ("failed", "it gave up"))
        self.assertIsNone(agent.find("run_none"))
        self.assertFalse(agent.cancel("run_none"))

    def test_a_run_that_waits_is_cancelled_at_once(self):
        self.asks("k", FILE, "i")
        host = self.host()
        host.beat()
        id = host.runs[0].id
        self.assertTrue(kodex.agent.cancel(id))
        self.assertEqual(kodex.agent.find(id).status, "cancelled")
        self.assertIn("somebody asked", kodex.agent.find(id).error)

    def test_a_ticket_is_good_for_its_call_and_25_runs(self):
        kept = []

        def beat(beat):
            kept.append(beat)
            for n in range(25):
                beat.agent.dispatch(f"k{n % 2}", FILE, "i")
            self.refused("agent.invalid", beat.agent.dispatch, " ", FILE, "i")
            self.refused("agent.too_many", beat.agent.dispatch, "k", FILE, "i")
            self.refused("ticket.no_job", beat.jobs.effect, "e")

        self.on_beat = beat
        host = self.host()
        self.assertEqual(host.beat(), {"n_started": 2})
        self.refused("ticket.ended", kept[0].agent.dispatch, "k", FILE, "i")
        self.refused("ticket.ended", kodex.jobs.effect, "e", ticket=kept[0].ticket)
        self.assertEqual(len(host.runs), 2)
        with self.assertRaisesRegex(ValueError, "beat.agent.dispatch"):
            kodex.agent.dispatch("k", FILE, "i")

    def test_each_field_has_its_rule(self):
        private = ("session", "s-1")
        cases = [
            ({}, None),
            ({"key": "k" * 512}, None),
            ({"key": "k" * 513}, "idempotency_key has 513"),
            ({"key": " "}, "idempotency_key is blank"),
            ({"input": "x" * 32_000}, None),
            ({"input": "x" * 32_001}, "input has 32001"),
            ({"input": "two\nlines"}, None),
            ({"input": "a\0b"}, "input holds a NUL"),
            ({"metadata": {f"k{n}": "" for n in range(20)}}, None),
            ({"metadata": {f"k{n}": "" for n in range(21)}}, "metadata has 21 entries"),
            ({"metadata": {"k" * 129: ""}}, "a key that has 129"),
            ({"metadata": {" ": ""}}, "a key that is blank"),
            ({"metadata": {"k": "x" * 512}}, None),
            ({"metadata": {"k": "x" * 513}}, "metadata.k has 513"),
            ({"metadata": {"k": "a\nb"}}, "metadata.k has a line break"),
            ({"metadata": {"k": "\n"}}, "metadata.k has a line break"),
            ({"to": ("pigeon", "a")}, "known are session, file"),
            ({"to": ("File", "a")}, "destination.kind is no name"),
            ({"to": ("file", "")}, "destination.address is blank"),
            ({"to": ("file", "a\u2028b")}, "destination.address has a line break"),
            ({"source": ("pigeon", "a")}, None),
            ({"source": ("pigeon", "a\nb")}, "source.address has a line break"),
            ({"attribution": "x" * 160}, None),
            ({"attribution": "x" * 161}, "attribution has 161"),
            ({"subject": {"user": "u", "task": "t"}, "to": private}, None),
            ({"subject": {"user": ""}, "to": private}, "a user that is blank"),
            ({"subject": {"user": "u"}}, "subject is allowed"),
            (
                {"subject": {"user": "u"}, "to": private, "visibility": "public"},
                "subject is allowed",
            ),
        ]
        host = self.host()
        for change, problem in cases:
            asked = {"key": "k", "to": FILE, "input": "i", **change}
            self.asks(**asked)
            with self.subTest(change=str(change)[:80]):
                if problem is None:
                    host.beat()
                else:
                    self.assertIn(problem, self.refused("agent.invalid", host.beat))

    def test_what_does_not_fit_the_wire(self):
        good = {"idempotency_key": "k", "input": "i"}
        good["destination"] = {"kind": "file", "address": "a"}
        for change in [
            {"colour": "red"},
            {"input": 7},
            {"input": None},
            {"metadata": None},
            {"metadata": {"k": 1}},
            {"visibility": "secret"},
            {"destination": {"kind": "file", "address": "a", "thread": "t"}},
            {"subject": {"user": "u", "binding": "mine"}},
            {"subject": {}},
        ]:
            asked = {**good, **change}
            self.on_beat = lambda beat: beat.request(
                "agent/dispatch", {"ticket": beat.ticket, **asked}
            )
            with self.subTest(change):
                self.refused("params.invalid", self.host().beat)
        self.on_beat = lambda beat: beat.request("agent/dispatch", good)
        self.refused("params.invalid", self.host().beat)

    def test_places_are_pairs_or_destinations(self):
        self.asks("k", kodex.Destination(*FILE), "i")
        host = self.host()
        host.beat()
        self.assertEqual(host.runs[0].destination, FILE)
        self.asks("k", "file:report.md", "i")
        with self.assertRaisesRegex(TypeError, "a Destination or a pair"):
            host.beat()
        self.assertEqual(kodex.Destination("a", "b"), kodex.Destination("a", "b"))
        self.assertNotEqual(kodex.Destination("a", "b"), kodex.Destination("a", "c"))

    def test_a_host_knows_the_destinations_it_was_given(self):
        self.asks("k", FILE, "i")
        self.refused("agent.invalid", self.host(destinations=("session",)).beat)


class Jobs(WorkTest):
    def test_a_job_is_tried_again_after_pauses_until_it_succeeds(self):
        attempts = []

        def work(job):
            attempts.append((job.id, job.params, job.attempt))
            if job.attempt < 3:
                raise RuntimeError(f"no luck {job.attempt}")
            return {"n": job.attempt}

        self.on_job = work
        self.on_hook = lambda ctx: ctx.jobs.enqueue("work", {"file": "a"}).id
        host = self.host()
        id = host.call_hook("h")
        self.assertEqual([job.id for job in host.run_jobs()], [id])
        job = host.jobs[0]
        self.assertEqual((job.status, job.error), ("pending", "no luck 1"))
        self.assertEqual(str(job.raised), "no luck 1")
        self.assertEqual(host.run_jobs(), [])
        host.clock.advance(1)
        self.assertEqual(host.run_jobs(), [job])
        host.clock.advance(4)
        self.assertEqual(host.run_jobs(), [])
        host.clock.advance(1)
        self.assertEqual(host.run_jobs(), [job])
        self.assertEqual((job.status, job.result), ("completed", {"n": 3}))
        self.assertEqual(attempts, [(id, {"file": "a"}, n) for n in (1, 2, 3)])
        self.assertEqual(kodex.jobs.find(id).result_at, host.clock.now)

    def test_attempts_are_used_up(self):
        def work(job):
            raise RuntimeError("no luck")

        self.on_job = work
        self.on_hook = lambda ctx: ctx.jobs.enqueue("work", max_attempts=2).id
        host = self.host()
        id = host.call_hook("h")
        host.run_jobs()
        host.clock.advance(1)
        host.run_jobs()
        found = kodex.jobs.find(id)
        self.assertEqual((found.status, found.error, found.is_over), ("failed", "no luck", True))

    def test_the_same_key_is_the_same_job(self):
        host = self.host()
        first = kodex.jobs.enqueue("work", key="k")
        self.assertTrue(first.is_new)
        again = kodex.jobs.enqueue("work", {"other": 1}, key="k")
        self.assertEqual((again.id, again.is_new), (first.id, False))
        self.assertTrue(kodex.jobs.enqueue("low.one", key="k").is_new)
        self.assertTrue(kodex.jobs.enqueue("work").is_new)
        self.assertTrue(kodex.jobs.enqueue("work").is_new)
        self.assertEqual(len(host.jobs), 4)
        self.assertIsNone(host.jobs[0].params)

    def test_jobs_are_run_by_hurry_then_by_age_when_they_are_due(self):
        order = []
        self.on_job = lambda job: order.append(job.params)
        host = self.host()
        for params, more in [
            (1, {"priority": "low"}),
            (2, {}),
            (3, {"delay": 10}),
            (4, {"priority": "urgent"}),
            (5, {}),
        ]:
            kodex.jobs.enqueue("work", params, **more)
        host.run_jobs()
        self.assertEqual(order, [4, 2, 5, 1])
        host.clock.advance(10)
        host.run_jobs()
        self.assertEqual(order[4:], [3])

    def test_a_wish_for_a_job_is_judged(self):
        self.host()
        for named, code in [
            ({"name": "play"}, "job.unknown"),
            ({"name": "Wo rk"}, "job.invalid"),
            ({"name": ""}, "job.invalid"),
            ({"name": "work", "key": " "}, "job.invalid"),
            ({"name": "work", "lane": "x" * 513}, "job.invalid"),
            ({"name": "work", "max_attempts": 0}, "job.invalid"),
            ({"name": "work", "max_attempts": 101}, "job.invalid"),
            ({"name": "work", "delay": 11 * 366 * 86_400}, "job.invalid"),
            ({"name": "work", "delay": -1}, "params.invalid"),
            ({"name": "work", "params": "x" * (300 << 10)}, "job.invalid"),
            ({"name": "work", "priority": "now"}, "params.invalid"),
        ]:
            with self.subTest(str(named)[:80]):
                self.refused(code, kodex.jobs.enqueue, **named)

    def test_an_effect_is_recorded_once_over_all_attempts(self):
        told = []

        def work(job):
            known = job.effect("key", f"from attempt {job.attempt}")
            told.append((known.first, known.value))
            self.refused("job.invalid", job.effect, " ")
            self.refused("job.invalid", job.effect, "k" * 513)
            self.refused("job.invalid", job.effect, "large", "x" * (256 << 10))
            if job.attempt < 2:
                raise RuntimeError("after the effect")

        self.on_job = work
        host = self.host()
        kodex.jobs.enqueue("work")
        host.run_jobs()
        host.clock.advance(1)
        host.run_jobs()
        self.assertEqual(told, [(True, "from attempt 1"), (False, "from attempt 1")])
        self.assertEqual(host.jobs[0].effects, {"key": "from attempt 1"})

    def test_a_job_asks_for_runs_and_adds_jobs(self):
        def work(job):
            if job.params is not None:
                return job.agent.dispatch(job.id, FILE, job.params).is_new
            return job.jobs.enqueue("work", "Look.").is_new

        self.on_job = work
        host = self.host()
        kodex.jobs.enqueue("work")
        done = host.run_jobs()
        self.assertEqual([job.result for job in done], [True, True])
        self.assertEqual(host.runs[0].key, done[1].id)

    def test_a_running_job_is_told_of_its_end(self):
        def work(job):
            self.assertTrue(job.jobs.cancel(job.id))
            self.assertEqual(job.jobs.find(job.id).status, "running")
            raise RuntimeError("stopped")

        self.on_job = work
        host = self.host()
        kodex.jobs.enqueue("work")
        host.run_jobs()
        self.assertEqual(host.jobs[0].status, "cancelled")

    def test_one_attempt_by_hand(self):
        session = {"session_id": "s", "messages": [{"role": "user", "text": "hi"}]}
        self.on_job = lambda job: [job.params, job.session["session_id"]]
        host = self.host()
        self.assertEqual(host.call_job("work", {"a": 1}, session=session), [{"a": 1}, "s"])

        def fails(job):
            raise LookupError("here")

        self.on_job = fails
        with self.assertRaisesRegex(LookupError, "here"):
            host.call_job("work")
        self.assertEqual([job.status for job in host.jobs], ["completed", "pending"])

    def test_a_queue_has_an_end(self):
        host = self.host()
        for n in range(10_000):
            host._work.jobs[str(n)] = host._work.job(str(n), {"name": "work"})
        with self.assertRaises(kodex.HostError) as raised:
            kodex.jobs.enqueue("work")
        self.assertEqual(raised.exception.code, "job.queue_full")
        self.assertTrue(raised.exception.is_retryable)
        host._work.jobs["7"].status = "completed"
        kodex.jobs.enqueue("work")


class Declaring(unittest.TestCase):
    def test_what_is_declared(self):
        plugin = kodex.Plugin("p", "1", "d")

        @plugin.heartbeat(timeout="20s")
        def beat(beat):
            pass

        @plugin.job("session.completed", timeout=90)
        def ended(job):
            pass

        self.assertEqual(
            plugin.declaration()["hook"],
            [
                {"on": "heartbeat", "timeout": "20s"},
                {"on": "job.session.completed", "timeout": "90000ms"},
            ],
        )
        with self.assertRaisesRegex(ValueError, "declared twice"):
            plugin.hook("heartbeat")(lambda payload: None)
        for name in ["", "Work", "a b", "a/b", "x" * 129]:
            with self.subTest(name), self.assertRaisesRegex(ValueError, "no name for a job"):
                plugin.job(name)

    def test_functions_of_the_first_runtime_use_the_tickets_in_their_payloads(self):
        class Old:
            manifest = PluginManifest("old", "1", "d", ("c",))

            def activate(self, context):
                pass

            def handle_hook(self, name, payload):
                ticket = payload["ticket"]
                if name == "heartbeat":
                    accepted = kodex.agent.dispatch("k", FILE, "i", ticket=ticket)
                    return {"n_started": int(accepted.is_new)}
                return kodex.jobs.effect("sent", 1, ticket=ticket).first

        with FakeHost(Old()) as host:
            self.assertEqual(host.beat(), {"n_started": 1})
            kodex.jobs.enqueue("work", key="k")
            self.assertEqual(host.run_jobs()[0].result, True)

    def test_what_answers_every_hook_is_not_asked_for_jobs(self):
        plugin = kodex.Plugin("p", "1", "d")
        plugin.hook("*")(lambda payload: None)
        with FakeHost(plugin), self.assertRaises(kodex.HostError) as raised:
            kodex.jobs.enqueue("work")
        self.assertEqual(raised.exception.code, "job.unknown")

    def test_a_handler_may_say_itself_what_the_heartbeat_started(self):
        for returned in ({"n_started": 7}, 7):
            plugin = kodex.Plugin("p", "1", "d")
            plugin.heartbeat(lambda beat: returned)
            with FakeHost(plugin) as host:
                if returned == 7:
                    with self.assertRaisesRegex(TypeError, "not 7"):
                        host.beat()
                else:
                    self.assertEqual(host.beat(), {"n_started": 7})


class Coroutines(unittest.TestCase):
    def test_the_same_names_are_awaited(self):
        plugin = kodex.Plugin("p", "1", "d")

        @plugin.heartbeat
        async def beat(beat):
            with self.assertRaisesRegex(RuntimeError, "coroutine must not"):
                beat.agent.dispatch("k", FILE, "i")
            wishes = [beat.agent.aio.dispatch(f"k{n}", FILE, "i") for n in range(3)]
            ids = [one.id for one in await asyncio.gather(*wishes)]
            assert (await beat.agent.aio.find(ids[0])).status == "pending"
            assert await beat.agent.aio.cancel(ids[0])
            job = await beat.jobs.aio.enqueue("work", ids, key="k", delay=0.5)
            assert (await kodex.jobs.aio.find(job.id)).status == "pending"

        @plugin.job("work")
        async def work(job):
            first = await job.effect_async("sent", job.params)
            again = await job.jobs.aio.effect("sent")
            assert await kodex.jobs.aio.cancel(job.id)
            return [first.first, again.first, again.value == job.params]

        with FakeHost(plugin) as host:
            self.assertEqual(host.beat(), {"n_started": 3})
            self.assertEqual([run.status for run in host.runs], ["cancelled", "pending", "pending"])
            self.assertEqual(host.run_jobs(), [])
            host.clock.advance(0.5)
            self.assertEqual(host.run_jobs()[0].result, [True, False, True])


if __name__ == "__main__":
    unittest.main()
