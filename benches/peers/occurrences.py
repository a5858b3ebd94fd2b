"""The next occurrence by croniter and by python-dateutil, in the zone of Paris.

``python3 occurrences.py``. A question ``{"asked": "daily" | "weekdays" | "cron", "n": N}`` walks over so many
occurrences; the answer is ``{"us": MICROSECONDS_EACH}``.
"""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

from measure import answer, questions, version

ZONE = ZoneInfo("Europe/Paris")
FROM = datetime(2026, 1, 1, 1, tzinfo=ZONE)


def daily():
    from dateutil.rrule import DAILY, rrule

    return iter(rrule(DAILY, byhour=9, byminute=0, bysecond=0, dtstart=FROM))


def weekdays():
    from dateutil.rrule import FR, MO, TH, TU, WE, WEEKLY, rrule

    days = (MO, TU, WE, TH, FR)
    return iter(rrule(WEEKLY, byweekday=days, byhour=9, byminute=0, bysecond=0, dtstart=FROM))


def cron():
    from croniter import croniter

    return croniter("30 9,17 * * 1-5", FROM).all_next(datetime)


CASES = {"daily": daily, "weekdays": weekdays, "cron": cron}


def main():
    found = {name: version(name) for name in ("croniter", "python-dateutil")}
    answer({name: text for name, text in found.items() if text})
    for question in questions():
        occurrences = CASES[question["asked"]]()
        n = question["n"]
        started = time.perf_counter()
        for _ in range(n):
            next(occurrences)
        answer({"us": (time.perf_counter() - started) / n * 1e6})


if __name__ == "__main__":
    main()
