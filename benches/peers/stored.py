"""Values by key and rows of a table, asked for from Python without a plugin runtime.

``python3 stored.py '{"folder": .., "known": N, "redis": PORT or null, "postgres": URL or null}'``. Each
question is ``{"in": NAME, "asked": "get" | "set" | "read" | "insert", "ms": SPAN}``, each answer
``{"per_second": TIMES}``. The first answer names the versions of what is there.
"""

import json
import random
import sqlite3
import sys
import time

from measure import answer, questions, version

SETTINGS = json.loads(sys.argv[1])
KNOWN = SETTINGS["known"]


def key(number):
    return f"bench:{number:024}"


def value():
    # Like the values that a plugin writes: 256 bytes as JSON, never the same twice.
    return f'"{time.perf_counter_ns():0254}"'


def fine(found):
    if found is None:
        raise RuntimeError("what was asked for is not there")


class Sqlite:
    """The module of the standard library: WAL, and no flush for each commit."""

    def __init__(self):
        self.run = sqlite3.connect(f"{SETTINGS['folder']}/python.db", isolation_level=None).execute
        self.run("PRAGMA journal_mode=WAL")
        self.run("PRAGMA synchronous=NORMAL")
        self.run("CREATE TABLE state (plugin, key, value, PRIMARY KEY (plugin, key)) WITHOUT ROWID")
        self.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        self.run("BEGIN")
        for number in range(KNOWN):
            self.set(number)
            self.insert(number)
        self.run("COMMIT")

    def get(self, number):
        asked = "SELECT value FROM state WHERE plugin = 'bench' AND key = ?"
        fine(self.run(asked, (key(number),)).fetchone())

    def set(self, number):
        asked = """INSERT INTO state VALUES ('bench', ?, ?)
            ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value"""
        self.run(asked, (key(number), value()))

    def read(self, number):
        fine(self.run("SELECT id, text FROM notes WHERE id = ?", (number + 1,)).fetchone())

    def insert(self, number):
        self.run("INSERT INTO notes (text) VALUES (?)", (f"{number:0200}",))


class Diskcache:
    def __init__(self):
        import diskcache

        self.cache = diskcache.Cache(f"{SETTINGS['folder']}/diskcache")
        with self.cache.transact():
            for number in range(KNOWN):
                self.set(number)

    def get(self, number):
        fine(self.cache.get(key(number)))

    def set(self, number):
        self.cache.set(key(number), value())


class Redis:
    def __init__(self):
        import redis

        self.client = redis.Redis(port=SETTINGS["redis"])
        for number in range(KNOWN):
            self.set(number)

    def get(self, number):
        fine(self.client.get(key(number)))

    def set(self, number):
        self.client.set(key(number), value())


class Postgres:
    def __init__(self):
        import psycopg

        connection = psycopg.connect(SETTINGS["postgres"], autocommit=True, prepare_threshold=0)
        self.run = connection.execute
        self.run(
            """CREATE TABLE python_state
            (plugin text, key text, value text, PRIMARY KEY (plugin, key))"""
        )
        self.run(
            """CREATE TABLE python_notes
            (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)"""
        )
        with connection.transaction():
            for number in range(KNOWN):
                self.set(number)
                self.insert(number)

    def get(self, number):
        asked = "SELECT value FROM python_state WHERE plugin = 'bench' AND key = %s"
        fine(self.run(asked, (key(number),)).fetchone())

    def set(self, number):
        asked = """INSERT INTO python_state VALUES ('bench', %s, %s)
            ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value"""
        self.run(asked, (key(number), value()))

    def read(self, number):
        asked = "SELECT id, text FROM python_notes WHERE id = %s"
        fine(self.run(asked, (number + 1,)).fetchone())

    def insert(self, number):
        self.run("INSERT INTO python_notes (text) VALUES (%s)", (f"{number:0200}",))


PLACES = {"sqlite3": Sqlite, "diskcache": Diskcache, "redis": Redis, "psycopg": Postgres}


def there():
    """The versions of what can be asked."""
    found = {"sqlite3": sqlite3.sqlite_version, "diskcache": version("diskcache")}
    if SETTINGS["redis"] is not None:
        found["redis"] = version("redis")
    if SETTINGS["postgres"] is not None:
        found["psycopg"] = version("psycopg")
    return found


def sample(ask, span):
    """How often it can be asked in a second, over about ``span`` seconds."""
    n_asked, started = 0, time.perf_counter()
    while True:
        ask(numbers.randrange(KNOWN))
        n_asked += 1
        took = time.perf_counter() - started
        if took >= span:
            return n_asked / took


numbers = random.Random(7)


def main():
    answer(there())
    made = {}
    for question in questions():
        place = question["in"]
        if place not in made:
            made[place] = PLACES[place]()
        ask = getattr(made[place], question["asked"])
        answer({"per_second": sample(ask, question["ms"] / 1e3)})


if __name__ == "__main__":
    main()
