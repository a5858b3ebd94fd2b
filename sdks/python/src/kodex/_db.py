"""The plugin's own database: SQL in the host's services ``db/*``.

Unqualified table names are the plugin's own; the host refuses everything else. The same SQL runs on
SQLite and Postgres where it is portable, and ``?``, ``$1`` and ``:name`` work on both.

A transaction belongs to the code inside its ``with``: what is asked of ``db`` there is part of it,
in the functions that are called there too.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar

from . import HostError
from ._scope import link_of, refuse_in_coroutine
from ._values import from_wire, parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Iterator, Mapping, Sequence, Union

    Params = Union[Sequence[Any], Mapping[str, Any]]

#: Seconds that a cancelled coroutine waits for its rollback; the host makes one in any case.
FAREWELL = 0.1

_open = ContextVar("kodex_transaction", default=None)


class Row:
    """One row: ``row[0]``, ``row["id"]``, ``dict(row)``; iterating gives the values."""

    __slots__ = ("_values", "_places")

    def __init__(self, values, places):
        self._values = values
        self._places = places

    def __getitem__(self, place: int | str | slice) -> Any:
        if isinstance(place, str):
            try:
                return self._values[self._places[place]]
            except KeyError:
                known = ", ".join(self._places)
                raise KeyError(f"no column {place!r}; there are {known}") from None
        return self._values[place]

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self._places)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a column, or the default where there is no such column."""
        return self[name] if name in self._places else default

    def as_dict(self) -> dict[str, Any]:
        """The row as a dict."""
        return {name: self._values[place] for name, place in self._places.items()}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values == other._values and self._places == other._places
        return self._values == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        fields = (f"{name}={self._values[place]!r}" for name, place in self._places.items())
        return f"Row({', '.join(fields)})"


