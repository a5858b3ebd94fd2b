"""The database of ``kodex.testing``: SQLite in memory behind the methods ``db/*``.

It differs from a host's in what one connection cannot do: outside of an open transaction nothing
can be written (a host would wait for its end), and what it has changed can be seen. Time limits and
the list of functions are not enforced.
"""

import json
import os
import re
import sqlite3
from binascii import a2b_base64

from . import HostError, host_error
from ._fake_sql import Statement, mistake, split
from ._values import to_wire

N_ROWS = 10_000
#: Seconds that a transaction may take.
LEASE = 5.0
OWN, WRITE, MIGRATE = range(3)
_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)(\.sqlite|\.postgres)?\.sql")
_TELLING = {
    *("table_info", "table_xinfo", "table_list"),
    *("index_list", "index_info", "index_xinfo", "foreign_key_list"),
}
_CATALOG = ("sqlite_master", "sqlite_schema", "sqlite_sequence")
_CHANGED = re.compile(
    r"\s*(?:(?:insert|replace)\b.*?\binto|update(?:\s+or\s+\w+)?|delete\s+from)\s+[\"`\[]?(\w+)",
    re.IGNORECASE | re.DOTALL,
)


class FakeDatabase:
    """One plugin's tables."""

    def __init__(self, plugin, clock):
        self.plugin = plugin
        self.clock = clock
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA foreign_keys = ON")
        self.db.set_authorizer(self._judge)
        self._mode = OWN
        self._denied = None
        self._writes = False
        self._n_run = 0
        self._n_opened = 0
        self._tx = None
        self._cursors = {}

    def close(self):
        """Forgets everything."""
        self.db.close()

    def services(self):
        """The methods and what answers them."""
        return {
            "db/query": self.query,
            "db/fetch": self.fetch,
            "db/close": lambda params: self._cursors.pop(params["cursor"], None) and None,
            "db/begin": self.begin,
            "db/commit": lambda params: self._end(params, "COMMIT"),
            "db/rollback": lambda params: self._end(params, "ROLLBACK"),
            "db/save": self.save,
            "db/release": lambda params: self._leave(params, undo=False),
            "db/undo": lambda params: self._leave(params, undo=True),
        }

    # Statements

    def query(self, params):
        """Runs one statement."""
        statement = Statement(params["sql"])
        text, values = statement.bind(params.get("params"))
        # By name, which for `?1` is `1`: some versions of the driver warn of a list here.
        values = {str(number): _stored(value) for number, value in enumerate(values, 1)}
        tx = self._transaction(params) if "tx" in params else None
        if tx is not None and tx["failed"]:
            raise self._error(
                "the transaction has failed; undo or roll back first", "db.transaction"
            )
        if tx is not None and "page" in params:
            raise self._error("a transaction has no cursors; use LIMIT", "db.transaction")
        try:
            columns, rows, n_changed = self._run(statement, text, values, tx)
        except HostError:
            if tx is not None:
                tx["failed"] = True
            raise
        limit = min(params.get("max_rows", N_ROWS), N_ROWS)
        if "page" not in params and len(rows) > limit:
            if tx is not None:
                tx["failed"] = True
            why = f"the answer has more than {limit} rows; add a LIMIT or read it in pages"
            raise self._error(why, "db.too_many_rows")
        result = {"columns": columns, "rows": rows, "changed": n_changed}
        return self._page(result, params) if "page" in params else result

    def _run(self, statement, text, values, tx):
        kinds = self._types(statement)
        with self._as(WRITE):
            # Another text every time, so that every statement is judged when it is prepared.
            self._n_run += 1
            self._writes = False
            try:
                if self._tx is not None and tx is None:
                    self._refuse_write(text, values)
                cursor = self.db.execute(f"{text}\n--{self._n_run}", values)
                found = cursor.fetchall()
            except (sqlite3.Error, OverflowError) as error:
                raise self._failure(error) from None
        n_changed = self.db.execute("SELECT changes()").fetchone()[0] if self._writes else 0
        names = [column[0] for column in cursor.description or ()]
        if len(kinds) != len(names):
            declared = self._changed_table(text)
            kinds = [declared.get(name.lower(), "any") for name in names]
        columns = [{"name": name, "type": kind} for name, kind in zip(names, kinds)]
        return columns, [list(map(_shown, row, kinds)) for row in found], n_changed

    def _refuse_write(self, text, values):
        # To explain is to prepare, and that shows what it would do.
        self.db.execute(f"EXPLAIN {text}\n--{self._n_run}", values)
        if self._writes:
            why = "the plugin's database is busy: another transaction holds it; try again"
            raise self._error(why, "store.busy")

    def _types(self, statement):
        """The declared types of a query's columns, which this driver does not tell otherwise."""
        try:
            self.db.execute(f"CREATE TEMP VIEW kodex_types AS {statement.typed()}")
        except sqlite3.Error:
            return []
        try:
            told = self.db.execute("PRAGMA temp.table_info(kodex_types)").fetchall()
            return [row[2].lower() or "any" for row in told]
        except sqlite3.Error:
            return []
        finally:
            self.db.execute("DROP VIEW temp.kodex_types")

    def _changed_table(self, text):
        found = _CHANGED.match(text)
        if found is None:
            return {}
        told = self.db.execute("SELECT name, type FROM pragma_table_info(?)", found.groups())
        return {name.lower(): kind.lower() or "any" for name, kind in told}

    def _page(self, result, params):
        n_rows, rows = max(1, params["page"]), result["rows"]
        if len(rows) > n_rows:
            self._n_opened += 1
            result["cursor"] = self._n_opened
            left = {**result, "rows": rows[n_rows:], "changed": 0}
            self._cursors[self._n_opened] = (left, params.get("call"))
        return {**result, "rows": rows[:n_rows]}

    def fetch(self, params):
        """The next page."""
        if params["cursor"] not in self._cursors:
            raise self._error(
                "there is no such cursor; it ended, or its call did", "db.transaction"
            )
        result, call = self._cursors.pop(params["cursor"])
        result.pop("cursor", None)
        return self._page(result, {"page": params.get("page", 500), "call": call})

    # Transactions

    def begin(self, params):
        """Begins a transaction."""
        if self._tx is not None:
            why = "the plugin's database is busy: another transaction holds it; try again"
            raise self._error(why, "store.busy")
        self.db.execute("BEGIN IMMEDIATE")
        self._n_opened += 1
        self._tx = {
            "tx": self._n_opened,
            "call": params.get("call"),
            "depth": 0,
            "failed": False,
            "until": self.clock.now + LEASE,
        }
        return {"tx": self._n_opened}

    def _transaction(self, params):
        if self._tx is not None and self.clock.now >= self._tx["until"]:
            self._give_up()
        if self._tx is None or self._tx["tx"] != params["tx"]:
            why = "there is no such transaction; it ended, its call did, or its time was over"
            raise self._error(why, "db.transaction")
        return self._tx

    def _give_up(self):
        self._tx = None
        self.db.execute("ROLLBACK")

    def _end(self, params, word):
        tx = self._transaction(params)
        if word == "COMMIT" and (tx["failed"] or tx["depth"]):
            why = "it failed" if tx["failed"] else "a savepoint is open"
            self._give_up()
            raise self._error(f"the transaction cannot be committed: {why}", "db.transaction")
        try:
            self.db.execute(word)
        except sqlite3.Error as error:
            self._give_up()
            raise self._failure(error) from None
        self._tx = None

    def save(self, params):
        """Opens a savepoint."""
        tx = self._transaction(params)
        if tx["failed"]:
            raise self._error(
                "the transaction has failed; undo or roll back first", "db.transaction"
            )
        tx["depth"] += 1
        self.db.execute(f"SAVEPOINT kodex_{tx['depth']}")

    def _leave(self, params, undo):
        tx = self._transaction(params)
        if not tx["depth"] or (tx["failed"] and not undo):
            why = "there is no savepoint" if not tx["depth"] else "it failed; only undo is possible"
            raise self._error(why, "db.transaction")
        if undo:
            self.db.execute(f"ROLLBACK TO kodex_{tx['depth']}")
            tx["failed"] = False
        self.db.execute(f"RELEASE kodex_{tx['depth']}")
        tx["depth"] -= 1

    def end_call(self, call):
        """Closes what a call has left open."""
        if self._tx is not None and self._tx["call"] == call:
            self._give_up()
        self._cursors = {at: found for at, found in self._cursors.items() if found[1] != call}

    # Migrations

    def migrate(self, text):
        """Runs a file of the journal in one transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            with self._as(MIGRATE):
                for statement in split(text):
                    self.db.execute(statement)
        except sqlite3.Error as error:
            self.db.execute("ROLLBACK")
            raise self._failure(error) from None
        self.db.execute("COMMIT")

    # The guard

    def _as(self, mode):
        return _Mode(self, mode)

    def _judge(self, action, first, second, database, trigger):
        if self._mode == OWN:
            return sqlite3.SQLITE_OK
        problem = self._problem(action, first or "", second)
        if problem is None:
            return sqlite3.SQLITE_OK
        self._denied = self._denied or problem
        return sqlite3.SQLITE_DENY

    def _problem(self, action, first, second):
        """What a statement may not do, in words."""
        if action in (sqlite3.SQLITE_SELECT, _RECURSIVE):
            return None
        if action == _FUNCTION:
            return f"use the function {second}" if second == "load_extension" else None
        if action == sqlite3.SQLITE_READ:
            fine = _is_own(first) or first.lower() in _CATALOG
            return None if fine else f"read {first}"
        if action in _CHANGES:
            self._writes = True
            engines = self._mode == MIGRATE and first.lower().startswith("sqlite_")
            if first.lower() in _CATALOG and not engines:
                return "change the schema"
            return None if _is_own(first) or engines else f"{_CHANGES[action]} {first}"
        if action == sqlite3.SQLITE_PRAGMA:
            return None if first.lower() in _TELLING else f"use PRAGMA {first} here"
        if action in (sqlite3.SQLITE_TRANSACTION, _SAVEPOINT):
            return "begin or end a transaction by SQL; use the calls for transactions"
        if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
            return "attach a file"
        if self._mode != MIGRATE:
            return f"change the schema: {first}"
        return (
            None if _is_own(first) or first.startswith("sqlite_autoindex_") else f"change {first}"
        )

    def _failure(self, error):
        denied, self._denied = self._denied, None
        if denied is not None:
            return self._error(f"may not {denied}", "db.refused", " ")
        is_constraint = isinstance(error, sqlite3.IntegrityError)
        return self._error(str(error), "db.constraint" if is_constraint else "db.sql")

    def _error(self, problem, code, between=": "):
        return host_error(f"plugin {self.plugin}{between}{problem}", code)


class _Mode:
    def __init__(self, owner, mode):
        self.owner = owner
        self.mode = mode

    def __enter__(self):
        self.owner._mode, self.owner._denied = self.mode, None

    def __exit__(self, *raised):
        self.owner._mode = OWN


#: Numbers that not every Python names.
_FUNCTION, _SAVEPOINT, _RECURSIVE = 31, 32, 33
_CHANGES = {
    sqlite3.SQLITE_INSERT: "insert into",
    sqlite3.SQLITE_UPDATE: "update",
    sqlite3.SQLITE_DELETE: "delete from",
}


def _is_own(name):
    return not name.lower().startswith(("kodex_", "sqlite_"))


def _stored(value):
    """A parameter of the contract as SQLite takes it."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(value, dict):
        return value
    tag, inner = next(iter(value.items())) if len(value) == 1 else ("$json", value)
    if not tag.startswith("$"):
        tag, inner = "$json", value
    if tag == "$json":
        return json.dumps(inner, ensure_ascii=False, separators=(",", ":"))
    if tag == "$int":
        return int(inner)
    if tag == "$bytes":
        return a2b_base64(inner)
    if tag == "$numeric":
        return inner
    if tag == "$float":
        if inner == "NaN":
            raise mistake("SQLite cannot store a float that is not a number")
        return float(inner)
    raise mistake(f"the tag {tag!r} is unknown; there are $int, $float, $bytes, $numeric and $json")


