"""Durable work with a queue from PyPI: procrastinate.

``python3 work.py '{"url": URL}'``. A question ``{"in": "procrastinate", "workers": N, "batched": .., "jobs": N}``
adds jobs and does them; the answer is ``{"added": PER_SECOND, "done": PER_SECOND}``.
"""

import asyncio
import json
import sys
import time

import procrastinate

from measure import answer, questions, version

SETTINGS = json.loads(sys.argv[1])
TOGETHER = 1000
PAYLOAD = "0123456789012345678901234567890123456789"


async def turn(app, noop, question):
    jobs = question["jobs"]
    started = time.perf_counter()
    for at in range(0, jobs, TOGETHER):
        some = min(TOGETHER, jobs - at)
        await noop.batch_defer_async(*({"k": PAYLOAD} for _ in range(some)))
    added = jobs / (time.perf_counter() - started)
    started = time.perf_counter()
    await app.run_worker_async(
        queues=["bench"], concurrency=question["workers"], wait=False, install_signal_handlers=False
    )
    return {"added": added, "done": jobs / (time.perf_counter() - started)}


async def main():
    connector = procrastinate.PsycopgConnector(conninfo=SETTINGS["url"], min_size=2, max_size=20)
    app = procrastinate.App(connector=connector)

    @app.task(queue="bench")
    async def noop(k):
        pass

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        answer({"procrastinate": version("procrastinate")})
        for question in questions():
            answer(await turn(app, noop, question))


asyncio.run(main())
