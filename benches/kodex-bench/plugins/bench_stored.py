"""A plugin that asks for its own values and rows, one after the other within one call."""

import random
import time

import kodex
from kodex import db, state

plugin = kodex.Plugin("bench-stored", "1.0.0", "Asks for what is its own.")
plugin.database("bench_stored")

numbers = random.Random(7)


def get(number):
    if len(state.get(f"bench:{number:024}")) != 254:
        raise RuntimeError(f"no value {number}")


def set_(number):
    state.set(f"bench:{number:024}", f"{time.perf_counter_ns():0254}")


def read(number):
    if db.query_one("SELECT id, text FROM notes WHERE id = ?", [number + 1]) is None:
        raise RuntimeError(f"no row {number}")


def insert(number):
    db.execute("INSERT INTO notes (text) VALUES (?)", [f"{number:0200}"])


ASKED = {"get": get, "set": set_, "read": read, "insert": insert}


@plugin.tool("turn", description="Asks until the time is over; first of all it fills what it asks for.")
def turn(input):
    if input["asked"] == "fill":
        for number in range(input["known"]):
            set_(number)
        db.execute(input["sql"], [input["known"]])
        return None
    ask, n_known, span = ASKED[input["asked"]], input["known"], input["ms"] / 1e3
    n_asked, started = 0, time.perf_counter()
    while True:
        ask(numbers.randrange(n_known))
        n_asked += 1
        took = time.perf_counter() - started
        if took >= span:
            return {"per_second": n_asked / took}
