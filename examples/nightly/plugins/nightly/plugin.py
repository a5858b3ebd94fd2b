"""Has a report written once a day by an agent, and sends it when it is there."""

import uuid
from datetime import datetime, timezone

import kodex

plugin = kodex.Plugin("nightly", "0.1.0", "Has a report written once a day, and sends it.")

WISH = """Write the report of {day}: what was changed, what is broken, what comes next.
Ten lines at most."""


@plugin.heartbeat(timeout="5s")
def beat(beat):
    day = f"{datetime.fromtimestamp(beat.now, timezone.utc):%Y-%m-%d}"
    # Every heartbeat asks, and the first one of the day is the one that counts: the key is the day.
    run = beat.agent.dispatch(
        f"report {day}",
        ("file", f"{day}.md"),
        WISH.format(day=day),
        metadata={"day": day},
        attribution="the nightly report",
    )
    if beat.agent.find(run.id).status == "completed":
        beat.jobs.enqueue("send", {"day": day}, key=day)


@plugin.job("send", timeout="20s")
def send(job):
    # Chosen in the first attempt and the same in every other, so that a letter which is posted
    # again after a crash is known to be the same one.
    letter = job.effect("letter", uuid.uuid4().hex).value
    post(job, letter, f"The report of {job.params['day']} is there.")
    return {"letter": letter}


def post(job, letter, text):
    """Posts a letter. A mail service would be told the id too; here it is kept among the values."""
    job.state.set_if_absent(f"letter/{letter}", text)
    job.log.info("posted", letter=letter)