class Rows(list[Row]):
    """The rows of a result, as a list, and what else the statement said."""

    def __init__(self, result):
        kinds = [column["type"] for column in result["columns"]]
        #: The names of the columns.
        self.columns: list[str] = [column["name"] for column in result["columns"]]
        #: How many rows were inserted, updated or deleted.
        self.n_changed: int = result.get("changed", 0)
        self._cursor = result.get("cursor")
        places = {}
        for place, name in enumerate(self.columns):
            places.setdefault(name, place)
        rows = result["rows"]
        super().__init__(Row(tuple(map(from_wire, row, kinds)), places) for row in rows)

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as dicts, for example for a reply."""
        return [row.as_dict() for row in self]


def _statement(link, tx, sql, params, more):
    if not isinstance(sql, str):
        raise TypeError(f"a statement is a text, not {type(sql).__name__}")
    asked = {"sql": sql, **more}
    given = parameters(params)
    if given:
        asked["params"] = given
    if tx is not None:
        asked["tx"] = tx.ident
    return _within_call(link, asked)


def _within_call(link, asked):
    call = link.call_id()
    return asked if call is None else {**asked, "call": call}


def _around(link):
    """The transaction that the code which runs now is inside of."""
    tx = _open.get()
    while tx is not None and not tx._holds(link):
        tx = tx._before
    return tx


def _no_pages(tx):
    if tx is not None:
        why = "a result cannot be read in pages inside a transaction; use LIMIT with the last key"
        raise HostError(why, "db.transaction")


class Db:
    """The plugin's database for ordinary functions: every call waits for its answer.

    ``kodex.db`` is one, and so is ``ctx.db``.
    """

    __slots__ = ("_link",)

    def __init__(self, link=None):
        self._link = link

    @property
    def aio(self) -> AsyncDb:
        """The same for ``async def`` functions."""
        return AsyncDb(self._link)

    def query(self, sql: str, params: Params = (), *, max_rows: int | None = None) -> Rows:
        """Runs one statement and gives its rows; more than ``max_rows`` are an error."""
        more = {} if max_rows is None else {"max_rows": max_rows}
        link = self._ready()
        return Rows(link.request("db/query", _statement(link, self._tx(link), sql, params, more)))

    def query_one(self, sql: str, params: Params = ()) -> Row | None:
        """Runs one statement that gives at most one row."""
        rows = self.query(sql, params, max_rows=1)
        return rows[0] if rows else None

    def execute(self, sql: str, params: Params = ()) -> int:
        """Runs one statement; says how many rows it inserted, updated or deleted."""
        return self.query(sql, params).n_changed

    def pages(self, sql: str, params: Params = (), n_rows: int = 500) -> Iterator[Row]:
        """Reads a large result row by row, fetching ``n_rows`` at a time. Not in a transaction."""
        link = self._ready()
        _no_pages(self._tx(link))
        asked = _statement(link, None, sql, params, {"page": n_rows})
        return _read_pages(link, Rows(link.request("db/query", asked)), n_rows)

    def transaction(self) -> Transaction:
        """``with db.transaction():`` commits at the end and rolls back when an exception leaves it.

        Inside another one it is a savepoint: only its own part is undone.
        """
        link = self._ready()
        return Transaction(link, self._tx(link))

    def _ready(self):
        refuse_in_coroutine("db")
        return self._link or link_of("kodex.db")

    def _tx(self, link):
        return _around(link)


def _read_pages(link, rows, n_rows):
    cursor = rows._cursor
    try:
        while True:
            yield from rows
            if cursor is None:
                return
            rows = Rows(link.request("db/fetch", {"cursor": cursor, "page": n_rows}))
            cursor = rows._cursor
    except HostError:
        # The host has closed it already.
        cursor = None
        raise
    finally:
        if cursor is not None:
            with suppress(HostError):
                link.request("db/close", {"cursor": cursor})


class _Level:
    """One level of a transaction: the outermost, or a savepoint inside."""

    def __init__(self, link, around):
        self._link = link
        self._around = around
        self._before = None
        self._call = None
        #: The host's number of the whole transaction, while this level lasts.
        self.ident = None

    def _tx(self, link):
        # Also where the context is another one: in a thread that was given this object.
        if self.ident is None:
            raise RuntimeError(
                "the transaction is over, or has not begun; use it inside its `with`"
            )
        return self

    def _holds(self, link):
        # One that was never left does not reach into the next call: the host has ended it.
        return self.ident is not None and self._link is link and self._call == link.call_id()

    def _first(self):
        """What is asked of the host at the begin."""
        if self.ident is not None:
            raise RuntimeError("a transaction is entered once; make another one inside")
        if self._around is not None:
            return "db/save", {"tx": self._around.ident}
        return "db/begin", _within_call(self._link, {})

    def _begun(self, result):
        self.ident = result["tx"] if self._around is None else self._around.ident
        self._before, self._call = _open.get(), self._link.call_id()
        _open.set(self)

    def _last(self, failed):
        """What is asked of the host at the end."""
        asked = {"tx": self.ident}
        self.ident = None
        _open.set(self._before)
        if self._around is not None:
            return "db/undo" if failed else "db/release", asked
        return "db/rollback" if failed else "db/commit", asked


class Transaction(_Level, Db):
    """A transaction and the database inside it; see ``Db.transaction``."""

    def __enter__(self) -> Transaction:
        method, asked = self._first()
        self._begun(self._link.request(method, asked))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        method, asked = self._last(kind is not None)
        try:
            self._link.request(method, asked)
        except HostError:
            if kind is None:
                self._give_up(asked)
                raise
            # The exception that leaves the block says more than a rollback that was not needed.

    def _give_up(self, asked):
        """What could not be committed must not stay open until the call is over."""
        with suppress(HostError):
            self._link.request("db/rollback" if self._around is None else "db/undo", asked)


class AsyncDb:
    """The plugin's database for ``async def`` functions: the names of ``Db``, awaited."""

    __slots__ = ("_link",)

    def __init__(self, link=None):
        self._link = link

    async def query(self, sql: str, params: Params = (), *, max_rows: int | None = None) -> Rows:
        """See ``Db.query``."""
        more = {} if max_rows is None else {"max_rows": max_rows}
        link = self._ready()
        asked = _statement(link, self._tx(link), sql, params, more)
        return Rows(await link.request_async("db/query", asked))

    async def query_one(self, sql: str, params: Params = ()) -> Row | None:
        """See ``Db.query_one``."""
        rows = await self.query(sql, params, max_rows=1)
        return rows[0] if rows else None

    async def execute(self, sql: str, params: Params = ()) -> int:
        """See ``Db.execute``."""
        return (await self.query(sql, params)).n_changed

    async def pages(self, sql: str, params: Params = (), n_rows: int = 500) -> AsyncIterator[Row]:
        """``async for row in db.aio.pages(...)``; see ``Db.pages``."""
        link = self._ready()
        _no_pages(self._tx(link))
        asked = _statement(link, None, sql, params, {"page": n_rows})
        rows = Rows(await link.request_async("db/query", asked))
        cursor = rows._cursor
        try:
            while True:
                for row in rows:
                    yield row
                if cursor is None:
                    return
                fetch = {"cursor": cursor, "page": n_rows}
                rows = Rows(await link.request_async("db/fetch", fetch))
                cursor = rows._cursor
        except HostError:
            cursor = None
            raise
        finally:
            if cursor is not None:
                with suppress(HostError):
                    await link.request_async("db/close", {"cursor": cursor})

    def transaction(self) -> AsyncTransaction:
        """``async with db.aio.transaction():``; see ``Db.transaction``."""
        link = self._ready()
        return AsyncTransaction(link, self._tx(link))

    def _ready(self):
        return self._link or link_of("kodex.db")

    def _tx(self, link):
        return _around(link)


class AsyncTransaction(_Level, AsyncDb):
    """A transaction of coroutines and the database inside it."""

    async def __aenter__(self) -> AsyncTransaction:
        method, asked = self._first()
        self._begun(await self._link.request_async(method, asked))
        return self

    async def __aexit__(self, kind: type | None, error: object, trace: object) -> None:
        from asyncio import CancelledError, ensure_future, wait

        method, asked = self._last(kind is not None)
        ending = self._link.request_async(method, asked)
        if kind is not None and issubclass(kind, CancelledError):
            # The answer to a cancelled call is due at once.
            ending = ensure_future(ending)
            ending.add_done_callback(lambda done: done.cancelled() or done.exception())
            await wait([ending], timeout=FAREWELL)
            return
        try:
            await ending
        except HostError:
            if kind is None:
                await self._give_up(asked)
                raise

    async def _give_up(self, asked):
        with suppress(HostError):
            method = "db/rollback" if self._around is None else "db/undo"
            await self._link.request_async(method, asked)


#: The database of the plugin in this process.
db = Db()