def _shown(value, kind):
    """A value of a row as the contract has it; the column's declared type decides."""
    word = re.split(r"[( ]", kind)[0]
    if word in ("boolean", "bool") and value in (0, 1) and type(value) is int:
        return bool(value)
    if word in ("json", "jsonb") and isinstance(value, str):
        try:
            return {"$json": json.loads(value)}
        except ValueError:
            return value
    if word in ("numeric", "decimal") and isinstance(value, str):
        is_decimal = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value)
        return {"$numeric": value} if is_decimal else value
    return to_wire(value)


def read_journal(folder):
    """The steps of a folder as ``(number, name, text, is_code)``, in order."""
    steps = {}
    for file in sorted(name for name in os.listdir(folder) if name.endswith(".sql")):
        found = _FILE.fullmatch(file)
        if found is None:
            raise ValueError(f"{file!r} in {folder} is no step; write 0001_name.sql")
        number, name, engine = found.groups()
        if engine == ".postgres":
            continue
        if number in steps:
            raise ValueError(f"two steps in {folder} have the number {number}")
        with open(os.path.join(folder, file), encoding="utf-8") as opened:
            text = opened.read()
        steps[number] = (int(number), f"{number}_{name}", text, _is_code(text))
    return [steps[number] for number in sorted(steps)]


def _is_code(text):
    for line in map(str.strip, text.splitlines()):
        if not line.startswith("--"):
            if line:
                return False
        elif line[2:].strip().startswith("kodex:"):
            return line.split("kodex:")[1].strip() == "code"
    return False
