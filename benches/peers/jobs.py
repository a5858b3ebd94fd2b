"""Tasks of huey on SQLite, done by threads, as its consumer does them.

``python3 jobs.py FOLDER``. Each question is ``{"asked": "add" | "work" | "wait", "n": TASKS, "workers":
THREADS}``; the answer is ``{"per_second": TASKS}``, or ``{"ms": [..]}`` for how long each waited.
"""

import logging
import sys
import threading
import time

from measure import answer, questions, version

FOLDER = sys.argv[1]
N_WAITING_WORKERS = 4
# Longer than anything here takes; a peer that hangs is no peer.
PATIENCE = 60


class Queue:
    """One file with its tasks."""

    def __init__(self, name):
        from huey import SqliteHuey

        self.huey = SqliteHuey("bench", filename=f"{FOLDER}/{name}.db", results=False)
        self.lock = threading.Lock()
        self.left = 0
        self.done = threading.Event()
        self.waits = []

        @self.huey.task()
        def count(number):
            with self.lock:
                self.left -= 1
                if self.left == 0:
                    self.done.set()

        @self.huey.task()
        def stamp(added_at):
            self.waits.append((time.time() - added_at) * 1e3)

        self.count, self.stamp = count, stamp

    def consumer(self, workers):
        from huey.consumer import Consumer

        return Consumer(
            self.huey,
            workers=workers,
            worker_type="thread",
            initial_delay=0.01,
            backoff=1.15,
            max_delay=0.1,
            periodic=False,
        )

    def add(self, tasks):
        started = time.perf_counter()
        for number in range(tasks):
            self.count(number)
        return tasks / (time.perf_counter() - started)

    def work(self, workers, tasks):
        self.left = tasks
        self.done.clear()
        self.add(tasks)
        consumer = self.consumer(workers)
        started = time.perf_counter()
        consumer.start()
        if not self.done.wait(PATIENCE):
            raise RuntimeError(f"{self.left} tasks are left")
        took = time.perf_counter() - started
        stop(consumer)
        return tasks / took

    def wait(self, tasks):
        self.waits.clear()
        consumer = self.consumer(N_WAITING_WORKERS)
        consumer.start()
        # The first one is for the start of the workers.
        for at in range(tasks + 1):
            self.stamp(time.time())
            until = time.monotonic() + PATIENCE
            # It has no other way to say that a task is done.
            while len(self.waits) <= at:
                if time.monotonic() >= until:
                    raise RuntimeError(f"task {at} was not done")
                time.sleep(0.005)
        stop(consumer)
        return self.waits[1:]


def stop(consumer):
    consumer.stop(graceful=False)
    for _, thread in consumer.worker_threads:
        thread.join(5)


def main():
    logging.getLogger("huey").setLevel(logging.CRITICAL)
    found = version("huey")
    answer({"huey": found} if found else {})
    added, turns = Queue("added"), 0
    for question in questions():
        turns += 1
        tasks = question["n"]
        if question["asked"] == "add":
            answer({"per_second": added.add(tasks)})
        elif question["asked"] == "work":
            queue = Queue(f"work{turns}")
            answer({"per_second": queue.work(question["workers"], tasks)})
        else:
            answer({"ms": Queue(f"wait{turns}").wait(tasks)})


if __name__ == "__main__":
    main()
