"""Work that is easy to check: every attempt says who it is, in its effects, its result and its words.

`SAID` is a file that every process of a run of the chaos appends to, one line at a time.
"""

import json
import os
import signal
import time

import kodex
from kodex import HostError, jobs

plugin = kodex.Plugin("chaos", "0.1.0", "Work that is easy to check.")

SAID = "@SAID@"
# The node that started this process, also when it is gone later.
HOST = os.getppid()
# What the host says when nothing of what was asked for may exist.
REFUSALS = ("job.invalid", "job.unknown", "job.queue_full")


def say(id, attempt, **what):
    line = json.dumps({"id": id, "host": HOST, "attempt": attempt, **what}) + "\n"
    # One write to a file that is only ever appended to is one line, whoever else writes.
    to = os.open(SAID, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(to, line.encode())
    finally:
        os.close(to)


@plugin.hook("chaos.put")
def put(payload):
    item, kind = payload["item"], payload["kind"]
    try:
        accepted = jobs.enqueue(
            "work",
            {"item": item, "kind": kind, "ms": payload["ms"]},
            key=item,
            delay=payload["delay_ms"] / 1000,
            priority=payload["priority"],
            lane="x" * 10_000 if kind == "invalid" else payload["lane"],
            max_attempts=2 if kind == "hopeless" else None,
        )
    except HostError as error:
        return {"item": item, "code": error.code, "refused": error.code in REFUSALS}
    return {"item": item, "id": accepted.id}


@plugin.job("work", timeout="20s")
def work(job):
    by = {"host": HOST, "attempt": job.attempt}
    try:
        return attempt(job, by)
    except Exception as error:
        # The reason in the row is this attempt's word too.
        raise RuntimeError(f"{error} {json.dumps(by)}") from None


def attempt(job, by):
    kind = job.params["kind"]
    say(job.id, job.attempt, what="begin")
    record(job, "start", by)
    if kind == "hopeless" or (kind == "flaky" and job.attempt < 3):
        raise RuntimeError("as it was asked to")
    if kind == "crash" and record(job, "crash", by):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind in ("slow", "run"):
        time.sleep(job.params["ms"] / 1000)
    if kind == "run":
        item = job.params["item"]
        accepted = job.agent.dispatch(item, ("session", item), job.params["item"])
        say(job.id, job.attempt, what="run", run=accepted.id)
    record(job, "done", by)
    say(job.id, job.attempt, what="end")
    return by


def record(job, key, by):
    """Whether this attempt is the first to have the effect."""
    effect = job.effect(key, by)
    say(job.id, job.attempt, what="effect", key=key, first=effect.first, value=effect.value)
    return effect.first
